"""Two corpora copied from what a developer's machine has: many small files, and a toolchain-like mix.

They are copies, so that real compression ratios show, and made in an order of names alone; the note says what was
taken. They differ from machine to machine; figures are compared within one run only.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from harness.corpora import Corpus

SKIPPED_NAMES = {"CACHEDIR.TAG", ".kopiaignore"}
"""Tools leave such folders out by themselves, not all of them the same."""


class Small(Corpus):
    name = "small"
    about = "at least 40,000 small files: sources in Rust, Go, C and Python, compiled Python, pages, generated JSON"

    FILES = 46_000
    JSON_FILES = 4_000
    FILE_BYTES_MAX = 256 << 10
    # Of each place at most so many files, so that no language drowns the others.
    SHARE = 14_000

    def build(self) -> str:
        taken, left = [], int(self.FILES * self.scale)
        for name, place in small_places():
            count = copy_files(
                place,
                self.source / name,
                files_max=min(left, int(self.SHARE * self.scale)),
                size_max=self.FILE_BYTES_MAX,
            )[0]
            left -= count
            if count:
                taken.append(f"{count} of {name}")
        count = int(self.JSON_FILES * self.scale)
        write_json(self.source / "json", count)
        return ", ".join([*taken, f"{count} of generated JSON"])


class Toolchain(Corpus):
    name = "toolchain"
    about = "a toolchain-like mix of at least 2 GiB: compilers, libraries, sources, archives"

    SIZE_BYTES = 2_400 << 20
    SHARE_BYTES = 700 << 20

    def build(self) -> str:
        taken, left = [], int(self.SIZE_BYTES * self.scale)
        for name, place in toolchain_places():
            if left <= 0:
                break
            share = min(left, int(self.SHARE_BYTES * self.scale))
            count, size = copy_files(place, self.source / name, bytes_max=share)
            left -= size
            if count:
                taken.append(f"{name} ({count} files, {size >> 20} MiB)")
        if left > 0.15 * self.SIZE_BYTES * self.scale:
            print(f"This machine has too little to copy: {left >> 20} MiB short", file=sys.stderr)
        return ", ".join(taken)


def small_places() -> list[tuple[str, Path]]:
    """Returns where small files are to be had, the most source-like first."""
    cargo = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    return existing(
        [
            ("rust", cargo / "registry/src"),
            ("go", go_root() / "src"),
            ("python", Path(sysconfig.get_path("stdlib"))),
            ("c", Path("/usr/include")),
            ("pages", Path("/usr/share/doc")),
            ("go-modules", Path.home() / "go/pkg/mod/github.com"),
            ("share", Path("/usr/share")),
            ("python-lib", Path("/usr/lib/python3")),
        ]
    )


def toolchain_places() -> list[tuple[str, Path]]:
    """Returns where compilers, libraries and archives are, each with a name of its own."""
    cargo = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    rust = output("rustc", "--print", "sysroot")
    places = [
        ("rust-lib", Path(rust) / "lib"),
        ("rust-bin", Path(rust) / "bin"),
        ("go", go_root()),
        ("gcc", Path("/usr/lib/gcc")),
        ("libraries", Path("/usr/lib/x86_64-linux-gnu")),
        ("libraries-arm", Path("/usr/lib/aarch64-linux-gnu")),
        ("crates", cargo / "registry/cache"),
        ("go-archives", Path.home() / "go/pkg/mod/cache/download/github.com"),
        ("python", Path(sysconfig.get_path("stdlib"))),
        ("rust-share", Path(rust) / "share"),
        ("programs", Path("/usr/bin")),
        ("share", Path("/usr/share")),
    ]
    return existing(places)


def existing(places: list[tuple[str, Path]]) -> list[tuple[str, Path]]:
    return [(name, place.resolve()) for name, place in places if place.is_dir()]


def go_root() -> Path:
    return Path(output("go", "env", "GOROOT") or "/usr/lib/go")


def output(*command: str) -> str:
    """Returns what a command prints, or nothing when it is not there."""
    if not shutil.which(command[0]):
        return ""
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def copy_files(
    place: Path,
    target: Path,
    *,
    files_max: int = sys.maxsize,
    size_max: int = sys.maxsize,
    bytes_max: int = sys.maxsize,
) -> tuple[int, int]:
    """Copies files and symlinks in the order of their names, keeping modes and times; returns their number and bytes.

    Takes at most `files_max` files and about `bytes_max` bytes, and no file above `size_max` bytes. Folders that hold
    nothing that was taken do not appear. Modes get the owner's write bit, so that the corpus can be changed.
    """
    count = size_bytes = 0
    for folder, folders, names in os.walk(place):
        folders.sort()
        for link in [name for name in folders if os.path.islink(os.path.join(folder, name))]:
            names.append(link)
        for name in sorted(names):
            if count >= files_max or size_bytes >= bytes_max:
                return count, size_bytes
            source = os.path.join(folder, name)
            copied = os.path.join(target, os.path.relpath(source, place))
            try:
                status = os.lstat(source)
                if name in SKIPPED_NAMES or status.st_size > size_max:
                    continue
                os.makedirs(os.path.dirname(copied), exist_ok=True)
                if os.path.islink(source):
                    shutil.copy2(source, copied, follow_symlinks=False)
                elif os.path.isfile(source):
                    shutil.copy2(source, copied)
                    os.chmod(copied, status.st_mode & 0o777 | 0o200)
                    size_bytes += status.st_size
                else:
                    continue
                count += 1
            except OSError as error:
                # The machine's own folders are not ours: what cannot be read is left out.
                print(f"Left out {source}: {error}", file=sys.stderr)
    return count, size_bytes


def write_json(folder: Path, count: int) -> None:
    """Writes JSON documents as an API server would give them: 0.5 to 20 KiB, much of it repeated keys."""
    chance = random.Random("json")
    names = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz-", k=chance.randrange(4, 14))) for _ in range(400)]
    for number in range(count):
        parent = folder / names[number % 40]
        parent.mkdir(parents=True, exist_ok=True)
        items = [
            {
                "metadata": {
                    "name": f"{chance.choice(names)}-{chance.getrandbits(40):x}",
                    "uid": chance.randbytes(16).hex(),
                    "labels": {chance.choice(names): chance.choice(names) for _ in range(3)},
                },
                "spec": {"replicas": chance.randrange(9), "image": f"{chance.choice(names)}:{chance.randrange(99)}"},
                "status": {"ready": chance.random() < 0.9, "observed": chance.randrange(10**6)},
            }
            for _ in range(chance.randrange(1, 40))
        ]
        (parent / f"{number:05d}.json").write_text(json.dumps({"kind": "List", "items": items}, indent=2))

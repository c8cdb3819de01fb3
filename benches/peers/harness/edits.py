"""Touches about one file in a hundred of a tree, and takes it back.

What must hold: which file gets which edit is a function of its path alone, so a corpus changes the same way every time;
a file that is not chosen is not touched at all (same inode, same ctime), so change detection has what it has in real
life; `undo` brings back every byte, mode and mtime. The journal is written before the first edit.

A chosen file is edited (a stretch overwritten, a few bytes inserted), touched (a new mtime only), removed, or moved;
and new files appear beside some. Edits replace the file, as editors do.
"""

import hashlib
import json
import os
import random
import shutil
from pathlib import Path

# Out of a thousand files.
EDITED, TOUCHED, REMOVED, MOVED, ADDED = 5, 1, 1, 1, 2


def files(root: Path):
    """Yields the paths of the regular files below a folder, relative to it, in an order of names alone."""
    pending = [""]
    while pending:
        relative = pending.pop()
        with os.scandir(os.path.join(root, relative)) as scan:
            entries = sorted(scan, key=lambda entry: entry.name, reverse=True)
        for entry in entries:
            path = os.path.join(relative, entry.name)
            if entry.is_dir(follow_symlinks=False):
                pending.append(path)
            elif entry.is_file(follow_symlinks=False):
                yield path


def fate(path: str) -> int:
    """Returns a number from 0 to 999 for a path, always the same."""
    return int.from_bytes(hashlib.blake2b(os.fsencode(path), digest_size=4).digest(), "little") % 1000


def plan(root: Path) -> list[tuple[str, str]]:
    """Returns (edit, path) for every file that is chosen."""
    sorts = ["edit"] * EDITED + ["touch"] * TOUCHED + ["remove"] * REMOVED + ["move"] * MOVED + ["add"] * ADDED
    return [(sorts[number], path) for path in files(root) if (number := fate(path)) < len(sorts)]


def apply(root: Path, kept: Path) -> dict[str, int]:
    """Edits the tree, moving what is replaced into `kept`; returns how many edits of each sort there were."""
    edits = plan(root)
    kept.mkdir(parents=True)
    (kept / "journal.json").write_text(json.dumps(edits))
    counts: dict[str, int] = {}
    for number, (edit, path) in enumerate(edits):
        counts[edit] = counts.get(edit, 0) + 1
        source, original = root / path, kept / str(number)
        match edit:
            case "edit":
                os.rename(source, original)
                source.write_bytes(edited(original.read_bytes(), path))
                shutil.copymode(original, source)
            case "touch":
                times = source.stat()
                original.write_text(f"{times.st_atime_ns} {times.st_mtime_ns}")
                os.utime(source)
            case "remove":
                os.rename(source, original)
            case "move":
                os.rename(source, moved(source))
            case "add":
                added(source).write_bytes(edited(source.read_bytes(), "new " + path))
    return counts


def undo(root: Path, kept: Path) -> None:
    """Takes back what `apply` did, also when it did not come to its end."""
    if not kept.exists():
        return
    edits = json.loads((kept / "journal.json").read_text())
    for number, (edit, path) in reversed(list(enumerate(edits))):
        source, original = root / path, kept / str(number)
        match edit:
            case "edit" | "remove" if original.exists():
                os.rename(original, source)
            case "touch" if original.exists():
                atime_ns, mtime_ns = map(int, original.read_text().split())
                os.utime(source, ns=(atime_ns, mtime_ns))
            case "move" if moved(source).exists():
                os.rename(moved(source), source)
            case "add":
                added(source).unlink(missing_ok=True)
    shutil.rmtree(kept)


def moved(path: Path) -> Path:
    return path.with_name(path.name + ".moved")


def added(path: Path) -> Path:
    return path.with_name(path.name + ".new")


def edited(data: bytes, seed: str) -> bytes:
    """Returns the data with up to 4 KiB in one place overwritten and a few bytes inserted in another."""
    chance = random.Random(seed)
    line = chance.randbytes(16).hex().encode() + b"\n"
    at = chance.randrange(len(data) + 1)
    stretch = data[at : at + min(4096, len(data) // 20)]
    data = data[:at] + bytes(reversed(stretch)) + data[at + len(stretch) :]
    at = chance.randrange(len(data) + 1)
    return data[:at] + line + data[at:]

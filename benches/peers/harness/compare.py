"""Compares two trees: names, kinds, contents, link targets, modes, owners, times, hard links.

Run as a program (`python3 -m harness.compare EXPECTED FOUND`) it prints one JSON object. `content` must be empty after
every restore; `metadata` counts, by attribute, what a tool does not bring back. Contents are compared as streams, so
memory stays small whatever the size of the files; only one folder's names are held at a time, and the hard links.
"""

import json
import os
import stat
import sys

BLOCK_BYTES = 1 << 20
SHOWN_MAX = 10
"""How many differences of each sort are listed by name; all are counted."""


class Difference:
    """The findings of one comparison."""

    def __init__(self) -> None:
        self.content_count = 0
        self.content: list[str] = []
        self.metadata: dict[str, int] = {}
        self.examples: dict[str, str] = {}
        self.files = self.folders = self.links = self.bytes = 0

    def lost(self, path: str, what: str) -> None:
        """Notes that data differs."""
        self.content_count += 1
        if len(self.content) < SHOWN_MAX:
            self.content.append(f"{what}: {path}")

    def changed(self, path: str, attribute: str, expected, found) -> None:
        """Notes that an attribute differs."""
        self.metadata[attribute] = self.metadata.get(attribute, 0) + 1
        self.examples.setdefault(attribute, f"{path}: {expected} became {found}")


def compare(expected: str, found: str) -> Difference:
    """Compares the tree at `found` with the one at `expected`, the two roots' own attributes left out."""
    difference = Difference()
    hard_links: dict[tuple[int, int], str] = {}
    pending = [""]
    while pending:
        relative = pending.pop()
        left = scan(os.path.join(expected, relative))
        right = scan(os.path.join(found, relative))
        for name in left.keys() | right.keys():
            path = os.path.join(relative, name)
            if name not in right:
                difference.lost(path, "missing")
            elif name not in left:
                difference.lost(path, "not in the source")
            elif entry(difference, path, left[name], right[name], hard_links):
                pending.append(path)
    return difference


def scan(folder: str) -> dict[str, os.DirEntry]:
    with os.scandir(folder) as entries:
        return {entry.name: entry for entry in entries}


def entry(difference: Difference, path: str, left: os.DirEntry, right: os.DirEntry, hard_links: dict) -> bool:
    """Compares one entry; returns whether it is a folder on both sides."""
    a, b = left.stat(follow_symlinks=False), right.stat(follow_symlinks=False)
    if stat.S_IFMT(a.st_mode) != stat.S_IFMT(b.st_mode):
        difference.lost(path, "another kind")
        return False
    folder = stat.S_ISDIR(a.st_mode)
    link = stat.S_ISLNK(a.st_mode)
    if stat.S_ISREG(a.st_mode):
        difference.files += 1
        difference.bytes += a.st_size
        if a.st_size != b.st_size:
            difference.lost(path, f"{a.st_size} bytes became {b.st_size}")
        elif a.st_size and not same_bytes(left.path, right.path):
            difference.lost(path, "other bytes")
        if a.st_nlink > 1:
            first = hard_links.setdefault((a.st_dev, a.st_ino), right.path)
            if os.stat(first).st_ino != b.st_ino:
                difference.changed(path, "hard link", "one file", "a copy")
    elif link:
        difference.links += 1
        if os.readlink(left.path) != os.readlink(right.path):
            difference.lost(path, "another link target")
    elif folder:
        difference.folders += 1
    kind = "folder" if folder else "symlink" if link else "file"
    if stat.S_IMODE(a.st_mode) != stat.S_IMODE(b.st_mode):
        difference.changed(path, f"{kind} mode", oct(a.st_mode), oct(b.st_mode))
    if (a.st_uid, a.st_gid) != (b.st_uid, b.st_gid):
        difference.changed(path, f"{kind} owner", (a.st_uid, a.st_gid), (b.st_uid, b.st_gid))
    if a.st_mtime_ns != b.st_mtime_ns:
        difference.changed(path, f"{kind} mtime", a.st_mtime_ns, b.st_mtime_ns)
    return folder


def same_bytes(left: str, right: str) -> bool:
    with open(left, "rb", buffering=0) as a, open(right, "rb", buffering=0) as b:
        while True:
            block = a.read(BLOCK_BYTES)
            if block != b.read(BLOCK_BYTES):
                return False
            if len(block) < BLOCK_BYTES:
                # A regular file's short read is its end: nothing writes to it meanwhile.
                return True


if __name__ == "__main__":
    result = compare(sys.argv[1], sys.argv[2])
    print(json.dumps(vars(result)))
    sys.exit(1 if result.content_count else 0)

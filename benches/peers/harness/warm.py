"""Brings trees into the page cache (`python3 -m harness.warm FOLDER…`), so that every tool meets them in one state."""

import os
import sys

BLOCK_BYTES = 1 << 20


def warm(folder: str) -> None:
    """Reads the names, the attributes and every byte below a folder."""
    block = bytearray(BLOCK_BYTES)
    pending = [folder]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    with open(entry.path, "rb", buffering=0) as file:
                        while file.readinto(block) == BLOCK_BYTES:
                            pass


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        warm(argument)

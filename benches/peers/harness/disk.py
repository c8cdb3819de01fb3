"""Where a round's repositories and restored trees live, and how they go away again.

What must hold: a round begins with nothing, and nothing that was removed before slows it down. ext4 gives out no inode
again within 60 seconds of its removal (300 before it is written back), and for each new file searches past all of these,
one by one: a restore right after the removal of 50,000 files took four times the CPU. Therefore restored trees stay until
the end of the round, and either the file system gets time to forget them (`Folder`), or it is thrown away as a whole (`Image`).
"""

import os
import subprocess
import time
from pathlib import Path

from harness.measure import stored

FORGOTTEN_S = 61
FEW_FILES = 1000
"""So few files may be removed at any time; the corpus of one huge file needs the space."""


class Folder:
    """A plain folder; its removal costs what the disk asks, minutes where each removed file is discarded at once."""

    def __init__(self, work: Path) -> None:
        self.rooms = work / "rooms"
        self.about = "in a folder of this file system"

    def fresh(self) -> None:
        """Sees that the folder is there and empty."""
        self.drop()
        self.rooms.mkdir(parents=True)

    def drop(self) -> None:
        """Removes the folder, and waits until the file system has forgotten it."""
        if not self.rooms.exists():
            return
        many = stored(self.rooms)[1] > FEW_FILES
        remove(self.rooms)
        if many:
            os.sync()
            time.sleep(FORGOTTEN_S)


class Image:
    """A new ext4 in a sparse file for each round, mounted without a second page cache below it. Needs root."""

    def __init__(self, work: Path, size_bytes: int) -> None:
        self.rooms = work / "rooms"
        self.image = work / "rooms.img"
        self.size_bytes = size_bytes
        self.about = "on an ext4 of their own, new each round, in a file of this file system"
        if os.geteuid() != 0:
            raise SystemExit("--image mounts a file system, which only root may do; leave it out")

    def fresh(self) -> None:
        self.drop()
        self.rooms.mkdir(parents=True, exist_ok=True)
        with open(self.image, "wb") as file:
            file.truncate(self.size_bytes)
        # Everything is laid out now, so that no kernel thread does it while we measure; and inodes for five million files.
        command("mkfs.ext4", "-q", "-F", "-i", "8192", "-E", "lazy_itable_init=0,lazy_journal_init=0", self.image)
        device = command("losetup", "--find", "--show", "--direct-io=on", self.image)
        try:
            command("mount", device, self.rooms)
        finally:
            # The loop device goes away by itself with the last who uses it.
            command("losetup", "--detach", device)

    def drop(self) -> None:
        if os.path.ismount(self.rooms):
            command("umount", self.rooms)
        remove(self.rooms)
        self.image.unlink(missing_ok=True)


def command(*argv) -> str:
    done = subprocess.run(list(map(str, argv)), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, argv))} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout.strip()


def remove(folder: Path) -> None:
    """Removes a tree, in a process of its own: Python's way takes memory and time with a million files."""
    if folder.exists():
        subprocess.run(["rm", "-rf", "--one-file-system", "--", str(folder)], check=True)

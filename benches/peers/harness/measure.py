"""Running a command and saying what it cost.

What must hold: the cost is that of the whole process tree (wait4 counts every descendant that was waited for), and the
process that starts the commands stays small, because Linux lets a child begin with its parent's peak memory. Whatever
needs memory here (making corpora, comparing trees, warming the page cache) therefore runs as a process of its own.
"""

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cost:
    """What one or several commands, run one after the other, took."""

    wall_s: float = 0.0
    user_s: float = 0.0
    system_s: float = 0.0
    peak_rss_bytes: int = 0
    """Peak memory of the largest process."""

    @property
    def cpu_s(self) -> float:
        return self.user_s + self.system_s

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.wall_s + other.wall_s,
            self.user_s + other.user_s,
            self.system_s + other.system_s,
            max(self.peak_rss_bytes, other.peak_rss_bytes),
        )


class CommandFailed(Exception):
    """A command ended with a code that is not 0; the message names it and ends with what it said last."""


def run(argv: list, *, env: dict, log: Path, cwd: Path | None = None) -> tuple[Cost, bytes]:
    """Runs a command to its end; returns its cost and what it wrote to standard output.

    Both streams also go to files (LOG, and LOG with .out), never to a pipe: a pipe would make the command wait for us.
    """
    out_path = log.with_suffix(".out")
    with open(out_path, "wb+") as out, open(log, "ab") as err:
        err.write(("$ " + " ".join(map(str, argv)) + "\n").encode())
        err.flush()
        begin = time.perf_counter()
        process = subprocess.Popen(
            list(map(str, argv)), stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=env, cwd=cwd
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        output = out.read()
    cost = Cost(wall_s, usage.ru_utime, usage.ru_stime, usage.ru_maxrss * 1024)
    if process.returncode != 0:
        said = log.read_bytes()[-1500:].decode(errors="replace").strip()
        raise CommandFailed(f"{' '.join(map(str, argv))} ended with {process.returncode}:\n{said}")
    return cost, output


def stored(folder: Path) -> tuple[int, int]:
    """Returns the bytes and the number of the files below a folder: what a repository costs to keep."""
    size_bytes = objects = 0
    pending = [os.fspath(folder)]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                else:
                    size_bytes += entry.stat(follow_symlinks=False).st_size
                    objects += 1
    return size_bytes, objects

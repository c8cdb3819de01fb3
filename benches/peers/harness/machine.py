"""Says what machine the figures come from."""

import os
import platform
import subprocess
from pathlib import Path


def describe(work: Path) -> dict[str, str]:
    """Returns processor, cores, memory, disk, file system and system, by name."""
    filesystem = run("findmnt", "-n", "-o", "FSTYPE,SOURCE,OPTIONS", "-T", str(work)).split()
    return {
        "processor": processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB",
        "file system": " ".join(filesystem[:1] + filesystem[2:3]) or "unknown",
        "kernel": f"{platform.system()} {platform.release()}",
        "system": system(),
        "python": platform.python_version(),
    }


def busy_s() -> float:
    """Returns the CPU seconds that the whole machine has spent since it started, time stolen by its host included."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    user, nice, system, _idle, _wait, irq, softirq, steal = map(int, fields[:8])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def processor() -> str:
    flags, name = [], "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            name = value.strip()
        elif key.strip() == "flags":
            flags = value.split()
    # What decides how fast hashing and sealing can be.
    known = [flag for flag in ("avx2", "avx512f", "aes", "vaes", "sha_ni") if flag in flags]
    return f"{name} ({', '.join(known)})" if known else name


def system() -> str:
    for line in Path("/etc/os-release").read_text().splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return "unknown"


def run(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except FileNotFoundError:
        return ""

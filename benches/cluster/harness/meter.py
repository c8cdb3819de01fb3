"""What a phase costs: read before and after from /proc, the cgroups, the API server and the store's access log."""

import os
import re
import resource
import subprocess
import time
from pathlib import Path

from .cluster import Cluster

TICKS = 100
PROGRAMS = {"controller": "/bin/ararat-controller run", "agent": "/bin/ararat-agent run"}
PARTS = ["kube-apiserver", "etcd"]


def columns() -> list[str]:
    return ["wall s", "command CPU s", "controller CPU s", "agent CPU s", "API server + etcd CPU s", "controller RSS MiB", "agent RSS MiB",
            "controller cgroup MiB", "agent cgroup MiB", "API requests", "store requests", "store + MiB", "load"]


def matching(pattern: str) -> list[int]:
    found = subprocess.run(["pgrep", "--full", pattern], capture_output=True, text=True).stdout
    return [int(line) for line in found.split()]


class Meter:
    def __init__(self, cluster: Cluster):
        self.cluster = cluster
        sum = subprocess.run(["cksum"], input=str(cluster.folder), capture_output=True, text=True, check=True).stdout
        self.group = f"cluster-{sum.split()[0]}"

    def processes(self, pattern: str) -> list[int]:
        """Those in pods of this cluster: others may run on this machine."""
        return [process for process in matching(f"^{pattern}") if self.group in Path(f"/proc/{process}/cgroup").read_text()]

    def part(self, name: str) -> list[int]:
        return matching(f"^{self.cluster.environment['CLUSTER_BIN']}/{name} .*{self.cluster.folder}/")

    def cpu(self, processes: list[int]) -> float:
        def of(process: int) -> float:
            fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
            return (int(fields[11]) + int(fields[12])) / TICKS
        return sum(of(process) for process in processes)

    def forget_peaks(self) -> None:
        for pattern in PROGRAMS.values():
            for process in self.processes(pattern):
                Path(f"/proc/{process}/clear_refs").write_text("5")
                if group := self.memory_group(process):
                    (group / "memory.max_usage_in_bytes").write_text("0")

    def memory_group(self, process: int) -> Path | None:
        for line in Path(f"/proc/{process}/cgroup").read_text().splitlines():
            _, trees, path = line.split(":", 2)
            if trees == "memory":
                return Path("/sys/fs/cgroup/memory") / path.lstrip("/")
        return None

    def peak(self, process: int) -> float:
        status = Path(f"/proc/{process}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status).group(1)) / 1024

    def group_peak(self, process: int) -> float:
        group = self.memory_group(process)
        return int((group / "memory.max_usage_in_bytes").read_text()) / (1 << 20) if group else 0

    def api_requests(self) -> int:
        metrics = self.cluster.kubectl("get --raw /metrics")
        return int(sum(float(line.rsplit(" ", 1)[1]) for line in metrics.splitlines() if line.startswith("apiserver_request_total{")))

    def store_requests(self) -> int:
        access = self.cluster.access
        return sum(1 for _ in access.open("rb")) if access.exists() else 0

    def stored(self) -> float:
        files = (file for file in self.cluster.bucket.rglob("*") if file.is_file())
        return sum(file.stat().st_size for file in files) / (1 << 20)

    def phase(self, work) -> dict:
        """Does the work and gives what it cost. What was written before is on the disk by then: it is not this phase's to wait for."""
        os.sync()
        self.forget_peaks()
        processes = {name: self.processes(pattern) for name, pattern in PROGRAMS.items()}
        parts = [process for part in PARTS for process in self.part(part)]
        before = {name: self.cpu(of) for name, of in processes.items()}
        parts_before, api, store, stored = self.cpu(parts), self.api_requests(), self.store_requests(), self.stored()
        began, command = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        work()
        wall, ended = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        if processes != {name: self.processes(pattern) for name, pattern in PROGRAMS.items()}:
            raise SystemExit("a program was restarted while it was measured")
        sample = {"wall s": wall, "command CPU s": ended.ru_utime + ended.ru_stime - command.ru_utime - command.ru_stime, "API server + etcd CPU s": self.cpu(parts) - parts_before}
        for name, of in processes.items():
            sample[f"{name} CPU s"] = self.cpu(of) - before[name]
            sample[f"{name} RSS MiB"] = max(map(self.peak, of))
            sample[f"{name} cgroup MiB"] = max(map(self.group_peak, of))
        sample["store requests"] = self.store_requests() - store
        sample["API requests"] = self.api_requests() - api
        sample["store + MiB"] = self.stored() - stored
        return {name: round(value, 3) for name, value in sample.items()}

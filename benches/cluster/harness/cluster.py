"""The bench's own cluster, with an S3 server in its network and Ararat installed as a user installs it."""

import os
import subprocess
import time
from pathlib import Path

CACHE = Path(os.environ.get("ARARAT_TEST_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ararat-tests")
KEY, SECRET = "bench-key", "bench-secret"
NODE = "10.99.0.1"
# What the agent's container may use, page cache included: with more, the kernel would remember a million files from one backup to the next.
AGENT_BYTES = 768 << 20


class Cluster:
    def __init__(self, root: Path, work: Path, image: Path, ararat: Path):
        self.script, self.work, self.image, self.ararat_program = root / "tests/cluster/cluster", work, image, ararat
        self.disk, self.folder = work / "disk", work / "disk/cluster"
        self.bucket, self.access = work / "s3/data/bench", work / "s3/access.log"
        self.environment = {
            **os.environ,
            "CLUSTER_DIR": str(self.folder),
            "CLUSTER_BIN": str(CACHE / "cluster/bin"),
            "CLUSTER_FOR": str(os.getpid()),
            "PATH": f"{CACHE / 'cluster/bin'}:{os.environ['PATH']}",
        }
        self.gateway = None

    def __enter__(self) -> "Cluster":
        self.mount()
        try:
            self.manage("up")
            self.manage("load", str(self.image))
            self.serve()
            self.install()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        self.manage("down")
        if self.gateway:
            self.gateway.wait()
        subprocess.run(["umount", "--detach-loop", self.disk], check=True)
        limited().parent.rmdir()

    def manage(self, *words: str) -> None:
        subprocess.run([self.script, *words], env=self.environment, check=True, stdout=subprocess.DEVNULL)

    def run(self, *words: str, text: str | None = None, check: bool = True) -> str:
        """Runs a program in the cluster's network and gives what it prints."""
        ran = subprocess.run([self.script, "run", *words], env=self.environment, input=text, capture_output=True, text=True)
        if check and ran.returncode:
            raise SystemExit(f"{' '.join(words)}: exit code {ran.returncode}\n{ran.stdout}\n{ran.stderr}")
        return ran.stdout

    def kubectl(self, line: str, text: str | None = None, check: bool = True) -> str:
        return self.run("kubectl", *line.split(), text=text, check=check)

    def ararat(self, line: str) -> str:
        return self.run(str(self.ararat_program), *line.split())

    def repo(self, line: str) -> None:
        """The engine alone, from the node, with the agent's limit of memory, in a repository of its own beside that of the location."""
        key, cache = self.work / "alone.key", self.work / "alone.cache"
        environment = [f"AWS_ACCESS_KEY_ID={KEY}", f"AWS_SECRET_ACCESS_KEY={SECRET}", f"AWS_ENDPOINT_URL=http://{NODE}:9000", "AWS_REGION=us-east-1"]
        place = ["--quiet", "-r", "s3://bench/alone", "--cache-dir", str(cache)]
        place += ["--new-key" if line == "init" else "--key-file", str(key)]
        joined = 'echo $$ >"$0" && exec "$@"'
        self.run("env", *environment, "sh", "-c", joined, str(limited()), str(self.ararat_program), "repo", *line.split(), *place)

    def shell(self, namespace: str, pod: str, script: str) -> str:
        return self.run("kubectl", "exec", "-i", "-n", namespace, pod, "--", "sh", text=script)

    def mount(self) -> None:
        """The cluster is on a file system of its own, with a journal, as volumes are elsewhere: on an ext4 without one, whoever makes files within five
        minutes after others were deleted searches long for free numbers (`recently_deleted`), and each round would pay for the one before."""
        image = self.work / "disk.ext4"
        self.disk.mkdir()
        with image.open("wb") as file:
            file.truncate(64 << 30)
        subprocess.run(["mkfs.ext4", "-q", "-E", "nodiscard", "-N", "8000000", image], check=True)
        subprocess.run(["mount", "-o", "loop", image, self.disk], check=True)

    def serve(self) -> None:
        """An S3 server that writes down every request."""
        home = self.work / "s3"
        for name in ("iam", "data/bench"):
            (home / name).mkdir(parents=True)
        gateway = CACHE / "versitygw/versitygw"
        words = [gateway, "-p", f"{NODE}:9000", "-a", KEY, "-s", SECRET, "--quiet", "--keep-alive", "--iam-dir", home / "iam"]
        words += ["--access-log", self.access, "posix", home / "data"]
        self.gateway = subprocess.Popen([self.script, "run", *words], env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(2)

    def install(self) -> None:
        credentials = self.work / "credentials"
        credentials.write_text(f"AWS_ACCESS_KEY_ID={KEY}\nAWS_SECRET_ACCESS_KEY={SECRET}\n")
        self.ararat(
            "install --image localhost/ararat --image-pull-policy Never --location s3://bench/ararat"
            f" --location-option endpoint=http://{NODE}:9000 --location-option region=us-east-1"
            f" --credentials-file {credentials} --recovery-sheet {self.work}/sheet"
        )


def limited() -> Path:
    """The file that a process joins to have the agent's limit of memory: of a control group of either version."""
    root = Path("/sys/fs/cgroup")
    unified = (root / "cgroup.controllers").exists()
    group = (root if unified else root / "memory") / "ararat-bench"
    group.mkdir(exist_ok=True)
    (group / ("memory.max" if unified else "memory.limit_in_bytes")).write_text(str(AGENT_BYTES))
    return group / "cgroup.procs"

"""A PostgreSQL data folder before and after a pgbench run, the server stopped cleanly each time.

The server runs once, when the corpus is made: both states are kept, and `change` copies what differs into the source,
so every round and every tool gets the same bytes. Needs Debian's `postgresql` (or any other with initdb, pg_ctl and
pgbench). The server listens on a socket in a private folder alone; as root it runs as the user `postgres`, because it
must.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

from harness.corpora import Corpus

PGBENCH_SCALE = 20
TRANSACTIONS = 5000
SERVER_USER = "postgres"


class Postgres(Corpus):
    name = "postgres"
    about = "a PostgreSQL data folder (pgbench -i -s 20), then after a pgbench run of 5,000 transactions"

    def build(self) -> str:
        before, after = self.kept / "before", self.kept / "after"
        scale = max(1, round(PGBENCH_SCALE * self.scale))
        with tempfile.TemporaryDirectory(prefix="ararat-pg-") as folder:
            server = Server(Path(folder))
            server.create()
            with server:
                server.tool("pgbench", "-i", "-q", "-s", scale, "postgres")
            copy(server.data, before)
            with server:
                server.tool("pgbench", "-c", 2, "-j", 2, "-t", TRANSACTIONS // 2, "--random-seed=1", "postgres")
            copy(server.data, after)
            version = server.version()
        copy(before, self.source)
        return f"{version}, pgbench -i -s {scale}"

    def apply(self) -> str:
        return f"pgbench, {TRANSACTIONS} transactions: {self._lead_to('after')} files rewritten, added or removed"

    def undo(self) -> None:
        self._lead_to("before")

    def _lead_to(self, state: str) -> int:
        """Makes the source what the state is, leaving alone what is the same; returns how many files it changed."""
        wanted, count = self.kept / state, 0
        names = {path.relative_to(wanted) for path in wanted.rglob("*")}
        for path in sorted(self.source.rglob("*"), reverse=True):
            if path.relative_to(self.source) not in names:
                path.rmdir() if path.is_dir() else path.unlink()
                count += 1
        for name in sorted(names):
            left, right = wanted / name, self.source / name
            if left.is_dir():
                right.mkdir(exist_ok=True)
                shutil.copystat(left, right)
                continue
            if right.exists() and same(left, right):
                continue
            # Written in place: the server keeps its files' inodes. The time is left to be now, as it is in life.
            with open(left, "rb") as source, open(right, "r+b" if right.exists() else "wb") as target:
                target.truncate(0)
                shutil.copyfileobj(source, target, 1 << 20)
            shutil.copymode(left, right)
            count += 1
        return count


def same(left: Path, right: Path) -> bool:
    return left.stat().st_size == right.stat().st_size and left.read_bytes() == right.read_bytes()


def copy(source: Path, target: Path) -> None:
    """Copies a data folder with its modes and times."""
    shutil.copytree(source, target, dirs_exist_ok=True)


class Server:
    """A PostgreSQL server of our own; `with` runs it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.bin = binaries()
        self.prefix: list[str] = []
        if os.geteuid() == 0:
            user = pwd.getpwnam(SERVER_USER)
            os.chown(folder, user.pw_uid, user.pw_gid)
            self.prefix = ["runuser", "-u", SERVER_USER, "--"]

    def create(self) -> None:
        self.tool("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "--no-sync", "--locale=C", "-E", "UTF8")

    def __enter__(self) -> "Server":
        options = f"-c listen_addresses='' -c unix_socket_directories='{self.folder}'"
        self.tool("pg_ctl", "start", "-w", "-D", self.data, "-l", self.folder / "log", "-o", options)
        return self

    def __exit__(self, *_) -> None:
        self.tool("pg_ctl", "stop", "-w", "-m", "fast", "-D", self.data)

    def version(self) -> str:
        return self.tool("postgres", "--version").strip()

    def tool(self, name: str, *arguments) -> str:
        environment = os.environ | {"PGHOST": str(self.folder), "PGUSER": "postgres", "PGTZ": "UTC"}
        command = [*self.prefix, str(self.bin / name), *map(str, arguments)]
        # Files, not pipes: a server that pg_ctl leaves behind would hold a pipe open for ever.
        with tempfile.TemporaryFile() as said:
            code = subprocess.run(command, env=environment, cwd=self.folder, stdout=said, stderr=said).returncode
            said.seek(0)
            text = said.read().decode(errors="replace")
        if code:
            raise SystemExit(f"{name} ended with {code}:\n{text[-1500:]}")
        return text


def binaries() -> Path:
    """Returns the folder of the newest PostgreSQL's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    if found:
        return found[-1].parent
    if program := shutil.which("initdb"):
        return Path(program).resolve().parent
    raise SystemExit(
        "PostgreSQL is missing (initdb was not found). Install Debian's postgresql, or leave this corpus out"
    )

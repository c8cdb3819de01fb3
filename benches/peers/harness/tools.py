"""The tools that are measured, each behind the same few methods.

What must hold: each tool runs as its own documentation has it (default chunking, compression, parallelism, locks),
except where a class says so and why; each has a fresh repository, a fresh cache and a home of its own, all on the same
disk; passwords come through the environment, so every tool derives a key from one. A method runs its commands one
after the other and returns the sum of their costs; what only finds something out for the bench itself (`_ask`) is not
counted.
"""

import json
import os
from pathlib import Path

from harness.measure import Cost, run

PASSWORD = "a password for measuring"


class Tool:
    """One tool with one repository; `room` is a folder of its own."""

    name = ""
    settings = "defaults"
    """What the table's legend says about how it ran."""

    def __init__(self, program: Path, room: Path) -> None:
        self.program = program
        self.room = room
        self.repository = room / "repository"
        self.cache = room / "cache"
        self.home = room / "home"
        self.log = room / "log"
        self.requests: int | None = None
        """Requests to the store during the last verb, where a tool counts them."""

    # The verbs. `source` is an absolute path, the same in all of them.

    def init(self) -> Cost:
        raise NotImplementedError

    def backup(self, source: Path) -> Cost:
        raise NotImplementedError

    def restore_latest(self, source: Path, target: Path) -> Cost:
        """Puts what the newest snapshot holds below `source` directly into `target`."""
        raise NotImplementedError

    def check_full(self) -> Cost:
        """Checks the structure and reads, decrypts and verifies all data."""
        raise NotImplementedError

    def forget_prune(self, source: Path) -> Cost:
        """Forgets every snapshot but the newest and gives back the space at once."""
        raise NotImplementedError

    def version(self) -> str:
        return self._ask("--version").decode().strip().splitlines()[0]

    # Helpers.

    def prepare(self) -> None:
        for folder in (self.room, self.cache, self.home):
            folder.mkdir(parents=True, exist_ok=True)

    def environment(self) -> dict:
        """Returns the whole environment of the tool's commands; nothing of ours leaks in."""
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "HOME": str(self.home),
            "XDG_CACHE_HOME": str(self.cache),
            "TMPDIR": str(self.home),
        }

    def _run(self, *arguments, cwd: Path | None = None) -> Cost:
        return run([self.program, *arguments], env=self.environment(), log=self.log, cwd=cwd)[0]

    def _ask(self, *arguments) -> bytes:
        self.prepare()
        return run([self.program, *arguments], env=self.environment(), log=self.log)[1]


class Restic(Tool):
    name = "restic"

    def environment(self) -> dict:
        return super().environment() | {
            "RESTIC_REPOSITORY": str(self.repository),
            "RESTIC_PASSWORD": PASSWORD,
            "RESTIC_CACHE_DIR": str(self.cache),
        }

    def version(self) -> str:
        return self._ask("version").decode().strip()

    def init(self) -> Cost:
        return self._run("init")

    def backup(self, source: Path) -> Cost:
        return self._run("backup", source)

    def restore_latest(self, source: Path, target: Path) -> Cost:
        return self._run("restore", f"latest:{source}", "--target", target)

    def check_full(self) -> Cost:
        return self._run("check", "--read-data")

    def forget_prune(self, source: Path) -> Cost:
        return self._run("forget", "--keep-last", 1, "--prune")


class Rustic(Tool):
    name = "rustic"
    settings = "defaults; prune with --instant-delete, else nothing would be deleted for 23 hours"

    def environment(self) -> dict:
        return super().environment() | {
            "RUSTIC_REPOSITORY": str(self.repository),
            "RUSTIC_PASSWORD": PASSWORD,
            "RUSTIC_CACHE_DIR": str(self.cache),
        }

    def init(self) -> Cost:
        return self._run("init")

    def backup(self, source: Path) -> Cost:
        return self._run("backup", source)

    def restore_latest(self, source: Path, target: Path) -> Cost:
        return self._run("restore", f"latest:{source}", target)

    def check_full(self) -> Cost:
        return self._run("check", "--read-data")

    def forget_prune(self, source: Path) -> Cost:
        return self._run("forget", "--keep-last", 1, "--prune", "--instant-delete")


class Borg(Tool):
    name = "borg"
    settings = "repokey (HMAC-SHA256: processors with SHA instructions), --compression zstd,3 as the others have it"
    compression = "zstd,3"

    def environment(self) -> dict:
        return super().environment() | {
            "BORG_REPO": str(self.repository),
            "BORG_PASSPHRASE": PASSWORD,
            "BORG_BASE_DIR": str(self.home),
            "BORG_CACHE_DIR": str(self.cache),
        }

    def init(self) -> Cost:
        self._snapshots = 0
        return self._run("init", "--encryption=repokey")

    def backup(self, source: Path) -> Cost:
        # From inside the source, so that extract puts the entries directly into its target.
        self._snapshots += 1
        return self._run("create", "--compression", self.compression, f"::s{self._snapshots}", ".", cwd=source)

    def restore_latest(self, source: Path, target: Path) -> Cost:
        target.mkdir(parents=True, exist_ok=True)
        return self._run("extract", f"::s{self._snapshots}", cwd=target)

    def check_full(self) -> Cost:
        return self._run("check", "--verify-data")

    def forget_prune(self, source: Path) -> Cost:
        return self._run("prune", "--keep-last", 1) + self._run("compact")


class BorgLz4(Borg):
    name = "borg-lz4"
    settings = "as borg, with its default compression, lz4"
    compression = "lz4"


class Kopia(Tool):
    name = "kopia"
    settings = (
        "defaults; compression zstd-fastest (its default is none); maintenance with --safety=none, else nothing would "
        "be deleted for a day"
    )

    def environment(self) -> dict:
        return super().environment() | {
            "KOPIA_PASSWORD": PASSWORD,
            "KOPIA_CONFIG_PATH": str(self.home / "repository.config"),
            "KOPIA_CACHE_DIRECTORY": str(self.cache),
            "KOPIA_LOG_DIR": str(self.home / "logs"),
            "KOPIA_CHECK_FOR_UPDATES": "false",
            "KOPIA_USE_KEYRING": "false",
        }

    def version(self) -> str:
        # A build from the module calls itself by no number; `install` notes it.
        note = self.program.parent.parent / "kopia.version"
        return f"kopia {note.read_text().strip()}" if note.exists() else super().version()

    def init(self) -> Cost:
        self.repository.mkdir(parents=True)
        return self._run("repository", "create", "filesystem", "--path", self.repository) + self._run(
            "policy", "set", "--global", "--compression=zstd-fastest"
        )

    def backup(self, source: Path) -> Cost:
        return self._run("snapshot", "create", source)

    def restore_latest(self, source: Path, target: Path) -> Cost:
        return self._run("snapshot", "restore", self._ids(source)[-1], target)

    def check_full(self) -> Cost:
        return self._run("snapshot", "verify", "--verify-files-percent=100")

    def forget_prune(self, source: Path) -> Cost:
        return self._run("snapshot", "delete", "--delete", *self._ids(source)[:-1]) + self._run(
            "maintenance", "run", "--full", "--safety=none"
        )

    def _ids(self, source: Path) -> list[str]:
        """Returns the ids of the source's snapshots, oldest first; identical ones are listed, too."""
        snapshots = json.loads(self._ask("snapshot", "list", "--json", "--show-identical", source))
        return [snapshot["id"] for snapshot in sorted(snapshots, key=lambda snapshot: snapshot["startTime"])]


class Ararat(Tool):
    name = "ararat"

    def environment(self) -> dict:
        return super().environment() | {
            "ARARAT_REPOSITORY": str(self.repository),
            "ARARAT_PASSWORD": PASSWORD,
            "ARARAT_CACHE_DIR": str(self.cache),
        }

    def init(self) -> Cost:
        return self._verb("init")

    def backup(self, source: Path) -> Cost:
        return self._verb("backup", source)

    def restore_latest(self, source: Path, target: Path) -> Cost:
        return self._verb("restore", f"latest:{source}", "--target", target)

    def check_full(self) -> Cost:
        return self._verb("check", "--read-data")

    def forget_prune(self, source: Path) -> Cost:
        return self._verb("forget", "--keep-last", 1, "--prune")

    def _verb(self, verb: str, *arguments) -> Cost:
        cost, output = run([self.program, "repo", verb, *arguments, "--json"], env=self.environment(), log=self.log)
        self.requests = requests(output)
        return cost


class AraratKey(Ararat):
    """What is measured beside the others has a password, as they have; the default repository has a key file."""

    name = "ararat-key"
    settings = "with a key file instead of a password: there is nothing to stretch"

    def environment(self) -> dict:
        given = {name: value for name, value in super().environment().items() if name != "ARARAT_PASSWORD"}
        return given | {"ARARAT_KEY_FILE": str(self.home / "key")}

    def init(self) -> Cost:
        return self._verb("init", "--new-key", self.home / "key")


def requests(output: bytes) -> int | None:
    """Returns the store requests that a verb's JSON document counts; after `forget --prune` they stand with the prune."""
    try:
        document = json.loads(output)
        return document["requests"] if "requests" in document else document["prune"]["requests"]
    except (ValueError, LookupError, TypeError):
        return None


TOOLS: dict[str, type[Tool]] = {tool.name: tool for tool in (Ararat, AraratKey, Restic, Rustic, Borg, BorgLz4, Kopia)}

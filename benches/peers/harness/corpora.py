"""The corpora: their names, their folders, and the two states each has.

A corpus lives in DIR/NAME: `source` is what gets backed up, `kept` is what the way back needs, `made.json` says what it
is and which state it is in. `make` builds the state before, `change` leads to the state after, `reset` back. Each
corpus is a class with `build`, `apply` and `undo`; scale (0–1) shrinks it, for trying things out.
"""

import json
import shutil
from pathlib import Path

from harness import edits


class Corpus:
    """One corpus; subclasses say what is in it."""

    name = ""
    about = ""

    def __init__(self, folder: Path, scale: float = 1.0) -> None:
        self.room = folder / self.name
        self.source = self.room / "source"
        self.kept = self.room / "kept"
        self.note = self.room / "made.json"
        self.scale = scale

    # What differs from corpus to corpus.

    def build(self) -> str:
        """Fills `source`; returns a sentence on what was taken."""
        raise NotImplementedError

    def apply(self) -> str:
        """Leads from the state before to the state after; returns a sentence on what was changed."""
        return ", ".join(f"{count} × {edit}" for edit, count in edits.apply(self.source, self.kept).items())

    def undo(self) -> None:
        """Leads back to the state before."""
        edits.undo(self.source, self.kept)

    # What is the same for all.

    def describe(self) -> dict:
        """Returns made.json, or an empty dictionary for a corpus that was never finished."""
        return json.loads(self.note.read_text()) if self.note.exists() else {}

    def make(self) -> None:
        """Builds the corpus unless it is there, and sees that it is in the state before."""
        note = self.describe()
        if note and note["scale"] == self.scale:
            self.reset()
            return
        if self.room.exists():
            shutil.rmtree(self.room)
        self.source.mkdir(parents=True)
        taken = self.build()
        self._write({"name": self.name, "scale": self.scale, "state": "before", "taken": taken, **self._count()})

    def change(self) -> None:
        """Leads to the state after."""
        note = self.describe()
        if note["state"] != "before":
            raise SystemExit(f"The corpus {self.name} is not in the state before, but {note['state']}; reset it first")
        self._write(note | {"state": "changing"})
        self._write(note | {"state": "after", "changed": self.apply()})

    def reset(self) -> None:
        """Leads to the state before, from whichever state it is in."""
        note = self.describe()
        if note["state"] != "before":
            self.undo()
            self._write(note | {"state": "before"})

    def _write(self, note: dict) -> None:
        self.note.write_text(json.dumps(note, indent=1) + "\n")

    def _count(self) -> dict:
        count = {"files": 0, "folders": 0, "symlinks": 0, "bytes": 0}
        pending = [self.source]
        while pending:
            for path in pending.pop().iterdir():
                if path.is_symlink():
                    count["symlinks"] += 1
                elif path.is_dir():
                    count["folders"] += 1
                    pending.append(path)
                else:
                    count["files"] += 1
                    count["bytes"] += path.stat().st_size
        return count


def corpora() -> dict[str, type[Corpus]]:
    """Returns every corpus by its name, in the order in which they are measured."""
    from harness import corpus_big, corpus_million, corpus_postgres, corpus_trees

    classes = [
        corpus_trees.Small,
        corpus_trees.Toolchain,
        corpus_postgres.Postgres,
        corpus_big.Big,
        corpus_million.Million,
    ]
    return {corpus.name: corpus for corpus in classes}

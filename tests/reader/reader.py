"""Reads a repository of Ararat in a folder, written from engine/FORMAT.md alone.

    reader.py REPOSITORY snapshots
    reader.py REPOSITORY restore SNAPSHOT FOLDER
    reader.py REPOSITORY manifest SNAPSHOT
    reader.py REPOSITORY verify SNAPSHOT MANIFEST

The secret is in ARARAT_PASSWORD, or in the file that --key names. SNAPSHOT is the beginning of an id, or `latest`.
"""

import argparse
import datetime
import json
import os
import sys

import restore
from primitives import Damaged, need
from repository import Repository


def chosen(snapshots, name):
    """The one snapshot that answers to a name."""
    if name == "latest":
        whole = [snapshot for snapshot in snapshots.values() if not snapshot["incomplete"]]
        need(whole, "there is no snapshot")
        return whole[-1]
    found = [snapshot for sid, snapshot in snapshots.items() if sid.hex().startswith(name)]
    need(len(found) == 1, f"{len(found)} snapshots begin with {name}")
    return found[0]


def summary(sid, snapshot):
    """A snapshot as plain values, names of bytes shown as text."""
    shown = {name: snapshot[name] for name in ("time", "tags", "labels", "description", "incomplete", "program")}
    shown.update(id=sid.hex(), parent=snapshot["parent"] and snapshot["parent"].hex(), counts=snapshot["counts"])
    shown.update((name, restore.shown(snapshot[name])) for name in ("host", "user"))
    shown["paths"] = [restore.shown(path) for path in snapshot["paths"]]
    shown["errors"] = [[restore.shown(path), why] for path, why in snapshot["errors"]]
    return shown


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository")
    parser.add_argument("verb", choices=["snapshots", "restore", "manifest", "verify"])
    parser.add_argument("snapshot", nargs="?")
    parser.add_argument("path", nargs="?")
    parser.add_argument("--key", help="a file with a key as text")
    parser.add_argument("--from-packs", action="store_true", help="use no index: read the tables of all packs")
    options = parser.parse_args(arguments)
    key_text = password = None
    if options.key:
        with open(options.key, encoding="ascii") as file:
            key_text = file.read()
    else:
        password = os.environb.get(b"ARARAT_PASSWORD")
        need(password is not None, "give ARARAT_PASSWORD or --key")
    repository = Repository(options.repository, password, key_text, options.from_packs)
    snapshots = repository.snapshots()
    if options.verb == "snapshots":
        for sid, snapshot in snapshots.items():
            print(json.dumps(summary(sid, snapshot)))
        return 0
    snapshot = chosen(snapshots, options.snapshot or "latest")
    when = datetime.datetime.fromtimestamp(snapshot["time"] / 10**9, datetime.UTC)
    if options.verb == "restore":
        undone = restore.restore(repository, snapshot, options.path)
        for path, why in undone:
            print(f"{restore.shown(path)}: {why}", file=sys.stderr)
        print(f"Restored the snapshot of {when:%Y-%m-%d %H:%M:%S} UTC to {options.path}; {len(undone)} things could not be done here")
        return 3 if undone else 0
    found = list(restore.of_snapshot(repository, snapshot))
    if options.verb == "manifest":
        for line in found:
            print(json.dumps(line))
        return 0
    with open(options.path, encoding="utf-8") as file:
        expected = [json.loads(line) for line in file]
    different = list(restore.differences(expected, found))
    print("\n".join(different) or f"All {len(found)} entries are as the manifest says")
    return 1 if different else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Damaged as error:
        sys.exit(f"reader: {error}")

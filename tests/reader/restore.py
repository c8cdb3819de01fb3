"""Entries of a snapshot onto the file system, and manifests: one line of JSON for each path, of a snapshot or of a folder."""

import json
import os
import socket
import stat
import urllib.parse

import blake3

from primitives import need
from tree import BLOCK_DEVICE, CHARACTER_DEVICE, FIFO, FILE, FOLDER, SOCKET, SYMLINK, TYPES, entries, pieces

STEP = 1 << 20


def shown(path):
    """Bytes as text that is the same everywhere: whatever is not plain is %XX."""
    return urllib.parse.quote_from_bytes(path, safe="/")


def restore(repository, snapshot, target):
    """Writes a snapshot into an empty folder. Gives what could not be done here (devices without root, refused attributes)."""
    target = os.fsencode(target)
    os.makedirs(target, exist_ok=True)
    need(not os.listdir(target), "the target is not empty")
    links, folders, undone = {}, [], []
    for entry in entries(repository, snapshot["root"]):
        path = os.path.join(target, entry.path) if entry.path else target
        if entry.type == FOLDER:
            os.makedirs(path, exist_ok=True)
            folders.append((entry, path))
            continue
        os.makedirs(os.path.dirname(path), exist_ok=True)
        key = (entry.link, entry.inode) if entry.link else None
        if key in links:
            os.link(links[key], path, follow_symlinks=False)
            continue
        try:
            _make(repository, entry, path)
        except PermissionError as error:
            undone.append((entry.path, str(error)))
            continue
        if key:
            links[key] = path
        _dress(entry, path, undone)
    for entry, path in reversed(folders):
        _dress(entry, path, undone)
    return undone


def _make(repository, entry, path):
    if entry.type == FILE:
        with open(path, "xb") as file:
            for piece in pieces(repository, entry):
                if isinstance(piece, int):
                    file.seek(piece, os.SEEK_CUR)
                else:
                    file.write(piece)
            file.truncate(entry.size)
    elif entry.type == SYMLINK:
        os.symlink(entry.target, path)
    elif entry.type == FIFO:
        os.mkfifo(path)
    elif entry.type == SOCKET:
        # The name of a socket is at most 108 bytes: it is bound from inside its folder.
        here = os.open(".", os.O_RDONLY)
        try:
            os.chdir(os.path.dirname(path))
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind(os.path.basename(path))
        finally:
            os.fchdir(here)
            os.close(here)
    else:
        kind = stat.S_IFCHR if entry.type == CHARACTER_DEVICE else stat.S_IFBLK
        os.mknod(path, kind | 0o600, os.makedev(*entry.device))


def _dress(entry, path, undone):
    """Owner, then mode (a change of owner clears bits of it), then attributes, then times."""
    if os.geteuid() == 0:
        os.chown(path, entry.user, entry.group, follow_symlinks=False)
    if entry.type != SYMLINK:
        os.chmod(path, entry.mode)
    for name, value in entry.attributes:
        try:
            os.setxattr(path, name, value, follow_symlinks=False)
        except OSError as error:
            undone.append((entry.path, f"{shown(name)}: {error}"))
    os.utime(path, ns=(entry.modified, entry.modified), follow_symlinks=False)


def _line(path, kind, mode, user, group, modified, attributes, **more):
    line = {"path": shown(path), "type": kind, "mode": mode, "user": user, "group": group, "modified": modified, **more}
    if attributes:
        line["attributes"] = {shown(name): shown(value) for name, value in attributes}
    return line


def of_snapshot(repository, snapshot):
    """The manifest of a snapshot, without writing anything: every byte of every file is read and hashed."""
    links = {}
    for entry in entries(repository, snapshot["root"]):
        more = {}
        if entry.type == FILE:
            hasher, length = blake3.blake3(), 0
            for piece in pieces(repository, entry):
                size = piece if isinstance(piece, int) else len(piece)
                for start in range(0, size, STEP) if isinstance(piece, int) else ():
                    hasher.update(bytes(min(STEP, size - start)))
                if not isinstance(piece, int):
                    hasher.update(piece)
                length += size
            need(length == entry.size, f"{shown(entry.path)} is not as long as its size")
            more = {"size": entry.size, "hash": hasher.hexdigest()}
        elif entry.type == SYMLINK:
            more = {"target": shown(entry.target)}
        elif entry.device:
            more = {"device": list(entry.device)}
        if entry.link:
            first = links.setdefault((entry.link, entry.inode), entry.path)
            if first != entry.path:
                more["link"] = shown(first)
        yield _line(entry.path, TYPES[entry.type], entry.mode, entry.user, entry.group, entry.modified, entry.attributes, **more)


def _hash(path):
    hasher = blake3.blake3()
    with open(path, "rb") as file:
        while data := file.read(STEP):
            hasher.update(data)
    return hasher.hexdigest()


def of_folder(folder):
    """The manifest of a folder on disk, the folder itself being the path of no bytes. A file that may not be read has no hash."""
    folder, links = os.fsencode(folder), {}
    kinds = {stat.S_IFDIR: FOLDER, stat.S_IFREG: FILE, stat.S_IFLNK: SYMLINK, stat.S_IFIFO: FIFO, stat.S_IFSOCK: SOCKET,
             stat.S_IFCHR: CHARACTER_DEVICE, stat.S_IFBLK: BLOCK_DEVICE}

    def walk(path):
        full = os.path.join(folder, path) if path else folder
        status = os.lstat(full)
        kind, more = kinds[stat.S_IFMT(status.st_mode)], {}
        if kind == FILE:
            more = {"size": status.st_size, "hash": _hash(full) if os.access(full, os.R_OK) else None}
        elif kind == SYMLINK:
            more = {"target": shown(os.readlink(full))}
        elif kind in (CHARACTER_DEVICE, BLOCK_DEVICE):
            more = {"device": [os.major(status.st_rdev), os.minor(status.st_rdev)]}
        if kind != FOLDER and status.st_nlink > 1:
            first = links.setdefault((status.st_dev, status.st_ino), path)
            if first != path:
                more["link"] = shown(first)
        names = sorted(os.fsencode(name) for name in os.listxattr(full, follow_symlinks=False))
        attributes = [(name, os.getxattr(full, name, follow_symlinks=False)) for name in names]
        yield _line(path, TYPES[kind], stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns, attributes, **more)
        if kind == FOLDER:
            for name in sorted(os.listdir(full)):
                yield from walk(os.path.join(path, name) if path else name)

    yield from walk(b"")


def differences(expected, found):
    """Lines that say in what two manifests differ."""
    expected, found = ({line["path"]: line for line in lines} for lines in (expected, found))
    for path in sorted(expected.keys() | found.keys()):
        if expected.get(path) != found.get(path):
            yield f"{path or '(the root)'}: expected {json.dumps(expected.get(path))}, found {json.dumps(found.get(path))}"

"""Trees: from the id of a root to entries in the order of paths, and from a file's content to its bytes (FORMAT.md, 6)."""

import struct

from primitives import Fields, derive, keyed, need

FOLDER, FILE, SYMLINK, FIFO, SOCKET, CHARACTER_DEVICE, BLOCK_DEVICE = range(1, 8)
TYPES = {FOLDER: "folder", FILE: "file", SYMLINK: "symlink", FIFO: "fifo", SOCKET: "socket",
         CHARACTER_DEVICE: "character-device", BLOCK_DEVICE: "block-device"}
LEAF, PARENT, LIST = 1, 2, 3
SECOND = 10**9


class Entry:
    """One path: type, mode, user, group, modified and changed (nanoseconds), inode, size, content, and what fields say."""

    target = device = link = None
    from_device, size, content, attributes = False, 0, None, ()


def order(path):
    """What paths are sorted by: component by component."""
    return path.split(b"/") if path else []


def check_path(path):
    need(len(path) <= 1 << 20, "a path is too long")
    for name in path.split(b"/") if path else []:
        need(name not in (b"", b".", b"..") and b"\0" not in name and len(name) <= 255, f"{path!r} is not allowed")


def blob_ids(fields):
    return [bytes(fields.take(32)) for _ in range(fields.varint())]


def entries(repository, root):
    """All entries below a root, checked: paths rise, and nothing lies below what is not a folder."""
    last = None
    for entry in _below(repository, root, None):
        check_path(entry.path)
        if last is not None:
            need(order(last.path) < order(entry.path), f"{entry.path!r} does not sort after {last.path!r}")
            inside = not last.path or entry.path.startswith(last.path + b"/")
            need(last.type == FOLDER or not inside, f"{entry.path!r} lies below something that is not a folder")
        last = entry
        yield entry


def _below(repository, id_, said):
    """Entries below a node; `said` is what its parent says: height, entries, bytes, first path."""
    blob = repository.blob(id_, 1)
    fields = Fields(blob)
    kind = fields.number("u8")
    if kind == LEAF:
        need(said is None or said[0] == 0, "a leaf is not at the height of leaves")
        found = _leaf(fields)
        count, size, first = 0, 0, None
        for entry in found:
            count, size = count + 1, min(size + entry.size, 2**64 - 1)
            first = entry.path if first is None else first
            yield entry
        need(said is None or said[1:] == (count, size, first), "a leaf is not what its parent says")
        return
    need(kind == PARENT, "a blob is neither a leaf nor a parent")
    height, children = fields.number("u8"), []
    need(1 <= height <= 16, "a parent is too high")
    for _ in range(fields.varint()):
        child = bytes(fields.take(32))
        children.append((child, (height - 1, fields.varint(), fields.varint(), bytes(fields.take(fields.varint())))))
    need(children and fields.ended(), "a parent has no children, or something follows them")
    sums = sum(child[1][1] for child in children), min(sum(child[1][2] for child in children), 2**64 - 1)
    need(said is None or said == (height, *sums, children[0][1][3]), "a parent is not what its parent says")
    for child, said_of_it in children:
        yield from _below(repository, child, said_of_it)


def _leaf(fields):
    ids, path, seconds, inode = blob_ids(fields), b"", 0, 0
    while not fields.ended():
        length = fields.varint()
        rest = Fields(fields.take(length))
        entry = Entry()
        shared = rest.varint()
        need(shared <= len(path), "a path shares more than there is")
        entry.path = path = path[:shared] + bytes(rest.take(rest.varint()))
        entry.type = rest.number("u8")
        need(entry.type in TYPES, f"{path!r} is of an unknown type")
        entry.mode, entry.user, entry.group = rest.varint(), rest.varint(), rest.varint()
        need(entry.mode <= 0o7777, f"{path!r} has too many bits of mode")
        seconds += rest.zigzag()
        entry.modified = seconds * SECOND + _nanoseconds(rest)
        changed = seconds + rest.zigzag()
        entry.changed = changed * SECOND + _nanoseconds(rest)
        entry.inode = inode = (inode + rest.zigzag()) % 2**64
        if entry.type == FILE:
            entry.size = rest.varint()
            entry.content = _content(rest, ids, entry.size)
        _fields(rest, entry)
        yield entry


def _nanoseconds(rest):
    nanoseconds = rest.number("u32")
    need(nanoseconds < SECOND, "a time has too many nanoseconds")
    return nanoseconds


def _fields(rest, entry):
    last = -1
    while not rest.ended():
        number = rest.number("u8")
        need(number > last, "fields of an entry are not in order")
        last, field = number, Fields(rest.take(rest.varint()))
        if number == 1:
            entry.target = bytes(field.take(len(field.data)))
        elif number == 2:
            entry.device = field.varint(), field.varint()
        elif number == 3:
            entry.attributes = [(bytes(field.take(field.varint())), bytes(field.take(field.varint()))) for _ in range(field.varint())]
        elif number == 4:
            entry.link = field.varint(), field.varint()
        elif number == 5:
            entry.from_device = True
        else:
            continue
        need(field.ended(), "a field of an entry is too long")
    need((entry.target is not None) == (entry.type == SYMLINK), f"{entry.path!r} has a target and is no link, or the other way round")
    need((entry.device is not None) == (entry.type >= CHARACTER_DEVICE), f"{entry.path!r} lacks the numbers of a device, or should")
    need(not entry.from_device or entry.type == FILE, f"{entry.path!r} is no file")


def _item(rest, ids):
    place, length = rest.varint(), rest.varint()
    need(length > 0 and place <= len(ids), "a chunk is empty or in no blob")
    return (ids[place - 1] if place else None, length)


def _content(rest, ids, size):
    kind = rest.number("u8")
    if kind == 0:
        return ("empty",)
    if kind == 1:
        place, offset, check = rest.varint(), rest.varint(), bytes(rest.take(8))
        need(place < len(ids), "a slab is in no blob")
        return "slab", ids[place], offset, check
    if kind == 2:
        items = [_item(rest, ids) for _ in range(rest.varint())]
        need(sum(length for _, length in items) == size, "chunks do not add up to the size")
        return "chunks", items
    need(kind == 3, "a content is of an unknown type")
    place = rest.varint()
    need(place < len(ids), "a list is in no blob")
    return "list", ids[place]


def extents(repository, id_, size, height=None):
    """The items of a list of chunks: id, or nothing for a hole, and length."""
    fields = Fields(repository.blob(id_, 1))
    need(fields.number("u8") == LIST, "a blob is not a list")
    found = fields.number("u8")
    need(found <= 8 and height in (None, found), "a list has another height than it should")
    ids, covered = blob_ids(fields), 0
    if found == 0:
        while not fields.ended():
            item = _item(fields, ids)
            covered += item[1]
            yield item
    else:
        for below in ids:
            length = fields.varint()
            covered += length
            yield from extents(repository, below, length, found - 1)
    need(fields.ended() and covered == size, "a list does not cover what it should")


def pieces(repository, entry):
    """A file's content in order: bytes, or numbers of bytes that are holes."""
    kind, *where = entry.content
    if kind == "empty":
        if entry.size:
            yield entry.size
    elif kind == "slab":
        id_, offset, check = where
        data = repository.cached_blob(id_, 0)[offset : offset + entry.size]
        need(len(data) == entry.size, f"{entry.path!r} is not in its slab")
        need(keyed(derive("ararat v1 file check", repository.keys["id"]), data)[:8] == check, f"{entry.path!r} is not what its check says")
        yield data
    else:
        for id_, length in where[0] if kind == "chunks" else extents(repository, where[0], entry.size):
            if id_ is None:
                yield length
                continue
            data = repository.cached_blob(id_, 0)
            need(len(data) == length, f"a chunk of {entry.path!r} has another length")
            yield data

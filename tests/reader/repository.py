"""A repository in a folder: its keys, sessions, generations, index and blobs (FORMAT.md, 2 to 5 and 7 to 10)."""

import os
import re
import struct
from collections import defaultdict

from primitives import (
    Choice, Damaged, Fields, argon2id, derive, derive_key_pair, document, hash_of, key_of_text, keyed, need, open_aead,
    open_frames, open_seal, public_of, unframe, unwrap, voucher)

KINDS = {"config": 1, "keys": 2, "open": 3, "at": 4, "end": 5, "g": 6, "c": 7, "p": 8, "x": 9, "r": 10, "k": 11, "f": 12}
# What is called otherwise is passed over: files that a store keeps for itself, trials.
NAMES = re.compile("|".join((
    r"keys/[0-9a-f]{32}(\.[0-9a-f]{8})?", r"s/[0-9a-f]{32}/(open|end)", r"g/[0-9a-f]{16}", r"p/[0-9a-f]{32}/[0-9a-f]{8}",
    r"x/([0-9a-f]{32}/[0-9a-f]{8}|g[0-9a-f]{16}/[0-9a-f]{8}\.[0-9a-f]{8})", r"k/[0-9a-f]{8}/[0-9a-f]{8}", r"f/[0-9a-f]{32}\.[0-9a-f]{16}")))
COMMIT = 1
BACKUP = 0

CONFIG = {"repository": 16, "created": "i64", "root_public": 32, "chunker": ("u8", "u8", "u32", "u32", "u32"),
          "pack_bytes": "u32", "tree_pack_bytes": "u32", "padding": "u8"}
UNLOCK = Choice({"salt": 16, "memory_kib": "u32", "passes": "u32", "lanes": "u32"}, {})
SLOT = {"unlock": UNLOCK, "public": 32, "binding": 32, "sealed": "bytes", "note": "bytes"}
PAIR = ({32}, {32})
KEYS = {"config_hash": 32, "role": "u32", "label": "text", "created": "i64", "id": {32}, "cut": {32}, "index": 32, "mark": {32},
        "data": [("u32", PAIR)], "tree": [("u32", PAIR)], "maintenance": PAIR, "root": {32}}
WRAPPED = ("u8", "u32", "bytes")
OPEN = {"kind": "u32", "started": "i64", "host": "text", "process": "u32", "boot": "text", "program": "text",
        "keys": [WRAPPED], "volume": {(8, "bytes")}, "source": 16, "pins": [16], "at_key": {"bytes"}}
END_A = {"open_hash": 32, "ended": "i64", "source": 16, "segments": "u32", "segment": {"bytes"}, "packs": "u32", "kind": "u32",
         "external_references": "bool"}
COUNTS = {name: "u64" for name in (
    "files", "folders", "others", "bytes", "files_new", "files_changed", "files_unmodified", "bytes_read", "blobs_new", "bytes_new",
    "bytes_stored", "errors")}
SNAPSHOT = {
    "time": "i64", "started": "i64", "ended": "i64", "host": "bytes", "user": "bytes", "paths": ["bytes"], "tags": ["text"],
    "labels": [("text", "text")], "description": "text", "root": 32, "parent": {16}, "incomplete": "bool", "program": "text",
    "owners": [("u32", "bytes")], "groups": [("u32", "bytes")], "excludes": ["text"], "counts": COUNTS, "errors": [("bytes", "text")]}
OBJECT = {"name": "text", "bytes": "u64", "hash": 32, "count": "u64"}
PACK = (16, "u32")
GENERATION = {"number": "u64", "predecessor": 32, "created": "i64", "levels": [OBJECT], "catalogue": [OBJECT],
              "condemned": [(PACK, "u64", "i64")], "counted": [16], "dead": [PACK], "moved": [16]}
CATALOGUE = {"sessions": [{"sid": 16, "open": "bytes", "end": {"bytes"}, "references": {"bytes"}}]}
REWRAPPED = {"keys": [(16, WRAPPED)]}
MARK = {"time": "i64", "mark": Choice({"reason": "text"}, {"tags": ["text"]})}


class Object:
    """An object of the store, its envelope checked."""

    def __init__(self, name, data, kind):
        self.name, self.data = name, data
        need(len(data) >= 64 and data[:4] == b"ARRT", f"{name} is not an object of a repository")
        self.header = data[:32]
        found, major, _, self.suite, read = struct.unpack_from("<BBBBI", data, 4)
        need(major == 1 and read == 0, f"{name} needs a newer version")
        need(found == KINDS[kind], f"{name} is of kind {found}")
        self.body = data[32:-32]
        need(len(self.body) == struct.unpack_from("<Q", data, 24)[0], f"{name} is not as long as its header says")
        need(hash_of(data[:-32]) == data[-32:], f"{name} has another hash than it says")


class Repository:
    def __init__(self, folder, password=None, key_text=None, from_packs=False):
        self.folder, self.from_packs = folder, from_packs
        self.config_object = self.object("config", "config")
        self.config = document(CONFIG, self.config_object.body, "config")
        self.id = self.config["repository"]
        self.keys = self._unlock(password, key_text)
        self.index_key = self.keys["index"]
        secret = self.keys["maintenance"][1]
        self.vouch = secret and derive("ararat v1 maintenance vouch", secret)
        self._read_generations()
        self._read_sessions()
        self._read_rewrapped()
        self._session_keys, self._tables, self._blobs = {}, {}, {}
        self.index = defaultdict(list)
        if from_packs:
            self._index_packs()
        else:
            self._index_segments()

    # ---- Objects ----

    def list(self, prefix):
        names = []
        for where, _, files in os.walk(os.path.join(self.folder, prefix)):
            names += [os.path.relpath(os.path.join(where, file), self.folder) for file in files]
        return sorted(name for name in names if NAMES.fullmatch(name))

    def object(self, name, kind, data=None):
        if data is None:
            with open(os.path.join(self.folder, name), "rb") as file:
                data = file.read()
        return Object(name, data, kind)

    def context(self, name, kind, section=0):
        return b"ararat1" + self.id + bytes([KINDS[kind], section]) + name.encode("ascii")

    def opened(self, object_, kind, key=None, section=0, sealed=None):
        context = self.context(object_.name, kind, section)
        return open_seal(key or self.index_key, object_.header, context, object_.body if sealed is None else sealed, object_.name)

    def frames(self, object_, kind):
        return open_frames(self.index_key, object_.header, self.context(object_.name, kind), object_.body, object_.name)

    def is_vouched(self, object_, kind, plaintext):
        """Whether maintenance said it; who cannot tell takes it as it is (2.3)."""
        context = self.context(object_.name, kind, 9)
        return not self.vouch or voucher(self.vouch, context, plaintext[:-32]) == plaintext[-32:]

    # ---- Keys (3) ----

    def _unlock(self, password, key_text):
        root = self.config["root_public"]
        if key_text is not None:
            secret, fingerprint = key_of_text(key_text)
            expected = derive("ararat v1 root", self.id + root)[:16]
            need(fingerprint in (expected, bytes(16)), "the key belongs to another repository")
            wanted = derive("ararat v1 slot name", public_of(secret))[:16].hex()
        for name in sorted(self.list("keys"), reverse=True):
            slot_name = name.rsplit("/", 1)[1].split(".")[0]
            if key_text is not None and slot_name != wanted:
                continue
            slot = document(SLOT, self.object(name, "keys").body, name)
            variant, unlock = slot["unlock"]
            if key_text is None:
                if variant != 0:
                    continue
                k = argon2id(password, unlock["salt"], unlock["memory_kib"], unlock["passes"], unlock["lanes"])
                secret, bound = derive_key_pair(k), k
            else:
                bound = slot["public"]
            if public_of(secret) != slot["public"]:
                continue
            need(slot["binding"] == keyed(derive("ararat v1 slot binding", bound), self.id + root), f"{name} is of another repository")
            info = b"ararat v1 slot" + self.id + bytes.fromhex(slot_name)
            keys = document(KEYS, unwrap(secret, info, slot["sealed"], name, sender=root), f"the keys in {name}")
            need(keys["config_hash"] == hash_of(self.config_object.data), "config is not the one that the keys were made for")
            need(keys["id"], "a reader or an owner is needed")
            return keys
        raise Damaged("the key or password opens no slot")

    def session_key(self, sid, kind):
        """The key of a session for a kind of blob: 0 data, 1 tree."""
        if (sid, kind) not in self._session_keys:
            need(sid in self.opens, f"session {sid.hex()} is not there, and neither are its keys")
            root = self.config["root_public"]
            wrapped = [(*key, root) for key in self.rewrapped.get(sid, [])] + [(*key, None) for key in self.opens[sid]["keys"]]
            secrets = {epoch: secret for epoch, (_, secret) in self.keys["tree" if kind else "data"] if secret}
            info = b"ararat v1 session key" + self.id + sid + bytes([kind])
            why = f"session {sid.hex()} has no key for blobs of kind {kind} that this key opens"
            for found, epoch, bytes_, sender in sorted(wrapped, key=lambda key: key[1], reverse=True):
                if found == kind and epoch in secrets:
                    try:
                        self._session_keys[sid, kind] = unwrap(secrets[epoch], info, bytes_, f"a key of session {sid.hex()}", sender)
                        break
                    except Damaged as error:
                        why = error
            need((sid, kind) in self._session_keys, why)
        return self._session_keys[sid, kind]

    def _read_rewrapped(self):
        self.rewrapped = defaultdict(list)
        for name in self.list("k"):
            document_ = document(REWRAPPED, self.frames(self.object(name, "k"), "k"), name)
            for sid, wrapped in document_["keys"]:
                self.rewrapped[sid].append(wrapped)

    # ---- Generations and sessions (7, 10) ----

    def _read_generations(self):
        self.generation = {"number": 0, "levels": [], "catalogue": [], "dead": []}
        before = None
        for number, name in enumerate(self.list("g"), 1):
            object_ = self.object(name, "g")
            plaintext = self.frames(object_, "g")
            if not self.is_vouched(object_, "g", plaintext):
                break
            generation = document(GENERATION, plaintext[:-32], name)
            need(generation["number"] == number == int(name[2:], 16), f"{name} is not number {number}")
            need(generation["predecessor"] == (hash_of(before.data) if before else bytes(32)), f"{name} has another predecessor")
            self.generation, before = generation, object_

    def _read_sessions(self):
        self.opens, self.ends, self.catalogued = {}, {}, set()
        for part in self.generation["catalogue"]:
            object_ = self.object(part["name"], "c")
            need((len(object_.data), object_.data[-32:]) == (part["bytes"], part["hash"]), f"{part['name']} is not the one that the generation means")
            for session in document(CATALOGUE, self.frames(object_, "c"), part["name"])["sessions"]:
                sid = session["sid"]
                self.catalogued.add(sid)
                self._add_open(sid, session["open"])
                if session["end"] is not None:
                    self.ends[sid] = self.object(f"s/{sid.hex()}/end", "end", session["end"])
        for name in self.list("s"):
            sid = bytes.fromhex(name.split("/")[1])
            if sid in self.catalogued:
                continue
            if name.endswith("/open"):
                self._add_open(sid)
            else:
                self.ends[sid] = self.object(name, "end")

    def _add_open(self, sid, data=None):
        object_ = self.object(f"s/{sid.hex()}/open", "open", data)
        self.opens[sid] = document(OPEN, self.opened(object_, "open"), object_.name)

    def end_sections(self, end):
        """The outcome of a session, its section A opened, and its sections B and C as they are stored."""
        fields = Fields(end.body)
        outcome, _ = fields.number("u8"), fields.take(16)
        a, b, c = (fields.take(fields.number("u32")) for _ in range(3))
        need(fields.ended(), f"something follows the sections of {end.name}")
        context = self.context(end.name, "end", 1) + bytes(end.body[:17])
        a = document(END_A, open_seal(self.index_key, end.header, context, a, end.name), f"section A of {end.name}")
        return outcome, a, b, c

    def snapshots(self):
        """What was committed and not forgotten: by session id, the snapshot record with the newest tags."""
        tags, forgotten = {}, set()
        for name in self.list("f"):
            sid = bytes.fromhex(name[2:].split(".")[0])
            need(self.keys["mark"], "the key opens no marks")
            object_ = self.object(name, "f")
            plaintext = self.opened(object_, "f", self.keys["mark"])
            if not self.is_vouched(object_, "f", plaintext):
                continue
            mark = document(MARK, plaintext[:-32], name)
            if mark["mark"][0] == 0:
                forgotten.add(sid)
            elif sid not in tags or tags[sid][0] < mark["time"]:
                tags[sid] = (mark["time"], mark["mark"][1]["tags"])
        found = {}
        for sid, end in self.ends.items():
            outcome, _, _, record = self.end_sections(end)
            if outcome != COMMIT or sid not in self.opens or self.opens[sid]["kind"] != BACKUP or sid in forgotten:
                continue
            snapshot = document(SNAPSHOT, self.opened(end, "end", self.session_key(sid, 1), 3, record), f"the record in {end.name}")
            if sid in tags:
                snapshot["tags"] = tags[sid][1]
            found[sid] = snapshot
        return dict(sorted(found.items(), key=lambda item: item[1]["time"]))

    # ---- Index (5, 8) ----

    def _index_segments(self):
        segments = []
        for level in self.generation["levels"]:
            object_ = self.object(level["name"], "x")
            need((len(object_.data), object_.data[-32:]) == (level["bytes"], level["hash"]), f"{level['name']} is not the one that the generation means")
            segments.append((level["name"], self.frames(object_, "x")))
        for name in self.list("x"):
            owner = name.split("/")[1]
            if not owner.startswith("g") and bytes.fromhex(owner) not in self.catalogued:
                segments.append((name, self.frames(self.object(name, "x"), "x")))
        for sid, end in self.ends.items():
            if sid not in self.catalogued:
                segment = self.end_sections(end)[1]["segment"]
                if segment is not None:
                    segments.append((end.name, segment))
        for name, segment in segments:
            self._add_segment(name, segment)

    def _add_segment(self, name, segment):
        fields = Fields(segment)
        packs_count, entries_count = fields.number("u32"), fields.number("u32")
        packs, dead = [], set(self.generation["dead"])
        for _ in range(packs_count):
            sid, number = bytes(fields.take(16)), fields.number("u32")
            fields.take(4 + 4 + 4)
            offset, length = fields.number("u32"), fields.number("u32")
            fields.take(32)
            sessions = [bytes(fields.take(16)) for _ in range(fields.number("u16"))]
            packs.append(None if (sid, number) in dead else (f"p/{sid.hex()}/{number:08x}", offset, length, sessions))
        for _ in range(entries_count):
            half, place, offset, stored, ordinal, kind, _ = struct.unpack("<16sIIIHBB", fields.take(32))
            need(place < packs_count, f"an entry of {name} is in no pack")
            if packs[place]:
                self.index[half].append((packs[place], offset, stored, ordinal, kind))
        need(fields.ended(), f"something follows the entries of {name}")

    def _index_packs(self):
        for name in self.list("p"):
            offset, length, count = struct.unpack("<QII", self._footer(name))
            sessions, entries = self.table(name, offset, length)
            need(count == len(entries), f"{name} has another number of blobs than its footer says")
            for ordinal, (id_, offset_, stored, _, _, kind) in enumerate(entries):
                self.index[id_[:16]].append(((name, offset, length, sessions), offset_, stored, ordinal, kind))

    def _footer(self, name):
        return self.object(name, "p").body[-16:]

    def _read(self, name, offset, length):
        with open(os.path.join(self.folder, name), "rb") as file:
            file.seek(offset)
            return file.read(length)

    def table(self, name, offset, length):
        """The key sessions of a pack, and its entries: id, offset, stored length, plaintext length, key session, kind."""
        if name not in self._tables:
            sealed = self._read(name, offset, length)
            plain = open_seal(self.index_key, self._read(name, 0, 32), self.context(name, "p"), sealed, f"the table of {name}")
            fields = Fields(plain)
            sessions = [bytes(fields.take(16)) for _ in range(fields.number("u16"))]
            entries = [struct.unpack("<32sIIIHBx", fields.take(48)) for _ in range((len(plain) - fields.at) // 48)]
            need(fields.ended(), f"the table of {name} ends in the middle of an entry")
            self._tables[name] = sessions, entries
        return self._tables[name]

    # ---- Blobs (4) ----

    def blob(self, id_, kind):
        """The plaintext of a blob, checked against its id."""
        why = "it is in no pack"
        for (name, table_offset, table_length, sessions), offset, stored, ordinal, found_kind in self.index.get(id_[:16], []):
            if found_kind != kind or not os.path.exists(os.path.join(self.folder, name)):
                continue
            try:
                sid = sessions[0]
                if len(sessions) > 1:
                    sessions, entries = self.table(name, table_offset, table_length)
                    sid = sessions[entries[ordinal][4]]
                key = keyed(self.session_key(sid, kind), id_)
                associated = b"ararat1 blob" + self.id + bytes([kind]) + id_ + sid
                plaintext = unframe(open_aead(key, associated, self._read(name, offset, stored), f"blob {id_.hex()} in {name}"))
                context = "ararat v1 blob id tree" if kind else "ararat v1 blob id data"
                need(keyed(derive(context, self.keys["id"]), plaintext) == id_, "its content has another id")
                return plaintext
            except Damaged as error:
                why = error
        raise Damaged(f"blob {id_.hex()}: {why}")

    def cached_blob(self, id_, kind):
        """As `blob`, and keeps the last ones: neighbours share slabs."""
        if (id_, kind) not in self._blobs:
            if len(self._blobs) >= 8:
                self._blobs.pop(next(iter(self._blobs)))
            self._blobs[id_, kind] = self.blob(id_, kind)
        return self._blobs[id_, kind]

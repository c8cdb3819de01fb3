"""The vectors of FORMAT.md, section 14, computed by what was written from the page."""

import os
import re
import struct
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import primitives
import tree
from primitives import Fields, derive, hash_of, keyed, voucher
from repository import CONFIG, END_A, Object

PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "engine", "FORMAT.md")


class Pages:
    """Stands in for a repository that has tree blobs by id alone."""

    def __init__(self, blobs):
        self.blobs = blobs

    def blob(self, id_, kind):
        assert kind == 1
        return self.blobs[id_]


class Vectors(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with open(PAGE, encoding="utf-8") as page:
            block = re.search(r"<!-- vectors -->\n```\n(.*?)```", page.read(), re.DOTALL).group(1)
        cls.texts = dict(line.split(" = ", 1) for line in block.splitlines() if " = " in line and not line.startswith("#"))
        cls.bytes = {name: bytes.fromhex(text) for name, text in cls.texts.items() if re.fullmatch("([0-9a-f]{2})+", text)}

    def check(self, name, value):
        self.assertEqual(value.hex(), self.bytes[name].hex(), name)

    def test_ids(self):
        key = self.bytes["id_key"]
        for name, context in (("data_id", "blob id data"), ("tree_id", "blob id tree")):
            self.check(name, keyed(derive(f"ararat v1 {context}", key), b"abc"))
        self.check("file_check", keyed(derive("ararat v1 file check", key), b"abc")[:8])

    def test_passphrase_and_key_text(self):
        v = self.bytes
        k = primitives.argon2id(b"correct horse battery staple", v["salt"], 64, 2, 2)
        self.check("k", k)
        secret = bytearray(primitives.derive_key_pair(k))
        self.check("holder_public", primitives.public_of(bytes(secret)))
        secret[0] &= 248
        secret[31] = secret[31] & 127 | 64
        self.check("holder_secret", bytes(secret))
        self.check("holder_public", primitives.public_of(v["holder_secret"]))
        self.check("root_public", primitives.public_of(v["root_secret"]))
        vouched = v["repository"] + v["root_public"]
        self.check("binding_for_passphrase", keyed(derive("ararat v1 slot binding", k), vouched))
        self.check("binding_for_recipient", keyed(derive("ararat v1 slot binding", v["holder_public"]), vouched))
        self.check("recipient_slot", derive("ararat v1 slot name", v["holder_public"])[:16])
        self.check("root_fingerprint", derive("ararat v1 root", vouched)[:16])
        for text in (self.texts["key_text"], "# A comment\n" + self.texts["key_text"].upper().replace("ARARAT-KEY-1", "ararat-key-1")):
            secret, fingerprint = primitives.key_of_text(text)
            self.check("holder_secret", secret)
            self.check("root_fingerprint", fingerprint)

    def test_wrapped_texts(self):
        v = self.bytes
        self.assertEqual(primitives.unwrap(v["holder_secret"], b"info", v["wrap"], "it"), b"wrapped")
        self.assertEqual(primitives.unwrap(v["holder_secret"], b"info", v["wrap_from"], "it", v["root_public"]), b"wrapped")

    def test_objects_and_seals(self):
        v = self.bytes
        config = primitives.document(CONFIG, Object("config", v["config"], "config").body, "config")
        self.assertEqual(config["created"], 1_700_000_000_123_456_789)
        self.assertEqual((config["repository"], config["root_public"]), (v["repository"], v["root_public"]))
        self.assertEqual(config["chunker"], (1, 2, 512 << 10, 2 << 20, 8 << 20))
        self.assertEqual((config["pack_bytes"], config["tree_pack_bytes"], config["padding"]), (24 << 20, 8 << 20, 1))
        name = f"s/{v['session'].hex()}/at-0000000000000007"
        self.check("context", b"ararat1" + v["repository"] + bytes([4, 0]) + name.encode())
        self.check("subkey", keyed(v["index_key"], v["context"]))
        at = Object(name, v["at"], "at")
        self.assertEqual(at.body[:12], v["nonce"])
        said = primitives.open_seal(v["index_key"], at.header, v["context"], at.body, name)
        context = v["context"][:24] + b"\x09" + name.encode()
        self.assertEqual(said, voucher(v["at_key"], context, v["generation_hash"]))
        self.check("at", v["at"][:-32] + hash_of(v["at"][:-32]))

    def test_vouchers(self):
        v = self.bytes
        self.check("vouch", derive("ararat v1 maintenance vouch", v["maintenance_secret"]))
        self.check("voucher_context", b"ararat1" + v["repository"] + bytes([6, 9]) + b"g/0000000000000007")
        self.check("voucher", voucher(v["vouch"], v["voucher_context"], b"abc"))

    def test_an_end_answers_for_its_outcome_and_nonce(self):
        v = self.bytes
        name = f"s/{v['session'].hex()}/end"
        self.check("end_context", b"ararat1" + v["repository"] + bytes([5, 1]) + name.encode() + b"\x02" + b"\xe2" * 16)
        end = Object(name, v["end"], "end")
        self.assertEqual(end.body[:17], v["end_context"][-17:])
        length = struct.unpack_from("<I", end.body, 17)[0]
        a = primitives.open_seal(v["index_key"], end.header, v["end_context"], end.body[21 : 21 + length], name)
        a = primitives.document(END_A, a, name)
        self.assertEqual((a["open_hash"], a["ended"], a["source"]), (b"\xe0" * 32, 1_700_000_000_123_456_789, b"\xe1" * 16))
        with self.assertRaises(primitives.Damaged):
            committed = v["end_context"][:-17] + b"\x01" + v["end_context"][-16:]
            primitives.open_seal(v["index_key"], end.header, committed, end.body[21 : 21 + length], name)

    def test_blob(self):
        v = self.bytes
        self.check("blob_subkey", keyed(v["session_key"], v["data_id"]))
        associated = b"ararat1 blob" + v["repository"] + b"\0" + v["data_id"] + v["session"]
        framed = primitives.open_aead(v["blob_subkey"], associated, v["blob"], "it")
        self.assertEqual(framed, b"\0" + struct.pack("<I", 3) + b"abc")
        self.assertEqual(primitives.unframe(framed), b"abc")

    def test_gear(self):
        gear = primitives.blake3_package.blake3(self.bytes["cut_key"], derive_key_context="ararat v1 gear").digest(length=2048)
        self.check("gear_0", gear[:8])
        self.check("gear_255", gear[2040:])

    def test_trees(self):
        v = self.bytes
        entries = list(tree.entries(Pages({b"root": v["leaf"]}), b"root"))
        self.assertEqual([entry.type for entry in entries], [1, 1, 6, 7, 1, 2, 4, 2, 2, 3, 5, 2])
        by_path = {entry.path: entry for entry in entries}
        fifo, link, sparse = by_path[b"home/fifo"], by_path[b"home/other-name"], by_path[b"home/sparse"]
        self.assertEqual((fifo.modified, fifo.changed, fifo.inode, fifo.mode), (-1, -2_000_000_000, 13, 0o600))
        self.assertEqual(fifo.attributes, [(b"user.a", b"1"), (b"user.b", b"")])
        self.assertEqual((link.target, link.link, link.user, link.group), (b"../etc", (2, 2049), 1000, 100))
        self.assertEqual(by_path[b"dev/sda"].device, (8, 0))
        self.assertEqual(by_path[b"home/list"].content, ("list", b"\xc3" * 32))
        self.assertEqual(by_path[b"home/name-\xff"].content, ("slab", b"\xa1" * 32, 4096, b"checked!"))
        chunk = (b"\xb2" * 32, 300_000)
        self.assertEqual(sparse.content, ("chunks", [chunk, (None, 1 << 20), chunk]))
        self.assertTrue(sparse.from_device)

    def test_parents_and_lists(self):
        v = self.bytes
        fields = Fields(v["parent"])
        self.assertEqual([fields.varint() for _ in range(3)], [tree.PARENT, 1, 2])
        for path in (b"a", b"b"):
            fields.take(32)
            self.assertEqual([fields.varint() for _ in range(3)], [1, 0, 1])
            self.assertEqual(fields.take(1), path)
        self.assertTrue(fields.ended())

        ids = tree.blob_ids(Fields(v["list_of_lists"], 2))
        self.assertEqual(ids[1], keyed(derive("ararat v1 blob id tree", v["id_key"]), v["list"]))
        chunk, hole = (b"\xb2" * 32, 4096), (None, 61_440)
        self.assertEqual(list(tree.extents(Pages({ids[1]: v["list"]}), ids[1], 65_536)), [chunk, hole])
        whole = v["list"][:35] + v["list"][35:] * 512
        found = list(tree.extents(Pages({b"root": v["list_of_lists"], ids[0]: whole, ids[1]: v["list"]}), b"root", 513 << 16))
        self.assertEqual(found, [chunk, hole] * 513)
        self.check("list_of_lists", v["list_of_lists"][:3] + keyed(derive("ararat v1 blob id tree", v["id_key"]), whole) + v["list_of_lists"][35:])


if __name__ == "__main__":
    unittest.main()

"""The reader against the golden repositories, and its primitives against the vectors of their standards.

    python3 -m unittest discover -s tests/reader
"""

import glob
import json
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import primitives
import restore
from primitives import Damaged
from repository import Repository

FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures", "format-v1")


def golden():
    """Name, folder, password and key text of each golden repository."""
    for folder in sorted(glob.glob(os.path.join(FIXTURES, "*", ""))):
        with open(os.path.join(folder, "password"), "rb") as password, open(os.path.join(folder, "key"), encoding="ascii") as key:
            yield os.path.basename(os.path.dirname(folder)), folder, password.read(), key.read()


def manifest(folder, description):
    with open(os.path.join(folder, "manifests", description + ".jsonl"), encoding="ascii") as file:
        return [json.loads(line) for line in file]


class GoldenRepositories(unittest.TestCase):
    maxDiff = None

    def test_every_snapshot_is_what_was_backed_up(self):
        looked_at = 0
        for name, folder, password, key in golden():
            for secrets in ({"password": password}, {"key_text": key}, {"key_text": key, "from_packs": True}):
                repository = Repository(os.path.join(folder, "repository"), **secrets)
                snapshots = {snapshot["description"]: snapshot for snapshot in repository.snapshots().values()}
                there = {file.removesuffix(".jsonl") for file in os.listdir(os.path.join(folder, "manifests"))}
                self.assertEqual(set(snapshots), there, name)
                for description, snapshot in snapshots.items():
                    with self.subTest(name, snapshot=description, secrets=list(secrets)):
                        found = restore.of_snapshot(repository, snapshot)
                        self.assertEqual(list(restore.differences(manifest(folder, description), found)), [])
                        self.assertEqual(snapshot["incomplete"], description == "incomplete")
                        looked_at += 1
        self.assertGreaterEqual(looked_at, 18)

    def test_a_volume_key_opens_the_tree_key_of_its_source(self):
        opened = 0
        for _, folder, password, _ in golden():
            if not os.path.exists(os.path.join(folder, "volume-key")):
                continue
            with open(os.path.join(folder, "volume-key"), encoding="ascii") as file:
                volume_key = bytes.fromhex(file.read())
            repository = Repository(os.path.join(folder, "repository"), password)
            for sid, begun in repository.opens.items():
                if begun["volume"]:
                    id_, sealed = begun["volume"]
                    self.assertEqual(id_, primitives.keyed(volume_key, b"id")[:8])
                    name = f"s/{sid.hex()}/open"
                    key = primitives.open_seal(volume_key, b"", repository.context(name, "open", 2), sealed, name)
                    self.assertEqual(key, repository.session_key(sid, 1))
                    opened += 1
        self.assertEqual(opened, 1)

    def test_a_turned_outcome_is_noticed(self):
        _, folder, password, _ = next(golden())
        repository = Repository(os.path.join(folder, "repository"), password)
        end = next(iter(repository.ends.values()))
        changed = bytearray(end.data[:-32])
        changed[32] = 2
        changed = bytes(changed) + primitives.hash_of(bytes(changed))
        with self.assertRaises(Damaged):
            repository.end_sections(repository.object(end.name, "end", changed))

    def test_what_maintenance_has_not_said_is_passed_over_by_owners(self):
        for name, folder, password, key in golden():
            owner = Repository(os.path.join(folder, "repository"), password)
            reader = Repository(os.path.join(folder, "repository"), key_text=key)
            self.assertTrue(owner.vouch and not reader.vouch)
            self.assertEqual(owner.snapshots(), reader.snapshots())
            owner.vouch = bytes(32)
            owner._read_generations()
            self.assertEqual(owner.generation["number"], 0, name)

    def test_a_recovery_sheet_is_read_as_a_key(self):
        for _, folder, _, key in golden():
            line = key.splitlines()[-1]
            prefix, rest = line[: len("ararat-key-1")], line[len("ararat-key-1") :]
            groups = [rest[at : at + 4] for at in range(0, len(rest), 4)]
            rows = "".join(f"  {' '.join(groups[at : at + 8])}\n" for at in range(0, len(groups), 8))
            sheet = f"# Ararat recovery sheet\n#\n  # Location\n\n{prefix}\n{rows}"
            self.assertEqual(primitives.key_of_text(sheet), primitives.key_of_text(key))
            Repository(os.path.join(folder, "repository"), key_text=sheet)

    def test_tags_are_those_given_last(self):
        for name, folder, password, _ in golden():
            for snapshot in Repository(os.path.join(folder, "repository"), password).snapshots().values():
                late = (name, snapshot["description"]) == ("grown", "first")
                self.assertEqual(snapshot["tags"], ["given later", "golden"] if late else ["golden", "tag two"])

    def test_a_restored_folder_is_what_was_backed_up(self):
        for name, folder, password, _ in golden():
            repository = Repository(os.path.join(folder, "repository"), password)
            for snapshot in repository.snapshots().values():
                with self.subTest(name, snapshot=snapshot["description"]), tempfile.TemporaryDirectory() as target:
                    undone = restore.restore(repository, snapshot, target)
                    expected, found = manifest(folder, snapshot["description"]), list(restore.of_folder(target))
                    if os.geteuid() == 0 and not undone:
                        self.assertEqual(list(restore.differences(expected, found)), [])
                    else:
                        self.compare_what_everybody_can_restore(expected, found)
                    for line in found:
                        if line["path"].startswith("sparse/"):
                            status = os.stat(os.path.join(target, line["path"]))
                            self.assertLess(status.st_blocks * 512, max(status.st_size // 2, 16 << 10), line["path"])

    def compare_what_everybody_can_restore(self, expected, found):
        """Without root: no devices, no owners, no attributes that only root may set."""
        found = {line["path"]: line for line in found}
        for line in expected:
            if line["type"] in ("character-device", "block-device"):
                continue
            readable = os.geteuid() == 0 or line["mode"] & 0o400
            for name in ("type", "mode", "modified", "size", *(["hash"] if readable else []), "target", "link"):
                self.assertEqual(found[line["path"]].get(name), line.get(name), f"{line['path']}: {name}")
            for name, value in line.get("attributes", {}).items():
                if name.startswith("user."):
                    self.assertEqual(found[line["path"]].get("attributes", {}).get(name), value, f"{line['path']}: {name}")

    def test_wrong_secrets_and_changed_objects_are_refused(self):
        name, folder, password, key = next(golden())
        repository = os.path.join(folder, "repository")
        other_key = [key for other, _, _, key in golden() if other != name][0]
        for secrets in ({"password": password + b"!"}, {"key_text": other_key}, {"key_text": key[:-3] + "aa\n"}):
            with self.assertRaises(Damaged):
                Repository(repository, **secrets)

        class Changed(Repository):
            """Every object comes with one bit flipped."""

            def object(self, name, kind, data=None):
                if data is None:
                    with open(os.path.join(self.folder, name), "rb") as file:
                        data = bytearray(file.read())
                    data[len(data) // 2] ^= 1
                return super().object(name, kind, bytes(data))

        with self.assertRaises(Damaged):
            Changed(repository, password)


class Standards(unittest.TestCase):
    """RFC 9180, A.2: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305."""

    INFO = bytes.fromhex("4f6465206f6e2061204772656369616e2055726e")
    TEXT, COUNT = b"Beauty is truth, truth beauty", b"Count-0"

    def pair(self, material, public):
        secret = primitives.derive_key_pair(bytes.fromhex(material))
        self.assertEqual(primitives.public_of(secret).hex(), public)
        return secret

    def test_base_mode_is_that_of_the_rfc(self):
        enc = "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a"
        self.pair("909a9b35d3dc4713a5e72a4da274b55d3d3821a37e5d099e74a647db583a904b", enc)
        secret = self.pair("1ac01f181fdf9f352797655161c58b75c656a6cc2716dcb66372da835542e1df",
                           "4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a")
        key, nonce = primitives.hpke_key(secret, self.INFO, bytes.fromhex(enc))
        self.assertEqual(key.hex(), "ad2744de8e17f4ebba575b3f5f5a8fa1f69c2a07f6e7500bc60ca6e3e3ec1c91")
        self.assertEqual(nonce.hex(), "5c4d98150661b848853b547f")
        sealed = "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28"
        wrapped = bytes.fromhex(enc + sealed)
        self.assertEqual(primitives.unwrap(secret, self.INFO, wrapped, "it", associated=self.COUNT), self.TEXT)

    def test_auth_mode_is_that_of_the_rfc(self):
        enc = "f7674cc8cd7baa5872d1f33dbaffe3314239f6197ddf5ded1746760bfc847e0e"
        self.pair("938d3daa5a8904540bc24f48ae90eed3f4f7f11839560597b55e7c9598c996c0", enc)
        secret = self.pair("64835d5ee64aa7aad57c6f2e4f758f7696617f8829e70bc9ac7a5ef95d1c756c",
                           "1a478716d63cb2e16786ee93004486dc151e988b34b475043d3e0175bdb01c44")
        sender = "f0f4f9e96c54aeed3f323de8534fffd7e0577e4ce269896716bcb95643c8712b"
        self.pair("9d8f94537d5a3ddef71234c0baedfad4ca6861634d0b94c3007fed557ad17df6", sender)
        sealed = "ab1a13c9d4f01a87ec3440dbd756e2677bd2ecf9df0ce7ed73869b98e00c09be111cb9fdf077347aeb88e61bdf"
        wrapped = bytes.fromhex(enc + sealed)
        opened = primitives.unwrap(secret, self.INFO, wrapped, "it", bytes.fromhex(sender), self.COUNT)
        self.assertEqual(opened, self.TEXT)
        with self.assertRaises(Damaged):
            primitives.unwrap(secret, self.INFO, wrapped, "it", associated=self.COUNT)

    def test_numbers_are_read_in_their_shortest_form_alone(self):
        for data, value in ((b"\x00", 0), (b"\x7f", 127), (b"\x80\x01", 128), (b"\xff" * 9 + b"\x01", 2**64 - 1)):
            self.assertEqual(primitives.Fields(data).varint(), value)
        for data in (b"", b"\x80", b"\x80\x00", b"\xff" * 9 + b"\x02", b"\xff" * 10 + b"\x00"):
            with self.assertRaises(Damaged):
                primitives.Fields(data).varint()
        for data, value in ((b"\x00", 0), (b"\x01", -1), (b"\x02", 1), (b"\xff" * 9 + b"\x01", -(2**63))):
            self.assertEqual(primitives.Fields(data).zigzag(), value)


if __name__ == "__main__":
    unittest.main()

"""The primitives of FORMAT.md: hashes, seals, HPKE, keys as text, documents, varints. Nothing here knows of repositories.

Everything raises Damaged for bytes that are not what they should be.
"""

import base64
import hmac
import struct

import argon2.low_level
import blake3 as blake3_package
import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

BLOB_MAX = 16 << 20


class Damaged(Exception):
    """Stored bytes are not what the format says."""


def need(condition, why):
    if not condition:
        raise Damaged(why)


# ---- BLAKE3 (Conventions) ----------------------------------------------------------------------------------------

def hash_of(message):
    return blake3_package.blake3(message).digest()


def keyed(key, message):
    return blake3_package.blake3(message, key=key).digest()


def derive(context, message):
    return blake3_package.blake3(message, derive_key_context=context).digest()


# ---- Seals and HPKE (2.2) ----------------------------------------------------------------------------------------

def open_aead(key, associated, sealed, what):
    """Opens nonce[12] ‖ ciphertext ‖ tag[16]."""
    try:
        return ChaCha20Poly1305(key).decrypt(bytes(sealed[:12]), bytes(sealed[12:]), bytes(associated))
    except (InvalidTag, ValueError) as error:
        raise Damaged(f"{what} does not open with its key") from error


def open_seal(key, header, context, sealed, what):
    return open_aead(keyed(key, context), header + context, sealed, what)


def voucher(key, context, content):
    """What the holder of a key says of a content; the context is that of section 9 (2.3)."""
    return keyed(key, context + hash_of(content))


def open_frames(key, header, context, body, what):
    """Opens long bodies that are sealed in pieces."""
    plaintext, at, number, last = bytearray(), 0, 0, 0
    while not last:
        need(at + 4 <= len(body), f"{what} ends without a last frame")
        length = struct.unpack_from("<I", body, at)[0]
        piece = body[at + 4 : at + 4 + length]
        need(len(piece) == length, f"{what} ends in the middle of a frame")
        at += 4 + length
        last = int(at == len(body))
        plaintext += open_seal(key, header, context + struct.pack("<IB", number, last), piece, f"frame {number} of {what}")
        number += 1
    return bytes(plaintext)


def public_of(secret):
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def _dh(secret, public):
    try:
        return X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError as error:
        raise Damaged("a public key is not one") from error


KEM, SUITE = b"KEM\x00\x20", b"HPKE\x00\x20\x00\x01\x00\x03"


def _extract(suite, salt, label, material):
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + material, "sha256")


def _expand(suite, key, label, info, length):
    info = struct.pack(">H", length) + b"HPKE-v1" + suite + label + info
    out, block = b"", b""
    while len(out) < length:
        block = hmac.digest(key, block + info + bytes([len(out) // 32 + 1]), "sha256")
        out += block
    return out[:length]


def derive_key_pair(material):
    """DeriveKeyPair of RFC 9180, 7.1.3, for X25519: the secret."""
    return _expand(KEM, _extract(KEM, b"", b"dkp_prk", material), b"sk", b"", 32)


def hpke_key(secret, info, enc, sender=None):
    """Key and nonce of the first message of RFC 9180, Base mode, or Auth mode when there is a sender."""
    shared, context = _dh(secret, enc), enc + public_of(secret)
    if sender:
        shared, context = shared + _dh(secret, sender), context + sender
    shared = _expand(KEM, _extract(KEM, b"", b"eae_prk", shared), b"shared_secret", context, 32)
    mode = b"\x02" if sender else b"\x00"
    schedule = mode + _extract(SUITE, b"", b"psk_id_hash", b"") + _extract(SUITE, b"", b"info_hash", info)
    secret = _extract(SUITE, shared, b"secret", b"")
    return _expand(SUITE, secret, b"key", schedule, 32), _expand(SUITE, secret, b"base_nonce", schedule, 12)


def unwrap(secret, info, wrapped, what, sender=None, associated=b""):
    """Opens enc[32] ‖ ciphertext and tag: `wrap`, or `wrap_from` when there is a sender."""
    need(len(wrapped) >= 48, f"{what} is too short")
    key, nonce = hpke_key(secret, info, bytes(wrapped[:32]), sender)
    return open_aead(key, associated, nonce + bytes(wrapped[32:]), what)


def argon2id(passphrase, salt, memory_kib, passes, lanes):
    need(memory_kib <= 4 << 20 and passes <= 64 and lanes <= 64, "the slot asks for too much work")
    return argon2.low_level.hash_secret_raw(
        passphrase, salt, time_cost=passes, memory_cost=memory_kib, parallelism=lanes,
        hash_len=32, type=argon2.low_level.Type.ID, version=0x13)


def key_of_text(text):
    """The secret and the root fingerprint of a key as text, be it a line, a key file or a recovery sheet (3.4)."""
    letters = "".join("".join(line.split()) for line in text.splitlines() if not line.lstrip().startswith("#"))
    need(letters.startswith("ararat-key-1"), "this is not a key")
    letters = letters[len("ararat-key-1") :].replace("-", "").upper()
    try:
        data = base64.b32decode(letters + "=" * (-len(letters) % 8))
    except ValueError as error:
        raise Damaged("the key has a typing error") from error
    need(len(data) == 52 and hash_of(data[:48])[:4] == data[48:], "the key has a typing error")
    return data[:32], data[32:48]


# ---- Compression (4) ---------------------------------------------------------------------------------------------

def unframe(framed):
    """The plaintext of codec ‖ length ‖ payload."""
    need(len(framed) >= 5, "a blob is too short")
    codec, length = struct.unpack_from("<BI", framed)
    need(codec <= 1 and length <= BLOB_MAX, "a blob has an unknown codec or is too long")
    if codec == 0:
        plaintext = framed[5:]
    else:
        try:
            reader = zstandard.ZstdDecompressor().stream_reader(framed[5:])
            plaintext = reader.read(length + 1)
        except zstandard.ZstdError as error:
            raise Damaged("a blob does not decompress") from error
    need(len(plaintext) == length, "a blob has another length than it says")
    return plaintext


# ---- Documents (1) -----------------------------------------------------------------------------------------------

NUMBERS = {"u8": "<B", "u16": "<H", "u32": "<I", "u64": "<Q", "i64": "<q"}


class Fields:
    """Reads fields from bytes and never runs past their end."""

    def __init__(self, data, at=0):
        self.data, self.at = data, at

    def take(self, length):
        need(length <= len(self.data) - self.at, "it ends in the middle of a field")
        self.at += length
        return self.data[self.at - length : self.at]

    def number(self, kind):
        return struct.unpack(NUMBERS[kind], self.take(struct.calcsize(NUMBERS[kind])))[0]

    def ended(self):
        return self.at == len(self.data)

    def varint(self):
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                need((byte or shift == 0) and value < 1 << 64, "a number is not in its shortest form, or too large")
                return value
            shift += 7
            need(shift < 70, "a number is too large")

    def zigzag(self):
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def value(self, schema):
        """A value of a document. A schema is the name of a number, "bool", "bytes", "text"; n for [n], [T] for list<T>, {T} for
        option<T>; a tuple, a dict for a structure, or a Choice."""
        if isinstance(schema, str):
            if schema in NUMBERS:
                return self.number(schema)
            if schema == "bool":
                value = self.number("u8")
                need(value <= 1, "a truth is neither 0 nor 1")
                return bool(value)
            data = bytes(self.take(self.number("u64")))
            try:
                return data.decode() if schema == "text" else data
            except UnicodeDecodeError as error:
                raise Damaged("a text is not UTF-8") from error
        if isinstance(schema, int):
            return bytes(self.take(schema))
        if isinstance(schema, list):
            return [self.value(schema[0]) for _ in range(self.number("u64"))]
        if isinstance(schema, set):
            given = self.number("u8")
            need(given <= 1, "an option is neither 0 nor 1")
            return self.value(next(iter(schema))) if given else None
        if isinstance(schema, tuple):
            return tuple(self.value(part) for part in schema)
        if isinstance(schema, dict):
            return {name: self.value(part) for name, part in schema.items()}
        variant = self.number("u32")
        need(variant < len(schema.variants), "it is of a later version")
        return variant, self.value(schema.variants[variant])


class Choice:
    """A choice of schemas; its value is the number of the variant and what the variant holds."""

    def __init__(self, *variants):
        self.variants = variants


def document(schema, data, what):
    """The one version there is of a document, V1."""
    try:
        fields = Fields(data)
        _, value = fields.value(Choice(schema))
        need(fields.ended(), "something follows it")
        return value
    except Damaged as error:
        raise Damaged(f"{what}: {error}") from error

"""One file of 8 GiB, as a disk image or a dump is: stretches of text, random bytes and zeros, some of them twice.

Both states are functions of a seed. Each is written as a whole (there is no way to insert into a file), fast: a stretch
is a slice of a pool, all its byte values permuted, so it looks new to every chunker and compresses as the pool does.
"""

import random

from harness.corpora import Corpus

SIZE_BYTES = 8 << 30
POOL_BYTES = 64 << 20
# Stretches are from 1 to 48 MiB; their sort is drawn with these weights.
SORTS = {"text": 45, "random": 40, "zeros": 8, "repeat": 7}


class Big(Corpus):
    name = "big"
    about = (
        "one 8 GiB file: 45 % text, 40 % random, the rest zeros and repeats; then 1 % overwritten, a little inserted"
    )

    def build(self) -> str:
        size_bytes = self._write_state(changed=False)
        return f"generated, {size_bytes} bytes"

    def apply(self) -> str:
        size_bytes = self._write_state(changed=True)
        return f"1 % overwritten in stretches of 4 KiB to 1 MiB, {size_bytes - self._size()} bytes inserted in places"

    def undo(self) -> None:
        self._write_state(changed=False)

    def _size(self) -> int:
        return int(SIZE_BYTES * self.scale) // 4096 * 4096

    def _write_state(self, changed: bool) -> int:
        pools = {"text": text_pool(), "random": random.Random("pool").randbytes(POOL_BYTES)}
        # The edits have a source of chance of their own, so that both states draw the same stretches.
        chance, edit = random.Random("big"), random.Random("edit")
        left, seeds, written = self._size(), [], 0
        # Opened in place, not replaced: it keeps its inode. No ending, since it is no image: nothing is ever inserted into one.
        path = self.source / "big"
        with open(path, "r+b" if path.exists() else "wb", buffering=0) as file:
            file.truncate(0)
            while left:
                size = min(left, chance.randrange(1 << 20, 48 << 20))
                left -= size
                sort = chance.choices(list(SORTS), SORTS.values())[0] if seeds else "text"
                if sort == "zeros":
                    data = bytes(size)
                else:
                    seed = chance.choice(seeds) if sort == "repeat" else (sort, chance.random())
                    data = stretch(pools[seed[0]], seed[1], size)
                    seeds.append(seed)
                if changed:
                    data = edited(data, edit)
                written += len(data)
                view = memoryview(data)
                while view:
                    view = view[file.write(view) :]
        return written


def stretch(pool: bytes, seed: float, size: int) -> bytes:
    """Returns a slice of the pool, shifted and permuted by the seed; the same seed gives the same bytes."""
    chance = random.Random(seed)
    at = chance.randrange(len(pool) - size)
    return pool[at : at + size].translate(bytes(chance.sample(range(256), 256)))


def edited(data: bytes, chance: random.Random) -> bytes:
    """Returns the stretch with about 1 % of its bytes overwritten, and in one stretch of eight something inserted."""
    left = len(data) // 100
    changed = bytearray(data)
    while left > 0:
        size = min(left, chance.choice([4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20]))
        at = chance.randrange(len(changed) - size + 1) // 4096 * 4096
        changed[at : at + size] = chance.randbytes(size)
        left -= size
    if chance.randrange(8) == 0:
        at = chance.randrange(len(changed))
        changed[at:at] = chance.randbytes(chance.randrange(10, 5000))
    return bytes(changed)


def text_pool() -> bytes:
    """Returns text like a log's: lines of few sorts with numbers in them; zstd makes about a fifth of it."""
    chance = random.Random("text")
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randrange(3, 11))) for _ in range(2000)]
    templates = [" ".join(chance.choices(words, k=chance.randrange(6, 16))).encode() for _ in range(3000)]
    lines, size = [], 0
    while size < POOL_BYTES:
        number = chance.getrandbits(72)
        line = b"%d %x %s\n" % (1_700_000_000 + size // 100, number, templates[number % len(templates)])
        lines.append(line)
        size += len(line)
    return b"".join(lines)[:POOL_BYTES]

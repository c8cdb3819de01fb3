"""One million files of 0 to 200 bytes in folders of 100 to 1,000: what costs per file shows, and nothing else does."""

import os
import random

from harness.corpora import Corpus

FILES = 1_000_000
BYTES_MAX = 200
WORDS = "replicas selector nodePort template true false metadata labels 8080 memory 128Mi cpu 500m image nginx".split()


class Million(Corpus):
    name = "million"
    about = "one million files of 0–200 bytes in folders of 100–1,000, half of them text, half random"

    def build(self) -> str:
        chance = random.Random("million")
        left = int(FILES * self.scale)
        number = 0
        while left:
            # Two levels, so that no folder is huge and some hold only folders.
            folder = os.path.join(self.source, f"part-{number // 64:03d}", f"{chance.choice(WORDS)}-{number:05d}")
            os.makedirs(folder)
            number += 1
            for index in range(min(left, chance.randrange(100, 1001))):
                left -= 1
                size = chance.randrange(BYTES_MAX + 1)
                if index % 2:
                    data = chance.randbytes(size)
                else:
                    data = " ".join(chance.choices(WORDS, k=size // 6 + 1)).encode()[:size]
                with open(os.path.join(folder, f"{index:04d}-{chance.choice(WORDS)}"), "wb", buffering=0) as file:
                    file.write(data)
        return f"generated, {number} folders of files"

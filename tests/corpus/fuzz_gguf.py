"""Mutates headers for a long time and reports: only our errors, quickly, in little memory.

    python -m tests.corpus.fuzz_gguf --n 200000 --seed 1

Starts from the demo's two files (headers with a part of the data), the corpus and small files.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from llavao1_edge import demo
from llavao1_edge.contract.gguf import read_header
from llavao1_edge.errors import ModelFileError
from tests.corpus.make_gguf import FOLDER, GOOD, U32, entry, file, tensor

INTERESTING = [0, 1, 7, 8, 9, 31, 32, 63, 64, 127, 128, 255, 256, (1 << 31) - 1, 1 << 31,
               (1 << 32) - 1, 1 << 32, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]  # fmt: skip
ALLOWED_SECONDS, ALLOWED_BYTES = 1.0, 50 << 20


def seeds() -> list[bytes]:
    found = [path.read_bytes() for path in sorted(FOLDER.glob("*.gguf"))]
    for path in (demo.text_path(), demo.mmproj_path()):
        data = path.read_bytes()
        found.append(data[: min(len(data), 1 << 17)])
    small = tuple(tensor(f"t{i}", (32, 4), 8, 160 * i) for i in range(6))
    keys = tuple(entry(f"k{i}", U32, bytes(4)) for i in range(20))
    found.append(file((GOOD, *keys), small, data=bytes(1024)))
    return [data for data in found if len(data) >= 24]


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    content = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        at = int(rng.integers(0, min(len(content), 4096)))
        how = int(rng.integers(0, 6))
        if how == 0:
            content[at] = int(rng.integers(0, 256))
        elif how == 1:
            content[at] ^= 1 << int(rng.integers(0, 8))
        elif how == 2:
            width = int(rng.choice([4, 8]))
            value = INTERESTING[int(rng.integers(0, len(INTERESTING)))] & ((1 << 8 * width) - 1)
            content[at : at + width] = value.to_bytes(width, "little")
        elif how == 3:
            del content[at : at + int(rng.integers(1, 40))]
        elif how == 4:
            content[at:at] = rng.bytes(int(rng.integers(1, 40)))
        else:
            content = content[: max(1, at)]
        if not content:
            content = bytearray(b"G")
    return bytes(content)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng, starts = np.random.default_rng(options.seed), seeds()
    outcomes: Counter[str] = Counter()
    slowest = largest = 0.0
    path = Path(tempfile.mkdtemp()) / "x.gguf"
    began, before = time.perf_counter(), _peak()
    for number in range(options.n):
        content = mutate(starts[int(rng.integers(0, len(starts)))], rng)
        path.write_bytes(content)
        started = time.perf_counter()
        try:
            read_header(path)
            outcomes["accepted"] += 1
        except ModelFileError as error:
            outcomes["refused"] += 1
            assert error.offset is None or 0 <= error.offset <= len(content), error
        except Exception:
            saved = Path(f"fuzz-{options.seed}-{number}.gguf")
            saved.write_bytes(content)
            print(f"escaped: {saved}", file=sys.stderr)
            raise
        slowest = max(slowest, time.perf_counter() - started)
        largest = max(largest, len(content))
    grown = _peak() - before
    assert slowest < ALLOWED_SECONDS, slowest
    assert grown < largest + ALLOWED_BYTES, grown
    seconds = time.perf_counter() - began
    print(f"{options.n} mutations, seed {options.seed}, {seconds:.0f} s: {dict(outcomes)}; "
          f"slowest {slowest * 1000:.0f} ms, peak memory grew by {grown / 1e6:.1f} MB")  # fmt: skip


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()

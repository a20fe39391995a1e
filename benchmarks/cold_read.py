"""Whether a cold file comes faster when several threads read it: what parallel loading could bring.

    python -m benchmarks.cold_read FOLDER --gigabytes 1.5

Writes a file of random bytes into FOLDER, has the system forget it before every reading, and
removes it in the end.
"""

from __future__ import annotations

import argparse
import mmap
import os
import statistics
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.machine import header

BLOCK, ROUNDS = 1 << 22, 5  # bytes
THREADS = (0, 1, 2, 4, 8)


def read(path: Path, start: int, stop: int) -> None:
    block = bytearray(BLOCK)
    with path.open("rb", buffering=0) as file:
        while start < stop:
            start += os.preadv(file.fileno(), [block], start)


def touch(path: Path) -> None:
    """As llama.cpp has a file: mapped, and gone through in order."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        for page in range(0, len(mapped), mmap.PAGESIZE):
            mapped[page]


def seconds(path: Path, n_threads: int) -> float:
    """n_threads 0: mapped, by one."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if not n_threads:
        started = time.perf_counter()
        touch(path)
        return time.perf_counter() - started
    part = path.stat().st_size // n_threads
    threads = [
        threading.Thread(target=read, args=(path, part * at, part * (at + 1)))
        for at in range(n_threads)
    ]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gigabytes", type=float, default=1.5)
    options = parser.parse_args()
    size = int(options.gigabytes * 1e9) // (8 * BLOCK) * 8 * BLOCK
    with tempfile.NamedTemporaryFile(dir=options.folder) as file:
        for _ in range(size // BLOCK):
            file.write(os.urandom(BLOCK))
        file.flush()
        os.fsync(file.fileno())
        rates: dict[int, list[float]] = {n: [] for n in THREADS}
        for _ in range(ROUNDS):
            for n, found in rates.items():
                found.append(size / 1e9 / seconds(Path(file.name), n))
    print(header("cold_read"))
    print("\n| threads | GB/s, median | least | most |\n|---|---|---|---|")
    for n, found in rates.items():
        name, middle = n or "mapped, 1", statistics.median(found)
        print(f"| {name} | {middle:.2f} | {min(found):.2f} | {max(found):.2f} |")


if __name__ == "__main__":
    main()

"""What a picture costs that was read before: from the cache on disk, against reading it.

    python -m benchmarks.synthetic one-b FOLDER/source
    llavao1-edge convert FOLDER/source --out FOLDER --quant Q4_K_M
    python -m benchmarks.picture_cache FOLDER/TEXT.gguf

Cold: the system was told to forget the file first, so that it comes from the disk.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path

from benchmarks.machine import header, own_cache
from llavao1_edge import Engine, RuntimeSettings
from llavao1_edge.images import open_picture
from tests.configurations import noise

ROUNDS = 3
PICTURES = {"one tile": (560, 560), "four tiles": (1120, 1120)}


def forget(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", type=Path)
    options = parser.parse_args()
    with own_cache(options.text) as kept:
        print(header("picture_cache"))
        print("\n| picture | read | read and stored | stored | cold | warm | warm / read |")
        print("|---|---|---|---|---|---|---|")
        for name, (height, width) in PICTURES.items():
            picture = open_picture(noise(height, width, seed=1))
            times: dict[str, list[float]] = {"read": [], "stored": [], "cold": [], "warm": []}
            for _ in range(ROUNDS):
                for what in times:
                    if what == "stored" and kept.exists():
                        for path in kept.iterdir():
                            path.unlink()
                    settings = RuntimeSettings(
                        gpu_layers=0, picture_cache=0 if what == "read" else 2
                    )
                    with Engine.open(options.text, settings=settings) as engine:
                        if what == "cold":
                            forget(kept)
                        started = time.perf_counter()
                        engine.runtime.vision.states(picture)  # type: ignore[attr-defined]
                        times[what].append(time.perf_counter() - started)
            read, stored, cold, warm = (statistics.median(each) for each in times.values())
            size = sum(path.stat().st_size for path in kept.iterdir()) / 1e6
            print(
                f"| {name} | {read:.2f} s | {stored:.2f} s | {size:.0f} MB | {cold:.2f} s "
                f"| {warm:.2f} s | {warm / read:.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()

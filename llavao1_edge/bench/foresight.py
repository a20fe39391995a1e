"""What LLaVA-o1 11B will take and do on this machine, said before it is fetched.

Sizes are facts of the checkpoint. Times are estimates: what a token reads and a picture computes
(benchmarks/full_size.md), against this machine's measured memory speed and arithmetic.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = "Xkev/Llama-3.2V-11B-cot"
DOWNLOAD_BYTES = 21_340_000_000
KEPT_BYTES = 7_300_000_000  # Q4_K_M, vision Q8_0
MEMORY_BYTES = 8_220_000_000  # one candidate, context of 4,096 tokens
TOKEN_BYTES = 5_660_000_000  # read for every token with a picture
PICTURE_OPERATIONS = 9.3e12  # of a picture of one tile: its slot, and one for the empty ones
SHARE = 0.75  # of memory speed and arithmetic that the whole reaches


@dataclass(frozen=True)
class Foresight:
    """needed, free, kept, disk_free, download: bytes; the rest as measured on this CPU."""

    needed: int
    free: int
    download: int
    kept: int
    disk_free: int
    tokens_per_second: float
    picture_seconds: float


def foresee(folder: Path, free: int) -> Foresight:
    """folder: where models are kept; free: bytes of memory. Takes about two seconds."""
    from llavao1_edge.bench.limits import bandwidth, product_rate
    from llavao1_edge.ggml.backend import Backend, cpu_device
    from llavao1_edge.ggml.types import F32, Q8_0
    from llavao1_edge.settings import default_threads

    threads = default_threads()
    backend = Backend(cpu_device(), n_threads=threads)
    try:
        rate = max(product_rate(backend, kind) for kind in (F32, Q8_0))
    finally:
        backend.close()
    place = next(path for path in (folder, *folder.parents) if path.exists())
    return Foresight(
        needed=MEMORY_BYTES,
        free=free,
        download=DOWNLOAD_BYTES,
        kept=KEPT_BYTES,
        disk_free=shutil.disk_usage(place).free,
        tokens_per_second=SHARE * bandwidth(threads) / TOKEN_BYTES,
        picture_seconds=PICTURE_OPERATIONS / (SHARE * rate),
    )

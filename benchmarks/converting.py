"""Converts a checkpoint and says where the time went, against quantising alone.

    python -m benchmarks.synthetic eleven-b FOLDER/source
    python -m benchmarks.converting FOLDER/source --out FOLDER

The floor: the same tensors quantised by the same number of threads from memory, with nothing else
to do. It is measured before and after the conversion, on blocks of the same size (a fixed time per
type), and summed up over the tensors.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks.machine import cpu
from llavao1_convert.conversion import run
from llavao1_convert.plan import Conversion
from llavao1_convert.planning import plan_conversion
from llavao1_convert.stream import BLOCK_WEIGHTS
from llavao1_edge.cli.doctor import versions
from llavao1_edge.ggml.quantise import quantise
from llavao1_edge.ggml.types import STORAGE_TYPES, StorageType

SECONDS = 4.0


def quantised_weights(plan: Conversion) -> Counter[str]:
    """Weights that must be computed, by target type (the others are copied as they are)."""
    found: Counter[str] = Counter()
    for output in plan.files:
        for job in output.jobs:
            if job.source is not None and job.source.kind is not job.planned.kind:
                found[job.planned.kind.name] += job.planned.n_rows * job.planned.shape[0]
    return found


def rate(kind: StorageType, n_threads: int) -> float:
    """Weights per second of `n_threads` together."""
    rows = np.random.default_rng(0).standard_normal((BLOCK_WEIGHTS // 4096, 4096), np.float32)
    ends = time.perf_counter() + SECONDS

    def work(_: int) -> int:
        n = 0
        while time.perf_counter() < ends:
            quantise(rows, kind)
            n += rows.size
        return n

    started = time.perf_counter()
    with ThreadPoolExecutor(n_threads) as pool:
        n = sum(pool.map(work, range(n_threads)))
    return n / (time.perf_counter() - started)


def floor(plan: Conversion, n_threads: int) -> float:
    kinds = {kind.name: kind for kind in STORAGE_TYPES.values()}
    return sum(n / rate(kinds[name], n_threads) for name, n in quantised_weights(plan).items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--quant", default="Q4_K_M")
    parser.add_argument("--vision-quant", default="Q8_0")
    parser.add_argument("--name", default="ElevenB")
    options = parser.parse_args()
    n_threads = os.cpu_count() or 1
    plan = plan_conversion(
        options.source,
        options.out,
        text_quantisation=options.quant,
        vision_quantisation=options.vision_quant,
        name=options.name,
    )
    before = floor(plan, n_threads)
    started, shown = time.perf_counter(), 0.0
    most_files: set[str] = set()
    for step in run(plan, n_threads=n_threads):
        if time.perf_counter() - shown > 10:
            shown = time.perf_counter()
            print(f"{step.done / step.total:.0%} {step.tensor}", file=sys.stderr, flush=True)
            most_files |= {path.name for path in options.out.iterdir()}
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    floors = [before, floor(plan, n_threads)]
    times = plan.times
    print(f"`python -m benchmarks.converting {' '.join(sys.argv[1:])}`\n")
    print(
        "; ".join(f"{k} {v}" for k, v in {"cpu": cpu(), "threads": n_threads, **versions()}.items())
    )
    print("\n| | |\n|---|---|")
    print(f"| source | {plan.source_bytes / 1e9:.2f} GB |")
    print(f"| text file, mmproj file | {plan.text.n_bytes / 1e9:.2f} GB, "
          f"{plan.mmproj.n_bytes / 1e9:.2f} GB |")  # fmt: skip
    print(
        f"| seconds, MB/s of the source | {seconds:.0f}, {plan.source_bytes / 1e6 / seconds:.0f} |"
    )
    print(f"| floor: quantising alone, before and after | {floors[0]:.0f} s, {floors[1]:.0f} s |")
    print(f"| share of the floor | {sum(floors) / 2 / seconds:.2f} |")
    for name in ("read", "transform", "quantise", "write"):
        print(f"| {name}, seconds of all threads | {getattr(times, name):.0f} |")
    print(f"| peak resident memory | {peak / 1e9:.2f} GB |")
    print(f"| seen in the folder while it ran | {', '.join(sorted(most_files))} |")


if __name__ == "__main__":
    main()

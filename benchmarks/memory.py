"""Peak memory of N = 1 against N = 16: what more candidates may cost, and what they do.

    python -m benchmarks.memory                      the embedded demo model
    python -m benchmarks.memory --one-b FOLDER       a random 1B-shaped pair, written to FOLDER

Each N runs in a process of its own. Allowed: the cells of the larger context, the rows of logits of
15 more branches (llama.cpp's buffer, our copies, two scratch arrays of the sampler), and what
llama.cpp's own compute buffers grow by. Measured is the peak of anonymous memory during the answer:
pages of the mapped model file are the same pages, read earlier or later.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import subprocess
import sys
import threading
from pathlib import Path

from benchmarks.machine import header
from benchmarks.phases import one_b
from llavao1_edge import (
    Answered,
    BestOfN,
    BudgetSettings,
    Engine,
    RuntimeSettings,
    SamplingSettings,
    demo,
)

MB = 1 << 20
COPIES = 4


class Watch:
    """Peak of this process's anonymous memory in bytes, looked at every 5 ms (Linux)."""

    def __init__(self) -> None:
        self.peak, self._done = 0, threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._done.wait(0.005):
            status = Path("/proc/self/status").read_text(encoding="ascii")
            found = re.search(r"RssAnon:\s+(\d+) kB", status)
            assert found is not None
            self.peak = max(self.peak, int(found[1]) * 1024)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


def measure(n: int, text: str, mmproj: str) -> dict[str, float]:
    """Runs a search of n candidates in this process."""
    buffers: list[str] = []
    logger = logging.getLogger("llavao1_edge.llama")
    logger.setLevel(logging.DEBUG)
    handler = logging.Handler()
    handler.emit = lambda record: buffers.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    search = BestOfN(candidates=n, scorer="logprob")
    settings = RuntimeSettings(picture_cache=0, gpu_layers=0)
    with Engine.open(text=text, mmproj=mmproj, settings=settings, search=search) as engine:
        session = engine.session(demo.samples()[0].picture)
        stream = session.stream(
            "How many small circles do you see?",
            search=search,
            sampling=SamplingSettings(temperature=1.0),
            budget=BudgetSettings(stage_tokens=12),
        )
        next(stream)  # the picture is read: from here on it is about candidates
        with Watch() as watch:
            *_, last = stream
        assert isinstance(last, Answered)
        answer = last.answer
        runtime = engine.runtime
        header_ = runtime.text_header
        layers = header_.integer("llama.block_count")
        heads = header_.integer("llama.attention.head_count")
        kv = header_.integer("llama.attention.head_count_kv")
        width = header_.integer("llama.embedding_length") // heads
        size = 4 if runtime.f32_cache else 2
        compute = [
            float(found[1])
            for line in buffers
            if (found := re.search(r"compute buffer size =\s*([\d.]+) MiB", line))
        ]
        return {
            "n": n,
            "cells": runtime.context.n_ctx,
            "cell_bytes": layers * kv * width * 2 * size,
            "row_bytes": runtime.model.n_vocab * 4,
            "compute_mb": sum(compute),
            "candidates": answer.trace.counters.candidates,
            "peak_mb": watch.peak / MB,
        }


def child(n: int, text: Path, mmproj: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.memory", "--child", str(n), str(text), str(mmproj)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one-b", type=Path, metavar="FOLDER")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        n, text, mmproj = options.child
        print(json.dumps(measure(int(n), text, mmproj)))
        return
    pair = one_b(options.one_b) if options.one_b else (demo.text_path(), demo.mmproj_path())
    few, many = child(1, *pair), child(16, *pair)
    cells = (many["cells"] - few["cells"]) * many["cell_bytes"] / MB
    rows = (many["n"] - few["n"]) * many["row_bytes"] * COPIES / MB
    compute = many["compute_mb"] - few["compute_mb"]
    print(header("memory"))
    print(f"{pair[0].name}\n")
    print("| | N = 1 | N = 16 | difference |\n|---|---|---|---|")
    print(f"| cells of the context | {few['cells']:.0f} | {many['cells']:.0f} | {cells:.1f} MB |")
    print(f"| rows of logits, {COPIES} copies | 1 | 16 | {rows:.1f} MB |")
    print(
        f"| llama.cpp's compute buffers, MB | {few['compute_mb']:.1f} | {many['compute_mb']:.1f} "
        f"| {compute:.1f} MB |"
    )
    print(f"| allowed | | | **{cells + rows + compute:.1f} MB** |")
    difference = many["peak_mb"] - few["peak_mb"]
    print(
        f"| peak anonymous memory, MB | {few['peak_mb']:.1f} | {many['peak_mb']:.1f} "
        f"| **{difference:.1f} MB** |"
    )


if __name__ == "__main__":
    main()

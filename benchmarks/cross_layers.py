"""What the cross layers cost: as they were, with repacked matrices, and with keys in sixteens.

    python -m benchmarks.synthetic one-b FOLDER/source
    llavao1-edge convert FOLDER/source --out FOLDER --quant Q4_K_M
    python -m benchmarks.cross_layers FOLDER/TEXT.gguf

A step of n rows without the picture and with it: matrices in the mapped file and as many keys as
there are tokens (before); matrices where llama.cpp puts its own (repacked); and keys and values in
a multiple of sixteen cells, too (now). Each the least of several rounds, in turn. The floor is what
the weights say: multiplications with the cross layers, by those without.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import header
from llavao1_edge import Engine, RuntimeSettings
from llavao1_edge.contract.tensors import CROSS
from llavao1_edge.images import open_picture
from llavao1_edge.llama.context import Row
from llavao1_edge.mllama import cross, encoder, shape
from tests.configurations import noise

ROWS = (1, 2, 4, 8, 16, 64, 128)
ROUNDS = 5
WAYS = {"before": (False, False), "repacked": (True, False), "now": (True, True)}
MADE: Any = (encoder.of_text_rows, shape.in_sixteens)
OF_ROWS: Any = encoder
OF_CELLS: tuple[Any, ...] = (shape, cross)


def choose(*, repacked: bool, in_sixteens: bool) -> None:
    OF_ROWS.of_text_rows = MADE[0] if repacked else lambda _: []
    for module in OF_CELLS:
        module.in_sixteens = MADE[1] if in_sixteens else lambda n: n


def floor(runtime: Any) -> float:
    """Multiplications of a row with the cross layers, by those without."""
    text = sum(
        math.prod(info.shape)
        for name, info in runtime.text_header.tensors.items()
        if len(info.shape) == 2 and not name.startswith("token_embd")
    )
    layers = sum(
        math.prod(info.shape)
        for name, info in runtime.mmproj_header.tensors.items()
        if name.startswith(CROSS) and "attn_k" not in name and "attn_v" not in name
    )
    return float((text + layers) / text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", type=Path)
    parser.add_argument("--tiles", type=int, default=1, help="1 or 4")
    options = parser.parse_args()
    side = 560 if options.tiles == 1 else 1120
    picture = open_picture(noise(side, side, seed=1))
    print(header("cross_layers"))
    print("| rows | alone | before | repacked | now | before / alone | now / alone | floor |")
    print("|---|---|---|---|---|---|---|---|")
    engines, places = [], {}
    for name, (repacked, in_sixteens) in WAYS.items():
        choose(repacked=repacked, in_sixteens=in_sixteens)
        settings = RuntimeSettings(gpu_layers=0, picture_cache=0)
        engines.append(Engine.open(options.text, settings=settings))
        runtime: Any = engines[-1].runtime
        sight, _ = runtime.vision.see(picture)
        places[name] = (runtime, sight, runtime.take_sequence())
    for n in ROWS:
        least: dict[str, float] = {}
        for _ in range(ROUNDS):
            for name, (runtime, sight, sequence) in places.items():
                choose(repacked=True, in_sixteens=WAYS[name][1])
                rows = [Row(7, at, sequence, output=n <= 16 or at == n - 1) for at in range(n)]
                for key, seen in (("alone", None), (name, sight)):
                    started = time.perf_counter()
                    runtime.step(rows, seen, stop=lambda: False)
                    taken = (time.perf_counter() - started) * 1000
                    runtime.rewind(sequence, 0)
                    least[key] = min(taken, least.get(key, math.inf))
        alone, before, packed, now = (least[key] for key in ("alone", *WAYS))
        print(
            f"| {n} | {alone:.1f} ms | {before:.1f} ms | {packed:.1f} ms | {now:.1f} ms "
            f"| {before / alone:.2f} | **{now / alone:.2f}** | {floor(runtime):.2f} |",
            flush=True,
        )
    for engine in engines:
        engine.close()


if __name__ == "__main__":
    main()

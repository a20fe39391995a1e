"""What the cross layers cost with their matrices as the processor likes them, and as in the file.

    python -m benchmarks.synthetic one-b FOLDER/source
    llavao1-edge convert FOLDER/source --out FOLDER --quant Q4_K_M
    python -m benchmarks.repacking FOLDER/TEXT.gguf

A step of n rows without the picture, with it before (matrices in the mapped file), and after; each
the least of several rounds, in turn. The floor is what the weights say: operations with the cross
layers, by operations without.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

from benchmarks.machine import header
from llavao1_edge import Engine, RuntimeSettings
from llavao1_edge.contract.tensors import CROSS
from llavao1_edge.images import open_picture
from llavao1_edge.llama.context import Row
from llavao1_edge.mllama import encoder
from tests.configurations import noise

ROWS = (1, 2, 4, 8, 16, 64, 128)
ROUNDS = 5


def opened(text: Path, *, repacked: bool) -> Engine:
    chosen = encoder.of_text_rows
    if not repacked:
        encoder.of_text_rows = lambda _: []
    try:
        return Engine.open(text, settings=RuntimeSettings(gpu_layers=0, picture_cache=0))
    finally:
        encoder.of_text_rows = chosen


def floor(engine: Engine) -> float:
    """Multiplications of a row with the cross layers, by those without."""
    runtime = engine.runtime  # type: ignore[attr-defined]
    text = sum(
        math.prod(info.shape)
        for name, info in runtime.text_header.tensors.items()
        if len(info.shape) == 2 and not name.startswith("token_embd")
    )
    cross = sum(
        math.prod(info.shape)
        for name, info in runtime.mmproj_header.tensors.items()
        if name.startswith(CROSS) and "attn_k" not in name and "attn_v" not in name
    )
    return float((text + cross) / text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", type=Path)
    options = parser.parse_args()
    picture = open_picture(noise(560, 560, seed=1))
    print(header("repacking"))
    with opened(options.text, repacked=False) as before, opened(options.text, repacked=True) as now:
        print("| rows | text alone | before | after | before / alone | after / alone | floor |")
        print("|---|---|---|---|---|---|---|")
        places = []
        for engine in (before, now):
            runtime = engine.runtime  # type: ignore[attr-defined]
            sight, _ = runtime.vision.see(picture)
            places.append((runtime, sight, runtime.take_sequence()))
        for n in ROWS:
            least: dict[tuple[bool, bool], float] = {}
            for _ in range(ROUNDS):
                for i, (runtime, sight, sequence) in enumerate(places):
                    rows = [Row(7, at, sequence, output=n <= 16 or at == n - 1) for at in range(n)]
                    for seen in (False, True):
                        started = time.perf_counter()
                        runtime.step(rows, sight if seen else None, stop=lambda: False)
                        taken = (time.perf_counter() - started) * 1000
                        runtime.rewind(sequence, 0)
                        key = (bool(i), seen)
                        least[key] = min(taken, least.get(key, math.inf))
            alone = min(least[False, False], least[True, False])
            was, made = least[False, True], least[True, True]
            print(
                f"| {n} | {alone:.1f} ms | {was:.1f} ms | {made:.1f} ms "
                f"| {was / alone:.3f} | {made / alone:.3f} | {floor(now):.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()

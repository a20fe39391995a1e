"""A pair of the true 11B size: load, read a picture, answer; time and memory against the plan.

    python -m benchmarks.synthetic eleven-b FOLDER/source
    python -m benchmarks.converting FOLDER/source --out FOLDER
    python -m benchmarks.full_size FOLDER/ElevenB-Q4_K_M.gguf

The same text file is decoded by llama.cpp alone (no callback, no cross layers), step by step in
turns with ours: what the cross layers cost should be near the ratio of the bytes that are read.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from benchmarks.machine import header
from benchmarks.phases import bare_context, mllama
from llavao1_edge import Engine, RuntimeSettings, demo
from llavao1_edge.bench.phases import weight_bytes
from llavao1_edge.bench.timing import in_turn
from llavao1_edge.images import open_picture
from llavao1_edge.llama.context import Row

PROMPT, STEPS = 64, 12


def status(field: str) -> float:
    """Of this process, in GB."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024 / 1e9
    return float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", type=Path)
    parser.add_argument("--picture", type=Path, default=demo.samples()[0].picture)
    options = parser.parse_args()
    rows: list[tuple[str, str]] = []
    started = time.perf_counter()
    with Engine.open(
        options.text, settings=RuntimeSettings(picture_cache=0, gpu_layers=0)
    ) as engine:
        rows.append(("load", f"{time.perf_counter() - started:.1f} s"))
        runtime = engine.runtime
        picture = open_picture(options.picture)
        vision = mllama(runtime)
        canvas = vision.canvas(picture)
        seen, milliseconds = vision.see(picture)
        rows.append((f"read a picture of {canvas.n_tiles} tile(s)", f"{milliseconds / 1000:.1f} s"))
        sequence = runtime.take_sequence()
        prompt = [Row(5 + i, i, sequence, output=i == PROMPT - 1) for i in range(PROMPT)]
        started = time.perf_counter()
        runtime.decode(prompt, seen, stop=lambda: False)
        seconds = time.perf_counter() - started
        rows.append((f"prefill of {PROMPT} tokens", f"{PROMPT / seconds:.1f} tokens/s"))
        peak, plan = status("VmHWM"), runtime.plan
        rows.append(("peak resident memory", f"{peak:.2f} GB"))
        resident = plan.resident / 1e9
        planned = f"{resident:.2f} GB (ratio {resident / peak:.2f}), {plan.needed / 1e9:.2f} GB"
        rows.append(("planned: resident, needed", planned))
        plain = bare_context(runtime)
        plain.decode([Row(r.token, r.position, 0, r.output) for r in prompt])

        def ours() -> None:
            runtime.context.rewind(sequence, PROMPT)
            runtime.decode([Row(7, PROMPT, sequence, output=True)], seen, stop=lambda: False)

        def theirs() -> None:
            plain.rewind(0, PROMPT)
            plain.decode([Row(7, PROMPT, 0, output=True)])

        hooked, bare = in_turn([ours, theirs], STEPS)
        plain.close()
        runtime.release(sequence)
        cross = sum(
            info.n_bytes
            for name, info in runtime.mmproj_header.tensors.items()
            if name.startswith("cross.") and "attn_k." not in name and "attn_v." not in name
        )
        states = vision.states(picture)
        cross += int(states.n_bytes * states.n_valid / states.n_tokens)
        text = weight_bytes(runtime.text_header)
    a, b = float(np.median(hooked)), float(np.median(bare))
    ratio = float(np.median([x / y for x, y in zip(hooked, bare, strict=True)]))
    rows += [
        ("decode with the picture", f"{1 / a:.2f} tokens/s ({a * 1000:.0f} ms)"),
        ("decode by llama.cpp alone, text only", f"{1 / b:.2f} tokens/s ({b * 1000:.0f} ms)"),
        ("price of the cross layers", f"{ratio:.2f} times"),
        ("ratio of bytes read", f"{(text + cross) / text:.2f} times"),
    ]
    print(header("full_size"))
    print(f"{options.text.name}, {STEPS} steps in turns, medians\n\n| | |\n|---|---|")
    for name, value in rows:
        print(f"| {name} | {value} |")


if __name__ == "__main__":
    main()

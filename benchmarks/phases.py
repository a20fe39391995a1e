"""Times every phase of an answer and sets it beside the floor that this machine allows.

    python -m benchmarks.phases                      the embedded demo model
    python -m benchmarks.phases --one-b FOLDER       a random 1B-shaped pair, written to FOLDER
    python -m benchmarks.phases --one-b FOLDER --json

Variants are timed in turn (A B C A B C …) in one process, and medians are quoted, because the speed
of a shared machine drifts. Floors: bytes of weights over the measured memory bandwidth (decode), or
operations over the measured matrix rate (the rest).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import cpu
from benchmarks.synthetic import write_checkpoint
from llavao1_edge import Engine, RuntimeSettings, demo
from llavao1_edge.bench.limits import bandwidth, product_rate
from llavao1_edge.bench.phases import cross_operations, vision_operations, weight_bytes
from llavao1_edge.bench.timing import Phase, in_turn
from llavao1_edge.bench.timing import timed as measured
from llavao1_edge.cli.doctor import versions
from llavao1_edge.engine.runtime import Runtime
from llavao1_edge.ggml.types import F32
from llavao1_edge.images import open_picture, tile_picture
from llavao1_edge.llama.context import Context, Row
from llavao1_edge.mllama.model import MllamaModel

ROUNDS = 21


def row(phase: Phase) -> str:
    floor = "–" if phase.floor_ms is None else f"{phase.floor_ms:.2f}"
    ratio = "–" if phase.distance is None else f"{phase.distance:.2f}"
    spread = f"{phase.low_ms:.2f}–{phase.high_ms:.2f}"
    return f"| {phase.name} | {phase.median_ms:.2f} | {spread} | {floor} | {ratio} |"


def mllama(runtime: Runtime) -> MllamaModel:
    """Its vision model, which must be ours."""
    assert isinstance(runtime.vision, MllamaModel), "a pair of llavao1-edge convert is needed"
    return runtime.vision


def timed(name: str, seconds: list[float], floor_ms: float | None = None) -> Phase:
    return replace(measured(name, seconds), floor_ms=floor_ms)


# --- phases -------------------------------------------------------------------------------------
class PairPhases:
    """One open pair and what was measured on it."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.runtime = engine, engine.runtime
        self.vision = mllama(self.runtime)
        self.picture = open_picture(demo.samples()[0].picture)
        self.bandwidth = bandwidth(self.runtime.n_threads)
        self.rate = product_rate(self.vision.encoder.backend, F32)
        self.phases: list[Phase] = []

    def pictures(self, rounds: int) -> None:
        runtime = self.runtime
        model = self.vision
        rules = model.shape.tiling
        path = demo.samples()[0].picture
        tiled = tile_picture(self.picture.image, rules=rules)

        def encode() -> None:
            model.encoder.tower.encode(tiled).close()

        vision = model.encoder.tower.encode(tiled)

        def states() -> None:
            model.encoder.layers.states(
                vision, n_tiles=tiled.n_tiles, f32=runtime.f32_cache
            ).close()

        actions = [
            lambda: open_picture(path),
            lambda: tile_picture(self.picture.image, rules=rules),
            encode,
            states,
        ]
        opened, cut, encoded, stated = in_turn(actions, rounds)
        vision.close()
        operations = vision_operations(model)
        self.phases += [
            timed("open the picture", opened),
            timed("cut into tiles", cut),
            timed("vision tower and projector", encoded, operations / self.rate * 1e3),
            timed("cross keys and values", stated, cross_operations(model) / self.rate * 1e3),
        ]

    def text(self, rounds: int) -> None:
        runtime, n_prompt = self.runtime, 64
        seen, _ = self.vision.see(self.picture)
        states, blind = self.vision.states(self.picture), None
        plain = bare_context(runtime)
        sequence = runtime.take_sequence()
        prompt = [Row(5 + i, i, sequence, output=i == n_prompt - 1) for i in range(n_prompt)]

        def prefill(view: Any) -> None:
            runtime.context.forget(sequence)
            runtime.decode(prompt, view, stop=lambda: False)

        def prefill_plain() -> None:
            plain.forget(0)
            plain.decode([Row(r.token, r.position, 0, r.output) for r in prompt])

        actions = [lambda: prefill(seen), lambda: prefill(blind), prefill_plain]
        hooked, idle, bare = in_turn(actions, max(3, rounds // 3))
        self.phases += [
            timed(f"prefill {n_prompt} tokens, with picture", hooked),
            timed(f"prefill {n_prompt} tokens, no picture", idle),
            timed(f"prefill {n_prompt} tokens, no callback at all", bare),
        ]

        def step(view: Any) -> None:
            runtime.context.rewind(sequence, n_prompt)
            runtime.decode([Row(7, n_prompt, sequence, output=True)], view, stop=lambda: False)

        def step_plain() -> None:
            plain.rewind(0, n_prompt)
            plain.decode([Row(7, n_prompt, 0, output=True)])

        arithmetic = self.vision.encoder.layers.arithmetic(1, states)
        prefill(seen)
        actions = [lambda: step(seen), lambda: step(blind), step_plain, arithmetic]
        hooked, idle, bare, sums = in_turn(actions, rounds)
        runtime.release(sequence)
        plain.close()
        cross_bytes = (
            sum(
                info.n_bytes
                for name, info in runtime.mmproj_header.tensors.items()
                if name.startswith("cross.") and "attn_k." not in name and "attn_v." not in name
            )
            + states.n_bytes * states.n_valid / states.n_tokens
        )
        text_bytes = weight_bytes(runtime.text_header)
        self.phases += [
            timed("decode a token, with picture", hooked,
                  (text_bytes + cross_bytes) / self.bandwidth * 1e3),
            timed("decode a token, no picture", idle, text_bytes / self.bandwidth * 1e3),
            timed("decode a token, no callback at all", bare, text_bytes / self.bandwidth * 1e3),
            timed("arithmetic of the cross layers alone", sums, cross_bytes / self.bandwidth * 1e3),
        ]  # fmt: skip
        pairs = zip(hooked, bare, sums, strict=True)
        self.overhead = float(np.median([(a - b - s) / b for a, b, s in pairs]))
        self.idle_overhead = float(
            np.median([(a - b) / b for a, b in zip(idle, bare, strict=True)])
        )


def bare_context(runtime: Runtime) -> Context:
    """llama.cpp alone on the same text model, with the same sizes and no callback."""
    return Context(
        runtime.model,
        n_ctx=runtime.context.n_ctx,
        n_batch=runtime.context.n_batch,
        n_ubatch=runtime.context.n_batch,
        n_sequences=runtime.n_sequences,
        n_threads=runtime.n_threads,
        f32_cache=runtime.f32_cache,
        eval_callback=None,
    )


def one_b(folder: Path, quant: str = "Q8_0") -> tuple[Path, Path]:
    """The random 1B pair with vision at Q8_0, made if it is not there."""
    from llavao1_convert.conversion import run
    from llavao1_convert.planning import plan_conversion

    label = quant if quant == "Q8_0" else f"{quant}-Q8_0"
    text, mmproj = folder / f"OneB-{quant}.gguf", folder / f"mmproj-OneB-{label}.gguf"
    if not (text.exists() and mmproj.exists()):
        source = write_checkpoint(folder / "source")
        for _ in run(plan_conversion(source, folder, name="OneB", text_quantisation=quant)):
            pass
        (source / "model.safetensors").unlink()
    return text, mmproj


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one-b", type=Path, metavar="FOLDER")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--picture-rounds", type=int, default=ROUNDS, help="0 leaves them out")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    text, mmproj = one_b(options.one_b) if options.one_b else (demo.text_path(), demo.mmproj_path())
    settings = RuntimeSettings(picture_cache=0, gpu_layers=0, context=512)
    loads = []
    for _ in range(3):
        started = time.perf_counter()
        Engine.open(text=text, mmproj=mmproj, settings=settings).close()
        loads.append(time.perf_counter() - started)
    with Engine.open(text=text, mmproj=mmproj, settings=settings) as engine:
        bench = PairPhases(engine)
        bench.phases.append(timed("load the pair (warm file cache)", loads))
        if options.picture_rounds:
            bench.pictures(options.picture_rounds)
        bench.text(options.rounds)
    report(bench, options, text)


def report(bench: PairPhases, options: argparse.Namespace, text: Path) -> None:
    command = f"python -m benchmarks.phases {' '.join(sys.argv[1:])}".strip()
    machine = {
        "cpu": cpu(),
        "threads": RuntimeSettings().n_threads,
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "bandwidth_gb_s": round(bench.bandwidth / 1e9, 1),
        "f32_gflop_s": round(bench.rate / 1e9),
        **versions(),
    }
    if options.json:
        phases = [asdict(phase) for phase in bench.phases]
        shares = {"hook_overhead": bench.overhead, "idle_callback_overhead": bench.idle_overhead}
        print(json.dumps({"command": command, "machine": machine, "phases": phases, **shares}))
        return
    print(f"`{command}` on {text.name}\n")
    print("; ".join(f"{key} {value}" for key, value in machine.items()) + "\n")
    print("| phase | median ms | 10–90 % | floor ms | ratio |\n|---|---|---|---|---|")
    for phase in bench.phases:
        print(row(phase))
    print(
        f"\nHooks cost {bench.overhead:+.1%} of a decode step beyond the cross layers' arithmetic; "
        f"the idle callback {bench.idle_overhead:+.1%} (medians of {options.rounds} triples)."
    )


if __name__ == "__main__":
    main()

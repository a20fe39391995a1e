"""Lock-step decoding of N candidates against the arithmetic it needs.

    python -m benchmarks.lockstep                      the embedded demo model
    python -m benchmarks.lockstep --one-b FOLDER       a random 1B-shaped pair, written to FOLDER
    python -m benchmarks.lockstep --native FOLDER      one that llama.cpp runs itself

For N = 1, 2, 4, 8, in turn in one process: a step of a whole search (drafter, sampling, grammar,
hooks), a step of bare llama.cpp with the same rows on the same text file (no callback, nothing
drawn), the cross layers' graphs alone, and sampling with and without grammar alone. `bound` is what
the arithmetic allows (bare + cross layers); `share` is bound / measured.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.machine import header
from benchmarks.native_one_b import native_one_b
from benchmarks.phases import bare_context, mllama, one_b
from llavao1_edge import BudgetSettings, Engine, RuntimeSettings, SamplingSettings, demo
from llavao1_edge.engine.runtime import Runtime
from llavao1_edge.images import open_picture
from llavao1_edge.llama.context import Row
from llavao1_edge.llama.sampler import BatchSampler, Grammar, Sampler, Sampling
from llavao1_edge.mllama.model import MllamaModel
from llavao1_edge.search import Branch, Drafter, SearchEvent
from llavao1_edge.search.rounds import draft, drop_all
from llavao1_edge.stages import REASONING, stage_grammar

COUNTS = (1, 2, 4, 8)
QUESTION = "How many small circles do you see?"


@dataclass
class Times:
    """Milliseconds of a step, by what was timed."""

    whole: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    cross: list[float] = field(default_factory=list)
    draw: list[float] = field(default_factory=list)
    draw_free: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class OneStage:
    """n candidates of the reasoning, and no more."""

    width: int
    name: str = "one-stage"
    weighs_stages: bool = True
    forces_tags: bool = True

    def run(self, root: Branch, drafter: Drafter) -> Generator[SearchEvent, None, Branch]:
        drafted = yield from draft([root], drafter, REASONING, n=self.width)
        drop_all(drafter, (candidate.branch for candidate in drafted))
        return root


class Steps:
    def __init__(self, engine: Engine, n_steps: int) -> None:
        self.engine, self.runtime, self.n_steps = engine, engine.runtime, n_steps
        self.picture = open_picture(demo.samples()[0].picture)
        vision = self.runtime.vision
        self.states = vision.states(self.picture) if isinstance(vision, MllamaModel) else None
        chat, words = self.runtime.words.chat, self.runtime.words
        prompt = [*chat.opening(system=words.stage_prompt), *chat.question(QUESTION)]
        self.n_shared = len(self.runtime.encode(prompt))
        self.n_shared += self.runtime.vision.preview(self.picture).n_cells
        self.plain = bare_context(self.runtime)

    def whole(self, n: int) -> list[float]:
        """Steps of a draft in which all n candidates are being written."""
        moments: list[tuple[int, float]] = []
        decode = Runtime.decode

        def watched(runtime: Runtime, rows: list[Row], *args: object, **more: object) -> None:
            moments.append((len(rows), time.perf_counter()))
            decode(runtime, rows, *args, **more)  # type: ignore[arg-type]

        Runtime.decode = watched  # type: ignore[assignment,method-assign]
        session = self.engine.session(self.picture)
        try:
            session.ask(
                QUESTION,
                search=OneStage(n),
                sampling=SamplingSettings(temperature=1.0),
                budget=BudgetSettings(stage_tokens=self.n_steps),
            )
        finally:
            Runtime.decode = decode  # type: ignore[method-assign]
            session.close()
        return [
            (after[1] - now[1]) * 1000
            for now, after in itertools.pairwise(moments[1:])
            if now[0] == after[0] == n
        ]

    def bare(self, n: int, n_steps: int) -> list[float]:
        """Steps of n rows over the same number of cells."""
        plain = self.plain
        for sequence in range(n):
            plain.forget(sequence)
        n_shared = self.n_shared
        for start in range(0, n_shared, plain.n_batch):
            end = min(n_shared, start + plain.n_batch)
            plain.decode([Row(5, i, 0, output=i == n_shared - 1) for i in range(start, end)])
        for sequence in range(1, n):
            plain.fork(0, sequence)
        times = []
        for step in range(n_steps):
            rows = [Row(7, n_shared + step, sequence, output=True) for sequence in range(n)]
            started = time.perf_counter()
            plain.decode(rows)
            times.append((time.perf_counter() - started) * 1000)
        return times

    def cross(self, n: int, rounds: int) -> list[float]:
        if self.states is None:
            return [0.0] * rounds
        arithmetic = mllama(self.runtime).encoder.layers.arithmetic(n, self.states)
        times = []
        for _ in range(rounds):
            started = time.perf_counter()
            arithmetic()
            times.append((time.perf_counter() - started) * 1000)
        return times

    def draw(self, n: int, rounds: int, *, grammar: bool) -> list[float]:
        """Drawing one token for each of n candidates from real logits."""
        runtime = self.runtime
        logits = np.repeat(runtime.context.logits(0)[None], n, axis=0)
        draws = BatchSampler(Sampling(temperature=1.0), runtime.banned)
        samplers = [
            Sampler(
                seed=i,
                grammars=[Grammar(runtime.model, stage_grammar(REASONING))] if grammar else (),
            )
            for i in range(n)
        ]
        times = []
        for _ in range(rounds):
            started = time.perf_counter()
            draws.draw(samplers, logits)
            times.append((time.perf_counter() - started) * 1000)
        for sampler in samplers:
            sampler.close()
        return times


def measure(bench: Steps, rounds: int) -> dict[int, Times]:
    found = {n: Times() for n in COUNTS}
    for number in range(rounds + 1):
        for n, times in found.items():
            whole = bench.whole(n)
            parts = (
                whole,
                bench.bare(n, len(whole)),
                bench.cross(n, len(whole)),
                bench.draw(n, min(len(whole), 40), grammar=True),
                bench.draw(n, min(len(whole), 40), grammar=False),
            )
            if number:  # the first round warms up
                for kept, new in zip(vars(times).values(), parts, strict=True):
                    kept.append(float(np.median(new)))
    return found


def report(found: dict[int, Times]) -> None:
    print("| N | step ms | bare llama.cpp | cross layers | bound | **share** | tokens/s |"
          " sampling + grammar | of the step | grammar alone | of the step |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for n, times in found.items():
        whole, bare, cross = (np.array(t) for t in (times.whole, times.bare, times.cross))
        share = np.median((bare + cross) / whole)
        step = np.median(whole)
        drawn = np.median(times.draw)
        grammar = float(np.median(np.array(times.draw) - np.array(times.draw_free)))
        print(
            f"| {n} | {step:.2f} | {np.median(bare):.2f} | {np.median(cross):.2f} "
            f"| {np.median(bare + cross):.2f} | **{share:.2f}** | {n * 1000 / step:.0f} "
            f"| {drawn:.2f} | {drawn / step:.1%} | {max(0.0, grammar):.2f} "
            f"| {max(0.0, grammar) / step:.1%} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one-b", type=Path, metavar="FOLDER")
    parser.add_argument("--native", type=Path, metavar="FOLDER")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    text, mmproj = demo.text_path(), demo.mmproj_path()
    if options.one_b:
        text, mmproj = one_b(options.one_b)
    elif options.native:
        text, mmproj = native_one_b(options.native)
    settings = RuntimeSettings(gpu_layers=0, context=2048, draft_max=0, threads=options.threads)
    with Engine.open(text=text, mmproj=mmproj, settings=settings) as engine:
        bench = Steps(engine, options.steps)
        found = measure(bench, options.rounds)
        print(header("lockstep"))
        threads = engine.runtime.n_threads
        print(f"{text.name}, {threads} threads, medians of {options.rounds} rounds\n")
        report(found)
        bench.plain.close()


if __name__ == "__main__":
    main()

"""What writing several answers in the same batches brings: answers and tokens a second.

python -m benchmarks.parallel                        the demo model, several pictures
python -m benchmarks.parallel --native FOLDER        a random 1B-shaped model, short prompts
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.machine import header
from benchmarks.native_one_b import native_one_b
from llavao1_edge import Engine, RuntimeSettings, SamplingSettings, StageBeam, Staged, demo
from llavao1_edge.search import Free, Strategy
from llavao1_edge.search.answer import Answer

AT_ONCE = (1, 2, 4, 8)
SAMPLES = demo.samples()
Ask = Callable[[Engine, int], Answer]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--native", type=Path, metavar="FOLDER")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(header("parallel"))
    print("\n| search | at once | answers/s | tokens/s | of one at a time |\n|---|---|---|---|---|")
    if options.native is None:
        settings = RuntimeSettings(gpu_layers=0, threads=1)
        for search, n in ((Staged(), 48), (StageBeam(candidates=4), 16)):
            compare("demo", None, settings, search, n, options.rounds)
    else:
        text, mmproj = native_one_b(options.native)
        settings = RuntimeSettings(
            gpu_layers=0, context=2048, picture_tokens=64, stage_prompt="off"
        )
        compare(str(text), mmproj, settings, Free(), 8, options.rounds)


def compare(
    text: str,
    mmproj: Path | None,
    settings: RuntimeSettings,
    search: Strategy,
    n: int,
    rounds: int,
) -> None:
    """In turns, so that a machine that becomes slower does so for all."""

    def ask(engine: Engine, seed: int) -> Answer:
        if mmproj is not None:
            with engine.session(None) as session:
                sampling = SamplingSettings(max_tokens=48)
                return session.ask(f"Why? {seed}", search=search, seed=seed, sampling=sampling)
        sample = SAMPLES[seed % len(SAMPLES)]
        with engine.session(sample.picture) as session:
            return session.ask(sample.question, search=search, seed=seed)

    found: dict[int, list[tuple[float, float]]] = {at_once: [] for at_once in AT_ONCE}
    for _ in range(rounds):
        for at_once in AT_ONCE:
            with Engine.open(
                text, mmproj=mmproj, settings=settings, search=search, parallel=at_once
            ) as engine:
                found[at_once].append(rates(engine, ask, n))
    base = statistics.median(answers for answers, _ in found[1])
    for at_once, some in found.items():
        answers, tokens = (statistics.median(one[i] for one in some) for i in (0, 1))
        shown = f"| {search.name} | {at_once} | {answers:.2f} | {tokens:.1f} |"
        print(f"{shown} **{answers / base:.2f}** |", flush=True)


def rates(engine: Engine, ask: Ask, n: int) -> tuple[float, float]:
    """(answers, tokens of candidates) a second of `n` questions, after one that warms up."""
    ask(engine, 0)
    started = time.perf_counter()
    with ThreadPoolExecutor(engine.turns.at_once) as threads:
        answers = list(threads.map(lambda seed: ask(engine, seed), range(n)))
    seconds = time.perf_counter() - started
    sampled = sum(answer.trace.counters.sampled_tokens for answer in answers)
    return n / seconds, sampled / seconds


if __name__ == "__main__":
    main()

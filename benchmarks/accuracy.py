"""Every strategy and scorer on held-out questions: right answers, tokens, seconds.

    python -m benchmarks.accuracy --questions 520 --noise 0.5 --rows runs/accuracy.jsonl
    python -m benchmarks.accuracy --questions 500 --model FILE --rows runs/native.jsonl --report
    python -m benchmarks.accuracy --questions 0 --noise 0.5 --rows runs/accuracy.jsonl --report

The model is the first demo, of shapes (`train/checkpoint`). `--noise` weakens it (see `weakened`),
`--hard` spoils the pictures: on plain pictures it hardly errs, and a search has nothing to repair.
One thread per worker, so that seconds compare between rows, but only roughly: the machine is
shared.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import defaultdict
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import header
from benchmarks.rows import Row, difference, read, work
from benchmarks.weakened import weakened
from llavao1_edge import Engine, RuntimeSettings, SamplingSettings
from llavao1_edge.engine import resolve_pair
from llavao1_edge.images import open_picture
from llavao1_edge.search import make_strategy
from train.evaluate import SEED, interval, spoil
from train.questions import KINDS, Task, draw_task
from train.scene import draw_scene, render, scene_rng

COUNTS = (2, 4, 8)
NATIVE_TOKENS = 64  # of a picture, as `train.native` (which needs torch) has them
SEARCHES = ("stage-beam", "best-of-n", "sentence-beam", "retrace")
ORDER = ("direct", "staged", *SEARCHES)
Job = tuple[int, list[Any], argparse.Namespace]
"""A question's number, the cells it lacks, and the command line's options."""
SCORERS = ("logprob", "min-logprob", "agreement", "judge", "judge-reference", "combined")


@dataclass(frozen=True)
class Cell:
    """One row of the table. n 0: greedy."""

    strategy: str
    scorer: str = ""
    n: int = 1

    @property
    def name(self) -> str:
        return f"{self.strategy}/{self.scorer}/{self.n}"


def cells() -> list[Cell]:
    found = [Cell("direct", n=0), Cell("staged", n=0), Cell("direct"), Cell("staged")]
    for strategy in SEARCHES:
        for n in COUNTS:
            found += [Cell(strategy, scorer, n) for scorer in SCORERS]
    return found


def question(index: int, options: argparse.Namespace) -> tuple[Task, Any]:
    scene = draw_scene(scene_rng(options.seed, index), tile_size=56)
    task = draw_task(random.Random(f"question-{index}"), scene, kind=KINDS[index % len(KINDS)])
    picture = render(scene)
    return task, open_picture(spoil(picture, index) if options.hard else picture)


def answer_all(job: tuple[int, list[Cell], argparse.Namespace]) -> list[Row]:
    """All cells of one question; every worker keeps one engine open."""
    index, wanted, options = job
    engine = open_engine(options)
    task, picture = question(index, options)
    rows = []
    for cell in wanted:
        given = {"candidates": cell.n, "scorer": cell.scorer} if cell.scorer else {}
        sampling = SamplingSettings(
            temperature=0 if cell.n == 0 else options.temperature,
            top_p=options.top_p,
            max_tokens=300,
        )
        session = engine.session(picture)
        started = time.perf_counter()
        answer = session.ask(
            task.question, search=make_strategy(cell.strategy, given), sampling=sampling
        )
        seconds = time.perf_counter() - started
        session.close()
        stages = answer.stages
        rows.append(
            {
                "index": index,
                "cell": asdict(cell),
                "kind": task.kind,
                "right": answer.conclusion == task.conclusion,
                "caption": stages.get("caption") == task.caption,
                "possible": any(
                    node.candidate.stage is not None
                    and node.candidate.stage.name == "conclusion"
                    and node.candidate.text == task.conclusion
                    for node in answer.trace.nodes
                ),
                "seconds": round(seconds - answer.trace.counters.picture_ms / 1000, 4),
                "sampled": answer.trace.counters.sampled_tokens,
                "judge_tokens": answer.trace.counters.judge_tokens,
                "judge_calls": answer.trace.counters.judge_calls,
                "undecided": sum(e.verdict.choice == "undecided" for e in answer.trace.comparisons),
                "comparisons": len(answer.trace.comparisons),
            }
        )
    return rows


def open_engine(options: argparse.Namespace) -> Engine:
    if not _OPEN:
        settings = RuntimeSettings(gpu_layers=0, threads=1, context=8192)
        if options.model:  # trained on the stages, with pictures of at most so many tokens
            settings = replace(settings, stage_prompt="off", picture_tokens=NATIVE_TOKENS)
        text, mmproj = pair(options)
        _OPEN.append(Engine.open(text=text, mmproj=mmproj, settings=settings))
    return _OPEN[0]


def pair(options: argparse.Namespace) -> tuple[Path, Path]:
    if options.model:
        return resolve_pair(options.model, text=None, mmproj=None)
    return weakened(options.rows.parent / "weakened", noise=options.noise)


_OPEN: list[Engine] = []


def run(options: argparse.Namespace) -> None:
    done = {(row["index"], Cell(**row["cell"]).name) for row in read(options.rows)}
    chosen = [c for c in cells() if not options.only or any(o in c.name for o in options.only)]
    jobs = []
    for index in range(options.questions):
        wanted = [cell for cell in chosen if (index, cell.name) not in done]
        if wanted:
            jobs.append((index, wanted, options))
    pair(options)  # made once, before the workers start
    work(answer_all, jobs, options.rows, workers=options.workers)


def report(path: Path, options: argparse.Namespace) -> None:
    table: dict[Cell, list[Row]] = defaultdict(list)
    for row in read(path):
        table[Cell(**row["cell"])].append(row)
    sampled = {row["index"]: row["right"] for row in table[Cell("staged")]}
    print(header("accuracy"))
    print(
        f"Seed of the pictures {options.seed}, temperature {options.temperature}, top-p "
        f"{options.top_p}; intervals: Wilson, and a paired bootstrap on the same questions.\n"
    )
    print(
        "| strategy | scorer | N | questions | right | 95 % | against one sample "
        "| one of its conclusions was right | sampled tokens | judge tokens | undecided | ms |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    for cell in sorted(cells(), key=lambda cell: ORDER.index(cell.strategy)):
        rows = [row for row in table.get(cell, []) if row["index"] in sampled]
        if not rows:
            continue
        hits = sum(row["right"] for row in rows)
        low, high = interval(hits, len(rows))
        compared = sum(row["comparisons"] for row in rows)
        open_share = sum(row["undecided"] for row in rows) / compared if compared else None
        print(
            f"| {cell.strategy} | {cell.scorer or '–'} | {cell.n or 'greedy'} | {len(rows)} "
            f"| **{hits / len(rows):.1%}** | {low:.1%}–{high:.1%} | {difference(rows, sampled)} "
            f"| {np.mean([row['possible'] for row in rows]):.1%} "
            f"| {np.mean([row['sampled'] for row in rows]):.0f} "
            f"| {np.mean([row['judge_tokens'] for row in rows]):.0f} "
            f"| {'–' if open_share is None else f'{open_share:.0%}'} "
            f"| {1000 * np.median([row['seconds'] for row in rows]):.0f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=500)
    parser.add_argument("--model", type=Path, help="the text file of `train.native`'s pair")
    parser.add_argument("--rows", type=Path, default=Path("runs/accuracy.jsonl"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=SEED, help="of the pictures")
    parser.add_argument("--hard", action="store_true", help="spoil the pictures")
    parser.add_argument("--noise", type=float, default=0.0, help="weaken the model, see weakened")
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--top-p", type=float, default=1.0)
    parser.add_argument("--only", nargs="*", help="cells whose name contains one of these")
    parser.add_argument("--report", action="store_true", help="print the table")
    options = parser.parse_args()
    if options.questions:
        run(options)
    if options.report:
        report(options.rows, options)


if __name__ == "__main__":
    main()

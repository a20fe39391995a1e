"""No more candidates than needed: right answers, tokens and time, question by question.

    python -m benchmarks.adaptive --questions 2000 --rows runs/adaptive.jsonl
    python -m benchmarks.adaptive --questions 2000 --rows runs/adaptive.jsonl --report

Held-out questions about shapes, the model of shapes weakened by noise (see `weakened`), stage-beam
with eight candidates; a question's ways are asked in turn by one worker. Rows are appended as they
come; the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accuracy import gain, open_engine, question, read_rows, work
from benchmarks.machine import header
from llavao1_edge import SamplingSettings
from llavao1_edge.search import StageBeam
from train.evaluate import SEED, interval

WAYS = (0.0, 0.5)  # of the probability
CANDIDATES = 8


def answer_all(job: tuple[int, list[Any], argparse.Namespace]) -> list[dict[str, Any]]:
    index, ways, options = job
    engine = open_engine(options)
    task, picture = question(index, options)
    sampling = SamplingSettings(temperature=options.temperature, max_tokens=300)
    rows = []
    for way in ways:
        search = StageBeam(candidates=CANDIDATES, scorer=options.scorer, enough=way)
        started = time.perf_counter()
        answer = engine.session(picture).ask(
            task.question, search=search, sampling=sampling, seed=index
        )
        counters = answer.trace.counters
        rows.append(
            {
                "index": index,
                "enough": way,
                "kind": task.kind,
                "right": answer.conclusion == task.conclusion,
                "sampled": counters.sampled_tokens,
                "seconds": round(time.perf_counter() - started - counters.picture_ms / 1000, 4),
            }
        )
    return rows


def report(options: argparse.Namespace) -> None:
    table: dict[float, dict[int, dict[str, Any]]] = defaultdict(dict)
    for row in read_rows(options.rows):
        table[row["enough"]][row["index"]] = row
    whole = sorted(set.intersection(*(set(table[way]) for way in WAYS)))
    print(header("adaptive"))
    print(f"\n{len(whole)} questions, {CANDIDATES} candidates, scorer {options.scorer}.\n")
    print("| enough | right | 95 % | against 0 | sampled tokens | of those | of the time |")
    print("|---|---|---|---|---|---|---|")
    base = {index: table[0.0][index] for index in whole}
    right = {index: row["right"] for index, row in base.items()}
    for way in WAYS:
        rows = [table[way][index] for index in whole]
        hits = sum(row["right"] for row in rows)
        low, high = interval(hits, len(rows))
        mean, least, most = gain(rows, right)
        share, seconds = (
            sum(row[name] for row in rows) / sum(row[name] for row in base.values())
            for name in ("sampled", "seconds")
        )
        print(
            f"| {way} | **{hits / len(rows):.1%}** | {low:.1%}–{high:.1%} "
            f"| {mean:+.1%} ({least:+.1%} to {most:+.1%}) "
            f"| {np.mean([row['sampled'] for row in rows]):.0f} | **{share:.2f}** | {seconds:.2f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=2000)
    parser.add_argument("--rows", type=Path, default=Path("runs/adaptive.jsonl"))
    parser.add_argument("--scorer", default="logprob")
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--noise", type=float, default=0.5, help="weaken the model, see weakened")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=SEED, help="of the pictures")
    parser.add_argument("--report", action="store_true", help="only the table")
    options = parser.parse_args()
    options.model, options.hard, options.task = None, False, "shapes"
    if not options.report:
        done = {(row["index"], row["enough"]) for row in read_rows(options.rows)}
        jobs = []
        for index in range(options.questions):
            wanted = [way for way in WAYS if (index, way) not in done]
            if wanted:
                jobs.append((index, wanted, options))
        work(answer_all, jobs, options)
    report(options)


if __name__ == "__main__":
    main()

"""The paper's claims at our scale: every strategy on 2,000 held-out questions, stage by stage.

    python -m benchmarks.claims --rows runs/claims.jsonl               asks (goes on where it was)
    python -m benchmarks.claims --rows runs/claims.jsonl --report      prints the tables
    python -m benchmarks.claims --rows runs/claims.jsonl --plot benchmarks/claims.png

The model is the weakened demo (see `weakened`), the pictures are plain. Scorers were chosen on the
500 questions of `accuracy`; these are other ones. The demo task has a true text for every stage, so
a wrong answer is traced to the first stage that left the truth.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import accuracy
from llavao1_edge import Answer, SamplingSettings
from llavao1_edge.search import make_strategy
from train.evaluate import SEED
from train.questions import STAGES, UNTAGGED_SUFFIX, Task

FIRST = 500  # the questions before this one chose the scorers
TEMPERATURE = 0.7


@dataclass(frozen=True)
class Cell:
    """One row of the table; greedy: the likeliest token always."""

    strategy: str
    n: int = 1
    scorer: str = ""
    greedy: bool = False
    untagged: bool = False

    @property
    def name(self) -> str:
        asked = "untagged" if self.untagged else self.strategy
        return f"{asked}/{'greedy' if self.greedy else self.n}"


CELLS = (
    Cell("direct", greedy=True),
    Cell("direct"),
    Cell("free", greedy=True, untagged=True),
    Cell("free", untagged=True),
    Cell("staged", greedy=True),
    Cell("staged"),
    *(Cell("stage-beam", n, "combined") for n in (2, 3, 4, 8, 16)),
    *(Cell("best-of-n", n, "logprob") for n in (2, 4, 8, 16)),
    *(Cell("sentence-beam", n, "logprob") for n in (2, 4, 8, 16)),
    *(Cell("retrace", n, "combined") for n in (2, 4, 8)),
)


def texts(answer: Answer, cell: Cell) -> dict[str, str | None]:
    """What the answer says in each stage; without tags the stages are its paragraphs."""
    if not cell.untagged:
        return {name: answer.stages.get(name) for name in STAGES}
    parts = answer.conclusion.split("\n\n")
    if len(parts) != len(STAGES):
        return dict.fromkeys(STAGES) | {"conclusion": parts[-1]}
    return dict(zip(STAGES, parts, strict=True))


def offered(answer: Answer, task: Task) -> dict[str, list[int]]:
    """(true ones, all) of a stage's candidates that go on from the answer's own path."""
    path = {0} | {node.key for node in answer.trace.nodes if node.chosen}
    found: dict[str, list[int]] = {}
    for node in answer.trace.nodes:
        stage = node.candidate.stage
        if stage is not None and node.parent in path:
            counts = found.setdefault(stage.name, [0, 0])
            counts[0] += node.candidate.text.strip() == task.stage(stage.name)
            counts[1] += 1
    return found


def ask_all(job: tuple[int, list[Cell], argparse.Namespace]) -> list[dict[str, Any]]:
    """All cells of one question: its picture is read once."""
    index, wanted, options = job
    engine = accuracy._engine(options)
    task, picture = accuracy.question(index, options)
    rows = []
    for cell in wanted:
        given = {"candidates": cell.n, "scorer": cell.scorer} if cell.scorer else {}
        sampling = SamplingSettings(
            temperature=0 if cell.greedy else TEMPERATURE, top_p=1.0, max_tokens=300
        )
        with engine.session(picture) as session:
            started = time.perf_counter()
            answer = session.ask(
                task.question + (UNTAGGED_SUFFIX if cell.untagged else ""),
                search=make_strategy(cell.strategy, given),
                sampling=sampling,
            )
            seconds = time.perf_counter() - started
        said, counters = texts(answer, cell), answer.trace.counters
        rows.append(
            {
                "index": index,
                "cell": cell.name,
                "kind": task.kind,
                "right": said["conclusion"] == task.conclusion,
                "stages": [said[name] == task.stage(name) for name in STAGES],
                "offered": offered(answer, task),
                "seconds": round(seconds - counters.picture_ms / 1000, 4),
                "sampled": counters.sampled_tokens,
            }
        )
    return rows


def ask(options: argparse.Namespace) -> None:
    done = {(row["index"], row["cell"]) for row in accuracy.read_rows(options.rows)}
    jobs = []
    for index in range(FIRST, FIRST + options.questions):
        wanted = [cell for cell in CELLS if (index, cell.name) not in done]
        if wanted:
            jobs.append((index, wanted, options))
    options.rows.parent.mkdir(parents=True, exist_ok=True)
    accuracy.pair(options)  # made once, before the workers start
    context = multiprocessing.get_context("spawn")
    with context.Pool(options.workers) as pool, options.rows.open("a", encoding="utf-8") as file:
        for rows in pool.imap(ask_all, jobs):
            file.writelines(json.dumps(row) + "\n" for row in rows)
            file.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=2000)
    parser.add_argument("--rows", type=Path, default=Path("runs/claims.jsonl"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--noise", type=float, default=0.5, help="weaken the model, see weakened")
    parser.set_defaults(seed=SEED, hard=False)
    ask(parser.parse_args())


if __name__ == "__main__":
    main()

"""The paper's claims at our scale: the demo, every strategy and scorer on 2,000 held-out questions.

    python -m benchmarks.claims --rows runs/claims.jsonl            goes on where it was stopped
    python -m benchmarks.claims_tables --rows runs/claims.jsonl --plot benchmarks/claims.png

Every question is asked in all ways, so they are compared in pairs. Searches weigh candidates by
`logprob`; the other scorers beside it at some widths. Each task has a true text for every stage, so
a wrong answer is traced to the first stage that left the truth.
"""

from __future__ import annotations

import argparse
import time
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.rows import Row, read, work
from llavao1_edge import Answer, Engine, RuntimeSettings, SamplingSettings, demo
from llavao1_edge.images import Picture, open_picture
from llavao1_edge.search import make_strategy
from train.questions import STAGES, UNTAGGED_SUFFIX, Task
from train.world.evaluate import question

TEMPERATURE = 0.7
COMMON = "logprob"  # the scorer of every search, unless a row names another


@dataclass(frozen=True)
class Cell:
    """One row of the table; greedy: the likeliest token always."""

    strategy: str
    n: int = 1
    scorer: str = ""
    greedy: bool = False
    untagged: bool = False
    enough: float = 0.0

    @property
    def name(self) -> str:
        asked = "untagged" if self.untagged else self.strategy
        other = f"/{self.scorer}" if self.scorer not in ("", COMMON) else ""
        enough = f"/enough {self.enough}" if self.enough else ""
        return f"{asked}/{'greedy' if self.greedy else self.n}{other}{enough}"

    @property
    def options(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self.scorer:
            found |= {"candidates": self.n, "scorer": self.scorer}
        if self.enough:
            found |= {"enough": self.enough}
        return found


CELLS = (
    Cell("direct", greedy=True),
    Cell("direct"),
    Cell("free", greedy=True, untagged=True),
    Cell("free", untagged=True),
    Cell("staged", greedy=True),
    Cell("staged"),
    *(Cell("stage-beam", n, COMMON) for n in (2, 3, 4, 8)),
    Cell("stage-beam", 8, COMMON, enough=0.5),
    *(Cell("best-of-n", n, COMMON) for n in (2, 4, 8)),
    *(Cell("sentence-beam", n, COMMON) for n in (2, 4, 8)),
    *(Cell("retrace", n, COMMON) for n in (2, 4)),
    *(Cell("stage-beam", n, "judge") for n in (2, 4, 8)),
    *(Cell("stage-beam", n, "combined") for n in (2, 4, 8)),
    *(Cell("stage-beam", 4, scorer) for scorer in ("agreement", "min-logprob")),
    Cell("best-of-n", 4, "judge"),
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


@cache
def open_engine() -> Engine:
    """One for each worker."""
    settings = RuntimeSettings(gpu_layers=0, threads=1, context=4096)
    return Engine.open(demo.text_path(), settings=settings)


Job = tuple[int, list[Cell]]
"""A question's number and the cells it lacks."""


def ask_all(job: Job) -> list[Row]:
    """All cells of one question: its picture is read once."""
    index, wanted = job
    scene, task = question("world", index)
    if scene.family == "strange":
        return []
    picture = open_picture(scene.drawn.image)
    about = {"index": index, "family": scene.family, "kind": task.kind}
    return [about | _ask(open_engine(), picture, index, task, cell) for cell in wanted]


def _ask(engine: Engine, picture: Picture, index: int, task: Task, cell: Cell) -> Row:
    sampling = SamplingSettings(
        temperature=0 if cell.greedy else TEMPERATURE, top_p=1.0, max_tokens=300
    )
    with closing(engine.session(picture)) as session:
        started = time.perf_counter()
        answer = session.ask(
            task.question + (UNTAGGED_SUFFIX if cell.untagged else ""),
            search=make_strategy(cell.strategy, cell.options),
            sampling=sampling,
            seed=index,
        )
        seconds = time.perf_counter() - started
    said, counters = texts(answer, cell), answer.trace.counters
    comparisons = answer.trace.comparisons
    return {
        "cell": cell.name,
        "right": said["conclusion"] == task.conclusion,
        "stages": [said[name] == task.stage(name) for name in STAGES],
        "offered": offered(answer, task),
        "seconds": round(seconds - counters.picture_ms / 1000, 4),
        "sampled": counters.sampled_tokens,
        "judged": counters.judge_tokens,
        "comparisons": len(comparisons),
        "undecided": sum(one.verdict.choice == "undecided" for one in comparisons),
    }


def ask(options: argparse.Namespace) -> None:
    done = {(row["index"], row["cell"]) for row in read(options.rows)}
    jobs = []
    for index in range(options.questions):
        wanted = [cell for cell in CELLS if (index, cell.name) not in done]
        if wanted:
            jobs.append((index, wanted))
    work(ask_all, jobs, options.rows, workers=options.workers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--questions", type=int, default=2120, help="one in twenty is of a kind it should not know"
    )
    parser.add_argument("--rows", type=Path, default=Path("runs/claims.jsonl"))
    parser.add_argument("--workers", type=int, default=2)
    ask(parser.parse_args())


if __name__ == "__main__":
    main()

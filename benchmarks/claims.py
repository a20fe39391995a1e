"""The paper's claims at our scale: every strategy on 2,000 held-out questions, stage by stage.

    python -m benchmarks.claims --task world --rows runs/world/claims.jsonl
    python -m benchmarks.claims --rows runs/claims.jsonl               asks (goes on where it was)
    python -m benchmarks.claims --rows runs/claims.jsonl --report      prints the tables
    python -m benchmarks.claims --rows runs/claims.jsonl --plot benchmarks/claims.png

The model is the demo (`--task world`), or the weakened one of shapes (see `weakened`). Scorers were
chosen on the 500 questions of `accuracy`; these are other ones. Each task has a true text for every
stage, so a wrong answer is traced to the first stage that left the truth.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import accuracy
from benchmarks.machine import header
from llavao1_edge import Answer, SamplingSettings
from llavao1_edge.search import make_strategy
from train.evaluate import interval
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
    engine = accuracy.open_engine(options)
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
    accuracy.work(ask_all, jobs, options)


# --- the report -----------------------------------------------------------------------------------
Table = dict[str, list[dict[str, Any]]]


def table_of(path: Path) -> Table:
    """Cell → its rows, in the order of questions; only questions that every cell has."""
    rows = list(accuracy.read_rows(path))
    names = {cell.name for cell in CELLS}
    seen: dict[int, set[str]] = {}
    for row in rows:
        seen.setdefault(row["index"], set()).add(row["cell"])
    whole = {index for index, cells in seen.items() if cells >= names}
    table: Table = {cell.name: [] for cell in CELLS}
    for row in sorted(rows, key=lambda row: row["index"]):
        if row["index"] in whole:
            table[row["cell"]].append(row)
    return table


def share(rows: list[dict[str, Any]]) -> float:
    return float(np.mean([row["right"] for row in rows]))


def tokens(rows: list[dict[str, Any]]) -> float:
    return float(np.mean([row["sampled"] for row in rows]))


def rights(rows: list[dict[str, Any]]) -> dict[int, bool]:
    return {row["index"]: row["right"] for row in rows}


def main_table(table: Table) -> Iterator[str]:
    """Measurement 1."""
    yield "| strategy | N | scorer | right | 95 % | against one sample | sampled tokens | ms |"
    yield "|---|---|---|---|---|---|---|---|"
    for cell in CELLS:
        rows = table[cell.name]
        hits = sum(row["right"] for row in rows)
        low, high = interval(hits, len(rows))
        name = "staged without tags" if cell.untagged else cell.strategy
        yield (
            f"| {name} | {'greedy' if cell.greedy else cell.n} | {cell.scorer or '–'} "
            f"| **{hits / len(rows):.1%}** | {low:.1%}–{high:.1%} "
            f"| {accuracy.difference(rows, rights(table['staged/1']))} | {tokens(rows):.0f} "
            f"| {1000 * np.median([row['seconds'] for row in rows]):.0f} |"
        )


def claims(table: Table) -> Iterator[str]:
    """The paper's relations, paired on the same questions."""
    pairs = (
        ("stages beat direct answers", "staged/1", "direct/1"),
        ("stages beat direct answers, greedy", "staged/greedy", "direct/greedy"),
        ("tags matter", "staged/1", "untagged/1"),
        ("tags matter, greedy", "staged/greedy", "untagged/greedy"),
        ("stage beam beats one answer (N = 2)", "stage-beam/2", "staged/1"),
        ("stage beam beats sentence beam (N = 2)", "stage-beam/2", "sentence-beam/2"),
        ("stage beam beats sentence beam (N = 8)", "stage-beam/8", "sentence-beam/8"),
        ("stage beam beats best-of-N (N = 2)", "stage-beam/2", "best-of-n/2"),
        ("stage beam beats best-of-N (N = 4)", "stage-beam/4", "best-of-n/4"),
        ("stage beam beats best-of-N (N = 16)", "stage-beam/16", "best-of-n/16"),
        ("stage beam beats greedy stages (N = 2)", "stage-beam/2", "staged/greedy"),
        ("stage beam beats greedy stages (N = 8)", "stage-beam/8", "staged/greedy"),
        ("more candidates help (4 against 2)", "stage-beam/4", "stage-beam/2"),
        ("more candidates help (8 against 4)", "stage-beam/8", "stage-beam/4"),
        ("more candidates help (16 against 8)", "stage-beam/16", "stage-beam/8"),
        ("retracing beats stage beam (N = 4)", "retrace/4", "stage-beam/4"),
        ("retracing (2) beats stage beam (4) for fewer tokens", "retrace/2", "stage-beam/4"),
        ("greedy stages beat one sample", "staged/greedy", "staged/1"),
        ("retracing beats best-of-N (N = 8)", "retrace/8", "best-of-n/8"),
    )
    yield "| claim | difference (95 %) | holds here |"
    yield "|---|---|---|"
    for claim, first, second in pairs:
        rows, base = table[first], rights(table[second])
        # As printed: what rounds to nothing does not count.
        low, high = (round(edge, 3) for edge in accuracy.gain(rows, base)[1:])
        verdict = "yes" if low > 0 else "no, the opposite" if high < 0 else "not shown"
        yield f"| {claim} | {accuracy.difference(rows, base)} | {verdict} |"


def matched(table: Table) -> Iterator[str]:
    """Measurement 3: right answers at the same mean of sampled tokens, between measured points."""
    searches = ("best-of-n", "sentence-beam", "stage-beam", "retrace")
    budgets = [tokens(table[f"stage-beam/{n}"]) for n in (2, 4, 8, 16)]
    yield "| tokens | " + " | ".join(searches) + " |"
    yield "|---|" + "---|" * len(searches)
    for budget in budgets:
        cells = []
        for search in searches:
            points = sorted(
                (tokens(table[cell.name]), share(table[cell.name]))
                for cell in CELLS
                if cell.strategy == search or cell.name == "staged/1"
            )
            spent = [at for at, _ in points]
            if not spent[0] <= budget <= spent[-1] * 1.02:
                cells.append("–")
                continue
            found = np.interp(np.log(budget), np.log(spent), [right for _, right in points])
            cells.append(f"{found:.1%}")
        yield f"| {budget:.0f} | " + " | ".join(cells) + " |"


def first_wrong(row: dict[str, Any]) -> str:
    """The first stage that left the truth; `none` where all are true."""
    return next((name for name, ok in zip(STAGES, row["stages"], strict=True) if not ok), "none")


def origins(table: Table) -> Iterator[str]:
    """Measurement 4: where wrong answers come from."""
    shown = ("staged/greedy", "staged/1", "stage-beam/4", "stage-beam/16", "best-of-n/16",
             "sentence-beam/16", "retrace/8")  # fmt: skip
    yield "| search | wrong | " + " | ".join(STAGES) + " | right in spite of a wrong stage |"
    yield "|---|---|" + "---|" * (len(STAGES) + 1)
    for name in shown:
        rows = table[name]
        wrong = [row for row in rows if not row["right"]]
        counts = Counter(first_wrong(row) for row in wrong)
        lucky = sum(row["right"] and first_wrong(row) != "none" for row in rows)
        cells = [f"{counts[stage] / len(rows):.1%}" for stage in STAGES]
        yield (
            f"| {name} | {len(wrong) / len(rows):.1%} | "
            + " | ".join(cells)
            + f" | {lucky / len(rows):.1%} |"
        )


def repairs(table: Table) -> Iterator[str]:
    """Measurement 4: of the questions a single sample got wrong at a stage, how many a search
    answered; and where a stage beam had a true candidate, how often it kept one."""
    searches = ("stage-beam/4", "stage-beam/16", "best-of-n/16", "retrace/8")
    base = table["staged/1"]
    yield "| one sample was wrong from | questions | " + " | ".join(searches) + " |"
    yield "|---|---|" + "---|" * len(searches)
    for stage in STAGES:
        lost = {row["index"] for row in base if not row["right"] and first_wrong(row) == stage}
        cells = []
        for name in searches:
            found = [row["right"] for row in table[name] if row["index"] in lost]
            cells.append(f"{np.mean(found):.0%} repaired" if found else "–")
        yield f"| {stage} | {len(lost)} | " + " | ".join(cells) + " |"
    broken = [row["index"] for row in base if row["right"]]
    cells = []
    for name in searches:
        lookup = rights(table[name])
        cells.append(f"{np.mean([not lookup[index] for index in broken]):.0%} broken")
    yield f"| nowhere (right) | {len(broken)} | " + " | ".join(cells) + " |"


def choices(table: Table) -> Iterator[str]:
    """How often a true candidate was there, and how often it was the one that went on."""
    yield "| stage beam, stage | a true one among 4 | kept where there was | among 16 | kept |"
    yield "|---|---|---|---|---|"
    for at, stage in enumerate(STAGES):
        cells = []
        for n in (4, 16):
            # Only where everything before was true: later stages cannot mend an earlier one.
            rows = [row for row in table[f"stage-beam/{n}"] if all(row["stages"][:at])]
            there = [row for row in rows if row["offered"].get(stage, [0, 0])[0]]
            kept = [row["stages"][at] for row in there]
            cells += [f"{len(there) / len(rows):.1%}", f"{np.mean(kept):.1%}"]
        yield f"| {stage} | " + " | ".join(cells) + " |"


def report(path: Path, seed: int) -> None:
    table = table_of(path)
    n = len(table["staged/1"])
    print(header("claims"))
    print(f"{n} questions (from number {FIRST} on), temperature {TEMPERATURE}, seed {seed}.\n")
    for title, lines in (
        ("Every strategy", main_table(table)),
        ("The paper's claims at our scale", claims(table)),
        ("The same token budget", matched(table)),
        ("Where wrong answers come from: the first stage that left the truth", origins(table)),
        ("What a search repaired", repairs(table)),
        ("Was it there, and was it taken", choices(table)),
    ):
        print(f"## {title}\n")
        print("\n".join(lines) + "\n")


PAPER = {1: 60.3, 2: 61.7, 3: 62.3, 4: 62.9}  # MMVet, the paper's table of stage-level beams


def plot(path: Path, target: Path) -> None:
    """Right answers against sampled tokens; the paper's own curve beside it, on its own scale."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    table = table_of(path)
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2))
    marks = {"stage-beam": "o-", "best-of-n": "s--", "sentence-beam": "^:", "retrace": "d-."}
    for search, mark in marks.items():
        rows = [table["staged/1"]]
        rows += [table[cell.name] for cell in CELLS if cell.strategy == search]
        left.plot([tokens(r) for r in rows], [100 * share(r) for r in rows], mark, label=search)
    left.set(xscale="log", xlabel="sampled tokens per question", ylabel="right answers, %")
    left.set_title("every search, at its cost")
    left.legend()
    ours = {n: 100 * share(table[f"stage-beam/{n}" if n > 1 else "staged/1"]) for n in (1, 2, 3, 4)}
    for name, curve, mark in (("paper, MMVet", PAPER, "s--"), ("here", ours, "o-")):
        start = curve[1]
        right.plot(list(curve), [value - start for value in curve.values()], mark, label=name)
    right.set(
        xlabel="candidates per stage", ylabel="points above one candidate", xticks=[1, 2, 3, 4]
    )
    right.set_title("stage beam: gain over one candidate (different tasks)")
    right.legend()
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(target, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=2000)
    parser.add_argument("--rows", type=Path, default=Path("runs/claims.jsonl"))
    parser.add_argument("--task", choices=accuracy.SEEDS, default="shapes")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--noise", type=float, default=0.5, help="weaken the model of shapes")
    parser.add_argument("--report", action="store_true", help="print the tables")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the plot")
    parser.set_defaults(hard=False, model=None)
    options = parser.parse_args()
    options.seed = accuracy.SEEDS[options.task]
    if options.report:
        report(options.rows, options.seed)
    if options.plot:
        plot(options.rows, options.plot)
    if not (options.report or options.plot):
        ask(options)


if __name__ == "__main__":
    main()

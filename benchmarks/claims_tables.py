"""The tables and the plot of `claims`, from its rows.

python -m benchmarks.claims_tables --rows runs/claims.jsonl --plot benchmarks/claims.png
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.claims import CELLS, COMMON, TEMPERATURE, Cell
from benchmarks.machine import header
from benchmarks.rows import Row, difference, gain, read
from train.evaluate import interval
from train.questions import STAGES

Table = dict[str, list[Row]]


def table_of(path: Path) -> Table:
    """Cell → its rows, in the order of questions; only questions that every cell has."""
    found = read(path)
    names = {cell.name for cell in CELLS}
    seen: dict[int, set[str]] = {}
    for row in found:
        seen.setdefault(row["index"], set()).add(row["cell"])
    whole = {index for index, cells in seen.items() if cells >= names}
    table: Table = {cell.name: [] for cell in CELLS}
    for row in sorted(found, key=lambda row: row["index"]):
        if row["index"] in whole:
            table[row["cell"]].append(row)
    return table


def share(rows: list[Row]) -> float:
    return float(np.mean([row["right"] for row in rows]))


def tokens(rows: list[Row], name: str = "sampled") -> float:
    return float(np.mean([row[name] for row in rows]))


def rights(rows: list[Row]) -> dict[int, bool]:
    return {row["index"]: row["right"] for row in rows}


def main_table(table: Table) -> Iterator[str]:
    """Measurement 1."""
    yield (
        "| strategy | N | scorer | right | 95 % | against one sample | sampled tokens "
        "| read by the judge | ms |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    for cell in CELLS:
        rows = table[cell.name]
        hits = sum(row["right"] for row in rows)
        low, high = interval(hits, len(rows))
        name = "staged without tags" if cell.untagged else cell.strategy
        name += f", enough {cell.enough}" if cell.enough else ""
        yield (
            f"| {name} | {'greedy' if cell.greedy else cell.n} | {cell.scorer or '–'} "
            f"| **{hits / len(rows):.1%}** | {low:.1%}–{high:.1%} "
            f"| {difference(rows, rights(table['staged/1']))} | {tokens(rows):.0f} "
            f"| {tokens(rows, 'judged'):.0f} "
            f"| {1000 * np.median([row['seconds'] for row in rows]):.0f} |"
        )


def claims(table: Table) -> Iterator[str]:
    """The paper's relations, paired on the same questions."""
    pairs = (
        ("stages beat direct answers", "staged/1", "direct/1"),
        ("stages beat direct answers, greedy", "staged/greedy", "direct/greedy"),
        ("tags matter", "staged/1", "untagged/1"),
        ("tags matter, greedy", "staged/greedy", "untagged/greedy"),
        ("greedy stages beat one sample", "staged/greedy", "staged/1"),
        ("stage beam beats one answer (N = 2)", "stage-beam/2", "staged/1"),
        ("stage beam beats greedy stages (N = 2)", "stage-beam/2", "staged/greedy"),
        ("stage beam beats greedy stages (N = 8)", "stage-beam/8", "staged/greedy"),
        ("more candidates help (4 against 2)", "stage-beam/4", "stage-beam/2"),
        ("more candidates help (8 against 4)", "stage-beam/8", "stage-beam/4"),
        ("stage beam beats best-of-N (N = 2)", "stage-beam/2", "best-of-n/2"),
        ("stage beam beats best-of-N (N = 4)", "stage-beam/4", "best-of-n/4"),
        ("stage beam beats best-of-N (N = 8)", "stage-beam/8", "best-of-n/8"),
        ("stage beam beats sentence beam (N = 2)", "stage-beam/2", "sentence-beam/2"),
        ("stage beam beats sentence beam (N = 4)", "stage-beam/4", "sentence-beam/4"),
        ("stage beam beats sentence beam (N = 8)", "stage-beam/8", "sentence-beam/8"),
        ("retracing beats stage beam (N = 4)", "retrace/4", "stage-beam/4"),
        ("retracing (2) beats stage beam (4)", "retrace/2", "stage-beam/4"),
        ("the judge beats log-probability (N = 2)", "stage-beam/2/judge", "stage-beam/2"),
        ("the judge beats log-probability (N = 4)", "stage-beam/4/judge", "stage-beam/4"),
        ("the judge beats log-probability (N = 8)", "stage-beam/8/judge", "stage-beam/8"),
        ("the judge beats it of whole answers (N = 4)", "best-of-n/4/judge", "best-of-n/4"),
        ("combined beats log-probability (N = 4)", "stage-beam/4/combined", "stage-beam/4"),
        ("combined beats log-probability (N = 8)", "stage-beam/8/combined", "stage-beam/8"),
        ("combined beats the judge (N = 4)", "stage-beam/4/combined", "stage-beam/4/judge"),
        ("agreement beats log-probability (N = 4)", "stage-beam/4/agreement", "stage-beam/4"),
        ("the lowest beats the mean (N = 4)", "stage-beam/4/min-logprob", "stage-beam/4"),
        ("all of eight beat as many as needed", "stage-beam/8", "stage-beam/8/enough 0.5"),
    )
    yield "| claim | difference (95 %) | holds here |"
    yield "|---|---|---|"
    for claim, first, second in pairs:
        rows, base = table[first], rights(table[second])
        # As printed: what rounds to nothing does not count.
        low, high = (round(edge, 3) for edge in gain(rows, base)[1:])
        verdict = "yes" if low > 0 else "no, the opposite" if high < 0 else "not shown"
        yield f"| {claim} | {difference(rows, base)} | {verdict} |"


def common(search: str) -> list[Cell]:
    """One sample, and the widths of a search with the scorer that all have."""
    wide = [cell for cell in CELLS if cell.strategy == search and cell.scorer == COMMON]
    return [Cell("staged"), *(cell for cell in wide if not cell.enough)]


def matched(table: Table) -> Iterator[str]:
    """Measurement 3: right answers at the same mean of sampled tokens, between measured points."""
    searches = ("best-of-n", "sentence-beam", "stage-beam", "retrace")
    budgets = [tokens(table[f"stage-beam/{n}"]) for n in (2, 4, 8)]
    yield "| tokens | " + " | ".join(searches) + " |"
    yield "|---|" + "---|" * len(searches)
    for budget in budgets:
        cells = []
        for search in searches:
            points = sorted(
                (tokens(table[cell.name]), share(table[cell.name])) for cell in common(search)
            )
            spent = [at for at, _ in points]
            if not spent[0] <= budget <= spent[-1] * 1.02:
                cells.append("–")
                continue
            found = np.interp(np.log(budget), np.log(spent), [right for _, right in points])
            cells.append(f"{found:.1%}")
        yield f"| {budget:.0f} | " + " | ".join(cells) + " |"


def first_wrong(row: Row) -> str:
    """The first stage that left the truth; `none` where all are true."""
    return next((name for name, ok in zip(STAGES, row["stages"], strict=True) if not ok), "none")


def origins(table: Table) -> Iterator[str]:
    """Measurement 4: where wrong answers come from."""
    shown = ("staged/greedy", "staged/1", "stage-beam/4", "stage-beam/8", "stage-beam/8/judge",
             "best-of-n/8", "sentence-beam/8", "retrace/4")  # fmt: skip
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
    searches = ("stage-beam/4", "stage-beam/8", "stage-beam/8/judge", "best-of-n/8", "retrace/4")
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
    shown = ("stage-beam/4", "stage-beam/8", "stage-beam/8/judge", "stage-beam/8/combined")
    yield "| stage | " + " | ".join(f"{name}: there | kept" for name in shown) + " |"
    yield "|---|" + "---|---|" * len(shown)
    for at, stage in enumerate(STAGES):
        cells = []
        for name in shown:
            # Only where everything before was true: later stages cannot mend an earlier one.
            rows = [row for row in table[name] if all(row["stages"][:at])]
            there = [row for row in rows if row["offered"].get(stage, [0, 0])[0]]
            kept = [row["stages"][at] for row in there]
            cells += [f"{len(there) / len(rows):.1%}", f"{np.mean(kept):.1%}"]
        yield f"| {stage} | " + " | ".join(cells) + " |"


def families(table: Table) -> Iterator[str]:
    shown = ("direct/greedy", "staged/greedy", "stage-beam/4", "stage-beam/8", "best-of-n/8")
    yield "| family | questions | " + " | ".join(shown) + " |"
    yield "|---|---|" + "---|" * len(shown)
    for family in sorted({row["family"] for row in table["staged/1"]}):
        of = [[row for row in table[name] if row["family"] == family] for name in shown]
        yield (
            f"| {family} | {len(of[0])} | " + " | ".join(f"{share(rows):.1%}" for rows in of) + " |"
        )


def report(path: Path) -> None:
    table = table_of(path)
    n = len(table["staged/1"])
    print(header("claims_tables"))
    judged = table["stage-beam/4/judge"]
    undecided = sum(row["undecided"] for row in judged) / sum(row["comparisons"] for row in judged)
    print(
        f"{n} questions about kinds of pictures it knows, temperature {TEMPERATURE}, scorer "
        f"{COMMON} unless named. Of the judge's comparisons at N = 4, "
        f"{undecided:.0%} contradict each other in the two orders.\n"
    )
    for title, lines in (
        ("Every strategy", main_table(table)),
        ("The paper's claims at our scale", claims(table)),
        ("The same token budget", matched(table)),
        ("Where wrong answers come from: the first stage that left the truth", origins(table)),
        ("What a search repaired", repairs(table)),
        ("Was it there, and was it taken", choices(table)),
        ("By family", families(table)),
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
        rows = [table[cell.name] for cell in common(search)]
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
    parser.add_argument("--rows", type=Path, default=Path("runs/claims.jsonl"))
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the plot")
    options = parser.parse_args()
    report(options.rows)
    if options.plot:
        plot(options.rows, options.plot)


if __name__ == "__main__":
    main()

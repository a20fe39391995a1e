"""Tables of a run: numbers from rows, Markdown and JSON from numbers. Pure and repeatable.

Seconds are the machine's and kept apart: the report is the same, byte for byte, whether a run was
interrupted or not.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from llavao1_edge.evaluation.items import Malformed
from llavao1_edge.evaluation.statistics import paired, wilson

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Line:
    """One search with one pair. Means are per question; accuracy is of those that count.

    circular: share of groups whose questions are all right, where groups have several.
    format_failures: conclusions in which nothing of the wanted kind was found.
    gain: against the first search of the same pair, on the same questions, with 95 % interval.
    """

    pair: str
    cell: str
    questions: int
    counted: int
    right: int
    accuracy: float
    low: float
    high: float
    gain: tuple[float, float, float] | None
    circular: float | None
    sampled_tokens: float
    judge_tokens: float
    format_failures: float
    budget_hits: float
    errors: int
    undecided: float | None


@dataclass(frozen=True)
class Report:
    """All tables. categories: category → search → accuracy and number of questions. seconds:
    pair and search → mean seconds of a question without its picture; not part of `as_dict`."""

    title: str
    lines: list[Line]
    categories: dict[str, dict[str, tuple[float, int]]]
    agreement: dict[str, float]
    malformed: list[Malformed] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        found = asdict(self)
        del found["seconds"]
        return found


def make_report(title: str, rows: Sequence[Row], malformed: Sequence[Malformed]) -> Report:
    by_cell: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        by_cell[row["pair"], row["cell"]].append(row)
    bases: dict[str, list[Row]] = {}
    lines = []
    for (pair, cell), mine in by_cell.items():
        bases.setdefault(pair, mine)
        lines.append(_line(pair, cell, mine, bases[pair]))
    seconds = {
        f"{pair} {cell}": _mean(r["seconds"] - r["picture_seconds"] for r in mine if not r["error"])
        for (pair, cell), mine in by_cell.items()
    }
    found = _categories(by_cell), _agreement(by_cell)
    return Report(title, lines, *found, list(malformed), seconds)


def _line(pair: str, cell: str, rows: list[Row], base: list[Row]) -> Line:
    counted = [row for row in rows if row["right"] is not None]
    right = sum(bool(row["right"]) for row in counted)
    low, high = wilson(right, len(counted))
    answered = [row for row in rows if not row["error"]]
    comparisons = sum(row["comparisons"] for row in answered)
    undecided = sum(row["undecided"] for row in answered)
    failures = sum(row["answered"] is None for row in answered)
    return Line(
        pair=pair,
        cell=cell,
        questions=len(rows),
        counted=len(counted),
        right=right,
        accuracy=right / len(counted) if counted else 0.0,
        low=low,
        high=high,
        gain=None if rows is base else _gain(counted, base),
        circular=_circular(counted),
        sampled_tokens=_mean(row["sampled_tokens"] for row in answered),
        judge_tokens=_mean(row["judge_tokens"] for row in answered),
        format_failures=failures / len(answered) if answered else 0.0,
        budget_hits=_mean(bool(row["budget_hit"]) for row in answered),
        errors=len(rows) - len(answered),
        undecided=undecided / comparisons if comparisons else None,
    )


def _mean(values: Any) -> float:
    listed = [float(value) for value in values]
    return round(float(np.mean(listed)), 4) if listed else 0.0


def _gain(rows: list[Row], base: list[Row]) -> tuple[float, float, float] | None:
    first = {row["question"]: bool(row["right"]) for row in base if row["right"] is not None}
    both = [(bool(r["right"]), first[r["question"]]) for r in rows if r["question"] in first]
    if not both:
        return None
    mean, low, high = paired([a for a, _ in both], [b for _, b in both])
    return round(mean, 4), round(low, 4), round(high, 4)


def _circular(rows: list[Row]) -> float | None:
    groups: dict[str, list[bool]] = defaultdict(list)
    for row in rows:
        groups[row["group"]].append(bool(row["right"]))
    if not any(len(found) > 1 for found in groups.values()):
        return None
    return sum(map(all, groups.values())) / len(groups)


def _categories(
    by_cell: Mapping[tuple[str, str], list[Row]],
) -> dict[str, dict[str, tuple[float, int]]]:
    found: dict[str, dict[str, tuple[float, int]]] = {}
    for (pair, cell), rows in by_cell.items():
        names = sorted({row["category"] for row in rows if row["category"]})
        for name in names:
            mine = [r for r in rows if r["category"] == name and r["right"] is not None]
            if mine:
                share = sum(bool(r["right"]) for r in mine) / len(mine)
                found.setdefault(name, {})[f"{pair} {cell}"] = (round(share, 4), len(mine))
    return dict(sorted(found.items()))


def _agreement(by_cell: Mapping[tuple[str, str], list[Row]]) -> dict[str, float]:
    """How often two searches give the same answer to the same question."""
    answers = {
        f"{pair} {cell}": {row["question"]: row["answered"] for row in rows}
        for (pair, cell), rows in by_cell.items()
    }
    found = {}
    for (a, first), (b, second) in itertools.combinations(answers.items(), 2):
        shared = first.keys() & second.keys()
        if shared:
            found[f"{a} = {b}"] = round(
                sum(first[key] == second[key] for key in shared) / len(shared), 4
            )
    return found


# --- in print -------------------------------------------------------------------------------------
def markdown(report: Report) -> str:
    parts = [f"# {report.title}", ""]
    parts.append(
        "| pair | search | questions | right | accuracy | 95 % | against the first | circular "
        "| tokens | judge tokens | no answer found | budget ended | errors | undecided |"
    )
    parts.append("|" + "---|" * 14)
    for line in report.lines:
        gain = "–"
        if line.gain is not None:
            gain = f"{line.gain[0]:+.1%} ({line.gain[1]:+.1%} to {line.gain[2]:+.1%})"
        parts.append(
            f"| {line.pair} | {line.cell} | {line.questions} | {line.right} of {line.counted} "
            f"| **{line.accuracy:.1%}** | {line.low:.1%}–{line.high:.1%} | {gain} "
            f"| {_percent(line.circular)} | {line.sampled_tokens:.0f} | {line.judge_tokens:.0f} "
            f"| {line.format_failures:.1%} | {line.budget_hits:.1%} "
            f"| {line.errors} | {_percent(line.undecided)} |"
        )
    if report.categories:
        cells = list(dict.fromkeys(name for row in report.categories.values() for name in row))
        parts += ["", "## By category", "", f"| category | {' | '.join(cells)} |"]
        parts.append("|" + "---|" * (len(cells) + 1))
        for name, row in report.categories.items():
            shown = [f"{row[c][0]:.1%} of {row[c][1]}" if c in row else "–" for c in cells]
            parts.append(f"| {name} | {' | '.join(shown)} |")
    if report.agreement:
        parts += ["", "## How often two searches give the same answer", "", "| | |", "|---|---|"]
        parts += [f"| {pair} | {share:.1%} |" for pair, share in report.agreement.items()]
    if report.malformed:
        parts += ["", f"## {len(report.malformed)} rows of the data set were left out", ""]
        parts += [f"- line {row.line}: {row.problem}" for row in report.malformed[:50]]
    return "\n".join(parts) + "\n"


def timing(report: Report) -> str:
    """Seconds of each search on this machine, as Markdown."""
    lines = ["| search | seconds per question, without reading the picture |", "|---|---|"]
    lines += [f"| {name} | {seconds:.3f} |" for name, seconds in report.seconds.items()]
    return "\n".join(lines) + "\n"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"

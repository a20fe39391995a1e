"""The tree of a search in columns: one a stage, candidates in the order they were made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llavao1_edge.scoring.decision import Reason as Decided

Node = Mapping[str, Any]


@dataclass(frozen=True)
class Reason:
    """Why a candidate stands where it does. kind: alone, equal, score, judge, greedy, lost, open.

    wins, comparisons: of the judge's, where it was asked about this candidate.
    """

    kind: str
    by: str = ""
    score: float | None = None
    wins: int = 0
    comparisons: int = 0


@dataclass(frozen=True)
class Box:
    """A candidate in the picture of the tree: column and row, and what it goes on from. count, of:
    so many of so many that go on from the same one say this."""

    key: int
    parent: int
    column: int
    row: int
    text: str
    tokens: int
    certainty: float
    chosen: bool
    kept: bool
    reason: Reason
    count: int = 1
    of: int = 1


@dataclass(frozen=True)
class Column:
    stage: str | None
    boxes: tuple[Box, ...]


def columns(trace: Mapping[str, Any]) -> tuple[Column, ...]:
    """Of a trace as JSON. Stages that are written several times (returns, sentences) get a column
    for each depth of the tree."""
    nodes: Sequence[Node] = trace.get("candidates", ())
    depth: dict[int, int] = {0: 0}
    levels: dict[int, list[Node]] = {}
    for node in nodes:
        depth[node["key"]] = depth.get(node["parent"], 0) + 1
        levels.setdefault(depth[node["key"]], []).append(node)
    compared = list(trace.get("comparisons", ()))
    shown: dict[int, int] = {}  # key of a candidate → of the box that shows it
    found = []
    for at, level in sorted(levels.items()):
        groups = _equal(level, shown)
        for group in groups:
            first = next((node for node in group if node.get("chosen")), group[0])
            shown |= {node["key"]: first["key"] for node in group}
        boxes = tuple(
            _box(group, shown, at, row, level, compared) for row, group in enumerate(groups)
        )
        found.append(Column(level[0]["stage"], boxes))
    return tuple(found)


def _equal(level: list[Node], shown: Mapping[int, int]) -> list[list[Node]]:
    """Candidates that say the same after the same, together; in the order they were made."""
    groups: dict[tuple[int, str], list[Node]] = {}
    for node in level:
        parent = shown.get(node["parent"], node["parent"])
        groups.setdefault((parent, node["text"].strip()), []).append(node)
    return list(groups.values())


def _box(
    group: list[Node], shown: Mapping[int, int], depth: int, row: int, level: list[Node],
    compared: list[Any],
) -> Box:  # fmt: skip
    node = next(one for one in group if one["key"] == shown[one["key"]])
    parent = shown.get(node["parent"], node["parent"])
    siblings = [one for one in level if shown.get(one["parent"], one["parent"]) == parent]
    return Box(
        key=node["key"],
        parent=parent,
        column=depth - 1,
        row=row,
        text=node["text"],
        tokens=node["tokens"],
        certainty=node["mean_logprob"],
        chosen=bool(node.get("chosen")),
        kept=any(one.get("kept") for one in group),
        count=len(group),
        of=len(siblings),
        reason=_reason(node, level, compared),
    )


def _reason(node: Node, level: list[Node], compared: list[Any]) -> Reason:
    mine = [c for c in compared if node["key"] in (c["first"], c["second"])]
    wins = sum(c["winner"] == node["key"] for c in mine)
    by, score = str(node.get("by") or ""), node.get("score")
    if len(level) == 1:
        return Reason("alone", by, score)
    if by == Decided.GREEDY:
        return Reason("greedy", by, score)
    if mine:
        return Reason("judge", by, score, wins, len(mine))
    if score is not None:
        return Reason("score", by, score)
    decided = {str(other.get("by") or "") for other in level if other["parent"] == node["parent"]}
    if Decided.EQUAL in decided:
        return Reason("equal", by)
    return Reason("open" if node.get("kept") else "lost", by, score)

"""What comes of it: the examples, what was set aside, and a report. All made anew each time."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llavao1_edge.evaluation.datasets import Malformed
from llavao1_edge.evaluation.items import Item
from llavao1_edge.files import write_whole
from train.annotate.asking import Reason, Teacher
from train.annotate.work import Asked, Limits, Outcome, Spent

EXAMPLES, ASIDE, REPORT = "train.jsonl", "set_aside.jsonl", "report.md"


def write(
    folder: Path,
    items: Sequence[Item],
    malformed: Sequence[Malformed],
    outcome: Outcome,
    *,
    teacher: Teacher,
    limits: Limits,
    spent: Spent,
    source: str,
) -> str:
    """The files, in the order of the data set; the report."""
    asked = [outcome.verdicts[item.key] for item in items if item.key in outcome.verdicts]
    kept = [one for one in asked if one.verdict is not None and one.verdict.reason is None]
    aside = [one for one in asked if one.verdict is not None and one.verdict.reason is not None]
    _lines(folder / EXAMPLES, [example(one) for one in kept])
    _lines(folder / ASIDE, [_aside(one) for one in aside] + [_row(row) for row in malformed])
    report = _report(
        asked, malformed, outcome, teacher=teacher, limits=limits, spent=spent, source=source
    )
    write_whole(folder / REPORT, report)
    return report


def example(asked: Asked) -> dict[str, Any]:
    """As LLaVA-CoT-100k has it."""
    assert asked.verdict is not None
    told: dict[str, Any] = {"id": asked.item.key}
    if asked.image:
        told["image"] = asked.image
    question = {"from": "human", "value": asked.item.prompt()}
    return {**told, "conversations": [question, {"from": "gpt", "value": asked.verdict.text}]}


def _aside(asked: Asked) -> dict[str, Any]:
    assert asked.verdict is not None
    assert asked.verdict.reason is not None
    return {
        "id": asked.item.key,
        "line": asked.item.line,
        "reason": asked.verdict.reason.name.lower(),
        "said": asked.verdict.said,
        "tries": asked.tried,
        "question": asked.item.question,
        "reference": list(asked.item.answers),
    }


def _row(row: Malformed) -> dict[str, Any]:
    return {"line": row.line, "reason": "bad_row", "said": row.problem}


def _lines(path: Path, values: Sequence[Any]) -> None:
    write_whole(path, "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values))


def _report(
    asked: Sequence[Asked],
    malformed: Sequence[Malformed],
    outcome: Outcome,
    *,
    teacher: Teacher,
    limits: Limits,
    spent: Spent,
    source: str,
) -> str:
    reasons = Counter(one.verdict.reason for one in asked if one.verdict is not None)
    n_kept = reasons.pop(None, 0)
    shown = "shown" if teacher.shows_answer else "not shown"
    lines = [
        "# Four-stage answers",
        "",
        f"{source}, by {teacher.model} ({teacher.form.value}, the reference answer {shown}, "
        f"temperature {teacher.temperature:g}, up to {limits.tries} tries)",
        "",
        "| | questions |",
        "|---|---|",
        f"| kept | {n_kept} |",
        *(f"| {reason.value} | {reasons[reason]} |" for reason in Reason if reasons[reason]),
    ]
    if malformed:
        lines.append(f"| rows that cannot be read | {len(malformed)} |")
    if outcome.left:
        lines.append(f"| not asked yet | {outcome.left} |")
    kinds = Counter(one.item.kind for one in asked)
    right = Counter(
        one.item.kind for one in asked if one.verdict is not None and one.verdict.reason is None
    )
    lines += ["", "| kind of question | asked | kept |", "|---|---|---|"]
    lines += [f"| {kind} | {n} | {right[kind]} |" for kind, n in sorted(kinds.items())]
    paid = f", {spent.cost(limits):.2f} at the prices given" if spent.cost(limits) else ""
    lines += [
        "",
        f"{spent.replies} replies, {spent.prompt} tokens of prompts and {spent.completion} of "
        f"answers{paid}.",
    ]
    if outcome.ended:
        lines.append(f"The run ended early: {outcome.ended}.")
    return "\n".join(lines) + "\n"

"""What comes of it: the examples, what was set aside, and a report. All made anew each time."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llavao1_edge.evaluation.items import Item, Malformed
from llavao1_edge.files import write_whole
from train.annotate.asking import Reason, Teacher, Verdict
from train.annotate.replies import ASIDE, EXAMPLES, REPORT, Limits, Spent
from train.annotate.work import Asked, Outcome


@dataclass(frozen=True)
class Annotation:
    """A run and what it was made with. source: the name of the data set."""

    items: Sequence[Item]
    malformed: Sequence[Malformed]
    outcome: Outcome
    teacher: Teacher
    limits: Limits
    spent: Spent
    source: str

    @property
    def judged(self) -> list[tuple[Asked, Verdict]]:
        """In the order of the data set."""
        verdicts = self.outcome.verdicts
        asked = [verdicts[item.key] for item in self.items if item.key in verdicts]
        return [(one, one.verdict) for one in asked if one.verdict is not None]

    def write(self, folder: Path) -> str:
        """The files; the report."""
        kept = [example(one.item, one.image, v) for one, v in self.judged if v.reason is None]
        aside = [_aside(one, v, v.reason) for one, v in self.judged if v.reason is not None]
        _lines(folder / EXAMPLES, kept)
        _lines(folder / ASIDE, aside + [_row(row) for row in self.malformed])
        report = self.report()
        write_whole(folder / REPORT, report)
        return report

    def report(self) -> str:
        teacher, spent = self.teacher, self.spent
        reasons = Counter(verdict.reason for _, verdict in self.judged)
        n_kept = reasons.pop(None, 0)
        shown = "shown" if teacher.shows_answer else "not shown"
        lines = [
            "# Four-stage answers",
            "",
            f"{self.source}, by {teacher.model} ({teacher.form.value}, the reference answer "
            f"{shown}, temperature {teacher.temperature:g}, up to {self.limits.tries} tries)",
            "",
            "| | questions |",
            "|---|---|",
            f"| kept | {n_kept} |",
            *(f"| {reason.value} | {reasons[reason]} |" for reason in Reason if reasons[reason]),
        ]
        if self.malformed:
            lines.append(f"| rows that cannot be read | {len(self.malformed)} |")
        if self.outcome.left:
            lines.append(f"| not asked yet | {self.outcome.left} |")
        kinds = Counter(one.item.kind for one, _ in self.judged)
        right = Counter(one.item.kind for one, verdict in self.judged if verdict.reason is None)
        lines += ["", "| kind of question | asked | kept |", "|---|---|---|"]
        lines += [f"| {kind} | {n} | {right[kind]} |" for kind, n in sorted(kinds.items())]
        cost = spent.cost(self.limits)
        paid = f", {cost:.2f} at the prices given" if cost else ""
        lines += [
            "",
            f"{spent.replies} replies, {spent.prompt} tokens of prompts and {spent.completion} of "
            f"answers{paid}.",
        ]
        if self.outcome.ended:
            lines.append(f"The run ended early: {self.outcome.ended}.")
        return "\n".join(lines) + "\n"


def example(item: Item, image: str, verdict: Verdict) -> dict[str, Any]:
    """As LLaVA-CoT-100k has it."""
    told: dict[str, Any] = {"id": item.key}
    if image:
        told["image"] = image
    question = {"from": "human", "value": item.prompt()}
    return {**told, "conversations": [question, {"from": "gpt", "value": verdict.text}]}


def _aside(asked: Asked, verdict: Verdict, reason: Reason) -> dict[str, Any]:
    return {
        "id": asked.item.key,
        "line": asked.item.line,
        "reason": reason.name.lower(),
        "said": verdict.said,
        "tries": asked.tried,
        "question": asked.item.question,
        "reference": list(asked.item.answers),
    }


def _row(row: Malformed) -> dict[str, Any]:
    return {"line": row.line, "reason": "bad_row", "said": row.problem}


def _lines(path: Path, values: Sequence[Any]) -> None:
    """What was set aside may hold anything that a server said, half a character, too."""
    text = "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)
    write_whole(path, text.encode("utf-8", "replace"))

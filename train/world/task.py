"""One question with the true text of every stage, and what all families share about them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from train.questions import Task
from train.world.canvas import Drawn
from train.world.words import MOST

__all__ = ["Scene", "Task", "ask", "choices", "yes"]


@dataclass(frozen=True)
class Scene:
    """A picture of a family and a maker of questions about it."""

    family: str
    drawn: Drawn
    draw_task: Callable[[random.Random], Task]


def yes(value: bool) -> str:
    return "yes" if value else "no"


def ask(
    rng: random.Random,
    kind: str,
    wordings: Sequence[str],
    *,
    summary: str,
    reasoning: str,
    conclusion: str,
    **about: str,
) -> Task:
    """A task without its caption, in one of `wordings`; `about` fills their braces."""
    question = rng.choice(wordings).format(**about)
    return Task(kind, question, summary, "", reasoning, conclusion)


def choices(rng: random.Random, task: Task, others: Sequence[str]) -> Task:
    """The same question as multiple choice. others: wrong answers of the same sort."""
    truth = task.conclusion
    if truth.isdigit():
        value = int(truth)
        near = {value + step for step in range(-9, 10)} | {value + 10, value * 2}
        pool = [str(number) for number in sorted(near - {value}) if 0 <= number <= MOST]
    else:
        pool = [other for other in dict.fromkeys(others) if other != truth]
    options = [truth, *rng.sample(pool, min(3, len(pool)))]
    rng.shuffle(options)
    letters = "ABCD"[: len(options)]
    answer = letters[options.index(truth)]
    listed = " ".join(f"{letter}. {value}" for letter, value in zip(letters, options, strict=True))
    compared = " ".join(
        f"{letter}. {value} {yes(value == truth)};"
        for letter, value in zip(letters, options, strict=True)
    )
    return replace(
        task,
        kind=f"{task.kind}, choice",
        question=f"{task.question} {listed}",
        summary=f"{task.summary} Then choose.",
        reasoning=f"{task.reasoning} {compared} So {answer}.",
        conclusion=answer,
    )

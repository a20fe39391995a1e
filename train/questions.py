"""Questions about a scene with the true text of every stage. Knows no pixels and no tokens.

The wording is what a tiny model can learn (found by trials):
- SUMMARY normalises the question into a filter;
- CAPTION names each thing's place, then its number directly before its attributes;
- REASONING checks one attribute at a time, repeating the thing's own attribute, the verdict and
  the running count.
Object numbers (` 1`) and counts (`1`) are different tokens under the GPT-2 split.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from train.scene import COLOURS, SHAPES, SIZES, Scene, Thing

STAGES = ("summary", "caption", "reasoning", "conclusion")
DIRECT_SUFFIX = " Answer directly."
UNTAGGED_SUFFIX = " Answer without tags."
KINDS = ("count", "exists", "more", "left", "attribute", "choice")


@dataclass(frozen=True)
class Task:
    """A question and the ground truth of each stage."""

    kind: str
    question: str
    summary: str
    caption: str
    reasoning: str
    conclusion: str

    def stage(self, name: str) -> str:
        return str(getattr(self, name))


@dataclass(frozen=True)
class Filter:
    """Attributes that a thing must have; `None` admits all."""

    size: str | None
    colour: str | None
    shape: str | None

    @property
    def wanted(self) -> list[tuple[int, str]]:
        """(index into `Thing.attributes`, value) in checking order."""
        values = (self.size, self.colour, self.shape)
        return [(index, value) for index, value in enumerate(values) if value is not None]

    @property
    def plural(self) -> str:
        words = [self.size, self.colour, f"{self.shape}s" if self.shape else "objects"]
        return " ".join(word for word in words if word)

    @property
    def singular(self) -> str:
        words = [self.size, self.colour, self.shape or "object"]
        return " ".join(word for word in words if word)

    @property
    def terms(self) -> str:
        return ", ".join(value for _, value in self.wanted)

    def matches(self, thing: Thing) -> bool:
        return all(thing.attributes[index] == value for index, value in self.wanted)


def caption_of(scene: Scene) -> str:
    """`top left: 1 small red square; middle right: 2 large blue circle.`"""
    parts = (
        f"{thing.place}: {number} {' '.join(thing.attributes)}"
        for number, thing in enumerate(scene.things, start=1)
    )
    return "; ".join(parts) + "."


def draw_task(rng: random.Random, scene: Scene, *, kind: str | None = None) -> Task:
    """A random question of `kind` (or of any kind) about `scene`."""
    return _MAKERS[kind or rng.choice(KINDS)](rng, scene)


def _draw_filter(rng: random.Random, scene: Scene, *, most: int = 3) -> Filter:
    # Half of the filters are built from a thing in the picture, so that zero is not the rule.
    if rng.random() < 0.6:
        source = rng.choice(scene.things).attributes
    else:
        source = (rng.choice(SIZES), rng.choice(COLOURS), rng.choice(SHAPES))
    n_terms = min(most, rng.choice((1, 1, 2, 2, 3)))
    kept = set(rng.sample(range(3), n_terms))
    values = [value if index in kept else None for index, value in enumerate(source)]
    return Filter(*values)


def _check(things: tuple[Thing, ...], wanted: Filter, *, counting: bool = True) -> tuple[str, int]:
    """The checking text and the count; `counting` False counts the things that do not match."""
    lines, count = [], 0
    for number, thing in enumerate(things, start=1):
        steps = []
        verdict = True
        for index, value in wanted.wanted:
            verdict = thing.attributes[index] == value
            steps.append(f"{value}? {number} {thing.attributes[index]} {_yes(verdict)}")
            if not verdict:
                break
        count += verdict == counting
        lines.append(f"{' '.join(steps)} ={count};")
    return " ".join(lines), count


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _count(rng: random.Random, scene: Scene) -> Task:
    wanted = _draw_filter(rng, scene)
    wording = rng.choice(
        (
            "How many {} are there?",
            "How many {} do you see?",
            "Count the {}.",
            "What is the number of {}?",
            "How many {} are in the picture?",
        )
    )
    checks, count = _check(scene.things, wanted)
    return Task(
        kind="count",
        question=wording.format(wanted.plural),
        summary=f"Check each object: {wanted.terms}. Then count.",
        caption=caption_of(scene),
        reasoning=f"{checks} The count is ={count}.",
        conclusion=str(count),
    )


def _exists(rng: random.Random, scene: Scene) -> Task:
    wanted = _draw_filter(rng, scene)
    article = "an" if wanted.singular[0] in "aeiou" else "a"
    wording = rng.choice(
        (
            f"Is there {article} {{}}?",
            f"Do you see {article} {{}}?",
            "Is there any {} in the picture?",
        )
    )
    checks, count = _check(scene.things, wanted)
    return Task(
        kind="exists",
        question=wording.format(wanted.singular),
        summary=f"Check each object: {wanted.terms}. Then say if there is one.",
        caption=caption_of(scene),
        reasoning=f"{checks} The count is ={count}, so {_yes(count > 0)}.",
        conclusion=_yes(count > 0),
    )


def _more(rng: random.Random, scene: Scene) -> Task:
    first = _draw_filter(rng, scene, most=1)
    second = _draw_filter(rng, scene, most=1)
    while second == first:
        second = _draw_filter(rng, scene, most=1)
    checks_first, n_first = _check(scene.things, first)
    checks_second, n_second = _check(scene.things, second)
    verdict = _yes(n_first > n_second)
    return Task(
        kind="more",
        question=f"Are there more {first.plural} than {second.plural}?",
        summary=f"Count {first.terms}. Count {second.terms}. Then compare.",
        caption=caption_of(scene),
        reasoning=(
            f"First {first.terms}: {checks_first} Then {second.terms}: {checks_second} "
            f"Compare ={n_first} and ={n_second}, so {verdict}."
        ),
        conclusion=verdict,
    )


def _left(rng: random.Random, scene: Scene) -> Task:
    wanted = _draw_filter(rng, scene)
    wording = rng.choice(
        (
            "How many objects are left after removing all {}?",
            "If all {} are removed, how many objects are left?",
            "Take away all {}. How many objects are left?",
        )
    )
    checks, count = _check(scene.things, wanted, counting=False)
    return Task(
        kind="left",
        question=wording.format(wanted.plural),
        summary=f"Check each object: {wanted.terms}. Then count the others.",
        caption=caption_of(scene),
        reasoning=f"{checks} Left is ={count}.",
        conclusion=str(count),
    )


def _attribute(rng: random.Random, scene: Scene) -> Task:
    number = rng.randrange(len(scene.things)) + 1
    thing = scene.things[number - 1]
    name, index = rng.choice((("size", 0), ("colour", 1), ("shape", 2)))
    value = thing.attributes[index]
    wording = rng.choice(
        ("What {} is the object at the {}?", "What is the {} of the object at the {}?")
    )
    return Task(
        kind="attribute",
        question=wording.format(name, thing.place),
        summary=f"Find the object at {thing.place}. Then say its {name}.",
        caption=caption_of(scene),
        reasoning=f"{thing.place}: {number} {' '.join(thing.attributes)}. The {name} is {value}.",
        conclusion=value,
    )


def _choice(rng: random.Random, scene: Scene) -> Task:
    base = rng.choice((_count, _left, _attribute, _attribute))(rng, scene)
    truth = base.conclusion
    if truth.isdigit():
        pool = [str(number) for number in range(7) if str(number) != truth]
    else:
        values = next(v for v in (SIZES, COLOURS, SHAPES) if truth in v)
        pool = [value for value in values if value != truth]
    options = [truth, *rng.sample(pool, min(3, len(pool)))]
    rng.shuffle(options)
    letters = "ABCD"[: len(options)]
    answer = letters[options.index(truth)]
    listed = " ".join(f"{letter}. {value}" for letter, value in zip(letters, options, strict=True))
    compared = " ".join(
        f"{letter}. {value} {_yes(value == truth)};"
        for letter, value in zip(letters, options, strict=True)
    )
    return replace(
        base,
        kind="choice",
        question=f"{base.question} {listed}",
        summary=f"{base.summary} Then choose.",
        reasoning=f"{base.reasoning} {compared} So {answer}.",
        conclusion=answer,
    )


_MAKERS: dict[str, Callable[[random.Random, Scene], Task]] = {
    "count": _count,
    "exists": _exists,
    "more": _more,
    "left": _left,
    "attribute": _attribute,
    "choice": _choice,
}

"""Charts: bar, grouped bar, line, pie and scatter, with their questions. Knows no pixels."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from train.world.task import Task, ask, choices, yes
from train.world.words import COLOURS, GROUPS, MISSING, TITLES

KINDS = ("bar", "bar", "grouped", "line", "pie", "scatter")
CALLED = {"bar": "Bar chart", "grouped": "Grouped bar chart", "line": "Line chart"}
TOPS = (10, 20, 30)  # largest number of the axis
INK = ("red", "green", "blue", "yellow", "purple", "orange", "grey")
ACROSS = 24  # places of dots from left to right
WAYS = ("rises", "falls", "stays")


@dataclass(frozen=True)
class Series:
    name: str | None
    colour: str
    values: tuple[int, ...]


@dataclass(frozen=True)
class Chart:
    """printed: the numbers stand beside bars and points; without, only the axis tells them.

    A scatter plot has no categories; its series hold each dot's height, `across` its place.
    """

    kind: str
    title: str | None
    categories: tuple[str, ...]
    series: tuple[Series, ...]
    printed: bool
    top: int
    across: tuple[tuple[int, ...], ...] = ()

    @property
    def caption(self) -> str:
        title = f", {self.title}" if self.title else ""
        if self.kind == "scatter":
            counts = ", ".join(
                f"{one.colour} {len(one.values)} {_way(one, self.top)}" for one in self.series
            )
            return f"Scatter plot{title}: {counts}."
        called = CALLED.get(self.kind, "Pie chart")
        rows = []
        for at, name in enumerate(self.categories):
            rows.append(
                ", ".join(f"{full_name(name, one)} {one.values[at]}" for one in self.series)
            )
        return f"{called}{title}: {'; '.join(rows)}."


def full_name(category: str, one: Series) -> str:
    """As captions and answers name one value: `Tue`, or `Tue Ann`."""
    return f"{category} {one.name}" if one.name else category


def _way(one: Series, top: int) -> str:
    """Of the dots of a scatter plot, from the left half to the right."""
    half = len(one.values) // 2
    gap = (sum(one.values[-half:]) - sum(one.values[:half])) / half / top
    return "rises" if gap > 0.15 else "falls" if gap < -0.15 else "stays"


def draw_chart(rng: random.Random) -> Chart:
    kind = rng.choice(KINDS)
    title = rng.choice(TITLES) if rng.random() < 0.4 else None
    top = rng.choice(TOPS)
    if kind == "scatter":
        return _scatter(rng, title, top)
    group = rng.choice(list(GROUPS.values()))
    most = {"grouped": 3, "pie": 5, "bar": 6, "line": 6}[kind]
    n = rng.randint(2 if kind == "grouped" else 3, min(most, len(group)))
    categories = _some(rng, group, n)
    if kind == "pie":
        values = _shares(rng, n)
        return Chart(kind, title, categories, (Series(None, "", values),), True, 100)
    others = [names for names in GROUPS.values() if names is not group and len(names) <= 7]
    names = rng.sample(rng.choice(others), 2) if kind == "grouped" else [None]
    colours = rng.sample(INK, 2)
    series = tuple(
        Series(name, colour, tuple(rng.randint(1, top) for _ in categories))
        for name, colour in zip(names, colours, strict=False)
    )
    return Chart(kind, title, categories, series, rng.random() < 0.55, top)


def _some(rng: random.Random, group: tuple[str, ...], n: int) -> tuple[str, ...]:
    """Days and months in their order, half of the time from the middle; others in any."""
    if group in (GROUPS["days"], GROUPS["months"]):
        start = rng.randint(0, len(group) - n)
        return group[start : start + n]
    return tuple(rng.sample(group, n))


def _shares(rng: random.Random, n: int) -> tuple[int, ...]:
    """n multiples of 5, at least 10, that make 100."""
    cuts = sorted(rng.sample(range(1, 20 - n), n - 1))
    steps = [b - a for a, b in zip([0, *cuts], [*cuts, 20 - n], strict=True)]
    return tuple(5 * (step + 1) for step in steps)


def _scatter(rng: random.Random, title: str | None, top: int) -> Chart:
    colours = rng.sample(INK, rng.choice((1, 2)))
    slope = rng.choice((-1, 0, 1))
    series, across = [], []
    for row, colour in enumerate(colours):
        n = rng.randint(3, 7)
        # Every other place is of one colour: no dot hides another.
        places = sorted(rng.sample(range(2 + row, ACROSS - 1, 2), n))
        heights = []
        for place in places:
            middle = top / 2 + slope * (place / ACROSS - 0.5) * top * 0.8
            wide = 0.1 if slope else 0.4
            heights.append(round(min(top, max(1, middle + rng.uniform(-wide, wide) * top))))
        series.append(Series(None, colour, tuple(heights)))
        across.append(tuple(places))
    return Chart("scatter", title, (), tuple(series), False, top, tuple(across))


# --- questions ----------------------------------------------------------------------------------


def chart_task(chart: Chart, rng: random.Random) -> Task:
    if chart.kind == "scatter":
        makers: tuple[Callable[[Chart, random.Random], Task], ...] = (_dots, _most_dots)
    elif chart.kind == "grouped":
        makers = (_value, _pair_difference, _larger, _largest)
    else:
        makers = (_value, _difference, _compare, _largest, _smallest, _above, _sum)
        if chart.kind == "line":
            makers = (*makers, _trend, _trend)
    task = replace(rng.choice(makers)(chart, rng), caption=chart.caption)
    if rng.random() < 0.12 and task.conclusion not in ("yes", "no", MISSING):
        return choices(rng, task, _others(chart, task.conclusion))
    return task


def _others(chart: Chart, truth: str) -> tuple[str, ...]:
    """Answers of the sort of `truth`."""
    if truth in WAYS:
        return WAYS
    if chart.kind == "scatter":
        return tuple(COLOURS)
    return (*chart.categories, *(one.name for one in chart.series if one.name))


def _pick(chart: Chart, rng: random.Random) -> tuple[str, int]:
    """Something with a value as the question names it: `Tue`, or `Tue Ann`."""
    at = rng.randrange(len(chart.categories))
    one = rng.choice(chart.series)
    name = chart.categories[at]
    return full_name(name, one), one.values[at]


def _two(chart: Chart, rng: random.Random) -> tuple[tuple[str, int], tuple[str, int]]:
    first = second = _pick(chart, rng)
    while second[0] == first[0]:
        second = _pick(chart, rng)
    return first, second


def _value(chart: Chart, rng: random.Random) -> Task:
    name, value = _pick(chart, rng)
    found, answer = f"{name} {value}.", str(value)
    if rng.random() < 0.08 and len(chart.series) == 1:
        absent = [n for names in GROUPS.values() for n in names if n not in chart.categories]
        name = rng.choice(absent)
        found, answer = f"{name} {MISSING}.", MISSING
    wordings = ("What is the value of {a}?", "How much is {a}?", "What does {a} show?",
                "Read the value of {a}.")  # fmt: skip
    return ask(rng, "value", wordings, a=name, summary=f"Read {name}.", reasoning=found,
               conclusion=answer)  # fmt: skip


def _difference(chart: Chart, rng: random.Random) -> Task:
    (a, x), (b, y) = sorted(_two(chart, rng), key=lambda item: -item[1])
    return ask(
        rng,
        "difference",
        ("How much larger is {a} than {b}?", "What is the difference between {a} and {b}?",
         "By how much is {a} above {b}?"),
        a=a,
        b=b,
        summary=f"Read {a} and {b}. Then subtract.",
        reasoning=f"{a} {x}. {b} {y}. {x} - {y} = {x - y}.",
        conclusion=str(x - y),
    )  # fmt: skip


def _compare(chart: Chart, rng: random.Random) -> Task:
    (a, x), (b, y) = _two(chart, rng)
    sign = ">" if x > y else "<" if x < y else "="
    return ask(
        rng,
        "compare",
        ("Is {a} larger than {b}?", "Is {a} more than {b}?", "Does {a} have more than {b}?"),
        a=a,
        b=b,
        summary=f"Read {a} and {b}. Then compare.",
        reasoning=f"{a} {x}. {b} {y}. {x} {sign} {y}, so {yes(x > y)}.",
        conclusion=yes(x > y),
    )


def _extreme(chart: Chart, rng: random.Random, *, largest: bool) -> Task:
    one = rng.choice(chart.series)
    order = max if largest else min
    best, steps = None, []
    for name, value in zip(chart.categories, one.values, strict=True):
        if best is None or order(value, best[1]) != best[1]:
            best = (name, value)
        steps.append(f"{full_name(name, one)} {value}, best {best[0]} {best[1]};")
    assert best is not None
    if one.values.count(best[1]) > 1:  # two are equal: the question would have no answer
        return _value(chart, rng)
    word = "largest" if largest else "smallest"
    of = f" of {one.name}" if one.name else ""
    wordings = ("Which has the {w} value{of}?", "Which one is the {w}{of}?", "Name the {w}{of}.")
    return ask(rng, word, wordings, w=word, of=of, summary=f"Go through all{of}. Keep the {word}.",
               reasoning=" ".join(steps), conclusion=best[0])  # fmt: skip


def _largest(chart: Chart, rng: random.Random) -> Task:
    return _extreme(chart, rng, largest=True)


def _smallest(chart: Chart, rng: random.Random) -> Task:
    return _extreme(chart, rng, largest=False)


def _above(chart: Chart, rng: random.Random) -> Task:
    values = chart.series[0].values
    limit = rng.choice([value for value in range(1, chart.top) if value not in values] or [5])
    count, steps = 0, []
    for value in values:
        count += value > limit
        steps.append(f"{value} > {limit} {yes(value > limit)} ={count};")
    wordings = ("How many are above {n}?", "How many values are larger than {n}?",
                "Count the values above {n}.")  # fmt: skip
    return ask(rng, "above", wordings, n=str(limit), summary=f"Check each: above {limit}. "
               "Then count.", reasoning=f"{' '.join(steps)} The count is ={count}.",
               conclusion=str(count))  # fmt: skip


def _sum(chart: Chart, rng: random.Random) -> Task:
    (a, x), (b, y) = _two(chart, rng)
    wordings = ("What is the sum of {a} and {b}?", "How much are {a} and {b} together?",
                "Add {a} and {b}.")  # fmt: skip
    return ask(rng, "sum", wordings, a=a, b=b, summary=f"Read {a} and {b}. Then add.",
               reasoning=f"{a} {x}. {b} {y}. {x} + {y} = {x + y}.",
               conclusion=str(x + y))  # fmt: skip


def _trend(chart: Chart, rng: random.Random) -> Task:
    names, values = chart.categories, chart.series[0].values
    first, last = values[0], values[-1]
    word = "rises" if last > first else "falls" if last < first else "stays"
    sign = "<" if last > first else ">" if last < first else "="
    wordings = ("Does the line rise or fall?", "What is the trend?",
                "Does it rise or fall from first to last?")  # fmt: skip
    return ask(rng, "trend", wordings, summary="Compare the first and the last value.",
               reasoning=f"{names[0]} {first}. {names[-1]} {last}. {first} {sign} {last}, "
               f"so it {word}.", conclusion=word)  # fmt: skip


def _pair_difference(chart: Chart, rng: random.Random) -> Task:
    at = rng.randrange(len(chart.categories))
    name = chart.categories[at]
    a, b = sorted(chart.series, key=lambda one: -one.values[at])
    x, y = a.values[at], b.values[at]
    wordings = ("What is the difference between {a} and {b} in {n}?",
                "How far apart are {a} and {b} in {n}?")  # fmt: skip
    return ask(rng, "difference", wordings, a=a.name or "", b=b.name or "", n=name,
               summary=f"Read {a.name} and {b.name} in {name}. Then subtract.",
               reasoning=f"{name} {a.name} {x}. {name} {b.name} {y}. {x} - {y} = {x - y}.",
               conclusion=str(x - y))  # fmt: skip


def _larger(chart: Chart, rng: random.Random) -> Task:
    at = rng.randrange(len(chart.categories))
    name = chart.categories[at]
    a, b = chart.series
    x, y = a.values[at], b.values[at]
    sign = ">" if x > y else "<" if x < y else "="
    more = "both" if x == y else (a.name if x > y else b.name) or ""
    wordings = ("Who has more in {n}, {a} or {b}?", "Which is larger in {n}: {a} or {b}?")
    return ask(rng, "larger", wordings, a=a.name or "", b=b.name or "", n=name,
               summary=f"Read {a.name} and {b.name} in {name}. Then compare.",
               reasoning=f"{name} {a.name} {x}. {name} {b.name} {y}. {x} {sign} {y}.",
               conclusion=more)  # fmt: skip


def _dots(chart: Chart, rng: random.Random) -> Task:
    one = rng.choice(chart.series)
    n = len(one.values)
    wordings = ("How many {c} dots are there?", "Count the {c} dots.",
                "How many {c} points do you see?")  # fmt: skip
    return ask(rng, "dots", wordings, c=one.colour, summary=f"Count the {one.colour} dots.",
               reasoning=f"{one.colour} {n}.", conclusion=str(n))  # fmt: skip


def _most_dots(chart: Chart, rng: random.Random) -> Task:
    if len(chart.series) == 1:
        return _direction(chart, rng)
    if rng.random() < 0.5:
        return _direction(chart, rng)
    a, b = (len(one.values) for one in chart.series)
    first, second = (one.colour for one in chart.series)
    sign = ">" if a > b else "<" if a < b else "="
    more = "both" if a == b else first if a > b else second
    wordings = ("Which colour has more dots?", "Are there more {a} or {b} dots?")
    return ask(rng, "more dots", wordings, a=first, b=second, summary="Count both. Then compare.",
               reasoning=f"{first} {a}. {second} {b}. {a} {sign} {b}.",
               conclusion=more)  # fmt: skip


def _direction(chart: Chart, rng: random.Random) -> Task:
    one = rng.choice(chart.series)
    word = _way(one, chart.top)
    wordings = ("Do the {c} dots rise or fall?", "What is the trend of the {c} dots?")
    return ask(rng, "direction", wordings, c=one.colour,
               summary=f"Compare the left and the right {one.colour} dots.",
               reasoning=f"{one.colour} {len(one.values)} {word}.",
               conclusion=word)  # fmt: skip

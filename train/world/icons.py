"""Little pictures of known things on a grid of three by three."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

from PIL import Image

from train.scene import COLUMNS, ROWS
from train.world.canvas import GRAIN, Drawn, mark, new_sheet
from train.world.material import HERE, SETS, SIDE
from train.world.task import Scene, Task, ask, choices, yes
from train.world.words import ICONS


@dataclass(frozen=True)
class Placed:
    name: str
    row: int
    column: int

    @property
    def place(self) -> str:
        return f"{ROWS[self.row]} {COLUMNS[self.column]}"


@cache
def icon(hand: str, name: str) -> Image.Image:
    """One icon as `hand` (noto, fluent, twemoji) draws it, RGBA."""
    at = ICONS.index(name) * SIDE
    return Image.open(HERE / f"{hand}.png").convert("RGBA").crop((at, 0, at + SIDE, SIDE))


def draw_icons(rng: random.Random, *, hands: Sequence[str] = tuple(SETS)) -> Scene:
    some = rng.sample(ICONS, rng.randint(1, 4))  # few names, so that some come twice
    cells = sorted(rng.sample(range(9), rng.randint(1, 6)))
    things = tuple(Placed(rng.choice(some), *divmod(cell, 3)) for cell in cells)
    drawn = _draw(things, rng, hands)
    return Scene("icons", drawn, lambda luck: _task(things, luck))


def _draw(things: tuple[Placed, ...], rng: random.Random, hands: Sequence[str]) -> Drawn:
    sheet = new_sheet(rng, ratio=rng.choice(((4, 3), (1, 1), (1, 1), (3, 4), (3, 2))))
    hand = rng.choice(hands)
    cell = min(sheet.width, sheet.height) / 3
    for thing in things:
        side = cell * rng.uniform(0.62, 0.92)
        slack_x, slack_y = (sheet.width / 3 - side) / 2, (sheet.height / 3 - side) / 2
        x = sheet.width / 3 * thing.column + slack_x * rng.uniform(0.4, 1.6)
        y = sheet.height / 3 * thing.row + slack_y * rng.uniform(0.4, 1.6)
        pixels = round(side * GRAIN)
        drawn = icon(hand, thing.name).resize((pixels, pixels), Image.Resampling.BICUBIC)
        sheet.image.paste(drawn, (round(x * GRAIN), round(y * GRAIN)), drawn)
        about = mark("icon", word=thing.name, row=thing.row + 1, column=thing.column + 1)
        sheet.mark((x, y, x + side, y + side), about)
    return sheet.done()


def _task(things: tuple[Placed, ...], rng: random.Random) -> Task:
    caption = "Icons: " + "; ".join(f"{thing.place} {thing.name}" for thing in things) + "."
    names = [thing.name for thing in things]
    alone = [thing for thing in things if names.count(thing.name) == 1]
    makers = [_at, _at, _count, _exists]
    if alone:
        task = rng.choice((*makers, _where))(alone if rng.random() < 0.5 else things, rng)
        if task.kind == "where":
            task = _where(alone, rng)
        elif task.kind != "icon at":
            task = rng.choice((_count, _exists))(things, rng)
    else:
        task = rng.choice(makers)(things, rng)
    task = replace(task, caption=caption)
    if rng.random() < 0.1 and task.conclusion not in ("yes", "no") and task.kind != "where":
        return choices(rng, task, rng.sample(ICONS, 6))
    return task


def _at(things: Sequence[Placed], rng: random.Random) -> Task:
    thing = rng.choice(things)
    wordings = ("What is at the {p}?", "Name the icon at the {p}.", "What do you see at the {p}?")
    return ask(rng, "icon at", wordings, p=thing.place, summary=f"Find {thing.place}.",
               reasoning=f"{thing.place} {thing.name}.", conclusion=thing.name)  # fmt: skip


def _where(things: Sequence[Placed], rng: random.Random) -> Task:
    thing = rng.choice(things)
    wordings = ("Where is the {n}?", "In which place is the {n}?", "Find the {n}.")
    return ask(rng, "where", wordings, n=thing.name, summary=f"Find the {thing.name}.",
               reasoning=f"The {thing.name} is at {thing.place}.",
               conclusion=thing.place)  # fmt: skip


def _tally(things: Sequence[Placed], name: str) -> tuple[str, int]:
    count, steps = 0, []
    for thing in things:
        count += thing.name == name
        steps.append(f"{thing.name} {yes(thing.name == name)} ={count};")
    return " ".join(steps), count


def _wanted(things: Sequence[Placed], rng: random.Random) -> str:
    return rng.choice(things).name if rng.random() < 0.65 else rng.choice(ICONS)


def _count(things: Sequence[Placed], rng: random.Random) -> Task:
    name = _wanted(things, rng)
    steps, count = _tally(things, name)
    wordings = ("How many times do you see a {n}?", "Count each {n}.", "How often is there a {n}?")
    return ask(rng, "icon count", wordings, n=name, summary=f"Check each icon: {name}. Then count.",
               reasoning=f"{steps} The count is ={count}.", conclusion=str(count))  # fmt: skip


def _exists(things: Sequence[Placed], rng: random.Random) -> Task:
    name = _wanted(things, rng)
    steps, count = _tally(things, name)
    wordings = ("Is there a {n}?", "Do you see a {n}?", "Is there a {n} in the picture?")
    return ask(rng, "icon exists", wordings, n=name,
               summary=f"Check each icon: {name}. Then say if there is one.",
               reasoning=f"{steps} The count is ={count}, so {yes(count > 0)}.",
               conclusion=yes(count > 0))  # fmt: skip

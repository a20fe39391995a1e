"""Triangles, rectangles and circles with printed lengths and angles."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from math import cos, hypot, pi, sin

from train.world.canvas import Colour, Drawn, Sheet, mark, new_sheet, shade
from train.world.task import Scene, Task, ask, choices, yes
from train.world.words import COLOURS

Point = tuple[float, float]
SIDES_OF = ("equilateral", "isosceles", "scalene")
ANGLES_OF = ("acute", "right", "obtuse")


@dataclass(frozen=True)
class Figure:
    """kind: `angles` or `sides` of a triangle, `rectangle`, `radius` or `diameter` of a circle.

    numbers: as they are printed, None for the one that is asked for (a question mark).
    """

    kind: str
    numbers: tuple[int | None, ...]
    colour: str

    @property
    def caption(self) -> str:
        shown = ["?" if number is None else str(number) for number in self.numbers]
        if self.kind in ("angles", "sides"):
            return f"{self.colour} triangle with {self.kind} {', '.join(shown)}."
        if self.kind == "rectangle":
            return f"{self.colour} rectangle, {shown[0]} wide and {shown[1]} high."
        return f"{self.colour} circle with {self.kind} {shown[0]}."


def draw_geometry(rng: random.Random) -> Scene:
    kind = rng.choice(("angles", "angles", "sides", "rectangle", "rectangle", "radius", "diameter"))
    colour = rng.choice(("red", "green", "blue", "yellow", "purple", "orange", "black"))
    numbers: tuple[int | None, ...]
    if kind == "angles":
        numbers = _angles(rng)
        if rng.random() < 0.65:
            hidden = rng.randrange(3)
            numbers = tuple(None if at == hidden else value for at, value in enumerate(numbers))
    elif kind == "sides":
        numbers = _sides(rng)
    elif kind == "rectangle":
        width = rng.randint(2, 14)
        numbers = (width, width if rng.random() < 0.2 else rng.randint(2, 14))
    elif kind == "radius":
        numbers = (rng.randint(2, 14),)
    else:
        numbers = (2 * rng.randint(2, 20),)
    figure = Figure(kind, numbers, colour)
    return Scene("geometry", _draw(figure, rng), lambda luck: _task(figure, luck))


def _angles(rng: random.Random) -> tuple[int, ...]:
    if rng.random() < 0.25:
        first = 5 * rng.randint(5, 13)
        found = [first, 90 - first, 90]
    else:
        first = 5 * rng.randint(5, 22)
        second = 5 * rng.randint(5, max(5, (155 - first) // 5))
        found = [first, second, 180 - first - second]
    rng.shuffle(found)
    return tuple(found)


def _sides(rng: random.Random) -> tuple[int, ...]:
    while True:
        a, b, c = (rng.randint(3, 20) for _ in range(3))
        luck = rng.random()
        if luck < 0.33:
            b = c = a
        elif luck < 0.66:
            b = a
        found = [a, b, c]
        rng.shuffle(found)
        if 2 * max(found) < sum(found):
            return tuple(found)


# --- questions ----------------------------------------------------------------------------------


def _task(figure: Figure, rng: random.Random) -> Task:
    task = replace(_asked(figure, rng), caption=figure.caption)
    pool = {"sides": SIDES_OF, "angles": ANGLES_OF}.get(figure.kind, ())
    fit = task.conclusion.isdigit() or task.conclusion in pool
    if rng.random() < 0.12 and fit:
        return choices(rng, task, pool)
    return task


def _asked(figure: Figure, rng: random.Random) -> Task:
    numbers = [number or 0 for number in figure.numbers]
    if figure.kind == "angles" and None in figure.numbers:
        return _missing(rng, [number for number in figure.numbers if number is not None])
    if figure.kind == "angles":
        return _kind_by_angles(rng, numbers)
    if figure.kind == "sides":
        return (_kind_by_sides if rng.random() < 0.5 else _around)(rng, numbers)
    if figure.kind == "rectangle":
        return rng.choice((_perimeter, _area, _perimeter, _area, _square))(rng, numbers)
    return _circle(rng, figure.kind, numbers[0])


def _missing(rng: random.Random, known: list[int]) -> Task:
    a, b = known
    wordings = ("What is the missing angle?", "How large is the angle with the question mark?",
                "Find the third angle.", "What is the value of the angle ?")  # fmt: skip
    return ask(rng, "missing angle", wordings, summary="Subtract both angles from 180.",
               reasoning=f"180 - {a} = {180 - a}. {180 - a} - {b} = {180 - a - b}.",
               conclusion=str(180 - a - b))  # fmt: skip


def _kind_by_angles(rng: random.Random, angles: list[int]) -> Task:
    most = max(angles)
    sign = ">" if most > 90 else "<" if most < 90 else "="
    name = "obtuse" if most > 90 else "acute" if most < 90 else "right"
    wordings = ("What kind of triangle is this?", "Is the triangle acute, right or obtuse?")
    return ask(rng, "kind of triangle", wordings, summary="Compare the largest angle with 90.",
               reasoning=f"The largest is {most}. {most} {sign} 90, so {name}.",
               conclusion=name)  # fmt: skip


def _kind_by_sides(rng: random.Random, sides: list[int]) -> Task:
    a, b, c = sides
    steps = [f"{x} {'=' if x == y else 'not'} {y}" for x, y in ((a, b), (b, c), (a, c))]
    equal = len({a, b, c})
    name = SIDES_OF[equal - 1]
    wordings = ("What kind of triangle is this?",
                "Is the triangle equilateral, isosceles or scalene?")  # fmt: skip
    return ask(rng, "kind of triangle", wordings, summary="Compare the sides.",
               reasoning=f"{'; '.join(steps)}. So {name}.", conclusion=name)  # fmt: skip


def _around(rng: random.Random, sides: list[int]) -> Task:
    a, b, c = sides
    wordings = ("What is the perimeter?", "How long is the perimeter of the triangle?",
                "Add all sides.")  # fmt: skip
    return ask(rng, "perimeter", wordings, summary="Add all sides.",
               reasoning=f"{a} + {b} = {a + b}. {a + b} + {c} = {a + b + c}.",
               conclusion=str(a + b + c))  # fmt: skip


def _perimeter(rng: random.Random, sides: list[int]) -> Task:
    a, b = sides
    wordings = ("What is the perimeter?", "How long is the perimeter of the rectangle?",
                "How long is the way around the rectangle?")  # fmt: skip
    return ask(rng, "perimeter", wordings, summary="Add both sides. Then double.",
               reasoning=f"{a} + {b} = {a + b}. 2 x {a + b} = {2 * (a + b)}.",
               conclusion=str(2 * (a + b)))  # fmt: skip


def _area(rng: random.Random, sides: list[int]) -> Task:
    a, b = sides
    wordings = ("What is the area?", "How large is the area of the rectangle?",
                "Find the area of the rectangle.")  # fmt: skip
    return ask(rng, "area", wordings, summary="Multiply both sides.",
               reasoning=f"{a} x {b} = {a * b}.", conclusion=str(a * b))  # fmt: skip


def _square(rng: random.Random, sides: list[int]) -> Task:
    a, b = sides
    wordings = ("Is this a square?", "Is the rectangle a square?")
    sign = "=" if a == b else "not"
    return ask(rng, "square", wordings, summary="Compare both sides.",
               reasoning=f"{a} {sign} {b}, so {yes(a == b)}.", conclusion=yes(a == b))  # fmt: skip


def _circle(rng: random.Random, kind: str, number: int) -> Task:
    if kind == "radius":
        if rng.random() < 0.4:
            wordings = ("What is the area in units of pi?", "How many times pi is the area?")
            return ask(rng, "circle area", wordings, summary="Multiply the radius by itself.",
                       reasoning=f"{number} x {number} = {number**2}.",
                       conclusion=str(number**2))  # fmt: skip
        wordings = ("What is the diameter?", "How long is the diameter of the circle?")
        return ask(rng, "diameter", wordings, summary="Double the radius.",
                   reasoning=f"2 x {number} = {2 * number}.",
                   conclusion=str(2 * number))  # fmt: skip
    wordings = ("What is the radius?", "How long is the radius of the circle?")
    return ask(rng, "radius", wordings, summary="Halve the diameter.",
               reasoning=f"{number} / 2 = {number // 2}.", conclusion=str(number // 2))  # fmt: skip


# --- drawing ------------------------------------------------------------------------------------


def _draw(figure: Figure, rng: random.Random) -> Drawn:
    sheet = new_sheet(rng, ratio=rng.choice(((4, 3), (1, 1), (3, 2))))
    size = min(sheet.width, sheet.height) * rng.uniform(0.085, 0.105)
    ink = shade(rng, (40, 40, 40), by=30)
    stroke = COLOURS[figure.colour]
    if figure.kind in ("angles", "sides"):
        _triangle(sheet, figure, rng, size, ink, stroke)
    elif figure.kind == "rectangle":
        _rectangle(sheet, figure, rng, size, ink, stroke)
    else:
        _draw_circle(sheet, figure, rng, size, ink, stroke)
    return sheet.done()


def _triangle(
    sheet: Sheet, figure: Figure, rng: random.Random, size: float, ink: Colour, stroke: Colour
) -> None:
    corners = _corners(figure)
    rows, columns = [p[1] for p in corners], [p[0] for p in corners]
    room = size * 1.9
    zoom = min(
        (sheet.width - 2.6 * room) / (max(columns) - min(columns)),
        (sheet.height - 2 * room) / (max(rows) - min(rows)),
    )
    middle = ((max(columns) + min(columns)) / 2, (max(rows) + min(rows)) / 2)
    placed = [
        (sheet.width / 2 + (x - middle[0]) * zoom, sheet.height / 2 + (y - middle[1]) * zoom)
        for x, y in corners
    ]
    centre = (sum(p[0] for p in placed) / 3, sum(p[1] for p in placed) / 3)
    filled = rng.random() < 0.3
    if filled:
        sheet.polygon(placed, _light(stroke))
    sheet.line([*placed, placed[0]], stroke, rng.uniform(1.5, 3))
    sheet.mark(
        (min(p[0] for p in placed), min(p[1] for p in placed), max(p[0] for p in placed),
         max(p[1] for p in placed)),
        mark("figure", colour=figure.colour, word=None),
    )  # fmt: skip
    degree = "°" if rng.random() < 0.7 else ""
    for at, number in enumerate(figure.numbers):
        if figure.kind == "angles":
            x, y = placed[at]
            away = hypot(x - centre[0], y - centre[1]) or 1
            place = (x + (x - centre[0]) / away * size, y + (y - centre[1]) / away * size)
            text = "?" if number is None else f"{number}{degree}"
        else:
            (x1, y1), (x2, y2) = placed[at], placed[(at + 1) % 3]
            x, y = (x1 + x2) / 2, (y1 + y2) / 2
            away = hypot(x - centre[0], y - centre[1]) or 1
            place = (
                x + (x - centre[0]) / away * size * 0.9,
                y + (y - centre[1]) / away * size * 0.9,
            )
            text = str(number)
        kind = "unknown" if number is None else figure.kind[:-1]
        sheet.text(text, *place, size=size, colour=ink,
                   mark=mark(kind, number=number, column=at + 1))  # fmt: skip


def _corners(figure: Figure) -> list[Point]:
    """Left below, right below, above: about what the numbers say, never flatter than legible."""
    if figure.kind == "angles":
        known = [number or 0 for number in figure.numbers]
        angles = [number or 180 - sum(known) for number in known]
        left, right = (min(110, max(30, angle)) * pi / 180 for angle in angles[:2])
        third = max(0.4, pi - left - right)
        length = sin(right) / sin(third)
        return [(0, 0), (1, 0), (length * cos(left), -length * sin(left))]
    lengths = [number or 1 for number in figure.numbers]
    a, b, c = lengths  # below, right, left
    x = (a * a + c * c - b * b) / (2 * a)
    height = max(0.35 * a, max(0.0, c * c - x * x) ** 0.5)
    return [(0, 0), (a, 0), (x, -height)]


def _rectangle(
    sheet: Sheet, figure: Figure, rng: random.Random, size: float, ink: Colour, stroke: Colour
) -> None:
    across, down = (number or 1 for number in figure.numbers)
    ratio = min(2.5, max(0.4, across / down))
    room = size * 2
    width = min(sheet.width - 2 * room, (sheet.height - 2 * room) * ratio)
    height = width / ratio
    left, top = (sheet.width - width) / 2, (sheet.height - height) / 2
    box = (left, top, left + width, top + height)
    sheet.rectangle(box, _light(stroke) if rng.random() < 0.4 else None)
    corners = [(left, top), (box[2], top), (box[2], box[3]), (left, box[3]), (left, top)]
    sheet.line(corners, stroke, rng.uniform(1.5, 3))
    sheet.mark(box, mark("figure", colour=figure.colour))
    below = rng.random() < 0.6
    y = box[3] + size * 0.8 if below else top - size * 0.8
    x = box[2] + size if rng.random() < 0.6 else left - size
    sheet.text(str(across), sheet.width / 2, y, size=size, colour=ink,
               mark=mark("side", number=across, column=1))  # fmt: skip
    sheet.text(str(down), x, sheet.height / 2, size=size, colour=ink,
               mark=mark("side", number=down, row=1))  # fmt: skip


def _draw_circle(
    sheet: Sheet, figure: Figure, rng: random.Random, size: float, ink: Colour, stroke: Colour
) -> None:
    x, y = sheet.width / 2, sheet.height / 2
    radius = min(x, y) - size * 0.8
    box = (x - radius, y - radius, x + radius, y + radius)
    fill = _light(stroke) if rng.random() < 0.4 else None
    sheet.ellipse(box, fill, stroke, rng.uniform(1.5, 3))
    sheet.mark(box, mark("figure", colour=figure.colour))
    turn = rng.uniform(-0.5, 0.5)
    across, down = radius * cos(turn), radius * sin(turn)
    start = (x, y) if figure.kind == "radius" else (x - across, y - down)
    sheet.line([start, (x + across, y + down)], ink, 1.5)
    dot = size * 0.12
    sheet.ellipse((x - dot, y - dot, x + dot, y + dot), ink)
    at = 0.5 if figure.kind == "radius" else 0.0
    word = "r" if figure.kind == "radius" else "d"
    number = figure.numbers[0]
    text = f"{word} = {number}" if rng.random() < 0.3 else str(number)
    sheet.text(text, x + at * across, y + at * down - size * 0.9, size=size, colour=ink,
               mark=mark("side", number=number, column=1 if word == "r" else 2))  # fmt: skip


def _light(colour: Colour) -> Colour:
    red, green, blue = (round(255 - (255 - part) * 0.3) for part in colour)
    return red, green, blue

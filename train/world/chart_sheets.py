"""Draws a chart with Pillow, in many looks. Knows no questions."""

from __future__ import annotations

import random
from dataclasses import dataclass
from math import cos, radians, sin

from train.world.canvas import Colour, Drawn, Sheet, mark, new_sheet, shade
from train.world.charts import ACROSS, Chart
from train.world.words import COLOURS

SLICES = ("red", "green", "blue", "yellow", "purple", "orange", "grey")


@dataclass(frozen=True)
class Plot:
    """The inside of the axes, in pixels."""

    left: float
    top: float
    right: float
    bottom: float
    highest: int

    def x(self, share: float) -> float:
        return self.left + share * (self.right - self.left)

    def y(self, value: float) -> float:
        return self.bottom - value / (self.highest * 1.08) * (self.bottom - self.top)


def draw_chart_sheet(chart: Chart, rng: random.Random) -> Drawn:
    ratio = (1, 1) if chart.kind == "pie" and rng.random() < 0.5 else rng.choice(((4, 3), (3, 2)))
    sheet = new_sheet(rng, ratio=ratio)
    size = sheet.height * rng.uniform(0.068, 0.085)
    ink = shade(rng, (40, 40, 40), by=30)
    top = size * 0.8
    if chart.title:
        title = mark("text", word=chart.title)
        sheet.text(chart.title, sheet.width / 2, size * 0.9, size=size * 1.1, colour=ink,
                   mark=title)  # fmt: skip
        top += size * 1.1
    if chart.kind == "grouped":
        top = _legend(sheet, chart, rng, size, top, ink)
    if chart.kind == "pie":
        _pie(sheet, chart, rng, size, top, ink)
    else:
        _axes_chart(sheet, chart, rng, size, top, ink)
    return sheet.done()


def _legend(
    sheet: Sheet, chart: Chart, rng: random.Random, size: float, top: float, ink: Colour
) -> float:
    y = top + size * 0.4
    x = sheet.width * rng.uniform(0.15, 0.3)
    for one in chart.series:
        box = (x, y - size * 0.4, x + size * 0.8, y + size * 0.4)
        sheet.rectangle(box, COLOURS[one.colour])
        about = mark("legend", word=one.name, colour=one.colour)
        sheet.mark(box, about)
        drawn = sheet.text(one.name or "", x + size * 1.2, y, size=size, colour=ink, anchor="lm",
                           mark=about)  # fmt: skip
        x = drawn[2] + size * 1.2
    return top + size * 1.3


def _axes_chart(
    sheet: Sheet, chart: Chart, rng: random.Random, size: float, top: float, ink: Colour
) -> None:
    plot = Plot(size * 2.2, top + size * 0.2, sheet.width - size * 0.8, sheet.height - size * 1.7,
                chart.top)  # fmt: skip
    if rng.random() < 0.3:
        sheet.rectangle((plot.left, plot.top, plot.right, plot.bottom),
                        shade(rng, (236, 236, 240), by=8))  # fmt: skip
    if not (chart.printed and rng.random() < 0.3):
        _ticks(sheet, plot, chart, rng, size, ink)
    sheet.line([(plot.left, plot.top), (plot.left, plot.bottom), (plot.right, plot.bottom)], ink)
    if chart.kind == "scatter":
        _dots(sheet, plot, chart, rng, size)
        return
    n = len(chart.categories)
    fit = size
    widest = max(sheet.text_size(name, size)[0] for name in chart.categories)
    if widest > (plot.right - plot.left) / n * 0.95:
        fit = size * (plot.right - plot.left) / n * 0.95 / widest
    for at, name in enumerate(chart.categories):
        sheet.text(name, plot.x((at + 0.5) / n), plot.bottom + size * 0.8, size=fit, colour=ink,
                   mark=mark("text", word=name, column=at + 1))  # fmt: skip
    if chart.kind == "line":
        _line(sheet, plot, chart, rng, size, ink)
    else:
        _bars(sheet, plot, chart, rng, size, ink)


def _ticks(
    sheet: Sheet, plot: Plot, chart: Chart, rng: random.Random, size: float, ink: Colour
) -> None:
    step = 5 if chart.top <= 20 else 10
    grid = rng.random() < (0.4 if chart.printed else 0.85)
    light = shade(rng, (205, 205, 205), by=15)
    for value in range(0, chart.top + 1, step):
        y = plot.y(value)
        if grid and value:
            sheet.line([(plot.left, y), (plot.right, y)], light, 0.8)
        sheet.line([(plot.left - size * 0.25, y), (plot.left, y)], ink)
        sheet.text(str(value), plot.left - size * 0.4, y, size=size * 0.9, colour=ink, anchor="rm",
                   mark=mark("tick", number=value))  # fmt: skip


def _bars(
    sheet: Sheet, plot: Plot, chart: Chart, rng: random.Random, size: float, ink: Colour
) -> None:
    n, k = len(chart.categories), len(chart.series)
    wide = rng.uniform(0.55, 0.85)
    many = k == 1 and rng.random() < 0.3
    colours = rng.sample(SLICES, n) if many else []
    for row, one in enumerate(chart.series):
        for at, value in enumerate(one.values):
            colour = colours[at] if many else one.colour
            left = plot.x((at + 0.5 - wide / 2 + wide * row / k) / n)
            right = plot.x((at + 0.5 - wide / 2 + wide * (row + 1) / k) / n)
            box = (left, plot.y(value), right, plot.bottom)
            outline = ink if rng.random() < 0.15 else None
            sheet.rectangle(box, shade(rng, COLOURS[colour], by=8), outline)
            about = mark("bar", word=chart.categories[at], number=value, colour=colour,
                         row=row + 1, column=at + 1)  # fmt: skip
            sheet.mark(box, about)
            if chart.printed:
                x, y = (left + right) / 2, plot.y(value) - size * 0.45
                sheet.text(str(value), x, y, size=size * 0.9, colour=ink,
                           mark=mark("text", number=value, column=at + 1))  # fmt: skip


def _line(
    sheet: Sheet, plot: Plot, chart: Chart, rng: random.Random, size: float, ink: Colour
) -> None:
    one, n = chart.series[0], len(chart.categories)
    points = [(plot.x((at + 0.5) / n), plot.y(value)) for at, value in enumerate(one.values)]
    sheet.line(points, COLOURS[one.colour], rng.uniform(1.2, 3))
    radius = size * rng.uniform(0.2, 0.35)
    for at, ((x, y), value) in enumerate(zip(points, one.values, strict=True)):
        box = (x - radius, y - radius, x + radius, y + radius)
        sheet.ellipse(box, COLOURS[one.colour])
        about = mark("point", word=chart.categories[at], number=value, colour=one.colour,
                     column=at + 1)  # fmt: skip
        # A dot is smaller than a patch: what is around it is the point as well.
        sheet.mark((x - size * 0.5, y - size * 0.5, x + size * 0.5, y + size * 0.5), about)
        if chart.printed:
            sheet.text(str(value), x, y - size * 0.8, size=size * 0.9, colour=ink,
                       mark=mark("text", number=value, column=at + 1))  # fmt: skip


def _dots(sheet: Sheet, plot: Plot, chart: Chart, rng: random.Random, size: float) -> None:
    radius = size * rng.uniform(0.28, 0.36)
    for one, across in zip(chart.series, chart.across, strict=True):
        for place, value in zip(across, one.values, strict=True):
            x, y = plot.x(place / ACROSS), plot.y(value)
            box = (x - radius, y - radius, x + radius, y + radius)
            sheet.ellipse(box, COLOURS[one.colour])
            sheet.mark(box, mark("dot", colour=one.colour, number=value))


def _pie(
    sheet: Sheet, chart: Chart, rng: random.Random, size: float, top: float, ink: Colour
) -> None:
    colours = rng.sample(SLICES, len(chart.categories))
    middle_x, middle_y = sheet.width / 2, (top + sheet.height) / 2
    radius = min(sheet.width / 2 - size * 3.6, (sheet.height - top) / 2 - size * 1.5)
    box = (middle_x - radius, middle_y - radius, middle_x + radius, middle_y + radius)
    start = rng.uniform(0, 360)
    inside = rng.random() < 0.5
    for at, (name, value) in enumerate(zip(chart.categories, chart.series[0].values, strict=True)):
        stop = start + value * 3.6
        sheet.slice(box, start, stop, COLOURS[colours[at]])
        angle = radians((start + stop) / 2)
        x, y = cos(angle), sin(angle)
        about = mark("slice", word=name, number=value, colour=colours[at], column=at + 1)
        # The middle of a slice, as large as the slice is wide there.
        half = min(radius * 0.35, radius * 0.6 * radians(value * 3.6) / 2)
        at_x, at_y = middle_x + x * radius * 0.62, middle_y + y * radius * 0.62
        sheet.mark((at_x - half, at_y - half, at_x + half, at_y + half), about)
        side = "l" if x > 0.35 else "r" if x < -0.35 else "m"
        label_x, label_y = (
            middle_x + x * (radius + size * 0.3),
            middle_y + y * (radius + size * 0.8),
        )
        if inside:
            light = sum(COLOURS[colours[at]]) > 330
            sheet.text(str(value), at_x, at_y, size=size * 0.9,
                       colour=(20, 20, 20) if light else (255, 255, 255),
                       mark=mark("text", number=value, word=name))  # fmt: skip
            sheet.text(name, label_x, label_y, size=size, colour=ink, anchor=f"{side}m",
                       mark=mark("text", word=name, number=value))  # fmt: skip
        else:
            sheet.text(f"{name} {value}", label_x, label_y, size=size * 0.85, colour=ink,
                       anchor=f"{side}m",
                       mark=mark("text", word=name, number=value))  # fmt: skip
        start = stop

"""Draws a chart with matplotlib, in its own styles. Knows no questions."""

from __future__ import annotations

import random
from functools import cache
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from train.world.canvas import Drawn, Mark, font_files
from train.world.charts import ACROSS, Chart
from train.world.words import COLOURS

STYLES = (
    "default", "ggplot", "bmh", "fivethirtyeight", "seaborn-v0_8", "seaborn-v0_8-whitegrid",
    "Solarize_Light2", "classic", "seaborn-v0_8-pastel",
)  # fmt: skip
FAMILIES = ("DejaVu Sans", "DejaVu Serif", "STIXGeneral")
INCHES = ((4, 3), (4.5, 3), (3.6, 3.6))
DPI = 100


@cache
def _own_fonts() -> None:
    """Those of a system would be taken before matplotlib's own, and change the pictures."""
    font_manager.fontManager.ttflist.clear()
    for path in font_files():
        font_manager.fontManager.addfont(path)


def draw_chart_figure(chart: Chart, rng: random.Random) -> Drawn:
    """Not for pie charts: their labels overlap too often."""
    _own_fonts()
    size = rng.uniform(15, 18)
    own = {"font.size": size, "font.family": rng.choice(FAMILIES), "axes.titlesize": size}
    own |= {"xtick.labelsize": size, "ytick.labelsize": size * 0.9, "legend.fontsize": size * 0.8}
    with matplotlib.style.context([rng.choice(STYLES), own]):
        figure = Figure(figsize=rng.choice(INCHES), dpi=DPI, layout="tight")
        axes = figure.subplots()
        things = _draw(axes, chart, rng)
        if chart.title:
            things.append((axes.set_title(chart.title), {"kind": "text", "word": chart.title}))
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        pixels = np.asarray(canvas.buffer_rgba())[..., :3].copy()
        return Drawn(Image.fromarray(pixels), tuple(_read(pixels.shape, axes, chart, things)))


def _draw(axes: Any, chart: Chart, rng: random.Random) -> list[tuple[Any, dict[str, Any]]]:
    things: list[tuple[Any, dict[str, Any]]] = []
    n, k = len(chart.categories), len(chart.series)
    wide = rng.uniform(0.55, 0.85)
    axes.set_ylim(0, chart.top * 1.12)
    axes.set_yticks(range(0, chart.top + 1, 5 if chart.top <= 20 else 10))
    for row, one in enumerate(chart.series):
        colour = tuple(part / 255 for part in COLOURS[one.colour])
        if chart.kind == "scatter":
            across = chart.across[row]
            axes.scatter(across, one.values, color=colour, s=rng.uniform(60, 110))
            axes.set_xlim(0, ACROSS)
            axes.set_xticks([])
            continue
        places = [at + (wide / k * (row - (k - 1) / 2)) for at in range(n)]
        if chart.kind == "line":
            places = list(range(n))
            axes.plot(places, one.values, color=colour, marker="o", markersize=7, label=one.name)
            axes.set_xlim(-0.5, n - 0.5)
        else:
            drawn = axes.bar(places, one.values, width=wide / k, color=colour, label=one.name)
            for at, bar in enumerate(drawn):
                about = {"kind": "bar", "word": chart.categories[at], "number": one.values[at]}
                about |= {"colour": one.colour, "row": row + 1, "column": at + 1}
                things.append((bar, about))
        if chart.printed:
            for at, value in enumerate(one.values):
                text = axes.annotate(str(value), (places[at], value), ha="center", va="bottom",
                                     xytext=(0, 4), textcoords="offset points")  # fmt: skip
                things.append((text, {"kind": "text", "number": value, "column": at + 1}))
    if chart.kind != "scatter":
        axes.set_xticks(range(n), chart.categories)
        things += [
            (label, {"kind": "text", "word": name, "column": at + 1})
            for at, (label, name) in enumerate(
                zip(axes.get_xticklabels(), chart.categories, strict=True)
            )
        ]
    if k > 1 and chart.kind == "grouped":
        axes.set_ylim(0, chart.top * 1.5)
        legend = axes.legend(ncols=2, loc="upper center", frameon=False)
        for one, text in zip(chart.series, legend.get_texts(), strict=True):
            things.append((text, {"kind": "legend", "word": one.name, "colour": one.colour}))
    return things


def _read(
    shape: tuple[int, ...], axes: Any, chart: Chart, things: list[tuple[Any, dict[str, Any]]]
) -> list[Mark]:
    """Where the artists are, once they are laid out."""
    height, width = shape[:2]
    marks = [_mark(artist.get_window_extent(), width, height, about) for artist, about in things]
    for label, tick in zip(axes.get_yticklabels(), axes.get_yticks(), strict=True):
        about = {"kind": "tick", "number": int(tick)}
        marks.append(_mark(label.get_window_extent(), width, height, about))
    for row, one in enumerate(chart.series):
        if chart.kind in ("line", "scatter"):
            across = chart.across[row] if chart.kind == "scatter" else range(len(one.values))
            for at, (place, value) in enumerate(zip(across, one.values, strict=True)):
                x, y = axes.transData.transform((place, value))
                about = {"kind": "dot", "number": value, "colour": one.colour}
                if chart.kind == "line":
                    about |= {"kind": "point", "word": chart.categories[at], "column": at + 1}
                marks.append(_at((x - 7, y - 7, x + 7, y + 7), width, height, about))
    return marks


def _mark(box: Any, width: int, height: int, about: dict[str, Any]) -> Mark:
    return _at((box.x0, box.y0, box.x1, box.y1), width, height, about)


def _at(
    box: tuple[float, float, float, float], width: int, height: int, about: dict[str, Any]
) -> Mark:
    left, low, right, high = box  # matplotlib counts from the bottom
    shares = (left / width, 1 - high / height, right / width, 1 - low / height)
    held = tuple(min(1.0, max(0.0, share)) for share in shares)
    return Mark(held, **about)  # type: ignore[arg-type]

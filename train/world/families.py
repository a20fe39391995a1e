"""All families of pictures, and which share of the training each has."""

from __future__ import annotations

import random
from collections.abc import Callable

from train.world.chart_figures import draw_chart_figure
from train.world.chart_sheets import draw_chart_sheet
from train.world.charts import chart_task, draw_chart
from train.world.geometry import draw_geometry
from train.world.icons import draw_icons
from train.world.shapes import draw_shapes
from train.world.strange import draw_strange
from train.world.tables import draw_print, draw_table
from train.world.task import Scene

MATPLOTLIB = 0.25  # of the charts that it can draw without overlaps


def draw_chart_scene(rng: random.Random) -> Scene:
    chart = draw_chart(rng)
    if chart.kind != "pie" and rng.random() < MATPLOTLIB:
        drawn = draw_chart_figure(chart, rng)
    else:
        drawn = draw_chart_sheet(chart, rng)
    return Scene("chart", drawn, lambda luck: chart_task(chart, luck))


FAMILIES: dict[str, Callable[[random.Random], Scene]] = {
    "chart": draw_chart_scene,
    "geometry": draw_geometry,
    "table": draw_table,
    "print": draw_print,
    "icons": draw_icons,
    "shapes": draw_shapes,
    "strange": draw_strange,
}
SHARES = {
    "chart": 0.32,
    "geometry": 0.16,
    "table": 0.16,
    "print": 0.08,
    "icons": 0.11,
    "shapes": 0.12,
    "strange": 0.05,
}


def scene_at(seed: int, index: int, *, family: str | None = None) -> Scene:
    """Picture `index` of the stream `seed`; of one family, if given."""
    rng = random.Random(f"world-{seed}-{index}")
    drawn = rng.choices(list(SHARES), weights=list(SHARES.values()))[0]
    return FAMILIES[family or drawn](rng)

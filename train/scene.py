"""Pictures of coloured shapes with their ground truth. Knows no questions and no model.

A scene is a plain background with one to six things on a jittered 3 x 3 grid. Everything is drawn
from one `random.Random`, so a seed and an index name a picture for ever.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from PIL import Image, ImageDraw

SIZES = ("small", "large")
COLOURS = ("red", "green", "blue", "yellow", "purple", "orange")
SHAPES = ("circle", "square", "triangle")
ROWS = ("top", "middle", "bottom")
COLUMNS = ("left", "centre", "right")

RGB = {
    "red": (214, 40, 40),
    "green": (46, 150, 60),
    "blue": (40, 80, 200),
    "yellow": (240, 210, 40),
    "purple": (140, 50, 160),
    "orange": (240, 130, 30),
}
RADIUS = {"small": 0.27, "large": 0.43}  # of the shorter side of a grid cell

# Grid of tiles (rows, columns) → share of the training pictures. Most pictures that people have
# are larger than one tile and roughly square, which means 2 x 2 tiles.
TILE_GRIDS = {
    (2, 2): 0.76,
    (1, 1): 0.02,
    (1, 2): 0.07,
    (2, 1): 0.07,
    (1, 3): 0.02,
    (3, 1): 0.02,
    (1, 4): 0.02,
    (4, 1): 0.02,
}


@dataclass(frozen=True)
class Thing:
    """One coloured shape. `box` is (left, top, right, bottom) as fractions of the picture."""

    size: str
    colour: str
    shape: str
    row: int
    column: int
    box: tuple[float, float, float, float]

    @property
    def place(self) -> str:
        return f"{ROWS[self.row]} {COLUMNS[self.column]}"

    @property
    def attributes(self) -> tuple[str, str, str]:
        return self.size, self.colour, self.shape


@dataclass(frozen=True)
class Scene:
    """Things in reading order on a plain background; width and height in pixels."""

    width: int
    height: int
    background: tuple[int, int, int]
    things: tuple[Thing, ...]
    shades: tuple[tuple[int, int, int], ...]


def scene_rng(seed: int, index: int) -> random.Random:
    """The generator of picture `index`: independent of every other picture."""
    return random.Random(f"shapes-{seed}-{index}")


def draw_scene(rng: random.Random, *, tile_size: int) -> Scene:
    """A random scene whose picture lands on a random grid of tiles of `tile_size` pixels."""
    width, height = _picture_size(rng, tile_size)
    level = rng.randint(205, 255)
    background = tuple(min(255, level + rng.randint(-12, 12)) for _ in range(3))
    cells = sorted(rng.sample(range(9), rng.randint(1, 6)))
    things = tuple(_draw_thing(rng, cell, width, height) for cell in cells)
    shades = tuple(
        tuple(max(0, min(255, value + rng.randint(-18, 18))) for value in RGB[thing.colour])
        for thing in things
    )
    return Scene(width, height, background, things, shades)  # type: ignore[arg-type]


def _picture_size(rng: random.Random, tile_size: int) -> tuple[int, int]:
    grids, shares = zip(*TILE_GRIDS.items(), strict=True)
    rows, columns = rng.choices(grids, weights=shares)[0]
    height, width = rows * tile_size, columns * tile_size
    if (rows, columns) == (1, 1):
        return round(width * rng.uniform(0.8, 1)), round(height * rng.uniform(0.8, 1))
    scale = rng.uniform(1.0, 3.0)
    # Less than the full canvas on one side: padding must be familiar.
    shrink = rng.choice((1.0, 1.0, rng.uniform(0.72, 1.0)))
    if rng.random() < 0.5:
        return round(width * scale), round(height * scale * shrink)
    return round(width * scale * shrink), round(height * scale)


def _draw_thing(rng: random.Random, cell: int, width: int, height: int) -> Thing:
    row, column = divmod(cell, 3)
    size, colour, shape = rng.choice(SIZES), rng.choice(COLOURS), rng.choice(SHAPES)
    side = min(width, height) / 3
    radius = side * RADIUS[size] * rng.uniform(0.92, 1.08)
    slack_x = max(0.0, width / 6 - radius) * 0.6
    slack_y = max(0.0, height / 6 - radius) * 0.6
    x = width * (column + 0.5) / 3 + rng.uniform(-slack_x, slack_x)
    y = height * (row + 0.5) / 3 + rng.uniform(-slack_y, slack_y)
    box = ((x - radius) / width, (y - radius) / height, (x + radius) / width, (y + radius) / height)
    return Thing(size, colour, shape, row, column, box)


def render(scene: Scene, *, width: int | None = None, height: int | None = None) -> Image.Image:
    """The RGB picture, drawn at three times its size and reduced (smooth edges)."""
    width, height = width or scene.width, height or scene.height
    grain = 3
    picture = Image.new("RGB", (width * grain, height * grain), scene.background)
    pen = ImageDraw.Draw(picture)
    for thing, shade in zip(scene.things, scene.shades, strict=True):
        left, top, right, bottom = (
            edge * grain * (width if i % 2 == 0 else height) for i, edge in enumerate(thing.box)
        )
        if thing.shape == "circle":
            pen.ellipse((left, top, right, bottom), fill=shade)
        elif thing.shape == "square":
            pen.rectangle((left, top, right, bottom), fill=shade)
        else:
            pen.polygon([((left + right) / 2, top), (right, bottom), (left, bottom)], fill=shade)
    return picture.reduce(grain)

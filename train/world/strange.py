"""Pictures that the model has not learnt, and the answer that says so."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from train.world.canvas import Drawn, font, font_files
from train.world.material import HELD_OUT_PHOTOGRAPHS, HERE, PHOTOGRAPHS
from train.world.task import Scene, Task
from train.world.words import COLOURS, GROUPS, ICONS, UNKNOWN

LETTERS = "etaoinshrdlucmfwypvbgkjqxz"
HELD_OUT = ("marble", "photograph")  # kinds that are measured and not trained on


def draw_strange(rng: random.Random, *, held_out: bool = False) -> Scene:
    """A kind of picture outside the world; `held_out`: kinds and photographs never trained on."""
    makers = _UNSEEN if held_out else _SEEN
    width, height = rng.choice(((320, 240), (320, 213), (256, 256), (240, 320), (320, 180)))
    picture = rng.choice(makers)(rng, width, height)
    return Scene("strange", Drawn(picture.convert("RGB"), ()), _task)


def _task(rng: random.Random) -> Task:
    name = rng.choice(rng.choice(list(GROUPS.values())))
    question = rng.choice(_ANYTHING).format(
        n=name, i=rng.choice(ICONS), c=rng.choice(list(COLOURS))
    )
    return Task(
        "unknown",
        question,
        "Look at the kind of picture.",
        "Something that I have not learnt.",
        "It is no chart, table, figure, print, icon or shape.",
        UNKNOWN,
    )


_ANYTHING = (
    "What is the value of {n}?", "How many {c} circles are there?", "What is the area?",
    "Is there a {i}?", "What is written here?", "What do you see?", "Which one is the largest?",
    "What is at the top left?", "How many objects are left after removing all {c} squares?",
    "What is the sum of the row {n}?", "What is this?", "Describe the picture.",
    "How many people are there?", "What kind of triangle is this?", "What colour is it?",
)  # fmt: skip


def _noise(rng: random.Random, width: int, height: int) -> Image.Image:
    """Speckles of one size or several, coloured or grey."""
    source = np.random.default_rng(rng.randrange(2**32))
    grain = rng.choice((1, 2, 4, 8, 16, 40))
    channels = rng.choice((1, 3))
    low = source.random((max(2, height // grain), max(2, width // grain), channels))
    low = np.repeat(low, 3 // channels, axis=2) * 255
    how = rng.choice((Image.Resampling.NEAREST, Image.Resampling.BICUBIC))
    return Image.fromarray(low.astype(np.uint8)).resize((width, height), how)


def _clouds(rng: random.Random, width: int, height: int) -> Image.Image:
    """Sums of noises, coarse to fine, between three colours: hills, skies, skins."""
    return _mix(_fractal(rng, width, height), rng)


def _fractal(rng: random.Random, width: int, height: int) -> np.ndarray:
    source = np.random.default_rng(rng.randrange(2**32))
    total = np.zeros((height, width))
    for grain in (160, 80, 40, 20, 10, 5, 3):
        low = source.random((height // grain + 2, width // grain + 2)).astype(np.float32)
        layer = Image.fromarray(low, mode="F").resize((width, height), Image.Resampling.BICUBIC)
        total += np.asarray(layer) * grain ** rng.uniform(0.6, 1.1)
    total -= total.min()
    return total / total.max()


def _mix(values: np.ndarray, rng: random.Random) -> Image.Image:
    tones = np.array([[rng.randint(0, 255) for _ in range(3)] for _ in range(3)])
    at = np.clip(values * 2, 0, 2)[..., None]
    mixed = np.where(at < 1, tones[0] * (1 - at) + tones[1] * at,
                     tones[1] * (2 - at) + tones[2] * (at - 1))  # fmt: skip
    return Image.fromarray(mixed.astype(np.uint8))


def _marble(rng: random.Random, width: int, height: int) -> Image.Image:
    """Bands bent by noise; held out."""
    across = np.linspace(0, rng.uniform(8, 25), width)[None, :]
    bands = 0.5 + 0.5 * np.sin(across + 9 * _fractal(rng, width, height))
    return _mix(bands, rng)


def _page(rng: random.Random, width: int, height: int) -> Image.Image:
    """A page of small print, light or dark."""
    dark = rng.random() < 0.3
    paper, ink = ((30, 32, 38), (210, 210, 215)) if dark else ((250, 250, 246), (50, 50, 50))
    sheet = Image.new("RGB", (width, height), paper)
    pen = ImageDraw.Draw(sheet)
    size = rng.randint(6, 12)
    face = font(rng.choice(font_files()), size)
    for y in range(size, height - size, round(size * 1.5)):
        line = " ".join(
            "".join(rng.choices(LETTERS, k=rng.randint(2, 9))) for _ in range(rng.randint(2, 12))
        )
        if rng.random() < 0.88:
            pen.text((size * 2, y), line, font=face, fill=ink)
    return sheet


def _window(rng: random.Random, width: int, height: int) -> Image.Image:
    """What a screenshot looks like: bars, panels, buttons, small words."""
    dark = rng.random() < 0.4
    level = rng.randint(25, 60) if dark else rng.randint(225, 255)
    sheet = Image.new("RGB", (width, height), (level, level, level))
    pen = ImageDraw.Draw(sheet)
    face = font(font_files()[0], rng.randint(6, 9))
    ink = (215, 215, 215) if dark else (60, 60, 60)
    other = level + (18 if dark else -18)
    pen.rectangle((0, 0, width, 16), fill=(other, other, other))
    pen.rectangle((0, 16, rng.randint(40, 100), height), fill=(other, other, min(255, other + 6)))
    for _ in range(rng.randint(6, 22)):
        x, y = rng.randrange(width), rng.randrange(height)
        word = "".join(rng.choices(LETTERS, k=rng.randint(3, 12))).capitalize()
        if rng.random() < 0.3:
            tone = _any_colour(rng)
            pen.rounded_rectangle((x - 4, y - 3, x + len(word) * 5, y + 11), 3, fill=tone)
        pen.text((x, y), word, font=face, fill=ink)
    return sheet


def _scribble(rng: random.Random, width: int, height: int) -> Image.Image:
    """Lines and arcs without a meaning."""
    sheet = Image.new("RGB", (width, height), tuple(rng.randint(200, 255) for _ in range(3)))
    pen = ImageDraw.Draw(sheet)
    for _ in range(rng.randint(4, 25)):
        points = [(rng.randrange(width), rng.randrange(height)) for _ in range(rng.randint(2, 6))]
        pen.line(points, fill=_any_colour(rng), width=rng.randint(1, 4), joint="curve")
        if rng.random() < 0.4:
            (x, y), r = points[0], rng.randint(8, 60)
            pen.arc((x - r, y - r, x + r, y + r), rng.randrange(360), rng.randrange(360),
                    fill=_any_colour(rng), width=rng.randint(1, 4))  # fmt: skip
    return sheet


def _ramp(rng: random.Random, width: int, height: int) -> Image.Image:
    """One colour or a slow change of colours, as a wall or a sky."""
    x = np.linspace(-1, 1, width)[None, :] * rng.uniform(-1, 1)
    y = np.linspace(-1, 1, height)[:, None] * rng.uniform(-1, 1)
    return _mix((x + y + 2) / 4, rng)


def _photograph(rng: random.Random, width: int, height: int) -> Image.Image:
    """A part of a photograph in other colours; clouds where none were fetched (tests)."""
    known = _seen_photographs()
    return _cut(rng.choice(known), rng, width, height) if known else _clouds(rng, width, height)


def _unseen_photograph(rng: random.Random, width: int, height: int) -> Image.Image:
    return _cut(rng.choice(_unseen_photographs()), rng, width, height)


def _cut(source: Image.Image, rng: random.Random, width: int, height: int) -> Image.Image:
    share = rng.uniform(0.35, 1.0)
    across, down = round(source.width * share), round(source.height * share)
    x, y = rng.randint(0, source.width - across), rng.randint(0, source.height - down)
    cut = source.crop((x, y, x + across, y + down)).resize((width, height))
    if rng.random() < 0.5:
        cut = ImageOps.mirror(cut)
    if rng.random() < 0.3:
        hue = np.asarray(cut.convert("HSV")).copy()
        hue[..., 0] += rng.randrange(256)
        cut = Image.fromarray(hue, mode="HSV").convert("RGB")
    if rng.random() < 0.2:
        cut = cut.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 3)))
    cut = ImageEnhance.Brightness(cut).enhance(rng.uniform(0.6, 1.4))
    return ImageEnhance.Color(cut).enhance(rng.uniform(0, 1.6))


@cache
def _seen_photographs() -> Sequence[Image.Image]:
    return [Image.open(path).convert("RGB") for path in sorted(PHOTOGRAPHS.glob("*.jpg"))]


@cache
def _unseen_photographs() -> Sequence[Image.Image]:
    paths: list[Path] = [HERE / f"{name}.jpg" for name in HELD_OUT_PHOTOGRAPHS]
    return [Image.open(path).convert("RGB") for path in paths]


def _any_colour(rng: random.Random) -> tuple[int, int, int]:
    return rng.randint(0, 255), rng.randint(0, 255), rng.randint(0, 255)


Maker = Callable[[random.Random, int, int], Image.Image]
_SEEN: tuple[Maker, ...] = (
    _noise, _clouds, _clouds, _page, _window, _scribble, _ramp, _photograph, _photograph,
    _photograph,
)  # fmt: skip
_UNSEEN: tuple[Maker, ...] = (_marble, _unseen_photograph, _unseen_photograph)

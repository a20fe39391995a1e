"""A sheet to draw on that remembers where everything is. Knows no questions.

Drawn at twice its size and reduced, so edges are smooth. Every mark is what the eye is to see:
phase 1 of the training asks each patch for the mark that it shows.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

GRAIN = 2
KINDS = (
    "text", "tick", "bar", "point", "slice", "dot", "legend", "angle", "side", "unknown", "figure",
    "icon", "circle", "square", "triangle",
)  # fmt: skip
Colour = tuple[int, int, int]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Mark:
    """Something drawn. box: (left, top, right, bottom) as fractions of the picture."""

    box: Box
    kind: str
    word: str | None = None
    number: int | None = None
    colour: str | None = None
    row: int | None = None
    column: int | None = None
    size: str | None = None


@dataclass(frozen=True)
class Drawn:
    image: Image.Image
    marks: tuple[Mark, ...]


@cache
def font_files() -> tuple[Path, ...]:
    """Matplotlib's own fonts with Latin letters: DejaVu (Bitstream Vera licence), STIX (OFL)."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    names = (
        "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSerif", "DejaVuSerif-Bold",
        "DejaVuSansMono", "STIXGeneral", "STIXGeneralBol",
    )  # fmt: skip
    return tuple(folder / f"{name}.ttf" for name in names)


@cache
def font(path: Path, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(path), size)


@dataclass
class Sheet:
    """A picture in the making; all lengths are pixels of the finished picture."""

    width: int
    height: int
    background: Colour
    face: Path
    marks: list[Mark] = field(default_factory=list)

    def __post_init__(self) -> None:
        size = (self.width * GRAIN, self.height * GRAIN)
        self.image = Image.new("RGB", size, self.background)
        self.pen = ImageDraw.Draw(self.image)

    def line(self, points: list[tuple[float, float]], colour: Colour, width: float = 1) -> None:
        scaled = [(x * GRAIN, y * GRAIN) for x, y in points]
        self.pen.line(scaled, fill=colour, width=max(1, round(width * GRAIN)), joint="curve")

    def rectangle(self, box: Box, fill: Colour | None, outline: Colour | None = None) -> None:
        self.pen.rectangle([edge * GRAIN for edge in box], fill=fill, outline=outline, width=GRAIN)

    def ellipse(
        self, box: Box, fill: Colour | None, outline: Colour | None = None, width: float = 1
    ) -> None:
        scaled = [edge * GRAIN for edge in box]
        self.pen.ellipse(scaled, fill=fill, outline=outline, width=round(width * GRAIN))

    def polygon(self, points: list[tuple[float, float]], fill: Colour | None) -> None:
        self.pen.polygon([(x * GRAIN, y * GRAIN) for x, y in points], fill=fill)

    def slice(self, box: Box, start: float, stop: float, fill: Colour) -> None:
        """Degrees, clockwise from three o'clock."""
        scaled = [edge * GRAIN for edge in box]
        self.pen.pieslice(scaled, start, stop, fill=fill, outline=self.background, width=GRAIN)

    def text_size(self, text: str, size: float) -> tuple[float, float]:
        left, top, right, bottom = font(self.face, round(size * GRAIN)).getbbox(text, anchor="ls")
        return (right - left) / GRAIN, (bottom - top) / GRAIN

    def text(
        self,
        text: str,
        x: float,
        y: float,
        *,
        size: float,
        colour: Colour,
        anchor: str = "mm",
        mark: Mark | None = None,
    ) -> Box:
        """Write at (x, y) and remember `mark` there. Its box in pixels."""
        face = font(self.face, round(size * GRAIN))
        place = (x * GRAIN, y * GRAIN)
        self.pen.text(place, text, font=face, fill=colour, anchor=anchor)
        box = self.pen.textbbox(place, text, font=face, anchor=anchor)
        pixels = (box[0] / GRAIN, box[1] / GRAIN, box[2] / GRAIN, box[3] / GRAIN)
        if mark is not None:
            self.mark(pixels, mark)
        return pixels

    def mark(self, box: Box, mark: Mark) -> None:
        """Remember `mark` at `box`, in pixels; what lies outside the picture is cut."""
        left, top, right, bottom = box
        shares = (
            max(0.0, left / self.width),
            max(0.0, top / self.height),
            min(1.0, right / self.width),
            min(1.0, bottom / self.height),
        )
        self.marks.append(replace(mark, box=shares))

    def done(self) -> Drawn:
        return Drawn(self.image.reduce(GRAIN), tuple(self.marks))


def mark(kind: str, **about: object) -> Mark:
    """A mark whose place is not known yet."""
    return Mark((0, 0, 0, 0), kind, **about)  # type: ignore[arg-type]


SHAPES_OF_SHEETS = ((4, 3), (4, 3), (3, 2), (1, 1), (1, 1), (3, 4), (16, 9))


def new_sheet(rng: random.Random, *, ratio: tuple[int, int] | None = None) -> Sheet:
    """A light sheet, its longer side 240 to 480 pixels."""
    across, down = ratio or rng.choice(SHAPES_OF_SHEETS)
    longer = rng.randint(240, 480)
    width = longer if across >= down else longer * across // down
    height = longer * down // across if across >= down else longer
    shade = rng.randint(225, 255)
    tint = tuple(min(255, shade + rng.randint(-8, 8)) for _ in range(3))
    background = (255, 255, 255) if rng.random() < 0.5 else tint
    return Sheet(width, height, background, rng.choice(font_files()))  # type: ignore[arg-type]


def shade(rng: random.Random, colour: Colour, *, by: int = 18) -> Colour:
    red, green, blue = (min(255, max(0, part + rng.randint(-by, by))) for part in colour)
    return red, green, blue

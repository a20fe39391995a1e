"""Pixels: to RGB, to a fraction of the size, to a hash; of large pictures a band at a time."""

from __future__ import annotations

import hashlib

import numpy as np
from PIL import Image

BAND_ROWS = 64
DEEP = ("I", "F")  # modes of deep grey


def key_of(image: Image.Image) -> str:
    """A hash of size and pixels, a band of rows at a time: all at once would be another copy."""
    digest = hashlib.sha256(f"{image.width}x{image.height}".encode())
    for top in range(0, image.height, BAND_ROWS):
        bottom = min(image.height, top + BAND_ROWS)
        digest.update(image.crop((0, top, image.width, bottom)).tobytes())
    return digest.hexdigest()


def reduced(image: Image.Image, factor: int) -> Image.Image:
    """RGB at a fraction of the size, a band of rows at a time: no copy of every pixel is made."""
    wide, high = -(-image.width // factor), -(-image.height // factor)
    made, span = Image.new("RGB", (wide, high)), _span(image)
    for top in range(0, image.height, BAND_ROWS * factor):
        bottom = min(image.height, top + BAND_ROWS * factor)
        band = image.crop((0, top, image.width, bottom))
        if not is_plain(band):
            band = to_rgb(band, span=span)
        made.paste(band.reduce(factor), (0, top // factor))
    return made


def to_rgb(image: Image.Image, *, span: tuple[float, float] | None = None) -> Image.Image:
    """Over white where transparent, as the oracle does; deep grey is scaled, not clipped.

    span: the smallest and largest value of the whole picture, where `image` is a part of it.
    """
    if is_plain(image):
        return image.copy()
    if image.mode.startswith(DEEP):
        image = _eight_bits(image, span or _span(image))
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, (255, 255, 255))
    return Image.alpha_composite(white, rgba).convert("RGB")


def is_plain(image: Image.Image) -> bool:
    return image.mode == "RGB" and "transparency" not in image.info


def _span(image: Image.Image) -> tuple[float, float]:
    """Smallest and largest value of deep grey, without what is no number."""
    if not image.mode.startswith(DEEP):
        return 0.0, 255.0
    values = np.asarray(image)
    if image.mode == "F":
        values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)


def _eight_bits(image: Image.Image, span: tuple[float, float]) -> Image.Image:
    """Grey of 16 or 32 bits or of fractions as 8 bits; Pillow would clip it, often to black.

    Fractions count from 0 to 1, whole numbers up to 255 as they are, up to 65,535 as 16 bits;
    anything else from its smallest to its largest value.
    """
    low, high = span
    deep = np.nan_to_num(np.asarray(image).astype(np.float64), nan=low, posinf=high, neginf=low)
    if image.mode == "F" and low >= 0 and high <= 1:
        deep = np.round(deep * 255)
    elif low < 0 or high > 65535:
        deep = (deep - low) * (255 / ((high - low) or 1.0))
    elif high > 255:
        deep = deep / 257
    return Image.fromarray(np.clip(deep, 0, 255).astype(np.uint8))

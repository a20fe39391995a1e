"""Whether a picture looks like what the demo model knows: flat coloured shapes, a plain ground."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

EQUAL = 18  # levels: neighbours that differ less are of one colour
FLAT, COLOURED = 0.85, 0.01  # shares of the picture
SATURATED = 60  # levels between a pixel's strongest and weakest channel


def is_of_demo_world(pixels: NDArray[np.uint8]) -> bool:
    """pixels: (height, width, 3), a thumbnail will do. A photograph is not flat; a page of print is
    flat, and not coloured."""
    levels = pixels.astype(np.int16)
    if min(levels.shape[:2]) < 3:
        return False
    across = np.abs(np.diff(levels, axis=1)).max(axis=2) < EQUAL
    down = np.abs(np.diff(levels, axis=0)).max(axis=2) < EQUAL
    flat = (across.mean() + down.mean()) / 2
    coloured = (levels.max(axis=2) - levels.min(axis=2)) > SATURATED
    return bool(flat >= FLAT and coloured.mean() >= COLOURED)

"""The pictures whose preprocessing is compared with the oracle, made from seeds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from llavao1_edge.images import TilingRules

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
MODES = ("RGB", "RGBA", "L", "LA", "P", "CMYK", "1", "YCbCr")
FIXED_SIZES = ((1, 1), (8000, 10), (10, 8000), (560, 560), (1120, 560), (561, 559), (2, 900))


@dataclass(frozen=True)
class Case:
    width: int
    height: int
    mode: str
    tile_size: int
    max_tiles: int
    seed: int

    @property
    def name(self) -> str:
        return (
            f"{self.width}x{self.height}-{self.mode}-{self.tile_size}-{self.max_tiles}-{self.seed}"
        )

    @property
    def rules(self) -> TilingRules:
        return TilingRules(self.tile_size, self.max_tiles, MEAN, STD)

    def image(self) -> Image.Image:
        rng = np.random.default_rng(self.seed)
        shape = (self.height, self.width, 4 if self.mode in ("RGBA", "CMYK") else 3)
        values = rng.integers(0, 256, shape, dtype=np.uint8)
        if self.mode in ("RGB", "RGBA", "CMYK", "YCbCr"):
            return Image.frombytes(self.mode, (self.width, self.height), values.tobytes())
        base = Image.fromarray(values)
        return base.convert("RGBA").convert("LA") if self.mode == "LA" else base.convert(self.mode)


def preprocessing_cases() -> list[Case]:
    """240 cases: all modes, odd sizes, three tile sizes, one to four tiles."""
    rng = np.random.default_rng(2024)
    cases = [Case(w, h, "RGB", 560, 4, i) for i, (w, h) in enumerate(FIXED_SIZES)]
    while len(cases) < 240:
        seed = len(cases)
        tile = (56, 84, 224)[seed % 3]
        high = 3 if seed % 5 == 0 else 6
        width, height = (int(v) for v in rng.integers(1, tile * high, 2))
        cases.append(Case(width, height, MODES[seed % len(MODES)], tile, 1 + seed % 4, seed))
    return cases

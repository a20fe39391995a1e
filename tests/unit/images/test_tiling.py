"""Preprocessing equals the oracle's bit by bit (golden hashes of 240 pictures)."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llavao1_edge.images import TilingRules, arrangements, choose_canvas, tile_picture, to_rgb
from tests.golden.pictures import MEAN, STD, Case, preprocessing_cases

GOLDEN = json.loads(
    (Path(__file__).parents[2] / "golden" / "preprocessing.json").read_text(encoding="utf-8")
)
WANTED = {row["case"]: row for row in GOLDEN["cases"]}
RULES = TilingRules(560, 4, MEAN, STD)


def test_there_are_enough_cases() -> None:
    assert len(WANTED) >= 200
    assert {case.mode for case in preprocessing_cases()} >= {"RGB", "RGBA", "L", "LA", "P", "CMYK"}


@pytest.mark.parametrize("case", preprocessing_cases(), ids=lambda case: case.name)
def test_arrays_are_equal(case: Case) -> None:
    tiled = tile_picture(to_rgb(case.image()), rules=case.rules)
    wanted = WANTED[case.name]
    assert tiled.aspect_ratio_id == wanted["aspect_ratio_id"]
    assert tiled.n_tiles == wanted["n_tiles"]
    assert hashlib.sha256(tiled.pixels.tobytes()).hexdigest() == wanted["sha256"]


def test_ids_follow_rows_then_columns() -> None:
    assert arrangements(4) == ((1, 1), (1, 2), (1, 3), (1, 4), (2, 1), (2, 2), (3, 1), (4, 1))


@given(st.integers(1, 9000), st.integers(1, 9000))
def test_the_picture_fits_its_canvas(height: int, width: int) -> None:
    canvas = choose_canvas(height, width, rules=RULES)
    assert 1 <= canvas.height <= canvas.rows * 560
    assert 1 <= canvas.width <= canvas.columns * 560
    assert canvas.n_tiles <= 4

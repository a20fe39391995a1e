"""A picture that was read before costs no vision pass, and gives the same tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from llavao1_edge import Engine, SamplingSettings
from llavao1_edge.images import open_picture
from llavao1_edge.mllama import vision
from llavao1_edge.mllama.arithmetic import BLAS
from tests.configurations import CONFIGURATIONS, picture_for

BASE = CONFIGURATIONS["base"]
# Of one tile (the rest are empty and equal), of several.
PICTURES = [picture_for(BASE, 1, 1, seed=3), picture_for(BASE, 2, 2, seed=2)]
SAMPLING = SamplingSettings(max_tokens=24, temperature=1)
KINDS = ("mllama", "qwen2vl")
Open = Callable[..., Engine]


def _answer(engine: Engine, picture: object) -> tuple[object, ...]:
    with engine:
        answer = engine.session(picture).ask("What?", seed=5, sampling=SAMPLING)
    nodes = [(node.candidate.text, node.candidate.logprob) for node in answer.trace.nodes]
    return answer.trace.counters.vision_passes, nodes


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("picture", PICTURES)
def test_a_kept_picture_gives_the_same_tokens(
    folder: Path, open_kind: Open, kind: str, picture: object
) -> None:
    without = _answer(open_kind(kind, picture_cache=0.0), picture)
    assert not folder.exists()
    first = _answer(open_kind(kind), picture)
    assert len(list(folder.iterdir())) == 1
    again = _answer(open_kind(kind), picture)
    assert first == without
    assert (first[0], again[0]) == (1, 0)
    assert again[1] == first[1]  # texts and log-probabilities


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_read_anew(folder: Path, open_kind: Open, kind: str) -> None:
    first = _answer(open_kind(kind), PICTURES[0])
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:60], whole[:20] + b"\xff" + whole[21:], b"", whole + b"x"):
        path.write_bytes(damaged)
        assert _answer(open_kind(kind), PICTURES[0]) == first
        assert path.read_bytes() == whole
        assert len(list(folder.iterdir())) == 1


def test_other_arithmetic_and_other_weights_are_other_files(folder: Path, open_tiny: Open) -> None:
    picture = open_picture(PICTURES[0])
    states = []
    for cache in ("f16", "f32"):
        with open_tiny(cache=cache) as engine:
            engine.runtime.vision.see(picture)
            found = engine.runtime.vision.states(picture)
            states.append(found.keys[0].read(np.uint8))
    assert len(list(folder.iterdir())) == 2
    assert len(states[1]) == 2 * len(states[0])


def test_equal_tiles_are_kept_once(
    folder: Path, open_tiny: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where empty tiles are computed once they are stored once, and come back as all of them."""
    monkeypatch.setattr(vision._Pass, "_empty_tiles_are_equal", lambda _: True)  # as when trained
    found = []
    for picture in (*PICTURES, PICTURES[0]):
        engine = open_tiny()
        tower = engine.runtime.vision.encoder.tower
        tower.arithmetic = replace(tower.arithmetic, attention=BLAS)
        states = engine.runtime.vision.states(open_picture(picture))
        found.append([each.read(np.uint8) for each in (*states.keys, *states.values)])
    assert engine.runtime.vision.n_seen == 0
    one, several = sorted(path.stat().st_size for path in folder.iterdir())
    assert one < 0.6 * several  # two of four tiles
    for first, again in zip(found[0], found[2], strict=True):
        assert np.array_equal(first, again)

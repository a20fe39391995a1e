"""`bench`: every phase is there, with numbers that hang together; comparing two results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llavao1_edge.bench.timing import Limits, in_turn, timed
from llavao1_edge.cli.main import main


def test_every_phase_of_the_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--json", "--rounds", "3", "--gpu-layers", "0"]) == 0
    found = json.loads(capsys.readouterr().out)
    names = [phase["name"] for phase in found["phases"]]
    for part in ("load", "start to the first token", "open the picture", "cut", "vision tower",
                 "cross keys", "prefill", "N = 1", "N = 2", "N = 4", "N = 8", "draw", "grammar",
                 "judge"):  # fmt: skip
        assert any(part in name for name in names), (part, names)
    for phase in found["phases"]:
        assert 0 <= phase["low_ms"] <= phase["median_ms"] <= phase["high_ms"]
        assert phase["floor_ms"] is None or phase["floor_ms"] > 0
    assert all(value > 1e8 for value in found["limits"].values())
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    for path in paths:
        path.write_text(json.dumps(found), encoding="utf-8")
    assert main(["bench", "--compare", *map(str, paths)]) == 0
    said = capsys.readouterr().out
    assert "1.00  (spreads overlap)" in said


def test_it_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--rounds", "1", "--gpu-layers", "0"]) == 0
    said = capsys.readouterr().out
    assert "GB/s" in said
    assert "distance" in said


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 1, "phases": [{}]}'])
def test_results_that_are_none(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.json"
    path.write_text(content, encoding="utf-8")
    assert main(["bench", "--compare", str(path), str(path)]) == 2
    assert "not a result of `bench" in capsys.readouterr().err
    assert main(["bench", "--rounds", "x"]) == 2


def test_the_floor_is_the_larger_limit() -> None:
    limits = Limits(bandwidth=1e9, f32_rate=1e9, q8_rate=2e9)
    assert limits.floor_ms(1e6, 5e5, integer=False) == pytest.approx(1.0)
    assert limits.floor_ms(1e5, 5e6, integer=False) == pytest.approx(5.0)
    assert limits.floor_ms(1e5, 5e6, integer=True) == pytest.approx(2.5)
    assert limits.floor_ms(0, 0, integer=False) is None
    phase = timed("x", [0.001, 0.002, 0.003], limits=limits, n_bytes=1e6)
    assert phase.distance == pytest.approx(2.0)
    assert [len(times) for times in in_turn([lambda: None, lambda: None], 4)] == [4, 4]

"""`convert --verify`: against the checkpoint where torch is, by itself elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from llavao1_convert import verify
from llavao1_convert.verify import VerificationError, agreement
from llavao1_edge.cli.main import main
from tests import oracle
from tests.configurations import CONFIGURATIONS
from tests.shapes import SAMPLES
from tests.tiny import save

needs_oracle = pytest.mark.skipif(bool(oracle.available()), reason=oracle.available() or "there")


@pytest.mark.oracle
@needs_oracle
@pytest.mark.parametrize(("kind", "worst"), [("F32", 1e-6), ("Q8_0", 0.05)])
def test_against_the_checkpoint(
    kind: str,
    worst: float,
    tmp_path: Path,
    checkpoint_of: Callable[[str], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    argv = ["convert", str(checkpoint_of("base")), "--out", str(tmp_path), "--verify"]
    argv += ["--quant", kind, "--vision-quant", kind]
    assert main(argv) == 0
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines() if "%" in line]
    assert len(rows) == 3
    for row in rows:
        assert float(row[4]) <= worst
        assert float(row[3].strip().rstrip("%")) >= (100 if kind == "F32" else 80)
    # A pair that is there is not made again.
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert main(argv) == 0
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}


@pytest.mark.oracle
@needs_oracle
def test_a_pair_of_other_weights_shows(
    tmp_path: Path, checkpoint_of: Callable[[str], Path]
) -> None:
    other = save(CONFIGURATIONS["base"].but(seed=77), tmp_path / "other")
    assert main(["convert", str(other), "--out", str(tmp_path), "--name", "T"]) == 0
    (found,) = verify.compare(
        tmp_path / "T-Q4_K_M.gguf",
        tmp_path / "mmproj-T-Q4_K_M-Q8_0.gguf",
        checkpoint_of("base"),
        [SAMPLES[0].picture],
    )
    assert found.top1 < 0.5
    assert found.mean_kl > 0.1


def test_without_torch_it_is_tried_out(
    tmp_path: Path,
    checkpoint_of: Callable[[str], Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(verify, "reference_problem", lambda **_: "torch is not installed")
    argv = ["convert", str(checkpoint_of("base")), "--out", str(tmp_path), "--verify"]
    assert main(argv) == 0
    said = capsys.readouterr()
    assert "torch is not installed" in said.err
    assert "structure and pairing are right" in said.out


def test_the_measures_are_what_they_say() -> None:
    theirs = np.log(np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]], dtype=np.float32))
    same = agreement("x", theirs + 3, theirs)
    assert same.top1 == 1
    assert abs(same.mean_kl) < 1e-7
    assert same.largest == pytest.approx(3)
    ours = np.log(np.array([[0.2, 0.7, 0.1], [0.1, 0.1, 0.8]], dtype=np.float32))
    other = agreement("x", ours, theirs)
    assert other.top1 == 0.5
    assert other.mean_kl == pytest.approx((0.7 * np.log(3.5) + 0.2 * np.log(2 / 7)) / 2, rel=1e-4)
    with pytest.raises(VerificationError):
        agreement("x", ours * np.nan, theirs)

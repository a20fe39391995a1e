"""Kinds of memory whose kernels may end the process are tried in another one first."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from llavao1_edge import Engine, measured
from llavao1_edge.ggml import trial
from llavao1_edge.ggml.backend import Backend, cpu_device
from llavao1_edge.images import open_picture
from tests.configurations import CONFIGURATIONS, picture_for

SURVIVES = ["-c", ""]
CRASHES = ["-c", "import os, signal; os.kill(os.getpid(), signal.SIGILL)"]
HANGS = ["-c", "import time; time.sleep(60)"]
FAILS = ["-c", "raise SystemExit(1)"]


@pytest.fixture
def backend() -> Iterator[Backend]:
    with closing(Backend(cpu_device(), n_threads=1)) as backend:
        yield backend


@pytest.fixture
def tries(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Callable[[list[str]], list[str]]]:
    """From its call on every kind must be tried, and the trial is this Python code; returns the
    kinds that were tried."""

    def become(code: list[str]) -> list[str]:
        tried: list[str] = []

        def command(_: str, name: str) -> list[str]:
            tried.append(name)
            return [sys.executable, *code]

        monkeypatch.setattr(trial, "command", command)
        monkeypatch.setattr(trial, "PLAIN", "none")
        monkeypatch.setattr(measured, "file_of", lambda name: tmp_path / name)
        trial.survives.cache_clear()
        return tried

    yield become
    trial.survives.cache_clear()


def test_what_ends_the_process_is_not_used(
    backend: Backend, tries: Callable[[list[str]], list[str]]
) -> None:
    tried = tries(CRASHES)
    assert trial.safe_kinds(backend) == []
    assert trial.all_safe() == (not backend.extra_buffer_types)
    assert tried == [trial.name_of(kind) for kind in backend.extra_buffer_types], "tried once each"


def test_what_survives_is_used_and_not_tried_again(
    backend: Backend, tries: Callable[[list[str]], list[str]]
) -> None:
    tried = tries(SURVIVES)
    assert trial.safe_kinds(backend) == trial.safe_kinds(backend) == backend.extra_buffer_types
    assert trial.all_safe()
    assert len(tried) == len(backend.extra_buffer_types)


def test_what_hangs_or_cannot_be_started_is_not_used(
    backend: Backend,
    tries: Callable[[list[str]], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nor is it remembered: tomorrow it may be tried."""
    tries(FAILS)
    assert trial.survives("AMX") is None
    tries(HANGS)
    monkeypatch.setattr(trial, "SECONDS", 0.1)
    assert trial.survives("AMX") is None
    trial.survives.cache_clear()
    monkeypatch.setattr(trial, "command", lambda *_: ["/nowhere/python"])
    assert trial.survives("AMX") is None
    assert not trial.is_safe(cpu_device(), "AMX")
    assert not measured.file_of("processor.json").exists()


def test_the_trial_multiplies_as_this_machine_does(backend: Backend) -> None:
    """Its process ends well, or by a signal: never by an error of its own."""
    for kind in backend.extra_buffer_types:
        name = trial.name_of(kind)
        ended = subprocess.run(
            trial.command(trial.__name__, name), capture_output=True, text=True, check=False
        )
        assert "Traceback" not in ended.stderr
        assert ended.returncode <= 0
        if name == trial.PLAIN:
            assert ended.returncode == 0


def test_a_quantised_pair_answers_whatever_the_processor_lacks(
    open_tiny: Callable[..., Engine], tries: Callable[[list[str]], list[str]]
) -> None:
    picture = open_picture(picture_for(CONFIGURATIONS["base"], 1, 2, seed=1))
    usual = open_tiny(quantisation="Q4_0").prompt_logits(picture, "How many?").logits
    tries(CRASHES)
    plain = open_tiny(quantisation="Q4_0").prompt_logits(picture, "How many?").logits
    assert abs(plain - usual).max() < 0.03 * abs(usual).max()

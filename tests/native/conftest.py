"""A cache on disk of a test's own, and the models that are tried with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import platformdirs
import pytest

from llavao1_edge import Engine, RuntimeSettings, state_cache
from tests import native_models
from tests.conftest import FOLDER_OF_USER

Open = Callable[..., Engine]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a cache that keeps also what is computed fast."""
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda *_, **__: str(tmp_path))
    monkeypatch.setattr(state_cache, "folder_of_user", FOLDER_OF_USER)
    monkeypatch.setattr(state_cache, "LEAST_S", 0.0)
    return state_cache.StateCache.of_user(1).folder


@pytest.fixture
def open_kind(open_tiny: Open) -> Open:
    def opened(kind: str, **settings: object) -> Engine:
        if kind == "mllama":
            return open_tiny(**settings)
        text, mmproj = native_models.pair(kind)
        return Engine.open(text=text, mmproj=mmproj, settings=RuntimeSettings(**settings))  # type: ignore[arg-type]

    return opened

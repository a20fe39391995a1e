"""Fixtures: tiny converted pairs, made once per run and shared."""

from __future__ import annotations

import atexit
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings

from llavao1_edge import Engine, RuntimeSettings, state_cache
from tests import qt
from tests.configurations import CONFIGURATIONS, STRADDLING
from tests.devices import forced
from tests.tiny import Tiny, save

# Shared machines stall now and then, and a red run must be repeatable.
hypothesis_settings.register_profile("steady", deadline=None, derandomize=True)
hypothesis_settings.load_profile("steady")

# Plug-ins that somebody added to this machine are none of the tests' business.
os.environ.setdefault("LLAVAO1_PLUGINS", os.devnull)
forced.apply()
# Nor is what its user keeps, and what tests keep is none of the user's.
CACHE = Path(tempfile.mkdtemp(prefix="llavao1-tests-"))
atexit.register(shutil.rmtree, CACHE, ignore_errors=True)
os.environ["XDG_CACHE_HOME"] = str(CACHE)  # of the processes that tests start, on Linux
# A picture that took long to read is kept: nothing may depend on how fast the machine is.
PICTURES = CACHE / "llavao1-edge" / "pictures"
FOLDER_OF_USER, LEAST_S = state_cache.folder_of_user, state_cache.LEAST_S  # as they are shipped
state_cache.folder_of_user = lambda: PICTURES
state_cache.LEAST_S = math.inf

pytest_plugins = [] if qt.problem() else ["pytestqt.plugin"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """The settings in pyproject.toml that nobody else knows where pytest-qt is not loaded."""
    if qt.problem():
        for name in qt.OPTIONS:
            parser.addini(name, "of pytest-qt", type="args")


def pytest_pycollect_makemodule(
    module_path: Path, parent: pytest.Collector
) -> pytest.Module | None:
    """Tests of the window are skipped where Qt cannot be loaded, without importing them."""
    if qt.problem() and module_path.parts[-3:-1] == ("tests", "gui"):
        return qt.SkippedModule.from_parent(parent, path=module_path)  # type: ignore[no-any-return]
    return None


@pytest.fixture(autouse=True)
def _nothing_kept() -> None:
    """Of what a process that a test starts has kept no other test shall know."""
    shutil.rmtree(PICTURES, ignore_errors=True)


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tiny")


@pytest.fixture(scope="session")
def checkpoint_of(workshop: Path) -> Callable[[str], Path]:
    """Configuration name → checkpoint folder."""

    def make(name: str) -> Path:
        folder = workshop / name
        tiny = STRADDLING if name == "straddling" else CONFIGURATIONS[name]
        return folder if folder.exists() else save(tiny, folder)

    return make


@pytest.fixture(scope="session")
def pair_of(
    workshop: Path, checkpoint_of: Callable[[str], Path]
) -> Callable[..., tuple[Path, Path]]:
    """Configuration name and quantisation → text and mmproj file."""

    def make(name: str, quantisation: str = "F32") -> tuple[Path, Path]:
        from llavao1_convert.conversion import run
        from llavao1_convert.planning import plan_conversion

        plan = plan_conversion(
            checkpoint_of(name),
            workshop / "pairs",
            text_quantisation=quantisation,
            vision_quantisation=quantisation,
        )
        if not plan.mmproj.path.exists():
            for _ in run(plan):
                pass
        return plan.text.path, plan.mmproj.path

    return make


@pytest.fixture
def open_tiny(pair_of: Callable[..., tuple[Path, Path]]) -> Iterator[Callable[..., Engine]]:
    """Opens engines on tiny pairs and closes them after the test."""
    opened: list[Engine] = []

    def make(name: str = "base", quantisation: str = "F32", **settings: object) -> Engine:
        text, mmproj = pair_of(name, quantisation)
        # What pays is measured, and no count may depend on how fast the machine is today.
        given = {"draft_max": 0, **settings}
        chosen = RuntimeSettings(gpu_layers=0, **given)  # type: ignore[arg-type]
        engine = Engine.open(text=text, mmproj=mmproj, settings=chosen)
        opened.append(engine)
        return engine

    yield make
    for engine in opened:
        engine.close()


@pytest.fixture(scope="session")
def base() -> Tiny:
    return CONFIGURATIONS["base"]

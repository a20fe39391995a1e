"""Whether Qt can be loaded here. Where it cannot, the tests of the window are skipped, and say why.

pytest-qt ends the whole run when it cannot load Qt, so it is not loaded by itself (see addopts in
pyproject.toml) but from tests/conftest.py.
"""

from __future__ import annotations

import functools

import pytest

from llavao1_edge import system

OPTIONS = ("qt_api", "qt_log_level_fail", "qt_log_ignore")


@functools.cache
def problem() -> str:
    """Empty where Qt can be loaded; otherwise the reason of the skipped tests."""
    try:
        import PySide6.QtWidgets  # noqa: F401
        import pytestqt.plugin  # noqa: F401
    except ImportError as error:
        return system.advice(["window"]).replace("\n ", ":") or f"Qt cannot be loaded: {error}"
    return ""


class SkippedModule(pytest.Module):
    """A module of tests that is not even imported."""

    def collect(self) -> list[pytest.Item | pytest.Collector]:
        pytest.skip(problem(), allow_module_level=True)

"""Starts the window where Qt can run, and says what is missing where it cannot.

Qt ends the process itself when it finds no display or lacks a library: what can be known before is
asked before.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from llavao1_edge import system
from llavao1_edge.errors import BackendError, UsageError


def check() -> None:
    """Raises UsageError without PySide6, BackendError where Qt or a display is not to be had."""
    if find_spec("PySide6") is None:
        raise UsageError(
            "the window needs PySide6, which is not installed",
            hint="pip install 'llavao1-edge[gui]'",
        )
    try:
        import PySide6.QtWidgets  # noqa: F401
    except ImportError as error:
        found = system.advice(["window"]) or f"Qt cannot be loaded: {error}"
        raise _error(found) from error
    found = system.display_problem()
    if found:
        raise _error(found)


def _error(found: str) -> BackendError:
    message, _, hint = found.partition("\n")
    return BackendError(message, hint=hint.strip())


def main(arguments: Sequence[str]) -> int:
    """Runs until the window is closed; the exit code. Raises what `check` raises."""
    if not {"-h", "--help"} & set(arguments):
        check()
    from llavao1_gui.app import main as run

    return run(arguments)

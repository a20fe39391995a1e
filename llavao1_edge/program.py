"""How to start a part of this program as a process of its own, also from inside a bundle."""

from __future__ import annotations

import os
import sys

MODULE_FLAG = "--run-module"
"""What the bundle's program takes as `python -m`: it has no interpreter beside it."""


def command(module: str, *arguments: str) -> list[str]:
    """The command line that runs a module of ours. The folder it is started in is not searched."""
    if getattr(sys, "frozen", False):
        return [sys.executable, MODULE_FLAG, module, *arguments]
    return [sys.executable, "-P", "-m", module, *arguments]


def import_path() -> str:
    """`PYTHONPATH` of such a process: where this one finds its modules."""
    return os.pathsep.join(path for path in sys.path if path)

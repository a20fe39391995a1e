"""`llavao1-edge gui`: the desktop app. Its own options are read by the app itself."""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from typing import Any

from llavao1_edge.errors import UsageError


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "gui",
        help="open the window: drop a picture, ask, see how it thought",
        add_help=False,  # the app prints its own
    )
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    if find_spec("PySide6") is None:
        raise UsageError(
            "the window needs PySide6, which is not installed",
            hint="pip install 'llavao1-edge[gui]'",
        )
    from llavao1_gui.app import main

    code: int = main(options.arguments)
    return code

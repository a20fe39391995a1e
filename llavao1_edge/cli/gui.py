"""`llavao1-edge gui`: the desktop app. Its own options are read by the app itself."""

from __future__ import annotations

import argparse
from typing import Any


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "gui",
        help="open the window: drop a picture, ask, see how it thought",
        add_help=False,  # the app prints its own
    )
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from llavao1_gui.launch import main

    return main(options.arguments)

"""The command line of the window, and the folders it uses."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

DATA, CONFIG = "LLAVAO1_DATA", "LLAVAO1_CONFIG"


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="llavao1-edge gui", description="Opens the window, with pictures if some are given."
    )
    parser.add_argument("pictures", nargs="*", type=Path, metavar="PICTURE")
    parser.add_argument("--model", metavar="demo|NAME|FILE", help="default: as chosen last")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="where history is kept")
    parser.add_argument("--config", type=Path, metavar="FOLDER", help="where settings are kept")
    parser.add_argument("--script", type=Path, help=argparse.SUPPRESS)
    return parser


def folder(given: Path | None, variable: str, kind: str) -> Path:
    """From the option, the environment, or the system's own place."""
    if given is not None:
        return given
    if os.environ.get(variable):
        return Path(os.environ[variable])
    import platformdirs

    place = platformdirs.user_data_dir if kind == "data" else platformdirs.user_config_dir
    return Path(place("llavao1-edge", appauthor=False))

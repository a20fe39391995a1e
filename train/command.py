"""What the commands of this folder have in common: how they end, and how options are checked."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from llavao1_edge.errors import LlavaError, UsageError


def main(run: Callable[[], int], *, stopped: str) -> int:
    """The exit code of a command; what people can mend is a sentence. stopped: said after Ctrl-C.
    Anything else keeps its traceback: these commands are run from a clone."""
    try:
        return run()
    except LlavaError as error:
        print(f"error: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return error.exit_code
    except OSError as error:  # a full disk, a folder that cannot be written
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(stopped, file=sys.stderr)
        return 130


def flag(name: str) -> str:
    """How the option of a value is written."""
    return f"--{name.replace('_', '-')}"


def check_counts(options: argparse.Namespace, *names: str) -> None:
    """Raises UsageError for a number that is given and less than one."""
    for name in names:
        value = getattr(options, name)
        if value is not None and value < 1:
            raise UsageError(f"{flag(name)} is {value}", hint="It must be 1 or more.")

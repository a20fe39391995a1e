"""Entry point: picks the command, turns errors into sentences and exit codes.

Exit codes: 0 done, 1 failed, 2 the request was wrong, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from llavao1_edge import __version__
from llavao1_edge.cli import (
    ask,
    bench,
    chat,
    child,
    convert,
    devices,
    doctor,
    evaluate,
    gui,
    models,
)
from llavao1_edge.errors import Cancelled, LlavaError

EPILOG = """\
examples:
  llavao1-edge ask photo.jpg "How many people are there?" --model LLaVA-CoT-Q8_0.gguf
  llavao1-edge chat photo.jpg
  llavao1-edge models pull Xkev/Llama-3.2V-11B-cot
  llavao1-edge convert ollama:llama3.2-vision --out models
  llavao1-edge doctor

LLAVAO1_LOG=debug shows what llama.cpp says.
Only `models pull` and `convert owner/name` use the network.
"""


class Parser(argparse.ArgumentParser):
    """Says what is wrong in the form of all our errors."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}\n  {self.prog} --help shows what there is.\n")


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="llavao1-edge",
        description="LLaVA-o1 on your own computer: ask questions about pictures, offline.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"llavao1-edge {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (ask, chat, gui, convert, models, evaluate, bench, devices, doctor):
        command.add_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    _set_up_logging()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a character too many must not lose an answer
            stream.reconfigure(errors="replace")
    given = sys.argv[1:] if argv is None else list(argv)
    if given[:1] == ["gui"]:  # argparse would take the app's own options for ours
        options = argparse.Namespace(run=gui.run, arguments=given[1:])
    else:
        options = build_parser().parse_args(given)
    try:
        if child.is_needed(options):
            return child.run(given)
        code: int = options.run(options)
        sys.stdout.flush()
        return code
    except Cancelled as error:
        print(error.message, file=sys.stderr)
        return error.exit_code
    except LlavaError as error:
        return _fail(error, error.exit_code)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return Cancelled.exit_code
    except BrokenPipeError:
        # The reader went away (`| head`); keep Python from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if os.environ.get("LLAVAO1_LOG", "").lower() == "debug":
            raise
        message = f"unexpected {type(error).__name__}: {error}"
        hint = "This is a bug. LLAVAO1_LOG=debug shows where; please report it."
        return _fail(LlavaError(message, hint=hint), 1)


def _fail(error: LlavaError, code: int) -> int:
    print(f"error: {error}", file=sys.stderr)
    return code


def _set_up_logging() -> None:
    name = os.environ.get("LLAVAO1_LOG", "warning").upper()
    level = logging.getLevelNamesMapping().get(name, logging.WARNING)
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")


if __name__ == "__main__":
    sys.exit(main())

"""Entry point: picks the command, turns errors into sentences and exit codes.

Exit codes: 0 done, 1 failed, 2 the request was wrong, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

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
    serve,
    streams,
)
from llavao1_edge.errors import Cancelled, LlavaError, OutOfMemory

LONGEST = 2000  # of what is said about an argument
EPILOG = """\
examples:
  llavao1-edge ask photo.jpg "How many people are there?" --model LLaVA-CoT-Q8_0.gguf
  llavao1-edge chat photo.jpg
  llavao1-edge models pull Xkev/Llama-3.2V-11B-cot
  llavao1-edge convert ollama:llama3.2-vision --out models
  llavao1-edge doctor

LLAVAO1_LOG=debug shows what llama.cpp says.
The network is used only where you ask for it: downloads, --server, --rpc, --ray, `serve` and
`devices serve`.
"""


class Parser(argparse.ArgumentParser):
    """Says what is wrong in the form of all our errors."""

    def error(self, message: str) -> NoReturn:
        shown = message if len(message) <= LONGEST else f"{message[:LONGEST]}…"
        self.exit(2, f"error: {shown}\n  {self.prog} --help shows what there is.\n")

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        """A value that is empty, as a variable of a shell is that was never set, is none."""
        if arg_strings == [""] and action.nargs is None:
            name = "/".join(action.option_strings) or action.metavar or action.dest
            self.error(f"argument {name}: it is empty")
        return super()._get_values(action, arg_strings)


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="llavao1-edge",
        description="LLaVA-o1 on your own computer: ask questions about pictures, offline.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"llavao1-edge {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (ask, chat, gui, serve, convert, models, evaluate, bench, devices, doctor):
        command.add_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    streams.prepare()  # first: logging keeps the stream that it finds
    _set_up_logging()
    given = sys.argv[1:] if argv is None else list(argv)
    try:
        options = _parsed(given)
        if argv is None and child.is_needed(options):  # a caller in Python keeps its process
            return child.run(given, options)
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
    except BrokenPipeError:  # the reader went away (`| head`)
        streams.give_up_output()
        return 1
    except OSError as error:
        streams.give_up_output()
        message, hint = streams.reason(error)
        return _fail(LlavaError(message, hint=hint), 1)
    except MemoryError:
        hint = "Close other programs, or use a smaller model, picture or context."
        return _fail(OutOfMemory("there is not enough memory", hint=hint), 1)
    except Exception as error:
        if os.environ.get("LLAVAO1_LOG", "").lower() == "debug":
            raise
        message = f"unexpected {type(error).__name__}: {error}"
        hint = "This is a bug. LLAVAO1_LOG=debug shows where; please report it."
        return _fail(LlavaError(message, hint=hint), 1)


def _parsed(given: list[str]) -> argparse.Namespace:
    if given[:1] == ["gui"]:  # argparse would take the app's own options for ours
        return argparse.Namespace(run=gui.run, arguments=given[1:])
    try:
        return build_parser().parse_args(given)
    finally:
        sys.stdout.flush()  # help that could not be written must not fail at Python's end


def _fail(error: LlavaError, code: int) -> int:
    with contextlib.suppress(OSError):  # stderr may be full or gone as well
        print(f"error: {error}", file=sys.stderr)
        sys.stderr.flush()
    return code


def _set_up_logging() -> None:
    name = os.environ.get("LLAVAO1_LOG", "warning").upper()
    level = logging.getLevelNamesMapping().get(name, logging.WARNING)
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")


if __name__ == "__main__":
    sys.exit(main())

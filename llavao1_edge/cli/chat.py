"""`llavao1-edge chat`: several questions about one picture, typed or piped in."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from llavao1_edge.cli import options as shared
from llavao1_edge.cli.ask import ONE_PICTURE, read_source
from llavao1_edge.errors import Cancelled, LlavaError, UsageError

if TYPE_CHECKING:
    from llavao1_edge.engine import Session

EPILOG = """\
in the conversation:
  /stages     show the stages of the last answer
  /quit       leave (or Ctrl-D); Ctrl-C stops an answer

example:
  llavao1-edge chat shapes.png
"""


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "chat",
        help="ask several questions about a picture",
        description="The picture is read once. Answers go to stdout, the prompt to stderr.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("picture", metavar="PICTURE", help="a file, or none")
    parser.add_argument("more", nargs="*", default=[], help=argparse.SUPPRESS)
    shared.add_answer_options(parser)
    shared.add_model_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    if options.more:
        raise UsageError(
            f"{ONE_PICTURE}; too many: {options.more[-1]!r}",
            hint="Start another chat for another picture.",
        )
    if options.picture == "-":
        raise UsageError("a chat reads its questions from stdin", hint="Give the picture's path.")
    settings = shared.runtime_settings(options)
    shared.sampling_settings(options)
    from llavao1_edge.engine import Engine
    from llavao1_edge.images import open_picture

    source = read_source(options.picture)
    picture = None if source is None else open_picture(source)
    from llavao1_edge.cli.progress import stop_on_interrupt

    with stop_on_interrupt() as stop:
        opened = Engine.open(
            options.model, mmproj=options.mmproj, settings=settings, stop=stop.is_set
        )
    with opened as engine:
        session = engine.session(picture)
        failures = _Conversation(session, options).run()
    return 1 if failures and not sys.stdin.isatty() else 0


class _Conversation:
    """Reads questions until the end of input."""

    def __init__(self, session: Session, options: argparse.Namespace) -> None:
        self.session, self.options = session, options
        self.stages: dict[str, str] = {}
        self.failures = 0

    def run(self) -> int:
        while (line := self._read()) is not None:
            text = line.strip()
            if text == "/quit":
                break
            if text == "/stages":
                for name, stage in self.stages.items():
                    print(f"{name.capitalize()}\n{stage}\n", flush=True)
            elif text.startswith("/picture"):
                self._fail(UsageError(ONE_PICTURE, hint="Start another chat for another picture."))
            elif text.startswith("/"):
                self._fail(
                    UsageError(f"unknown command {text}", hint="There are /stages and /quit.")
                )
            elif text:
                self._ask(text)
        return self.failures

    def _read(self) -> str | None:
        if sys.stdin.isatty():
            print("> ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        return line or None

    def _ask(self, question: str) -> None:
        from llavao1_edge.cli.progress import ProgressLine, stop_on_interrupt
        from llavao1_edge.search import STRATEGIES, Answered

        line = ProgressLine()
        try:
            with stop_on_interrupt() as stop:
                for event in self.session.stream(
                    question,
                    search=STRATEGIES[self.options.strategy](),
                    seed=self.options.seed,
                    sampling=shared.sampling_settings(self.options),
                    stop=stop.is_set,
                ):
                    line.show(event)
                    if isinstance(event, Answered):
                        self.stages = event.answer.stages
                        line.clear()
                        print(event.answer.conclusion, flush=True)
                        for note in event.answer.notes:
                            print(f"note: {note}", file=sys.stderr)
        except Cancelled as error:
            line.clear()
            if not sys.stdin.isatty():
                raise
            print(error.message, file=sys.stderr)
        except LlavaError as error:
            line.clear()
            self._fail(error)

    def _fail(self, error: LlavaError) -> None:
        self.failures += 1
        print(f"error: {error}", file=sys.stderr)

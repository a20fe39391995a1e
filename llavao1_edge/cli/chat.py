"""`llavao1-edge chat`: several questions about one picture, typed or piped in."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from llavao1_edge.cli import options as shared
from llavao1_edge.cli.ask import ONE_PICTURE, no_conclusion
from llavao1_edge.errors import Cancelled, LlavaError, PictureError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from llavao1_edge.engine import Engine, Session
    from llavao1_edge.search.answer import Answer

EPILOG = """\
in the conversation:
  /stages     show the stages of the last answer
  /candidates show everything that was weighed for it
  /help       show this
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
    shared.add_server_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    if options.more:
        raise UsageError(
            f"{ONE_PICTURE}; too many: {options.more[-1]!r}",
            hint="Start another chat for another picture.",
        )
    if options.picture == "-":
        raise UsageError("a chat reads its questions from stdin", hint="Give the picture's path.")
    settings, server = shared.runtime_settings(options), shared.server(options)
    # Wrong options are named before anything is loaded.
    asking: dict[str, Any] = {
        "search": shared.strategy(options),
        "seed": shared.seed(options),
        "sampling": shared.sampling_settings(options),
        "budget": shared.budget_settings(options),
        "answer_format": shared.answer_format(options),
    }
    from llavao1_edge.cli.job import read_source
    from llavao1_edge.cli.opening import opened
    from llavao1_edge.images import open_picture

    source = read_source(options.picture)
    picture = None if source is None else open_picture(source)
    if picture is not None and picture.note:
        print(f"note: {picture.source}: {picture.note}", file=sys.stderr)
    from llavao1_edge.cli.progress import stop_on_interrupt

    with stop_on_interrupt() as stop:
        found = opened(
            options.model,
            options.mmproj,
            server=server,
            server_model=options.server_model,
            settings=settings,
            search=asking["search"],
            n_pictures=1,
            stop=stop.is_set,
        )
    with found as engine:
        failures = _Conversation(engine, engine.session(picture), asking).run()
    return 1 if failures and not sys.stdin.isatty() else 0


class _Conversation:
    """Reads questions until the end of input."""

    def __init__(self, engine: Engine, session: Session, asking: dict[str, Any]) -> None:
        self.engine, self.session, self.asking = engine, session, asking
        self.answer: Answer | None = None
        self.failures = 0

    def run(self) -> int:
        from llavao1_edge.cli.report import stages_text, tree_text

        while (line := self._read()) is not None:
            text = line.strip()
            if text == "/quit":
                break
            if text == "/stages":
                self._show(stages_text)
            elif text == "/candidates":
                self._show(lambda answer: tree_text(answer.trace))
            elif text == "/help":
                print(EPILOG, file=sys.stderr)
            elif text.startswith("/picture"):
                self._fail(UsageError(ONE_PICTURE, hint="Start another chat for another picture."))
            elif (path := _another_picture(text)) is not None:
                self._offer(path)
            elif text.startswith("/"):
                self._fail(UsageError(f"unknown command {text}", hint="/help shows what there is."))
            elif text:
                self._ask(text)
        return self.failures

    def _offer(self, path: Path) -> None:
        """A conversation is about one picture: on a terminal, whether to begin a new one."""
        from llavao1_edge.images import open_picture

        if not sys.stdin.isatty():
            self._fail(
                UsageError(
                    f"{path} is another picture, and a conversation is about one",
                    hint=f"Start another chat: llavao1-edge chat {shlex.quote(str(path))}",
                )
            )
            return
        print(f"{path} is another picture. Start a new conversation with it? [y/N] ", end="",
              file=sys.stderr, flush=True)  # fmt: skip
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            return
        try:
            picture = open_picture(path)
        except LlavaError as error:
            self._fail(error)
            return
        self.session.close()
        self.session, self.answer = self.engine.session(picture), None
        print(f"A new conversation, about {path.name}.", file=sys.stderr)

    def _show(self, lines: Callable[[Answer], Iterator[str]]) -> None:
        if self.answer is None:
            self._fail(UsageError("there is no answer yet", hint="Ask something first."))
            return
        for line in lines(self.answer):
            print(line, flush=True)

    def _read(self) -> str | None:
        if sys.stdin.isatty():
            print("> ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        return line or None

    def _ask(self, question: str) -> None:
        from llavao1_edge.cli.progress import Progress, stop_on_interrupt
        from llavao1_edge.search import Answered

        try:
            with Progress() as progress, stop_on_interrupt() as stop:
                for event in self.session.stream(question, **self.asking, stop=stop.is_set):
                    progress.show(event)
                    if isinstance(event, Answered):
                        answer = event.answer
        except Cancelled as error:
            if not sys.stdin.isatty():
                raise
            print(error.message, file=sys.stderr)
            return
        except LlavaError as error:
            self._fail(error)
            return
        self.answer = answer
        if answer.conclusion:
            print(answer.conclusion, flush=True)
        for note in answer.notes:
            print(f"note: {note}", file=sys.stderr)
        if not answer.conclusion and not answer.cancelled:
            self._fail(no_conclusion())
        if answer.cancelled and not sys.stdin.isatty():
            raise Cancelled("stopped")

    def _fail(self, error: LlavaError) -> None:
        self.failures += 1
        print(f"error: {error}", file=sys.stderr)


def _another_picture(text: str) -> Path | None:
    """What a line names, if it is nothing but the path of a picture that is there."""
    from llavao1_edge.images.finding import picture_path

    try:
        path = picture_path(text)
        is_path = any(sign in text for sign in "/\\.")
        return path if is_path and path.is_file() else None
    except (PictureError, OSError, ValueError):
        return None

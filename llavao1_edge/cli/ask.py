"""`llavao1-edge ask`: one question about one picture."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from llavao1_edge.cli import options as shared
from llavao1_edge.errors import PictureError, UsageError

EPILOG = """\
examples:
  llavao1-edge ask shapes.png "How many red circles are there?"
  llavao1-edge ask chart.png "Which year was best?" --model LLaVA-CoT-Q8_0.gguf --show-stages
  curl -s https://example.org/a.jpg | llavao1-edge ask - "What is this?" --model …
  llavao1-edge ask none "What is the capital of Japan?" --model LLaVA-CoT-Q8_0.gguf
"""
ONE_PICTURE = "a conversation has one picture"


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "ask",
        help="ask one question about a picture",
        description="Prints the conclusion on stdout.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("picture", metavar="PICTURE", help="a file, - for stdin, or none")
    parser.add_argument("question", metavar="QUESTION")
    parser.add_argument("more", nargs="*", default=[], help=argparse.SUPPRESS)
    parser.add_argument("--show-stages", action="store_true", help="print all four stages")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    shared.add_answer_options(parser)
    shared.add_model_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    if options.more:
        raise UsageError(
            f"{ONE_PICTURE}, and one question at a time; too many: {options.more[-1]!r}",
            hint="Put the question in quotes, and ask about other pictures separately.",
        )
    if not options.question.strip():
        raise UsageError("the question is empty", hint="Ask something about the picture.")
    settings, sampling = shared.runtime_settings(options), shared.sampling_settings(options)
    # Imported late: a wrong option is answered at once, without loading anything.
    from llavao1_edge.cli.progress import ProgressLine, stop_on_interrupt
    from llavao1_edge.engine import Engine
    from llavao1_edge.images import open_picture
    from llavao1_edge.search import STRATEGIES, Answered

    source = read_source(options.picture)
    picture = None if source is None else open_picture(source)
    line = ProgressLine()
    line.write("loading the model")
    with (
        stop_on_interrupt() as stop,
        Engine.open(
            options.model, mmproj=options.mmproj, settings=settings, stop=stop.is_set
        ) as engine,
    ):
        session = engine.session(picture)
        try:
            for event in session.stream(
                options.question,
                search=STRATEGIES[options.strategy](),
                seed=options.seed,
                sampling=sampling,
                stop=stop.is_set,
            ):
                line.show(event)
                if isinstance(event, Answered):
                    answer = event.answer
        finally:
            line.clear()
    for note in answer.notes:
        print(f"note: {note}", file=sys.stderr)
    if options.json:
        print(json.dumps(as_json(answer), ensure_ascii=False, indent=1))
        return 0 if answer.conclusion else 1
    if options.show_stages:
        for name, text in answer.stages.items():
            if name != "conclusion":
                print(f"{name.capitalize()}\n{text}\n")
        print("Conclusion")
    print(answer.conclusion)
    return 0 if answer.conclusion else 1


def read_source(name: str) -> Path | bytes | None:
    """`none`, `-` for standard input, or a path."""
    if name == "none":
        return None
    if name == "-":
        from llavao1_edge.images.opening import MAX_FILE_BYTES

        data = sys.stdin.buffer.read(MAX_FILE_BYTES)
        if not data:
            raise PictureError("no picture came on standard input", hint="Pipe a file into it.")
        return data
    return Path(name)


def as_json(answer: Any) -> dict[str, Any]:
    """The object that `--json` prints."""
    trace = answer.trace
    counters = {
        name: round(value, 1) if isinstance(value, float) else value
        for name, value in asdict(trace.counters).items()
    }
    return {
        "conclusion": answer.conclusion,
        "stages": answer.in_order(),
        "notes": list(answer.notes),
        "trace": {"strategy": trace.strategy, "seed": trace.seed, "counters": counters},
    }

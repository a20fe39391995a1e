"""`llavao1-edge ask`: one question about one picture."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llavao1_edge.cli import options as shared
from llavao1_edge.errors import Cancelled, LlavaError, UsageError

if TYPE_CHECKING:
    from llavao1_edge.cli.job import Job
    from llavao1_edge.search.answer import Answer

EPILOG = """\
examples:
  llavao1-edge ask shapes.png "How many red circles are there?"
  llavao1-edge ask chart.png "Which year was best?" --model LLaVA-CoT-Q8_0.gguf --show-stages
  llavao1-edge ask shapes.png "How many?" --strategy stage-beam --candidates 8 --show-candidates
  llavao1-edge ask shapes.png "Which one? A. red B. blue" --choices A,B
  llavao1-edge ask shapes.png "How many?" --json > answer.json
  llavao1-edge ask --replay answer.json
  llavao1-edge ask before.jpg after.jpg -q "What has changed?" --model qwen2-vl.gguf
  curl -s https://example.org/a.jpg | llavao1-edge ask - "What is this?" --model …
  llavao1-edge ask photo.jpg "What is this?" --server http://127.0.0.1:8080
  llavao1-edge ask none "What is the capital of Japan?" --model LLaVA-CoT-Q8_0.gguf
"""
DEMO = (
    "The demo model answers: it knows simple charts, geometry, tables, print, icons and shapes."
    " --model FILE takes another one."
)
ONE_PICTURE = "a conversation has one picture"


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "ask",
        help="ask one question about a picture",
        description="Prints the conclusion on stdout.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "picture", metavar="PICTURE", nargs="?", help="a file, - for stdin, or none"
    )
    parser.add_argument("question", metavar="QUESTION", nargs="?")
    parser.add_argument("more", nargs="*", default=[], help=argparse.SUPPRESS)
    parser.add_argument(
        "-q",
        "--question",
        dest="asked",
        metavar="QUESTION",
        help="the question; several pictures may be given then",
    )
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--show-stages", action="store_true", help="print all four stages")
    shown.add_argument(
        "--show-candidates", action="store_true", help="print everything that was weighed"
    )
    shown.add_argument("--json", action="store_true", help="print one JSON object with everything")
    parser.add_argument(
        "--replay", metavar="FILE", help="answer again what --json recorded, and compare"
    )
    shared.add_answer_options(parser)
    shared.add_model_options(parser)
    shared.add_server_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    if options.more and options.asked is None:
        raise UsageError(
            f"{ONE_PICTURE}, and one question at a time; too many: {options.more[-1]!r}",
            hint="Put the question in quotes. For models that take several pictures: "
            "ask A.png B.png -q QUESTION.",
        )
    # Imported late: a wrong option is answered at once, without loading anything.
    from llavao1_edge.cli import job as jobs
    from llavao1_edge.cli.record import from_record

    if options.replay is not None:
        job = from_record(Path(options.replay), options)
    elif options.picture is None:
        raise UsageError(
            "a picture and a question are missing",
            hint='For example: ask photo.jpg "What is this?", or none for no picture.',
        )
    else:
        job = jobs.from_options(options)
    if not job.question.strip():
        raise UsageError("the question is empty", hint="Write what you want to know.")
    if job.answer_format is not None and job.answer_format.unenforced:
        words, name = ", ".join(job.answer_format.unenforced), job.answer_format.name
        note = f"note: {words} of {name} cannot be enforced while writing; the finished answer is"
        print(f"{note} checked", file=sys.stderr)
    job.open_pictures()
    answer, record = _answer(job)
    for note in answer.notes:
        print(f"note: {note}", file=sys.stderr)
    _print(answer, record, options)
    return _exit_code(job, answer, record)


def _answer(job: Job) -> tuple[Answer, dict[str, Any]]:
    from llavao1_edge.cli.opening import opened
    from llavao1_edge.cli.progress import Progress, stop_on_interrupt
    from llavao1_edge.cli.record import as_json
    from llavao1_edge.search import Answered

    with Progress() as progress, stop_on_interrupt() as stop:
        if job.server is None and job.model_name == "demo":
            progress.say(DEMO)
        progress.write("loading the model" if job.server is None else "asking the server")
        with opened(
            job.model_name,
            job.mmproj_name,
            server=job.server,
            server_model=job.server_model,
            settings=job.settings,
            search=job.strategy,
            n_pictures=len(job.pictures),
            stop=stop.is_set,
        ) as engine:
            session = engine.session(*job.pictures)
            for event in session.stream(
                job.question,
                search=job.strategy,
                seed=job.seed,
                sampling=job.sampling,
                budget=job.budget,
                answer_format=job.answer_format,
                stop=stop.is_set,
            ):
                progress.show(event)
                if isinstance(event, Answered):
                    answer = event.answer
            return answer, as_json(answer, job, engine)


def _print(answer: Answer, record: dict[str, Any], options: argparse.Namespace) -> None:
    from llavao1_edge.cli.report import stages_text, tree_text

    if options.json:
        print(json.dumps(record, ensure_ascii=False, indent=1))
        return
    if options.show_stages:
        for text in stages_text(answer):
            print(text)
    elif options.show_candidates:
        for text in tree_text(answer.trace):
            print(text)
        print("\nConclusion")
    if answer.conclusion:
        print(answer.conclusion)


def _exit_code(job: Job, answer: Answer, record: dict[str, Any]) -> int:
    """0 for an answer, 130 for a stopped one. Raises LlavaError where there is none."""
    from llavao1_edge.cli.record import differences

    if answer.cancelled:
        return Cancelled.exit_code
    if job.expected is not None:
        found = differences(record, job.expected)
        print(f"replay: {'; '.join(found) if found else 'the same answer'}", file=sys.stderr)
        return 1 if found else 0
    if not answer.conclusion:
        raise no_conclusion()
    if answer.form_problem:
        raise LlavaError(
            answer.form_problem, hint="Give it more room, or use a form that the model can fill."
        )
    return 0


def no_conclusion() -> LlavaError:
    return LlavaError(
        "the answer ended before its conclusion",
        hint="Give it more room: a larger --max-tokens, --stage-tokens or --context.",
    )

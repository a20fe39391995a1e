"""Four-stage answers by a teacher: questions in, LLaVA-CoT-100k's format out.

    python -m train.annotate QUESTIONS --server URL --out FOLDER

QUESTIONS is what `llavao1-edge eval` reads: JSON Lines or CSV of picture, question, answer, or one
of VLMEvalKit's .tsv files. The same command goes on after an interruption and pays nothing twice.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from llavao1_edge.errors import ServerError, UsageError
from llavao1_edge.evaluation.datasets import read_dataset
from llavao1_edge.evaluation.items import Item, Malformed
from llavao1_edge.remote.client import Client
from llavao1_edge.remote.probe import choose, is_ours, listed
from train import command
from train.annotate.asking import Form, Reason, Teacher, is_comparable
from train.annotate.replies import Limits, Spent
from train.annotate.result import Annotation
from train.annotate.work import Outcome, annotate

TELL_S = 5.0


def main(given: Sequence[str] | None = None) -> int:
    return command.main(
        lambda: run(_parser().parse_args(given)), stopped="stopped; the same command goes on"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m train.annotate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("questions", type=Path, metavar="QUESTIONS")
    add("--server", required=True, metavar="URL", help="of a model that sees; LLAVAO1_SERVER_KEY")
    add("--teacher", metavar="NAME", help="its name there; default: the only one")
    add("--out", type=Path, required=True, metavar="FOLDER")
    add(
        "--form",
        choices=[form.value for form in Form],
        help="plain: the teacher writes the four stages of its own accord, as LLaVA-CoT does; "
        "default: prompted, but for our own `serve`",
    )
    add(
        "--show-answer",
        action="store_true",
        help="tell the teacher the right answer; more is kept, and less is checked",
    )
    add("--keep-unchecked", action="store_true", help="keep what no answer can be compared with")
    add("--limit", type=int, metavar="N", help="the first N questions")
    add("--tries", type=int, default=3, metavar="N", help="for a question (default 3)")
    add("--parallel", type=int, default=8, metavar="N", help="questions at a time (default 8)")
    add("--temperature", type=float, default=0.7)
    add("--max-tokens", type=int, default=2048, metavar="N", help="of an answer")
    add("--token-budget", type=int, metavar="N", help="of prompts and answers, over all runs")
    add("--cost-budget", type=float, metavar="X", help="at the prices given, over all runs")
    add("--prompt-price", type=float, default=0.0, metavar="X", help="of a million tokens")
    add("--completion-price", type=float, default=0.0, metavar="X", help="of a million tokens")
    return parser


def run(options: argparse.Namespace) -> int:
    limits = _limits(options)
    items, malformed = _questions(options.questions, options.limit)
    unasked = sum(not is_comparable(item) for item in items)
    if unasked and not options.keep_unchecked:
        print(
            f"{unasked} of {len(items)} questions are not asked: nothing can be compared with "
            "their reference (--keep-unchecked asks them and keeps what comes)",
            file=sys.stderr,
        )
    with Client(options.server) as client:
        teacher = _teacher(client, options)
        told_at = time.monotonic()

        def tell(now: Outcome, paid: Spent) -> None:
            nonlocal told_at
            if time.monotonic() - told_at >= TELL_S:
                told_at = time.monotonic()
                done, tokens = len(now.verdicts), paid.prompt + paid.completion
                print(f"{done} of {len(items)} questions, {tokens} tokens", file=sys.stderr)

        outcome, spent = annotate(
            client,
            items,
            teacher,
            limits,
            options.out,
            unchecked=options.keep_unchecked,
            tell=tell,
        )
    made = Annotation(
        items, malformed, outcome, teacher, limits, spent, source=options.questions.name
    )
    rejected = [v.said for _, v in made.judged if v.reason in (Reason.REJECTED, Reason.FAILED)]
    if rejected and not spent.replies:
        raise ServerError(
            f"the server takes none of the questions: {rejected[0]}",
            hint="Nothing was written. Its message may name the option that it does not know.",
        )
    if spent.replies or not (outcome.error or outcome.stopped):
        print(made.write(options.out))
    if outcome.stopped:
        raise KeyboardInterrupt
    if outcome.error is not None:
        raise outcome.error
    return 0


def _limits(options: argparse.Namespace) -> Limits:
    counts = ("tries", "parallel", "max_tokens", "limit", "token_budget")
    command.check_counts(options, *counts)
    for name in ("cost_budget", "prompt_price", "completion_price", "temperature"):
        value = getattr(options, name)
        if value is not None and not 0 <= value < 1e9:
            raise UsageError(f"{command.flag(name)} is {value}", hint="It cannot be that.")
    if options.cost_budget is not None and not options.prompt_price + options.completion_price:
        raise UsageError(
            "--cost-budget needs prices", hint="Give --prompt-price and --completion-price."
        )
    return Limits(
        options.tries,
        options.parallel,
        options.token_budget,
        options.cost_budget,
        options.prompt_price,
        options.completion_price,
        options.max_tokens,
    )


def _questions(path: Path, limit: int | None) -> tuple[list[Item], list[Malformed]]:
    rows = list(islice(read_dataset(path), limit))
    items = [row for row in rows if isinstance(row, Item)]
    if not items:
        raise UsageError(f"{path.name} has no question that can be read", hint="Check its columns.")
    return items, [row for row in rows if isinstance(row, Malformed)]


def _teacher(client: Client, options: argparse.Namespace) -> Teacher:
    """Raises UsageError for a model that is not there, ServerError."""
    entries, name = listed(client), options.teacher
    if entries or name is None:  # some servers list nothing and answer all the same
        name = choose(client, entries, name, option="--teacher")["id"]
    ours = is_ours(entries)
    form = Form(options.form) if options.form else Form.PLAIN if ours else Form.PROMPTED
    return Teacher(
        name, form, options.show_answer, options.temperature, options.max_tokens, is_ours=ours
    )


if __name__ == "__main__":
    sys.exit(main())

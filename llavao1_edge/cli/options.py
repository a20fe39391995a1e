"""Options that several commands share; names, ranges and help follow from the settings tables."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llavao1_edge.errors import UsageError
from llavao1_edge.settings import (
    BudgetSettings,
    Range,
    RuntimeSettings,
    SamplingSettings,
    SearchSettings,
    digits,
    ranges,
)

if TYPE_CHECKING:
    from llavao1_edge.search import Strategy
    from llavao1_edge.stages import AnswerFormat

STRATEGY_HELP = """\
staged (default): one candidate per stage; stage-beam: several per stage, the best go on;
best-of-n: several whole answers; sentence-beam: several per sentence; retrace: goes back to the
caption where no reasoning convinces; direct: the conclusion alone; free: as the model likes"""
SCORER_HELP = """\
who picks the best candidate: logprob or min-logprob (the model's own certainty), agreement (what
most say), judge (the model compares two), judge-reference (as the paper's code), combined
(default)"""


def add_model_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model",
        default="demo",
        metavar="demo|NAME|FILE",
        help="a model of `models list`, or a text file (GGUF); default: the demo model",
    )
    group.add_argument(
        "--mmproj", metavar="FILE", help="its mmproj file; default: the one beside the text file"
    )
    for name, limits in ranges(RuntimeSettings):
        _add(group, name, limits)
    group.add_argument(
        "--no-picture-cache",
        dest="picture_cache",
        action="store_const",
        const="0",
        help="the same as --picture-cache 0",
    )
    group.add_argument(
        "-v", "--verbose", action="store_true", help="say what will be loaded where, and why"
    )


def add_server_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("a model on a server, in place of one on this machine")
    group.add_argument(
        "--server",
        metavar="URL",
        help="of OpenAI's protocol (llama.cpp, vLLM, SGLang, llavao1-edge serve): pictures and "
        "questions are sent there; a key is taken from LLAVAO1_SERVER_KEY",
    )
    group.add_argument(
        "--server-model", metavar="NAME", help="its name there; default: the only one"
    )


def server(options: argparse.Namespace) -> str | None:
    """Raises UsageError for options that a server leaves without a meaning."""
    if options.server is None:
        if options.server_model is not None:
            raise UsageError("--server-model needs --server", hint="Give the server's address.")
        return None
    given = [name for name, _ in ranges(RuntimeSettings) if name != "stage_prompt"]
    given = [name for name in given if getattr(options, name) is not None]
    if options.model not in (None, "demo") or getattr(options, "mmproj", None):
        given.append("model")
    if given:
        raise UsageError(
            f"--{given[0].replace('_', '-')} was given together with --server",
            hint="The server decides how its model runs.",
        )
    return str(options.server)


def add_evaluation_options(parser: argparse.ArgumentParser) -> None:
    """Like the others, but models, strategies, scorers and numbers of candidates may repeat."""
    from llavao1_edge.scoring import SCORERS
    from llavao1_edge.search import STRATEGIES

    group = parser.add_argument_group("what to compare (each may be given several times)")
    group.add_argument("--model", action="append", metavar="demo|NAME|FILE", help="default: demo")
    group.add_argument(
        "--strategy", action="append", choices=sorted(STRATEGIES), help="default: staged"
    )
    group.add_argument("--scorer", action="append", choices=tuple(SCORERS))
    group.add_argument("--candidates", action="append", metavar="N")
    group.add_argument(
        "--greedy", action="store_true", help="also the likeliest token always, without candidates"
    )
    group = parser.add_argument_group("answer")
    group.add_argument("--seed", type=int, help="same seed, same answers (default 0)")
    for kind in (BudgetSettings, SamplingSettings):
        for name, limits in ranges(kind):
            _add(group, name, limits)
    _add_form_options(parser)
    machine = parser.add_argument_group("machine")
    for name, limits in ranges(RuntimeSettings):
        _add(machine, name, limits)
    machine.add_argument("-v", "--verbose", action="store_true", help="say what is loaded where")


def whole(flag: str, text: str, *, low: int, high: int | None = None) -> int:
    """Raises UsageError for anything but a whole number of at least `low`, at most `high`."""
    number = digits(text)
    if number is None or number < low:
        raise UsageError(
            f"{flag} is {text[:40]!r}", hint=f"It must be a whole number from {low} on."
        )
    if high is not None and number > high:
        raise UsageError(f"{flag} is {number}", hint=f"It must be at most {high}.")
    return number


def add_answer_options(parser: argparse.ArgumentParser) -> None:
    add_search_options(parser)
    _add_form_options(parser)


def add_search_options(parser: argparse.ArgumentParser) -> None:
    from llavao1_edge.scoring import SCORERS
    from llavao1_edge.search import STRATEGIES

    group = parser.add_argument_group("answer")
    group.add_argument("--strategy", choices=sorted(STRATEGIES), help=STRATEGY_HELP)
    group.add_argument("--scorer", choices=tuple(SCORERS), help=SCORER_HELP)
    group.add_argument("--seed", type=int, help="same seed, same answer (default 0)")
    for kind in (SearchSettings, BudgetSettings, SamplingSettings):
        for name, limits in ranges(kind):
            _add(group, name, limits)


def _add_form_options(parser: argparse.ArgumentParser) -> None:
    from llavao1_edge.stages.answers import KINDS

    form = parser.add_argument_group("form of the conclusion")
    form.add_argument("--choices", metavar="A,B,…", help="one of these, exactly as written")
    form.add_argument("--answer", choices=tuple(KINDS), help="what the conclusion must be")
    form.add_argument("--json-schema", metavar="FILE", help="JSON that follows this schema")
    form.add_argument("--grammar", metavar="FILE", help="text that follows this GBNF grammar")


def _add(group: argparse._ArgumentGroup, name: str, limits: Range) -> None:
    flag = f"--{name.replace('_', '-')}"
    if limits.choices:
        group.add_argument(flag, choices=limits.choices, help=limits.help)
    else:
        metavar = limits.shown or ("N" if limits.kind is int else "X")
        group.add_argument(flag, metavar=metavar, help=limits.help)


def model_name(model: str, text: Path) -> str:
    """What to call a model in tables: files of the store are named after their digests."""
    return model if model == "demo" or text.stem.startswith("sha256-") else text.stem


def size(n_bytes: float) -> str:
    """Bytes for people."""
    from llavao1_edge.files import size_text

    return size_text(n_bytes)


def runtime_settings(options: argparse.Namespace) -> RuntimeSettings:
    if options.verbose:
        logging.getLogger("llavao1_edge.engine").setLevel(logging.INFO)
    return RuntimeSettings(**_given(options, RuntimeSettings))


def sampling_settings(options: argparse.Namespace) -> SamplingSettings:
    return SamplingSettings(**_given(options, SamplingSettings))


def budget_settings(options: argparse.Namespace) -> BudgetSettings:
    return BudgetSettings(**_given(options, BudgetSettings))


def strategy(options: argparse.Namespace) -> Strategy:
    """The chosen strategy with the options it has. Raises UsageError for one it does not have."""
    from llavao1_edge.search import make_strategy

    given = _given(options, SearchSettings)
    if options.scorer is not None:
        given["scorer"] = options.scorer
    return make_strategy(options.strategy or "staged", given)


def seed(options: argparse.Namespace) -> int:
    return options.seed or 0


def given_names(options: argparse.Namespace) -> list[str]:
    """Options of the answer, the budget and the runtime that were given."""
    names = ["strategy", "scorer", "seed", "choices", "answer", "json_schema", "grammar"]
    for kind in (SearchSettings, BudgetSettings, SamplingSettings, RuntimeSettings):
        names += [name for name, _ in ranges(kind)]
    return [name for name in names if getattr(options, name) is not None]


def answer_format(options: argparse.Namespace) -> AnswerFormat | None:
    from llavao1_edge.engine import formats
    from llavao1_edge.search import make_strategy

    given = (options.choices, options.answer, options.json_schema, options.grammar)
    strategies = options.strategy if isinstance(options.strategy, list) else [options.strategy]
    for name in strategies:
        formats.check_fits(make_strategy(name or "staged", {}), any(given))
    return formats.answer_format(
        one_of=options.choices,
        kind=options.answer,
        schema=None if options.json_schema is None else Path(options.json_schema),
        grammar=None if options.grammar is None else Path(options.grammar),
    )


def _given(options: argparse.Namespace, kind: Any) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, limits in ranges(kind):
        text = getattr(options, name)
        if text is None or (text == "auto" and not limits.choices):
            continue
        values[name] = limits.read(f"--{name.replace('_', '-')}", text)
    return values

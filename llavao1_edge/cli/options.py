"""Options that several commands share; names, ranges and help follow from the settings tables."""

from __future__ import annotations

import argparse
from typing import Any

from llavao1_edge.errors import UsageError
from llavao1_edge.settings import Range, RuntimeSettings, SamplingSettings, ranges

WHOLE = ("top_k", "max_tokens", "threads", "context", "batch", "gpu_layers")


def add_model_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model",
        default="demo",
        metavar="demo|FILE",
        help="the text file of a converted pair; default: the embedded demo model",
    )
    group.add_argument(
        "--mmproj", metavar="FILE", help="its mmproj file; default: the one beside the text file"
    )
    for name, limits in ranges(RuntimeSettings):
        _add(group, name, limits)


def add_answer_options(parser: argparse.ArgumentParser) -> None:
    from llavao1_edge.search import STRATEGIES

    group = parser.add_argument_group("answer")
    group.add_argument(
        "--strategy",
        default="staged",
        choices=sorted(STRATEGIES),
        help="staged: the four stages (default); direct: the conclusion alone; "
        "free: as the model likes",
    )
    group.add_argument("--seed", type=int, default=0, help="same seed, same answer (default 0)")
    for name, limits in ranges(SamplingSettings):
        _add(group, name, limits)


def _add(group: argparse._ArgumentGroup, name: str, limits: Range) -> None:
    flag = f"--{name.replace('_', '-')}"
    if limits.choices:
        group.add_argument(flag, choices=limits.choices, help=limits.help)
    else:
        metavar = "auto|N" if name == "gpu_layers" else "N" if name in WHOLE else "X"
        group.add_argument(flag, metavar=metavar, help=limits.help)


def runtime_settings(options: argparse.Namespace) -> RuntimeSettings:
    return RuntimeSettings(**_given(options, RuntimeSettings))


def sampling_settings(options: argparse.Namespace) -> SamplingSettings:
    return SamplingSettings(**_given(options, SamplingSettings))


def _given(options: argparse.Namespace, kind: Any) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, limits in ranges(kind):
        text = getattr(options, name)
        if text is None or (text == "auto" and not limits.choices):
            continue
        values[name] = text if limits.choices else _number(name, text)
    return values


def _number(name: str, text: str) -> float:
    flag = f"--{name.replace('_', '-')}"
    try:
        return int(text) if name in WHOLE else float(text)
    except ValueError:
        kind = "a whole number" if name in WHOLE else "a number"
        raise UsageError(f"{flag} is {text!r}", hint=f"It must be {kind}.") from None

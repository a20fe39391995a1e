"""Every setting with its range and help in one table; command line and dialogs follow from it.

Values are frozen and validated where they are made; a bad one raises UsageError with its name.
"""

from __future__ import annotations

import contextlib
import ipaddress
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any

from llavao1_edge.errors import UsageError
from llavao1_edge.phrases import Phrase

CPU_DEVICE = "cpu"
MUST_BE = {
    int: Phrase("It must be a whole number."),
    float: Phrase("It must be a number."),
    str: Phrase("It must be text."),
}
SHOWN = 80  # characters of a value that cannot be
MOST_THREADS = 512  # ggml has places for no more
MOST_PARALLEL = (
    8  # answers at once: more brings little; each takes sequences and a picture's memory
)


@dataclass(frozen=True)
class Range:
    """What a setting accepts, and its help text.

    kind: int, float or str, from the setting's own annotation; command line and dialogs read by it.
    shown: how the value is written in a command's help.
    """

    help: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    kind: type = float
    shown: str = ""

    def read(self, name: str, text: str) -> int | float | str:
        """The value that a person typed. Raises UsageError where it is not of the kind."""
        if self.choices or self.kind is str:
            return text
        try:
            return self.kind(text)  # type: ignore[no-any-return]
        except ValueError:
            raise UsageError(
                Phrase("{name} is {text}", name=name, text=repr(text[:SHOWN])),
                hint=MUST_BE[self.kind],
            ) from None


def setting(default: Any, help: str, **limits: Any) -> Any:
    return field(default=default, metadata={"range": Range(help, **limits)})


@dataclass(frozen=True)
class _Validated:
    def __post_init__(self) -> None:
        for name, limits in ranges(type(self)):
            _check(name, getattr(self, name), limits)
        self._check_more()

    def _check_more(self) -> None:
        """What a range cannot say."""


def ranges(kind: type[_Validated]) -> Iterator[tuple[str, Range]]:
    """(name, range) of every setting of a group."""
    for entry in fields(kind):
        name = str(entry.type).split(" |")[0]
        yield entry.name, replace(entry.metadata["range"], kind=KINDS[name])


KINDS: dict[str, type] = {"int": int, "float": float, "str": str}


def check_setting(kind: type[_Validated], name: str, value: Any) -> None:
    """Raises UsageError where the group has such a setting and `value` is out of its range."""
    for known, limits in ranges(kind):
        if known == name:
            _check(name, value, limits)


def _check(name: str, value: Any, limits: Range) -> None:
    if limits.choices:
        if value not in limits.choices:
            raise UsageError(
                Phrase("{name} is {value}", name=name, value=repr(value)),
                hint=Phrase("Choose one of {choices}.", choices=", ".join(limits.choices)),
            )
        return
    if value is None:
        return
    fits = (
        isinstance(value, int | float) if limits.kind is float else isinstance(value, limits.kind)
    )
    endless = isinstance(value, float) and not math.isfinite(value)
    if not fits or endless or isinstance(value, bool):
        raise UsageError(
            Phrase("{name} is {value}", name=name, value=repr(value)),
            hint=MUST_BE[limits.kind],
        )
    if limits.kind is str:
        return
    outside = (limits.low is not None and not value >= limits.low) or (
        limits.high is not None and not value <= limits.high
    )
    if outside:
        raise UsageError(
            Phrase("{name} is {value}", name=name, value=value),
            hint=_span(limits),
        )


def _span(limits: Range) -> str:
    if limits.low is None:
        return Phrase("It must be at most {high:.10g}.", high=limits.high)
    if limits.high is None:
        return Phrase("It must be at least {low:.10g}.", low=limits.low)
    return Phrase(
        "It must be between {low:.10g} and {high:.10g}.", low=limits.low, high=limits.high
    )


@dataclass(frozen=True)
class SamplingSettings(_Validated):
    """How tokens are drawn. None takes the model's own default."""

    temperature: float | None = setting(
        None, "0 takes the likeliest token; default: the model's own", low=0, high=10
    )
    top_p: float | None = setting(
        None, "draw from the likeliest tokens of this total probability", low=0.01, high=1
    )
    top_k: int | None = setting(None, "draw from this many likeliest tokens, 0 for all", low=0)
    min_p: float = setting(0.0, "leave out tokens below this share of the best", low=0, high=1)
    repeat_penalty: float = setting(1.0, "above 1 discourages repetition", low=0.5, high=2)
    max_tokens: int = setting(2048, "most tokens an answer may have", low=1)

    def _check_more(self) -> None:
        if self.temperature is not None and 0 < self.temperature < 0.01:
            raise UsageError(
                Phrase("temperature is {temperature}", temperature=self.temperature),
                hint="It must be 0 or at least 0.01.",
            )


@dataclass(frozen=True)
class SearchSettings(_Validated):
    """How a strategy searches. None: the strategy's own default."""

    candidates: int | None = setting(None, "candidates side by side", low=1, high=64)
    keep: int | None = setting(None, "branches kept at each stage (stage-beam)", low=1, high=16)
    enough: float | None = setting(
        None,
        "draw no more candidates of a stage where the first has this probability; with 0.5 none "
        "can be likelier, 0 draws all at once (stage-beam)",
        low=0,
        high=1,
    )
    returns: int | None = setting(None, "most returns to the caption (retrace)", low=0, high=16)
    threshold: float | None = setting(
        None, "go back while the second-best reasoning is not likelier than this (retrace)", high=0
    )


@dataclass(frozen=True)
class BudgetSettings(_Validated):
    """What an answer may cost. None: no limit."""

    stage_tokens: int | None = setting(None, "most tokens a candidate has for a stage", low=1)
    token_budget: int | None = setting(
        None, "tokens all candidates may sample; then the best so far is finished greedily", low=1
    )
    time_budget: float | None = setting(
        None, "seconds to search; then the best so far is finished greedily", low=0.001
    )


@dataclass(frozen=True)
class RuntimeSettings(_Validated):
    """How the model is run. None chooses by the machine."""

    gpu_layers: int | None = setting(
        None, "layers on the GPU: auto, or a number", low=0, high=100_000, shown="auto|N"
    )
    device: str | None = setting(
        None, "devices to compute on, as `devices` names them; cpu for none", shown="NAME,…"
    )
    mmproj_device: str | None = setting(
        None, "the device that reads pictures, or cpu; default: by the room there is", shown="NAME"
    )
    rpc: str | None = setting(
        None, "computers that run `devices serve`, on a network you trust", shown="HOST:PORT,…"
    )
    threads: int | None = setting(
        None, "CPU threads; default: this machine's cores", low=1, high=MOST_THREADS
    )
    context: int | None = setting(None, "tokens a conversation can hold", low=256, high=1 << 24)
    batch: int = setting(128, "most tokens computed at a time", low=8, high=8192)
    picture_tokens: int | None = setting(
        None,
        "most tokens a picture may take, for models whose pictures stand in the text",
        low=4,
        high=1 << 16,
    )
    picture_cache: float = setting(
        2.0,
        "gigabytes of pictures and conversations as the model has them, kept on disk so that none"
        " is read twice; 0 for none",
        low=0,
        high=1000,
        shown="GB",
    )
    draft_max: int | None = setting(
        None,
        "most tokens guessed ahead, 0 for none; default: what pays",
        low=0,
        high=64,
    )
    draft: str | None = setting(
        None,
        "a smaller text model (GGUF) of the same vocabulary, which guesses what this one says",
        shown="FILE",
    )
    chat_format: str | None = setting(
        None,
        "how a conversation is written; default: as the model's family does",
        shown="NAME",
    )
    stage_prompt: str = setting(
        "auto",
        "ask for the four stages in words; auto: of models that llama.cpp runs itself",
        choices=("auto", "on", "off"),
    )
    memory_check: str = setting(
        "on", "off loads a model even where it does not seem to fit", choices=("on", "off")
    )
    cache: str = setting("auto", "precision of keys and values", choices=("auto", "f16", "f32"))

    @property
    def n_threads(self) -> int:
        return self.threads or default_threads()

    @property
    def servers(self) -> tuple[tuple[str, int], ...]:
        """(host, port) of every RPC server."""
        return tuple(_address(text) for text in (self.rpc or "").split(",") if text.strip())

    @property
    def on_cpu(self) -> bool:
        """Whether nothing may be computed on another device than the CPU."""
        return (self.device or "").lower() == CPU_DEVICE

    def _check_more(self) -> None:
        for name in ("device", "mmproj_device"):
            value = getattr(self, name)
            if value is not None and not all(part.strip() for part in value.split(",")):
                raise UsageError(
                    Phrase("{name} is {value}", name=name, value=repr(value)),
                    hint="`llavao1-edge devices` lists them.",
                )
        if self.rpc is not None and not self.servers:
            raise UsageError(
                Phrase("rpc is {rpc}", rpc=repr(self.rpc)), hint="It must be HOST:PORT,HOST:PORT,…."
            )
        if self.draft is not None and not self.draft.strip():
            raise UsageError(
                Phrase("draft is {draft}", draft=repr(self.draft)),
                hint="It must be the path of a GGUF file.",
            )
        if self.on_cpu and self.gpu_layers:
            raise UsageError(
                Phrase(
                    "{gpu_layers} layers cannot be on a GPU with the device cpu",
                    gpu_layers=self.gpu_layers,
                ),
                hint="Leave one of the two out.",
            )


def _address(text: str) -> tuple[str, int]:
    host, separator, port = text.strip().rpartition(":")
    number = digits(port) or 0
    if not separator or not host or not 0 < number < 65536:
        raise UsageError(
            Phrase("rpc is {text}", text=repr(text.strip()[:SHOWN])),
            hint="It must be HOST:PORT.",
        )
    return host.strip("[]"), number


def digits(text: str) -> int | None:
    """A whole number as people write one; None for anything else, and for more than 18 digits,
    which nothing here can be."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


def is_here(host: str) -> bool:
    """Whether only this machine reaches a host, by its name or address alone."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    return host.lower() == "localhost"


def default_threads() -> int:
    """The cores this process may use; above eight, hyper-threads rarely help."""
    n = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return n if n <= 8 else max(8, n // 2)

"""What server and engine process say to each other: a line of JSON, then the bytes it announces."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, BinaryIO

MOST_LINE = 64 << 20


@dataclass(frozen=True)
class Ask:
    """A question, to be answered `n` times with seeds counted from `seed`.

    pictures: files, as they were sent; turns: (question, conclusion) of what was said before;
    schema: JSON that the conclusion must follow, empty for none; stop: texts that end the
    conclusion; stream: whether deltas are wanted.
    """

    number: int
    pictures: tuple[bytes, ...]
    turns: tuple[tuple[str, str], ...]
    question: str
    strategy: str
    options: Mapping[str, Any]
    seed: int
    sampling: Mapping[str, Any]
    budget: Mapping[str, Any]
    schema: str = ""
    stop: tuple[str, ...] = ()
    n: int = 1
    logprobs: bool = False
    top_logprobs: int = 0
    stream: bool = True


@dataclass(frozen=True)
class Stop:
    """Nobody waits for this answer any more."""

    number: int


@dataclass(frozen=True)
class Ready:
    """The model is open. about: of `backend.ModelInfo`, what clients may know."""

    about: Mapping[str, Any]


@dataclass(frozen=True)
class Broken:
    """The model cannot be opened."""

    message: str
    hint: str
    exit_code: int


@dataclass(frozen=True)
class Delta:
    """Text that a choice grew by, of its reasoning or of its conclusion."""

    number: int
    choice: int
    reasoning: bool
    text: str


@dataclass(frozen=True)
class Chosen:
    """A choice is finished. truncated: a limit cut it off.

    tokens: of the conclusion, each (text, log-probability, [(text, log-probability), …]).
    """

    number: int
    choice: int
    conclusion: str
    stages: Mapping[str, str | None]
    truncated: bool
    notes: tuple[str, ...]
    trace: Mapping[str, Any]
    n_conclusion: int
    tokens: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Done:
    """All choices are finished."""

    number: int


@dataclass(frozen=True)
class Failed:
    """There is no answer. failure: a `problem.Failure`."""

    number: int
    failure: str
    message: str
    hint: str = ""


Message = Ask | Stop | Ready | Broken | Delta | Chosen | Done | Failed
KINDS: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (Ask, Stop, Ready, Broken, Delta, Chosen, Done, Failed)
}


def encode(message: Message) -> bytes:
    values = {one.name: getattr(message, one.name) for one in fields(message)}
    blobs: tuple[bytes, ...] = values.pop("pictures", ())
    head = {"is": type(message).__name__, "bytes": [len(blob) for blob in blobs], **values}
    return b"".join([json.dumps(head).encode(), b"\n", *blobs])


def announced(line: bytes) -> list[int]:
    """How many bytes follow a line, blob by blob."""
    sizes: list[int] = json.loads(line)["bytes"]
    return sizes


def decode(line: bytes, blobs: list[bytes]) -> Message:
    values: dict[str, Any] = json.loads(line)
    kind = KINDS[values.pop("is")]
    del values["bytes"]
    if kind is Ask:
        values["pictures"] = tuple(blobs)
        values["turns"] = tuple((question, answer) for question, answer in values["turns"])
        values["stop"] = tuple(values["stop"])
    if kind is Chosen:
        values["notes"], values["tokens"] = tuple(values["notes"]), tuple(values["tokens"])
    message: Message = kind(**values)
    return message


def read(stream: BinaryIO) -> Message | None:
    """The next message; None at the end of the pipe."""
    line = stream.readline(MOST_LINE)
    if not line.endswith(b"\n"):
        return None
    blobs = [stream.read(size) for size in announced(line)]
    return decode(line, blobs)

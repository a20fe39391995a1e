"""What goes wrong with a request, as OpenAI's clients read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from llavao1_edge.files import is_text


class Failure(StrEnum):
    """Why the engine gave no answer. The value is the error's `code`."""

    INVALID = "invalid_value"
    PICTURE = "invalid_image"
    CONTEXT = "context_length_exceeded"
    STOPPED = "stopped"
    TIMEOUT = "timeout"
    ENGINE = "engine_error"
    DIED = "engine_died"


STATUS = {
    Failure.INVALID: 400,
    Failure.PICTURE: 400,
    Failure.CONTEXT: 400,
    Failure.STOPPED: 503,
    Failure.TIMEOUT: 504,
    Failure.ENGINE: 500,
    Failure.DIED: 503,
}


@dataclass
class Problem(Exception):  # noqa: N818 (becomes a reply, not a crash)
    """An error reply. param: the field of the request that is wrong."""

    status: int
    message: str
    code: str = Failure.INVALID
    param: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        param = None if self.param is None else written(self.param)
        message = written(self.message)
        return {"error": {"message": message, "type": kind, "param": param, "code": str(self.code)}}


def written(text: str) -> str:
    """Text that may be sent: halves of characters, which JSON can hold, are shown as such."""
    return text.encode("utf-8", "backslashreplace").decode()


def wrong(param: str, message: str) -> Problem:
    """A field of the request is not usable."""
    return Problem(400, message, param=param)


def failed(failure: Failure, message: str, hint: str = "") -> Problem:
    """What the engine said."""
    return Problem(STATUS[failure], f"{message}. {hint}" if hint else message, failure)


def too_large(most: int) -> Problem:
    return Problem(413, f"the body is larger than {most >> 20} MB", code="body_too_large")


def checked_text(text: str, where: str) -> str:
    """Raises Problem for half a character, as a cut-off \\ud83d leaves it in JSON."""
    if not is_text(text):
        raise wrong(where, f"{ascii(text)[:60]} holds half a character")
    return text

"""A candidate while a server writes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from llavao1_edge.errors import ServerError
from llavao1_edge.phrases import Phrase
from llavao1_edge.search import Branch, Ending, TokenLogprob, Unit
from llavao1_edge.stages import Stage, before_tag, ends_sentence

MOST_LOGPROB = 1e6  # servers write huge ones for what cannot be


@dataclass
class State:
    """What is known of a branch. text: the assistant's message so far; owed: what must stand before
    the next opening tag; open_text, n_open: of a stage that is not closed; later: stages that came
    with the same whole answer."""

    text: str = ""
    owed: str = ""
    open_text: str = ""
    n_sampled: int = 0
    n_open: int = 0
    later: tuple[Written, ...] = ()


@dataclass(frozen=True)
class Written:
    """A stage of a whole answer."""

    stage: Stage
    text: str
    n_tokens: int
    logprob: float
    min_logprob: float
    ending: Ending
    tokens: tuple[TokenLogprob, ...] = ()


@dataclass
class Growing:
    """number: over all branches of the draft; draw: counted for its branch. prefix: what the server
    was told the assistant has written; most: tokens."""

    number: int
    draw: int
    branch: Branch
    base: State
    stage: Stage | None
    unit: Unit
    prefix: str
    most: int
    text: str = ""
    shown: int = 0
    tokens: list[TokenLogprob] = field(default_factory=list)
    n_tokens: int = 0
    ending: Ending | None = None
    finished: bool = False
    _raw: str = ""
    _begun: bool = False

    def __post_init__(self) -> None:
        self.text = self.base.open_text
        self.shown = len(self.text)

    @property
    def closing(self) -> str:
        return self.stage.closing if self.stage is not None else ""

    def add(self, text: str, told: list[TokenLogprob], n: int) -> None:
        """What the server wrote, `n` tokens. Some repeat the prefix first."""
        self.tokens += told
        self.n_tokens += n
        if not self._begun:
            self._raw += text
            if self.prefix and self.prefix.startswith(self._raw):
                return  # it may still be the prefix
            self._begun = True
            text = self._raw.removeprefix(self.prefix)
        self.text += text
        if self.closing and self.closing in self.text:
            self.ending = Ending.CLOSED
        elif self.unit is Unit.SENTENCE and ends_sentence(self.text, len(self.base.open_text)):
            self.ending = Ending.SENTENCE
        elif self.n_tokens >= self.most:
            self.ending = Ending.LENGTH

    def finish(self, reason: str) -> None:
        """Why the server stopped. Raises ServerError for a reason that gives no candidate."""
        self.finished = True
        if not self._begun and self._raw not in ("", self.prefix):
            self._begun = True
            self.text += self._raw
        if self.ending is not None:
            return
        if reason == "length":
            self.ending = Ending.LENGTH
        elif reason in ("stop", "stop_sequence", "eos"):
            self.ending = Ending.CLOSED
        else:
            raise ServerError(Phrase("the server ended a candidate: {reason}", reason=reason))

    def ready(self) -> str:
        """New text, except for what can still become the closing tag."""
        end = len(self.text)
        if self.closing:
            end = before_tag(self.text, self.closing, 0)
        text, self.shown = self.text[self.shown : end], max(self.shown, end)
        return text

    @property
    def stage_text(self) -> str:
        end = before_tag(self.text, self.closing, 0) if self.closing else len(self.text)
        return self.text[:end].strip()

    @property
    def own_text(self) -> str:
        """What this candidate wrote of it."""
        end = before_tag(self.text, self.closing, 0) if self.closing else len(self.text)
        return self.text[min(end, len(self.base.open_text)) : end].strip()

    @property
    def still_open(self) -> bool:
        return self.stage is not None and self.ending in (
            Ending.SENTENCE,
            Ending.BUDGET,
            Ending.CANCELLED,
        )

    @property
    def logprobs(self) -> tuple[float, float]:
        """(sum, least) of its tokens."""
        values = [token.logprob for token in self.tokens]
        return sum(values), min(values, default=0.0)


def told_tokens(choice: dict[str, Any]) -> list[TokenLogprob]:
    """The tokens of a choice of a reply, or of a chunk. Odd entries are left out."""
    told = choice.get("logprobs")
    entries = told.get("content") if isinstance(told, dict) else None
    found = []
    for entry in entries if isinstance(entries, list) else []:
        if _is_token(entry):
            tops = entry.get("top_logprobs")
            top = tuple(
                (_piece(one), float(one["logprob"]))
                for one in (tops if isinstance(tops, list) else [])
                if _is_token(one)
            )
            found.append(TokenLogprob(_piece(entry), float(entry["logprob"]), top))
    return found


def _is_token(entry: Any) -> bool:
    value = entry.get("logprob") if isinstance(entry, dict) else None
    return isinstance(value, int | float) and abs(value) < MOST_LOGPROB


def whole_text(text: Any) -> str:
    """Text of a reply: halves of characters, which JSON can hold, are none."""
    return str(text or "").encode("utf-8", "replace").decode()


def _piece(entry: dict[str, Any]) -> bytes:
    raw = entry.get("bytes")
    if isinstance(raw, list) and all(type(one) is int and 0 <= one < 256 for one in raw):
        return bytes(raw)
    return str(entry.get("token", "")).encode("utf-8", "replace")

"""What crosses between the window and the processes behind it: typed, a line of JSON each.

Large arrays never cross: pictures are named by their path.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any, get_args

from llavao1_edge.errors import LlavaError
from llavao1_edge.phrases import Phrase, packed, unpacked


# --- to the engine's process ----------------------------------------------------------------------
@dataclass(frozen=True)
class Ask:
    """A question. crop: left, top, right, bottom in original pixels. more: further pictures, for
    models that take several. earlier: turns of the same conversation, (question, stages). form: of
    the conclusion, ("choices", "A,B") and the like."""

    number: int
    question: str
    picture: str | None = None
    crop: tuple[int, int, int, int] | None = None
    more: tuple[str, ...] = ()
    earlier: tuple[tuple[str, dict[str, str]], ...] = ()
    strategy: str = "staged"
    options: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    sampling: dict[str, Any] = field(default_factory=dict)
    budget: dict[str, Any] = field(default_factory=dict)
    form: tuple[str, str] | None = None
    model: str = "demo"
    runtime: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Stop:
    """Ends answer `number` within one token."""

    number: int


@dataclass(frozen=True)
class Load:
    """Opens a model ahead of the first question."""

    model: str
    runtime: dict[str, Any] = field(default_factory=dict)


# --- from the engine's process --------------------------------------------------------------------
@dataclass(frozen=True)
class Loading:
    model: str


@dataclass(frozen=True)
class Loaded:
    """memory: lines of the memory plan. tile: pixels of a tile's side, 0 without such tiles.
    several: whether a question may be about several pictures."""

    model: str
    device: str
    memory: tuple[str, ...]
    n_ctx: int
    tile: int
    max_tiles: int
    seconds: float
    several: bool = False


@dataclass(frozen=True)
class Working:
    """How far reading the picture or the prompt is; work: `search.Work`'s value; share: 0 to 1."""

    number: int
    work: str
    share: float


@dataclass(frozen=True)
class Seen:
    """The picture is encoded; rows x columns tiles, width x height pixels of it on the canvas.

    n_cells: tokens it takes; looks: (width, height) of each part, where there is no such canvas.
    """

    number: int
    rows: int
    columns: int
    width: int
    height: int
    reused: bool
    milliseconds: float
    n_cells: int = 0
    looks: tuple[tuple[int, int], ...] = ()
    n_pictures: int = 1


@dataclass(frozen=True)
class StageBegan:
    number: int
    stage: str
    candidates: int


@dataclass(frozen=True)
class Text:
    """What candidates grew by since the last message: (candidate, text); tokens: how many."""

    number: int
    stage: str
    grown: tuple[tuple[int, str], ...]
    tokens: int


@dataclass(frozen=True)
class CandidateDone:
    number: int


@dataclass(frozen=True)
class Compared:
    number: int


@dataclass(frozen=True)
class Kept:
    number: int
    stage: str
    text: str


@dataclass(frozen=True)
class Returned:
    """The search went back to a stage."""

    number: int
    stage: str


@dataclass(frozen=True)
class Answered:
    """trace: as `ask --json` writes it."""

    number: int
    conclusion: str
    stages: dict[str, str]
    trace: dict[str, Any]
    notes: tuple[str, ...]
    cancelled: bool
    seconds: float


@dataclass(frozen=True)
class Failed:
    """Answer `number` has an error instead; the engine goes on."""

    number: int
    message: str
    hint: str = ""
    stopped: bool = False

    @property
    def sentence(self) -> str:
        """Both, in two lines."""
        return self._joined("{message}\n{hint}")

    @property
    def line(self) -> str:
        """Both, in one."""
        return self._joined("{message} {hint}")

    def _joined(self, pattern: str) -> Phrase:
        message, hint = Phrase.of(self.message), Phrase.of(self.hint)
        return Phrase(pattern, message=message, hint=hint) if hint else message


A_BUG = Phrase("This is a bug; please report it.")


def unexpected(error: Exception) -> Phrase:
    return Phrase("unexpected {kind}: {error}", kind=type(error).__name__, error=error)


# --- of model work (fetching, converting) ---------------------------------------------------------
@dataclass(frozen=True)
class Progress:
    """Bytes done of how many (0: not known), and what is being done."""

    done: int
    total: int
    what: str


@dataclass(frozen=True)
class Done:
    """name: of the model in the store."""

    name: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Described:
    """What a model is, in lines; needed, free: bytes of memory on this machine."""

    name: str
    details: tuple[str, ...]
    needed: int
    free: int


@dataclass(frozen=True)
class Foreseen:
    """What LLaVA-o1 11B will take here, in bytes, and how fast it will be, estimated."""

    needed: int
    free: int
    download: int
    kept: int
    disk_free: int
    tokens_per_second: float
    picture_seconds: float


Message = (
    Ask | Stop | Load | Loading | Loaded | Working | Seen | StageBegan | Text | CandidateDone
    | Compared | Kept | Returned | Answered | Failed | Progress | Done | Described | Foreseen
)  # fmt: skip

KINDS: dict[str, Any] = {kind.__name__: kind for kind in get_args(Message)}


def encode(message: Message) -> bytes:
    """One line."""
    return json.dumps({"type": type(message).__name__} | packed(asdict(message))).encode() + b"\n"


def decode(line: bytes) -> Message:
    """Raises LlavaError for a line that is no message."""
    try:
        values = unpacked(json.loads(line))
        kind = KINDS[values.pop("type")]
        known = {entry.name for entry in fields(kind)}
        message: Message = kind(**{name: _frozen(v) for name, v in values.items() if name in known})
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise LlavaError(
            Phrase(
                "a message of the engine cannot be read ({name}): {line}",
                name=type(error).__name__,
                line=repr(line[:80]),
            )
        ) from None
    return message


def _frozen(value: Any) -> Any:
    """JSON's lists as tuples."""
    return tuple(_frozen(entry) for entry in value) if isinstance(value, list) else value

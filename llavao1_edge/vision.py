"""A vision model behind the search, seen by the engine: measure a picture, see it once, place it
into a sequence, decode rows that see it.

`mllama` implements it by injection into llama.cpp's forward pass, `native` by what llama.cpp itself
does. Neither knows search or words.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from llavao1_edge.ggml.backend import Device
from llavao1_edge.images import Picture
from llavao1_edge.llama.context import Context, Row

Stop = Callable[[], bool]
Checkpoint = Callable[[float], None]
"""Told the share of a picture that is read (0 to 1); what it raises ends the reading."""


@dataclass(frozen=True)
class Place:
    """How far a sequence is: the position of its next row, and the cells of the cache it uses.

    They differ where a picture takes more cells than positions (M-RoPE).
    """

    position: int = 0
    cells: int = 0

    def after(self, n_tokens: int) -> Place:
        """Text takes one of each for a token."""
        return Place(self.position + n_tokens, self.cells + n_tokens)


@dataclass(frozen=True)
class Preview:
    """What becomes of a picture, known before anything is encoded.

    rows, columns: tiles of one grid; width, height: pixels that are looked at; n_cells: of the
    cache; looks: (width, height) of each part that is read by itself, where there is no such grid.
    """

    rows: int
    columns: int
    width: int
    height: int
    n_cells: int
    looks: tuple[tuple[int, int], ...] = ()


class Sight(Hashable, Protocol):
    """Pictures that were seen: what rows need to see them too. Sights that are equal see the same.
    Good as long as the model that made it: what was given up meanwhile is read again."""


class VisionModel(Protocol):
    """Pictures for one engine. Not for two threads at a time."""

    n_seen: int
    """Pictures that were encoded so far."""

    @property
    def eval_callback(self) -> Any:
        """For the context, which must be closed before this; None where nothing is injected."""
        ...

    @property
    def can_rewind(self) -> bool:
        """Whether cells at the end of a sequence can be forgotten, and it goes on from there."""
        ...

    @property
    def max_pictures(self) -> int | None:
        """How many one conversation may have; None for as many as the context holds."""
        ...

    @property
    def in_context(self) -> bool:
        """Whether pictures are rows of the context: once placed, nothing else of them is needed."""
        ...

    @property
    def rows_at_once(self) -> int:
        """Rows that a batch must hold because they see each other; 0 if any batch does."""
        ...

    @property
    def device(self) -> Device:
        """What reads pictures."""
        ...

    @property
    def arithmetic(self) -> Hashable:
        """What else its pictures depend on, beside weights and device: names what is kept."""
        ...

    def attach(self, context: Context) -> None:
        """The context in which pictures are placed and rows decoded."""
        ...

    def preview(self, *pictures: Picture) -> Preview:
        """Nothing is encoded."""
        ...

    def see(self, *pictures: Picture, checkpoint: Checkpoint | None = None) -> tuple[Any, float]:
        """The sight of pictures, each kept by its hash, and the milliseconds it took; 0 if all
        were kept.

        Raises OutOfMemory, and what `checkpoint` raises.
        """
        ...

    def place(self, sight: Any, sequence: int, before: Sequence[int], *, stop: Stop) -> Place:
        """Decodes what stands before a question: the tokens `before`, and the pictures.

        Raises ContextFullError, Cancelled; the sequence must then be forgotten.
        """
        ...

    def decode(self, rows: Sequence[Row], sights: Sequence[Any], *, stop: Stop) -> None:
        """One batch. sights: what each of the rows sees; None: no picture.

        Raises Cancelled, ContextFullError, BackendError; the rows' cells must then be forgotten.
        """
        ...

    def forget_pictures(self) -> None:
        """They are encoded again when they are needed."""
        ...

    def close(self) -> None: ...

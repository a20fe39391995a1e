"""Conversations as llama.cpp holds them, on disk: one that is told again is not computed again.

A file is named by what was said, as it is told again (texts), and holds the tokens that were drawn:
the conversation goes on from those, exactly as if it had never been closed.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llavao1_edge.contract.pair import fingerprint
from llavao1_edge.engine.runtime import Runtime
from llavao1_edge.engine.slots import Slot
from llavao1_edge.state_cache import StateCache, Stored, name_of
from llavao1_edge.vision import Place

Turns = Sequence[tuple[str, Mapping[str, str]]]
"""Questions with their answers' stages."""
NUMBERS = np.dtype("<i8")
LONG_ROPE = "rope_factors_long.weight"
N_NUMBERS = 5  # tokens, cached ones, position and cells of the root, bytes of the state


@dataclass(frozen=True)
class _Kept:
    tokens: list[int]
    n_cached: int
    place: Place
    state: bytes


class KeptPrompts:
    """Those of one open model. Used inside turns."""

    def __init__(self, cache: StateCache, runtime: Runtime) -> None:
        self._cache, self._runtime = cache, runtime

    @functools.cached_property
    def _weights(self) -> str:
        return fingerprint(self._runtime.text_header, self._runtime.mmproj_header)

    def _made_by(self) -> tuple[object, ...]:
        """What keys and values depend on beside words and pictures, and how words become tokens."""
        runtime = self._runtime
        words, vision = runtime.words, runtime.vision
        return (
            self._weights,
            [device.description for device in runtime.chosen.devices],
            vision.device.description,
            vision.arithmetic,
            runtime.gpu_layers,
            runtime.f32_cache,
            words.chat.name,
            words.system,
            words.stage_prompt,
            # These models turn keys by other angles where the context is longer than they learnt.
            runtime.context.n_ctx if LONG_ROPE in runtime.text_header.tensors else 0,
        )

    def _name(self, turns: Turns, pictures: tuple[str, ...]) -> str:
        told = [(question, sorted(stages.items())) for question, stages in turns]
        said = hashlib.sha256(repr((told, pictures)).encode()).hexdigest()
        return name_of(said, *self._made_by())

    def save(self, slot: Slot, turns: Turns, pictures: tuple[str, ...], *, seconds: float) -> str:
        """What the slot holds after these turns. seconds: what computing it took. The file's name;
        empty where nothing is kept."""
        usable = slot.root is None or self._runtime.vision.can_rewind
        if slot.sequence is None or not usable:
            return ""
        try:
            state = self._runtime.context.state(slot.sequence)
        except MemoryError:
            return ""
        if not len(state):
            return ""
        place = slot.root.place if slot.root is not None else Place()
        numbers = [len(slot.history), slot.n_cached, place.position, place.cells, len(state)]
        parts: list[bytes | memoryview] = [
            np.array(numbers, NUMBERS).tobytes(),
            np.array(slot.history, NUMBERS).tobytes(),
            state.data,
        ]
        name = self._name(turns, pictures)
        kept = self._cache.write(name, parts, sum(map(len, parts)), seconds=seconds)
        return name if kept else ""

    def forget(self, name: str) -> None:
        self._cache.forget(name)

    def load(self, slot: Slot, turns: Turns, pictures: tuple[str, ...]) -> str:
        """Has the slot hold what was kept after these turns; the file's name, empty where there is
        none, or no room for it."""
        name = self._name(turns, pictures)
        kept = self._cache.read(name, _taken)
        if kept is None or self._runtime.n_free_sequences < 2:
            return ""
        runtime, root = self._runtime, slot.root
        sequence = runtime.take_sequence()
        if not runtime.context.set_state(sequence, kept.state):  # there is no room for it
            runtime.release(sequence)
            return ""
        if root is not None:
            before = runtime.take_sequence()
            runtime.context.fork(sequence, before)
            if not runtime.rewind(before, kept.place.position):
                runtime.release(before)
                runtime.release(sequence)
                return ""
            if root.sequence is not None:
                runtime.release(root.sequence)
            root.sequence, root.place, root.pictures = before, kept.place, pictures
        slot.keep(sequence, history=kept.tokens, n_cached=kept.n_cached)
        return name


class KeptConversation:
    """What was said in one conversation, and the file that holds it."""

    def __init__(self, prompts: KeptPrompts | None) -> None:
        self._prompts = prompts
        self._turns: list[tuple[str, Mapping[str, str]]] = []
        self._file, self._seconds = "", 0.0

    def told(self, question: str, stages: Mapping[str, str]) -> None:
        self._turns.append((question, dict(stages)))
        if not stages:  # an answer in no stages: the name would not tell what was said
            self._prompts = None

    def resume(self, slot: Slot, pictures: tuple[str, ...]) -> None:
        """Takes what was kept of the turns that were told, where nothing of them is here."""
        if self._prompts is not None and self._turns and not slot.n_cached:
            self._file = self._prompts.load(slot, self._turns, pictures) or self._file

    def answered(
        self,
        slot: Slot,
        question: str,
        stages: Mapping[str, str],
        pictures: tuple[str, ...],
        *,
        seconds: float,
    ) -> None:
        """The slot holds one turn more. seconds: what this turn took."""
        self.told(question, stages)
        self._seconds += seconds
        if self._prompts is None:
            return
        name = self._prompts.save(slot, self._turns, pictures, seconds=self._seconds)
        if name:
            if self._file:
                self._prompts.forget(self._file)  # it goes on from here
            self._file = name


def _taken(stored: Stored) -> _Kept | None:
    """None where it is cut off or damaged."""
    numbers = _numbers(stored, N_NUMBERS)
    if len(numbers) < N_NUMBERS or numbers.min() < 0:
        return None
    n_tokens, n_cached, position, cells, n_bytes = map(int, numbers)
    tokens = _numbers(stored, n_tokens).tolist()
    state = stored.take(n_bytes)
    return _Kept(tokens, n_cached, Place(position, cells), state) if stored.is_whole else None


def _numbers(stored: Stored, n: int) -> NDArray[np.int64]:
    data = stored.take(n * NUMBERS.itemsize)
    return np.frombuffer(data[: len(data) // NUMBERS.itemsize * NUMBERS.itemsize], NUMBERS)

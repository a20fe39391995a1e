"""Runs the cross layers inside llama.cpp's forward pass, through the evaluation callback.

After llama.cpp has computed node `l_out-{j}`, the output of self-attention layer j, the callback
runs the cross layers that follow it and writes the result back into the node. The next layer reads
it as if llama.cpp had computed it.

- The callback is asked about every node (some twenty a layer): it only compares the node's name.
- An exception cannot pass through C: it is kept, the evaluation is stopped, `check` raises it.
- The rows of a node are consecutive rows of the batch: llama.cpp cuts a batch with a unified cache
  into micro-batches in order. `check` asserts that every hook saw every row exactly once.
"""

from __future__ import annotations

import ctypes
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from llavao1_edge.errors import BackendError, Cancelled
from llavao1_edge.ggml.backend import Place
from llavao1_edge.ggml.library import TensorStruct
from llavao1_edge.ggml.tensor import Arena, Tensor
from llavao1_edge.ggml.types import F32
from llavao1_edge.mllama.cross import BLOCK_ROWS, CrossLayers, CrossStates, Visibility
from llavao1_edge.phrases import Phrase

NAME_OFFSET = TensorStruct.name.offset
PREFIX = int.from_bytes(b"l_out-", "little")
PREFIX_MASK = (1 << 48) - 1


@dataclass(frozen=True)
class Segment:
    """A run of `n` consecutive rows of a batch.

    states None: rows without a picture, which skip the cross layers entirely.
    """

    n: int
    states: CrossStates | None
    before_image: bool = False

    @property
    def visibility(self) -> Visibility:
        assert self.states is not None
        if self.before_image:
            return Visibility(self.states.n_tokens, mlp=False)
        return Visibility(self.states.n_valid, mlp=True)


class Injection:
    """The callback and its state. Must outlive the context that calls it."""

    def __init__(self, layers: CrossLayers, *, after: Sequence[int], width: int) -> None:
        from llama_cpp import llama_cpp

        self._layers, self._width = layers, width
        self._hooks: dict[int, list[int]] = defaultdict(list)
        for position, layer in enumerate(after):
            self._hooks[layer].append(position)
        self._names = {f"l_out-{layer}".encode(): layer for layer in self._hooks}
        self._segments: Sequence[Segment] = ()
        self._active = False
        self._seen: dict[int, int] = {}
        self._error: BaseException | None = None
        self._stop: Callable[[], bool] = _never
        self._aliases: dict[int, Tensor] = {}
        self._arena = Arena(n_tensors=BLOCK_ROWS + 1)
        self.callback: Any = llama_cpp.ggml_backend_sched_eval_callback(self._make_callback())

    def close(self) -> None:
        self._arena.close()

    def use(self, layers: CrossLayers) -> None:
        """Other layers from now on, not inside a decode."""
        self._layers = layers

    # --- around a decode --------------------------------------------------------------------
    def begin(self, segments: Sequence[Segment], *, stop: Callable[[], bool]) -> None:
        """Says what the rows of the coming batch see; `stop` is asked at every hook."""
        self._segments, self._stop, self._error = segments, stop, None
        self._active = any(segment.states is not None for segment in segments)
        self._seen = dict.fromkeys(self._hooks, 0)

    def check(self) -> None:
        """Raises what went wrong inside the callback; every hook must have seen every row."""
        active = self._active
        self.raise_error()
        n_rows = sum(segment.n for segment in self._segments)
        missed = [f"l_out-{layer}" for layer, seen in self._seen.items() if seen != n_rows]
        if active and missed:
            import llama_cpp

            raise BackendError(
                Phrase(
                    "llama-cpp-python {version} did not offer the nodes {missed} as "
                    "expected: the picture would be ignored",
                    version=llama_cpp.__version__,
                    missed=", ".join(missed),
                ),
                hint="Install llama-cpp-python>=0.3.36,<0.4, the range that was tested.",
            )

    def raise_error(self) -> None:
        """Raises what went wrong inside the callback, if anything did."""
        self._active = False
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    # --- inside a decode --------------------------------------------------------------------
    def _make_callback(self) -> Callable[[int, bool, object], bool]:
        """The callback as one closure: it is asked some two hundred times a token, and for small
        models attribute look-ups and a second call are a tenth of the whole step."""
        word = ctypes.c_uint64.from_address

        def called(address: int, ask: bool, _: object) -> bool:
            # Everything is inside the try: also a Ctrl-C that arrives while Python is asked.
            try:
                if ask:
                    return (
                        self._active
                        and word(address + NAME_OFFSET).value & PREFIX_MASK == PREFIX
                        and self._layer_of(address) is not None
                    ) or self._error is not None  # stops every part of a split graph at its start
                if self._error is not None:
                    return False
                self._hook(address)
            except BaseException as error:
                self._error, self._active = error, False
                return False
            return True

        return called

    def _layer_of(self, address: int) -> int | None:
        return self._names.get(ctypes.string_at(address + NAME_OFFSET))

    def _hook(self, address: int) -> None:
        if self._stop():
            raise Cancelled("stopped")
        layer = self._layer_of(address)
        assert layer is not None
        node = TensorStruct.from_address(address)
        if node.ne[0] != self._width or node.type != F32.number:
            raise BackendError(
                Phrase("node l_out-{layer} has an unexpected shape or type", layer=layer)
            )
        start = self._seen[layer]
        self._seen[layer] = start + node.ne[1]
        for offset, segment in _overlap(self._segments, start, node.ne[1]):
            if segment.states is not None:
                for position in self._hooks[layer]:
                    self._apply(node, offset, segment, position)

    def _apply(self, node: TensorStruct, offset: int, segment: Segment, position: int) -> None:
        """One cross layer over the segment's rows, which start at row `offset` of the node."""
        assert segment.states is not None
        visibility, states = segment.visibility, segment.states
        for start in range(0, segment.n, BLOCK_ROWS):
            n = min(BLOCK_ROWS, segment.n - start)
            rows = Place(node.buffer, node.data + (offset + start) * node.nb[1])
            alias = partial(self._alias, rows, n)
            self._layers.apply(position, n, visibility, states, rows=rows, alias=alias)

    def _alias(self, rows: Place, n: int) -> Tensor:
        """A leaf over rows of the node. Never the node itself: ggml would walk its graph."""
        alias = self._aliases.get(n)
        if alias is None:
            alias = self._aliases[n] = self._arena.tensor(F32, self._width, n)
        alias.struct.buffer, alias.struct.data = rows
        return alias


def _never() -> bool:
    return False


def _overlap(segments: Sequence[Segment], start: int, n: int) -> list[tuple[int, Segment]]:
    """The parts of `segments` in rows start..start+n, each with its offset from `start`."""
    parts, at = [], 0
    for segment in segments:
        low, high = max(at, start), min(at + segment.n, start + n)
        if low < high:
            part = Segment(high - low, segment.states, segment.before_image)
            parts.append((low - start, part))
        at += segment.n
    return parts

"""The context: KV cache, decoding, logits. One unified cache for all sequences."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llavao1_edge.errors import BackendError, Cancelled, ContextFullError
from llavao1_edge.llama.model import Model
from llavao1_edge.phrases import Phrase

F32_TYPE, F16_TYPE = 0, 1
LONG_BATCH = 16  # rows; shorter ones take no longer than a token, and are not interrupted


@dataclass(frozen=True)
class Row:
    """One token to decode: at `position` of sequence `sequence`; `output` asks for its logits.

    also: a second sequence that shares the cell, -1 for none.
    """

    token: int
    position: int
    sequence: int
    output: bool = False
    also: int = -1


class Context:
    """Owns a `llama_context`.

    n_ctx: cells of the cache, shared by all sequences. eval_callback: a `ggml` evaluation callback
    that must outlive the context. Raises BackendError where memory is short.
    """

    def __init__(
        self,
        model: Model,
        *,
        n_ctx: int,
        n_batch: int,
        n_ubatch: int,
        n_sequences: int,
        n_threads: int,
        f32_cache: bool,
        eval_callback: Any,
    ) -> None:
        from llama_cpp import llama_cpp

        self._c = llama_cpp
        self.n_ctx, self.n_batch, self.n_sequences = n_ctx, n_batch, n_sequences
        self.n_vocab = model.n_vocab
        self._callback = eval_callback
        params = llama_cpp.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = n_ctx, n_batch, n_ubatch
        params.n_seq_max = n_sequences
        # llama.cpp's fused attention rounds to half precision even with an F32 cache: relative
        # logit error 1e-3 instead of 1e-6.
        params.flash_attn_type = (
            llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
            if f32_cache
            else llama_cpp.LLAMA_FLASH_ATTN_TYPE_AUTO
        )
        params.n_threads = params.n_threads_batch = n_threads
        params.type_k = params.type_v = F32_TYPE if f32_cache else F16_TYPE
        params.swa_full = True  # with a cache of the window alone, going back is silently wrong
        params.kv_unified = True  # keeps the rows of a micro-batch in the order of the batch
        params.no_perf = True
        if eval_callback is not None:
            params.cb_eval = eval_callback
        self.address = llama_cpp.llama_init_from_model(model.address, params)
        if not self.address:
            raise BackendError(
                Phrase("llama.cpp cannot create a context of {n_ctx} tokens", n_ctx=n_ctx),
                hint="Usually too little memory: try a smaller --context or fewer --gpu-layers.",
            )
        self._memory = llama_cpp.llama_get_memory(self.address)
        self._batch = llama_cpp.llama_batch_init(n_batch, 0, 2)
        self._never = llama_cpp.ggml_abort_callback(0)

    def close(self) -> None:
        if self.address:
            self._c.llama_batch_free(self._batch)
            self._c.llama_free(self.address)
            self.address = None

    def decode(self, rows: Sequence[Row], *, stop: Callable[[], bool] | None = None) -> None:
        """Decodes up to n_batch rows. stop: asked inside a long batch, where the CPU computes it.
        Raises ContextFullError, BackendError, Cancelled.

        After an error the cells of these rows must be dropped with `forget`.
        """
        if not 0 < len(rows) <= self.n_batch:
            raise ValueError(f"{len(rows)} rows do not fit a batch of {self.n_batch}")
        batch = self._batch
        batch.n_tokens = len(rows)
        for i, row in enumerate(rows):
            batch.token[i] = row.token
            batch.pos[i] = row.position
            batch.n_seq_id[i] = 1 if row.also < 0 else 2
            batch.seq_id[i][0] = row.sequence
            if row.also >= 0:
                batch.seq_id[i][1] = row.also
            batch.logits[i] = row.output
        status = self._decode(len(rows), stop)
        if status == 1:
            raise ContextFullError(
                Phrase(
                    "the conversation does not fit the context of {n_ctx} tokens", n_ctx=self.n_ctx
                ),
                hint="Ask in a new conversation, or start with a larger --context.",
            )
        if status != 0:
            raise BackendError(
                Phrase(
                    "llama.cpp could not decode {n_rows} tokens (status {status})",
                    n_rows=len(rows),
                    status=status,
                )
            )

    def _decode(self, n: int, stop: Callable[[], bool] | None) -> int:
        """llama.cpp's status. Raises Cancelled, and what `stop` raises."""
        if stop is None or n < LONG_BATCH:
            return int(self._c.llama_decode(self.address, self._batch))
        with self.interruptible(stop) as ended:
            status = int(self._c.llama_decode(self.address, self._batch))
        if ended() and status:
            raise Cancelled("stopped")
        return status

    @contextmanager
    def interruptible(self, stop: Callable[[], bool]) -> Iterator[Callable[[], bool]]:
        """Inside, the CPU asks `stop` between parts of a batch, and ends it there; what is yielded
        tells whether it did. Raises what `stop` raised, when the batch has ended."""
        ended = False
        problem: BaseException | None = None

        def asked(_: object) -> bool:
            nonlocal ended, problem
            if not ended:
                try:
                    ended = stop()
                except BaseException as error:  # cannot pass through C
                    ended, problem = True, error
            return ended

        callback = self._c.ggml_abort_callback(asked)
        self._c.llama_set_abort_callback(self.address, callback, None)
        try:
            yield lambda: ended
        finally:
            self._c.llama_set_abort_callback(self.address, self._never, None)
        if problem is not None:
            raise problem

    def logits(self, row: int) -> NDArray[np.float32]:
        """Logits of row `row` of the last batch, a view that the next `decode` overwrites."""
        pointer = self._c.llama_get_logits_ith(self.address, row)
        if not pointer:
            raise BackendError(Phrase("row {row} of the last batch has no logits", row=row))
        address = ctypes.cast(pointer, ctypes.c_void_p).value
        assert address is not None
        return np.ctypeslib.as_array((ctypes.c_float * self.n_vocab).from_address(address))

    def outputs(self, n: int) -> NDArray[np.float32]:
        """A copy of the logits (n, n_vocab) of the last batch's `n` output rows, in their order."""
        if not n:
            return np.empty((0, self.n_vocab), dtype=np.float32)
        pointer = self._c.llama_get_logits(self.address)
        address = ctypes.cast(pointer, ctypes.c_void_p).value
        if not address:
            raise BackendError("the last batch has no logits")
        raw = (ctypes.c_float * (n * self.n_vocab)).from_address(address)
        return np.ctypeslib.as_array(raw).reshape(n, self.n_vocab).copy()

    def fork(self, source: int, target: int) -> None:
        """`target` shares all cells of `source`; nothing is copied."""
        self._c.llama_memory_seq_cp(self._memory, source, target, -1, -1)

    def state(self, sequence: int) -> NDArray[np.uint8]:
        """All that `sequence` holds, as bytes for `set_state` of a context like this one; none
        where llama.cpp fails. Raises MemoryError."""
        size = self._c.llama_state_seq_get_size(self.address, sequence)
        data = np.empty(size, np.uint8)
        n = self._c.llama_state_seq_get_data(self.address, _pointer(data), size, sequence)
        return data if n == size else data[:0]

    def set_state(self, sequence: int, data: bytes) -> bool:
        """Gives a free sequence what another one held. False where there is no room, and for no
        bytes: then it holds nothing. Bytes that `state` did not make are not recognised: they may
        crash the process."""
        held = np.frombuffer(data, np.uint8)
        n = self._c.llama_state_seq_set_data(self.address, _pointer(held), len(held), sequence)
        if n != len(held):
            self.forget(sequence)
        return bool(n) and n == len(held)

    def forget(self, sequence: int) -> None:
        """Frees the cells of `sequence` (shared cells stay). Always possible."""
        self._c.llama_memory_seq_rm(self._memory, sequence, -1, -1)

    def rewind(self, sequence: int, start: int) -> bool:
        """Frees the cells of `sequence` from position `start` on. False where this memory cannot:
        then nothing was freed. (True is no proof on every kind of memory: `can_rewind` is.)"""
        return bool(self._c.llama_memory_seq_rm(self._memory, sequence, start, -1))


def _pointer(data: NDArray[np.uint8]) -> Any:
    return data.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))

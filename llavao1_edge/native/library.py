"""libmtmd: reads a picture, cut and encoded as its model wants, and decodes it into a sequence.

Pictures come as RGB pixels that our own opener has made; libmtmd's openers of files are never used.
Whatever would end the process there is checked here first.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llavao1_edge.contract.gguf import GgufHeader
from llavao1_edge.contract.native import projector_of
from llavao1_edge.errors import (
    BackendError,
    Cancelled,
    ContextFullError,
    ModelFileError,
    OutOfMemory,
)
from llavao1_edge.ggml.backend import Device
from llavao1_edge.lifetime import Closing
from llavao1_edge.llama.context import Context
from llavao1_edge.llama.log import route_logs
from llavao1_edge.llama.model import Model
from llavao1_edge.phrases import Phrase

Pixels = NDArray[np.uint8]
Asked = Callable[[], None]
"""Called while a picture is computed; what it raises ends that."""
TEXT, IMAGE = 0, 1  # enum mtmd_input_chunk_type
LEAST_TOKENS = {"lfm2": 64, "gemma4v": 70, "gemma4uv": 70, "hunyuanvl": 256}  # of a picture
NODES_BETWEEN = 24  # of a picture's graph, between two looks at whether to stop


@dataclass(frozen=True)
class TextChunk:
    """Brackets that libmtmd puts around a picture or between its parts."""

    tokens: tuple[int, ...]


@dataclass(frozen=True)
class ImageChunk:
    """A part of a picture. columns × rows: how its tokens stand, where they stand in a grid.

    address: of a copy that `Reader` frees; 0 of one that only was measured.
    """

    n_tokens: int
    n_positions: int
    columns: int
    rows: int
    address: int = 0


Chunk = TextChunk | ImageChunk


@functools.cache
def _mtmd() -> Any:
    """The library, with its messages routed to Python's logging."""
    callback, _ = route_logs()
    from llama_cpp import mtmd_cpp

    mtmd_cpp.mtmd_helper_log_set(callback, None)  # sets mtmd's own, too
    return mtmd_cpp


class Reader(Closing):
    """Owns a `mtmd_context`. Close it before the model it was made for."""

    def __init__(
        self,
        header: GgufHeader,
        model: Model,
        *,
        device: Device,
        n_threads: int,
        most_tokens: int | None,
        exact: bool,
    ) -> None:
        """device: where pictures are read; most_tokens: of a picture, for models whose pictures may
        have any size (None: the model's own limit, which another number replaces); exact: without
        fused attention, which rounds to half precision.

        Raises BackendError, OutOfMemory.
        """
        self._c = mtmd = _mtmd()
        self._asked: Asked | None = None
        self._problem: BaseException | None = None
        self._nodes = 0
        self.width = int(_llama().llama_model_n_embd_inp(model.address))
        params = mtmd.mtmd_context_params_default()
        params.use_gpu = device.is_gpu
        if device.is_gpu:
            params.device = device.address
        params.n_threads, params.warmup, params.print_timings = n_threads, False, False
        if most_tokens is not None:
            params.image_max_tokens = most_tokens
            least = LEAST_TOKENS.get(projector_of(header), 8)
            if most_tokens < least:  # llama.cpp refuses a limit below a model's least
                params.image_min_tokens = most_tokens
        params.flash_attn_type = (
            _llama().LLAMA_FLASH_ATTN_TYPE_DISABLED
            if exact
            else _llama().LLAMA_FLASH_ATTN_TYPE_AUTO
        )
        self._callback = _llama().ggml_backend_sched_eval_callback(self._between)
        params.cb_eval = self._callback
        self.address = mtmd.mtmd_init_from_file(_path(header), model.address, params)
        if not self.address:
            raise OutOfMemory(
                Phrase("llama.cpp cannot load {path}", path=header.path),
                hint="LLAVAO1_LOG=debug says why; a newer llama-cpp-python may know this file.",
            )
        if not mtmd.mtmd_support_vision(self.address):
            self.close()
            raise BackendError(
                Phrase("{path} reads no pictures", path=header.path),
                hint="Give the mmproj file that does.",
            )

    def close(self) -> None:
        if self.address:
            self._c.mtmd_free(self.address)
            self.address = None

    # --- cutting ------------------------------------------------------------------------------
    def measure(self, width: int, height: int) -> list[Chunk]:
        """What a picture of this size becomes; nothing is computed."""
        return self._cut(width, height, None)

    def cut(self, pixels: Pixels) -> list[Chunk]:
        """pixels: (height, width, 3). Every image chunk must be given back with `free`."""
        height, width, _ = pixels.shape
        return self._cut(width, height, np.ascontiguousarray(pixels))

    def _cut(self, width: int, height: int, pixels: Pixels | None) -> list[Chunk]:
        c = self._c
        data = None
        if pixels is not None:
            data = pixels.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
        bitmap, chunks = c.mtmd_bitmap_init(width, height, data), c.mtmd_input_chunks_init()
        try:
            part = c.mtmd_input_part(None, bitmap)
            parts = (ctypes.POINTER(c.mtmd_input_part) * 1)(ctypes.pointer(part))
            status = c.mtmd_tokenize_from_parts(self.address, chunks, parts, 1, False)
            if status:
                raise BackendError(
                    Phrase(
                        "llama.cpp cannot read a picture of {width} × {height} pixels "
                        "(status {status})",
                        width=width,
                        height=height,
                        status=status,
                    ),
                    hint="LLAVAO1_LOG=debug says why.",
                )
            kept = pixels is not None
            made: list[Chunk] = []
            try:
                for i in range(c.mtmd_input_chunks_size(chunks)):
                    made.append(self._chunk(c.mtmd_input_chunks_get(chunks, i), kept))
            except BaseException:
                for chunk in made:
                    self.free(chunk)
                raise
            return made
        finally:
            c.mtmd_input_chunks_free(chunks)
            c.mtmd_bitmap_free(bitmap)

    def _chunk(self, address: Any, kept: bool) -> Chunk:
        c = self._c
        n = int(c.mtmd_input_chunk_get_n_tokens(address))
        if c.mtmd_input_chunk_get_type(address) == TEXT:
            size = ctypes.c_size_t()
            tokens = c.mtmd_input_chunk_get_tokens_text(address, ctypes.byref(size))
            text = TextChunk(tuple(tokens[i] for i in range(size.value)))
            if min(text.tokens, default=0) < 0:
                raise ModelFileError(
                    "the model's vocabulary lacks a token that stands around its pictures",
                    hint="Use the mmproj file that was published with this text file.",
                )
            return text
        if c.mtmd_input_chunk_get_type(address) != IMAGE:
            raise BackendError("llama.cpp made something else than a picture of a picture")
        tokens = c.mtmd_input_chunk_get_tokens_image(address)
        return ImageChunk(
            n,
            int(c.mtmd_input_chunk_get_n_pos(address)),
            int(c.mtmd_image_tokens_get_nx(tokens)),
            int(c.mtmd_image_tokens_get_ny(tokens)),
            int(c.mtmd_input_chunk_copy(address)) if kept else 0,
        )

    def free(self, chunk: Chunk) -> None:
        if isinstance(chunk, ImageChunk) and chunk.address:
            self._c.mtmd_input_chunk_free(chunk.address)

    # --- computing ----------------------------------------------------------------------------
    def _between(self, _: Any, ask: bool, __: Any) -> bool:
        """ggml asks before every node whether we want to look at it; after those it tells us."""
        if ask:
            self._nodes += 1
            return self._nodes % NODES_BETWEEN == 0 and self._asked is not None
        try:
            if self._asked is not None:
                self._asked()
        except BaseException as error:  # cannot pass through C
            self._problem = error
        return self._problem is None

    def encode(self, chunk: ImageChunk, asked: Asked) -> NDArray[np.float32]:
        """Embeddings (n_tokens, width) of one chunk; a copy.

        asked: called a few times for each layer. Raises what it raises, BackendError.
        """
        self._asked, self._problem, self._nodes = asked, None, 0
        try:
            status = self._c.mtmd_encode_chunk(self.address, chunk.address)
        finally:
            self._asked = None
        if self._problem is not None:  # the status says nothing of it
            raise self._problem
        if status:
            raise BackendError(
                Phrase("llama.cpp could not read the picture (status {status})", status=status),
                hint="LLAVAO1_LOG=debug says why.",
            )
        pointer = self._c.mtmd_get_output_embd(self.address)
        address = ctypes.cast(pointer, ctypes.c_void_p).value
        assert address is not None
        shape = chunk.n_tokens, self.width
        raw = (ctypes.c_float * (shape[0] * shape[1])).from_address(address)
        return np.ctypeslib.as_array(raw).reshape(shape).copy()

    def needs_one_batch(self, chunk: ImageChunk | None = None) -> bool:
        """Whether the rows of a picture see each other, and must be computed at once."""
        address = None if chunk is None else chunk.address or None
        return bool(self._c.mtmd_decode_use_non_causal(self.address, address))

    def decode(
        self,
        context: Context,
        chunk: ImageChunk,
        rows: NDArray[np.float32],
        *,
        position: int,
        sequence: int,
        stop: Callable[[], bool],
    ) -> None:
        """Puts a chunk's embeddings into a sequence. Raises ContextFullError, Cancelled,
        BackendError; the sequence must then be forgotten."""
        if self.needs_one_batch(chunk) and chunk.n_tokens > context.n_batch:
            raise BackendError(  # llama.cpp would answer nonsense, or end the process
                Phrase(
                    "the picture needs {n_tokens} tokens at once, a batch has {n_batch}",
                    n_tokens=chunk.n_tokens,
                    n_batch=context.n_batch,
                ),
                hint=Phrase("Start with --batch {n_tokens} or more.", n_tokens=chunk.n_tokens),
            )
        stopped = False
        problem: BaseException | None = None

        def after_batch(_: Any, __: Any) -> int:
            nonlocal stopped, problem
            try:
                stopped = stop()
            except BaseException as error:  # cannot pass through C
                problem = error
            return int(stopped or problem is not None)

        callback = self._c.mtmd_helper_post_decode_callback(after_batch)
        reached = _llama().llama_pos()
        with context.interruptible(stop) as ended:  # inside a batch; the callback is between them
            status = self._c.mtmd_helper_decode_image_chunk(
                self.address,
                context.address,
                chunk.address,
                rows.ctypes.data_as(ctypes.POINTER(ctypes.c_float)),
                position,
                sequence,
                context.n_batch,
                ctypes.byref(reached),
                callback,
                None,
            )
        if problem is not None:
            raise problem
        if stopped or (ended() and status):
            raise Cancelled("stopped")
        if status == 1:
            raise ContextFullError(
                Phrase("the picture does not fit the context of {n} tokens", n=context.n_ctx),
                hint="Start with a larger --context, or with fewer --picture-tokens.",
            )
        if status:
            raise BackendError(
                Phrase("llama.cpp could not decode a picture (status {status})", status=status)
            )


def _llama() -> Any:
    from llama_cpp import llama_cpp

    return llama_cpp


def _path(header: GgufHeader) -> bytes:
    """libmtmd takes only a path: of the file that was checked, if the system can name it."""
    opened = f"/proc/self/fd/{header.fd}"
    return opened.encode() if os.path.exists(opened) else os.fsencode(header.path)  # noqa: PTH110


def total(chunks: Sequence[Chunk]) -> tuple[int, int]:
    """(positions, cells) of chunks."""
    positions = cells = 0
    for chunk in chunks:
        if isinstance(chunk, TextChunk):
            positions, cells = positions + len(chunk.tokens), cells + len(chunk.tokens)
        else:
            positions, cells = positions + chunk.n_positions, cells + chunk.n_tokens
    return positions, cells

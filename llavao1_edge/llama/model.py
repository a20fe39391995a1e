"""The text model and its vocabulary."""

from __future__ import annotations

import ctypes
import functools
import itertools
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from llavao1_edge.errors import BackendError, Cancelled, ModelFileError
from llavao1_edge.ggml.trial import all_safe
from llavao1_edge.llama.log import route_logs
from llavao1_edge.phrases import Phrase

PIECE_BYTES = 256
USER_DEFINED = 1 << 4  # LLAMA_TOKEN_ATTR_USER_DEFINED
MARK = re.compile(r"<[^<>\s]+>|\[[^\[\]\s]+\]")  # others, such as runs of blanks, are just text


class Model:
    """Owns a `llama_model`. Close every context made from it first."""

    def __init__(
        self,
        path: Path,
        *,
        fd: int | None = None,
        gpu_layers: int,
        devices: Sequence[int] = (),
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """fd: the open file that was checked, so that no other one is loaded should the path lead
        elsewhere by now; gpu_layers: how many layers to offload, negative for all; devices:
        the addresses of those that llama.cpp may touch besides the CPU, in this order.

        stop: asked while loading. Raises ModelFileError, Cancelled.
        """
        route_logs()
        from llama_cpp import llama_cpp

        self._c = llama_cpp
        llama_cpp.llama_backend_init()
        params = llama_cpp.llama_model_default_params()
        params.use_extra_bufts = all_safe()
        params.n_gpu_layers = gpu_layers if gpu_layers >= 0 else 999
        # NULL at the end. An empty list: no buffers on a GPU that nothing will be computed on.
        self._devices = (ctypes.c_void_p * (len(devices) + 1))(*devices, None)
        params.devices = ctypes.cast(self._devices, ctypes.c_void_p)
        problem: BaseException | None = None

        def progress(_: float, __: object) -> bool:
            nonlocal problem
            try:
                if stop():
                    problem = Cancelled("loading was stopped")
            except BaseException as error:  # cannot pass through C
                problem = error
            return problem is None

        callback = llama_cpp.llama_progress_callback(progress)
        params.progress_callback = callback
        self.address = self._load(path, fd, params)
        if problem is not None:
            raise problem
        if not self.address:
            raise ModelFileError(
                Phrase("llama.cpp cannot load {path}", path=path),
                hint="LLAVAO1_LOG=debug says why; usually too little memory: try --gpu-layers 0.",
            )
        self._vocab = llama_cpp.llama_model_get_vocab(self.address)

    def _load(self, path: Path, fd: int | None, params: Any) -> Any:
        file = None if fd is None else c_file(fd)
        if file is None:  # Windows: descriptors of one C library mean nothing to another
            return self._c.llama_model_load_from_file(str(path).encode(), params)
        try:
            return self._c.llama_model_load_from_file_ptr(file, params)
        finally:
            close_c_file(file)

    def close(self) -> None:
        if self.address:
            self._c.llama_model_free(self.address)
            self.address = None

    @property
    def n_vocab(self) -> int:
        return int(self._c.llama_vocab_n_tokens(self._vocab))

    @property
    def context_length(self) -> int:
        return int(self._c.llama_model_n_ctx_train(self.address))

    @property
    def vocab(self) -> ctypes.c_void_p:
        """For samplers that need it."""
        return self._vocab  # type: ignore[no-any-return]

    @property
    def has_recurrent_state(self) -> bool:
        """Whether a sequence holds a state that cannot be taken back to an earlier position."""
        return bool(
            self._c.llama_model_is_recurrent(self.address)
            or self._c.llama_model_is_hybrid(self.address)
        )

    @property
    def begins_with(self) -> int | None:
        """The token that a text begins with, if the vocabulary says so."""
        begins = self._c.llama_vocab_get_add_bos(self._vocab)
        token = int(self._c.llama_vocab_bos(self._vocab))
        return token if begins and token >= 0 else None

    @functools.cached_property
    def end_tokens(self) -> frozenset[int]:
        """Tokens that end an answer, as llama.cpp sees it."""
        is_end = self._c.llama_vocab_is_eog
        return frozenset(t for t in range(self.n_vocab) if is_end(self._vocab, t))

    @functools.cached_property
    def marks(self) -> dict[str, int]:
        """Tokens that are no control tokens but look like one (`<think>`): by their text. llama.cpp
        recognises them in plain text, too."""
        found = {}
        for token in range(self.n_vocab):
            if self._c.llama_vocab_get_attr(self._vocab, token) & USER_DEFINED:
                text = self._c.llama_vocab_get_text(self._vocab, token).decode("utf-8", "replace")
                if MARK.fullmatch(text):
                    found[text] = token
        return found

    def spell(self, text: str) -> list[int]:
        """Text from somebody else: also what looks like a mark stays text."""
        if not self.marks or not any(opening in text for opening in "<["):
            return self.tokenise(text)
        cuts = [
            found.start() + 1 for found in self._any_mark.finditer(text)
        ]  # after a first letter
        tokens: list[int] = []
        for start, end in itertools.pairwise([0, *cuts, len(text)]):
            part = text[start:end]
            tokens += self._follows(part) if start and part else self.tokenise(part)
        return tokens

    def _follows(self, text: str) -> list[int]:
        """Text after other text: some vocabularies put a blank before the beginning of one."""
        before, tokens = self.tokenise("\n"), self.tokenise(f"\n{text}")
        n = len(before)
        return tokens[n:] if tokens[:n] == before else self.tokenise(text)

    @functools.cached_property
    def _any_mark(self) -> re.Pattern[str]:
        """Where a mark begins; they may overlap, so nothing is consumed."""
        longest_first = sorted(self.marks, key=len, reverse=True)
        return re.compile(f"(?={'|'.join(map(re.escape, longest_first))})")

    def tokenise(self, text: str) -> list[int]:
        """Plain text of ours; special tokens in it are not recognised."""
        data = text.encode()
        size = len(data) + 8
        tokens = (ctypes.c_int32 * size)()
        n = self._c.llama_tokenize(self._vocab, data, len(data), tokens, size, False, False)
        if n < 0:
            raise BackendError(
                Phrase("llama.cpp could not tokenise {n_data} bytes", n_data=len(data))
            )
        return list(tokens[:n])

    def special(self, text: str) -> int:
        """The id of a special token. Raises ModelFileError where the vocabulary lacks it."""
        data = text.encode()
        tokens = (ctypes.c_int32 * (len(data) + 8))()
        n = self._c.llama_tokenize(self._vocab, data, len(data), tokens, len(tokens), False, True)
        known = n == 1 and (self.is_control(tokens[0]) or text in self.marks)
        if not known:
            raise ModelFileError(
                Phrase("the model's vocabulary has no special token {text}", text=text),
                hint="Convert the checkpoint again with its own tokenizer.",
            )
        return int(tokens[0])

    def has_special(self, text: str) -> bool:
        try:
            self.special(text)
        except ModelFileError:
            return False
        return True

    def piece(self, token: int) -> bytes:
        """The bytes of a token; control tokens have none."""
        buffer = ctypes.create_string_buffer(PIECE_BYTES)
        n = self._c.llama_token_to_piece(self._vocab, token, buffer, PIECE_BYTES, 0, False)
        return buffer.raw[:n] if n >= 0 else b""

    def is_control(self, token: int) -> bool:
        return bool(self._c.llama_vocab_is_control(self._vocab, token))


def c_file(fd: int) -> int | None:
    """A C `FILE *` on a duplicate of `fd`; None on Windows."""
    if os.name == "nt":
        return None
    process = ctypes.CDLL(None)
    process.fdopen.restype = ctypes.c_void_p
    process.fdopen.argtypes = [ctypes.c_int, ctypes.c_char_p]
    copy = os.dup(fd)
    file: int | None = process.fdopen(copy, b"rb")
    if not file:
        os.close(copy)
    else:
        os.lseek(copy, 0, os.SEEK_SET)  # duplicates share their position
    return file or None


def close_c_file(file: int) -> None:
    process = ctypes.CDLL(None)
    process.fclose.argtypes = [ctypes.c_void_p]
    process.fclose(file)

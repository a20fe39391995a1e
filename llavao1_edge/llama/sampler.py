"""Choosing the next token: bans, a seeded chain, and a grammar that is checked lazily.

The order is Hugging Face's (penalty, temperature, top-k, top-p, min-p): the models' sampling
defaults were stated for it; llama.cpp's own default applies the temperature last.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llavao1_edge.errors import BackendError, UsageError
from llavao1_edge.llama.model import Model

CANDIDATE = np.dtype([("id", "<i4"), ("logit", "<f4"), ("p", "<f4")])
NEVER = -np.inf


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. temperature 0 takes the most likely one; 0 / 1 switch a filter off."""

    temperature: float = 0.6
    top_p: float = 0.9
    top_k: int = 0
    min_p: float = 0.0
    repeat_penalty: float = 1.0
    repeat_last_n: int = 64


@dataclass(frozen=True)
class Drawn:
    """A token and its log-probability under the model (bans applied, no temperature)."""

    token: int
    logprob: float


class Grammar:
    """Owns a GBNF grammar's state for one candidate."""

    def __init__(self, model: Model, gbnf: str, *, start: str = "root") -> None:
        from llama_cpp import llama_cpp

        self._c = llama_cpp
        self.address = llama_cpp.llama_sampler_init_grammar(
            model.vocab, gbnf.encode(), start.encode()
        )
        if not self.address:
            raise UsageError(
                "the grammar cannot be parsed", hint=f"It begins: {gbnf.strip()[:80]!r}"
            )

    def allows(self, token: int) -> bool:
        single = np.array([(token, 1.0, 0.0)], dtype=CANDIDATE)
        self.mask(single)
        return bool(np.isfinite(single["logit"][0]))

    def mask(self, candidates: NDArray[np.void]) -> None:
        """Sets the logits of tokens that the grammar forbids to minus infinity."""
        array = _array(self._c, candidates)
        self._c.llama_sampler_apply(self.address, ctypes.byref(array))

    def accept(self, token: int) -> None:
        self._c.llama_sampler_accept(self.address, token)

    def close(self) -> None:
        if self.address:
            self._c.llama_sampler_free(self.address)
            self.address = None


class Sampler:
    """Owns one candidate's chain. The same seed and logits give the same tokens."""

    def __init__(
        self,
        settings: Sampling,
        *,
        seed: int,
        n_vocab: int,
        banned: NDArray[np.int64],
        grammars: Sequence[Grammar] = (),
    ) -> None:
        """banned: ids that must never be drawn. A token must please all of `grammars`, which the
        sampler owns from now on."""
        from llama_cpp import llama_cpp

        self._c = llama_cpp
        self._banned = banned
        self._grammars = list(grammars)
        self._penalised = settings.repeat_last_n if settings.repeat_penalty != 1.0 else 0
        # A penalty may push the best tokens down, so it needs them all.
        cut = settings.repeat_penalty == 1.0
        self._margin = 30 * max(settings.temperature, 0.1) if cut else np.inf
        self.grammar_misses = 0
        self.address = llama_cpp.llama_sampler_chain_init(
            llama_cpp.llama_sampler_chain_default_params()
        )
        for link in _links(llama_cpp, settings, seed & 0xFFFFFFFF, n_vocab):
            llama_cpp.llama_sampler_chain_add(self.address, link)

    def close(self) -> None:
        if self.address:
            self._c.llama_sampler_free(self.address)
            self.address = None
        for grammar in self._grammars:
            grammar.close()
        self._grammars = []

    def begin(self, tokens: Sequence[int], *, n_open: int = 0) -> None:
        """Tells the penalties about the text so far, and the grammars about its last `n_open`
        tokens, which they go on from."""
        if self._penalised:
            self._accept(tokens[-self._penalised :])
        for token in tokens[len(tokens) - n_open :]:
            for grammar in self._grammars:
                grammar.accept(token)

    def draw(self, logits: NDArray[np.float32]) -> Drawn:
        """Draws from logits (n_vocab,), which stay untouched, and remembers the token.

        Raises BackendError where the model gave nothing usable.
        """
        allowed = logits.copy()
        allowed[self._banned] = NEVER
        peak = float(allowed.max())
        if not np.isfinite(peak):
            raise BackendError(
                "the model computed no usable logits",
                hint="The file may be damaged, or a weight type overflows: convert to F32 or Q8_0.",
            )
        token = self._choose(self._candidates(allowed, peak))
        if not all(grammar.allows(token) for grammar in self._grammars):
            self.grammar_misses += 1
            token = self._choose_within(allowed)
        if self._penalised:
            self._accept([token])
        for grammar in self._grammars:
            grammar.accept(token)
        total = peak + float(np.log(np.exp(allowed - peak).sum()))
        return Drawn(token, float(logits[token]) - total)

    def _choose_within(self, allowed: NDArray[np.float32]) -> int:
        """Draws with the whole vocabulary masked. Raises BackendError where no token is left."""
        candidates = self._candidates(allowed, NEVER)
        for grammar in self._grammars:
            grammar.mask(candidates)
        candidates = candidates[np.isfinite(candidates["logit"])]
        if not len(candidates):
            raise BackendError(
                "the answer grammar and the stage's own grammar leave no token to go on with",
                hint="An answer may not contain a stage tag; check the grammar.",
            )
        return self._choose(candidates)

    def _accept(self, tokens: Sequence[int]) -> None:
        for token in tokens:
            self._c.llama_sampler_accept(self.address, token)

    def _candidates(self, allowed: NDArray[np.float32], peak: float) -> NDArray[np.void]:
        """Tokens that can be drawn at all: the rest has a probability below 1e-13 each.

        peak NEVER keeps every token, as a grammar's mask needs it.
        """
        kept = np.flatnonzero(allowed >= peak - self._margin)
        candidates = np.empty(len(kept), dtype=CANDIDATE)
        candidates["id"], candidates["logit"], candidates["p"] = kept, allowed[kept], 0.0
        return candidates

    def _choose(self, candidates: NDArray[np.void]) -> int:
        array = _array(self._c, candidates)
        self._c.llama_sampler_apply(self.address, ctypes.byref(array))
        return int(array.data[array.selected].id)


def _array(c: Any, candidates: NDArray[np.void]) -> Any:
    pointer = ctypes.cast(candidates.ctypes.data, ctypes.POINTER(c.llama_token_data))
    return c.llama_token_data_array(pointer, len(candidates), -1, False)


def _links(c: Any, settings: Sampling, seed: int, n_vocab: int) -> list[Any]:
    links = []
    if settings.repeat_penalty != 1.0:
        links.append(
            c.llama_sampler_init_penalties(
                n_vocab, settings.repeat_last_n, settings.repeat_penalty, 0.0, 0.0
            )
        )
    if settings.temperature <= 0:
        return [*links, c.llama_sampler_init_greedy()]
    links.append(c.llama_sampler_init_temp(settings.temperature))
    if settings.top_k > 0:
        links.append(c.llama_sampler_init_top_k(settings.top_k))
    if settings.top_p < 1:
        links.append(c.llama_sampler_init_top_p(settings.top_p, 1))
    if settings.min_p > 0:
        links.append(c.llama_sampler_init_min_p(settings.min_p, 1))
    return [*links, c.llama_sampler_init_dist(seed)]

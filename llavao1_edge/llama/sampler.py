"""Drawing tokens: temperature, top-k, top-p, min-p, penalties, and grammar checked lazily.

The order of the filters is transformers's (penalty, temperature, top-k, top-p, min-p): the models'
sampling defaults were stated for it. The filters are numpy's over the whole vocabulary: llama.cpp's
chain wants a list of 12-byte records, which takes ten times as long at 128,000 tokens. Grammars are
llama.cpp's.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from llavao1_edge.errors import BackendError, UsageError
from llavao1_edge.llama.model import Model
from llavao1_edge.phrases import Phrase

CANDIDATE = np.dtype([("id", "<i4"), ("logit", "<f4"), ("p", "<f4")])
NEVER = -np.inf
Side = Literal["left", "right"]
# Of the likeliest token's probability. Tokens below it are looked at only where those above do not
# fill the nucleus of top-p.
FAINT = 1e-4
SPREAD = 8  # where every eighth token is above it, choosing costs more than looking at all
BLOCK = 512
MASKED = 4096


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
    """A token and its log-probability under the model (bans applied, no temperature); top: the
    likeliest tokens with theirs."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


class Grammar:
    """Owns a GBNF grammar's state for one candidate."""

    def __init__(self, model: Model, gbnf: str) -> None:
        from llama_cpp import llama_cpp

        self._c = llama_cpp
        self.address = llama_cpp.llama_sampler_init_grammar(model.vocab, gbnf.encode(), b"root")
        if not self.address:
            raise UsageError(
                "the grammar cannot be parsed",
                hint=Phrase("It begins: {gbnf}", gbnf=repr(gbnf.strip()[:80])),
            )
        self._one = (llama_cpp.llama_token_data * 1)()
        self._only = ctypes.byref(llama_cpp.llama_token_data_array(self._one, 1, -1, False))

    def allows(self, token: int) -> bool:
        one = self._one[0]
        one.id, one.logit = token, 0.0
        self._c.llama_sampler_apply(self.address, self._only)
        return bool(one.logit == 0.0)

    def mask(self, candidates: NDArray[np.void]) -> None:
        """Sets the logits of tokens that the grammar forbids to minus infinity.

        In slices: llama.cpp takes some 450 bytes for every candidate that it looks at.
        """
        c = self._c
        for start in range(0, len(candidates), MASKED):
            part = candidates[start : start + MASKED]
            pointer = ctypes.cast(part.ctypes.data, ctypes.POINTER(c.llama_token_data))
            array = c.llama_token_data_array(pointer, len(part), -1, False)
            c.llama_sampler_apply(self.address, ctypes.byref(array))

    def accept(self, token: int) -> None:
        self._c.llama_sampler_accept(self.address, token)

    def close(self) -> None:
        if self.address:
            self._c.llama_sampler_free(self.address)
            self.address = None


class Rules(Protocol):
    """What a sampler asks of a grammar: one of llama.cpp's, or the form of an answer."""

    def allows(self, token: int) -> bool: ...
    def mask(self, candidates: NDArray[np.void]) -> None: ...
    def accept(self, token: int) -> None: ...
    def close(self) -> None: ...


class Sampler:
    """What one candidate's draws depend on: its random numbers, its grammars, its text."""

    def __init__(self, *, seed: int, grammars: Sequence[Rules] = ()) -> None:
        """A token must please all of `grammars`, which the sampler owns from now on."""
        self.grammars = list(grammars)
        self.random = np.random.Generator(np.random.PCG64(seed))
        self.recent: list[int] = []
        self.grammar_misses = 0

    def close(self) -> None:
        for grammar in self.grammars:
            grammar.close()
        self.grammars = []

    def begin(self, tokens: Sequence[int], *, n_open: int = 0) -> None:
        """Tells the penalties about the text so far, and the grammars about its last `n_open`
        tokens, which they go on from."""
        self.recent = list(tokens)
        for token in tokens[len(tokens) - n_open :]:
            for grammar in self.grammars:
                grammar.accept(token)

    def allows(self, token: int) -> bool:
        return all(grammar.allows(token) for grammar in self.grammars)

    def accept(self, token: int) -> None:
        self.recent.append(token)
        for grammar in self.grammars:
            grammar.accept(token)


class BatchSampler:
    """Draws for all candidates of a step at once: what they have in common is computed once."""

    def __init__(self, settings: Sampling, banned: NDArray[np.int64], *, n_top: int = 0) -> None:
        """banned: ids that must never be drawn; n_top: how many of the likeliest are told."""
        self._settings, self._banned, self._n_top = settings, banned, n_top
        self._weights = np.empty((0, 0), dtype=np.float32)
        self._tempered = self._weights

    def draw(
        self, samplers: Sequence[Sampler], logits: NDArray[np.float32], *, greedy: bool = False
    ) -> list[Drawn]:
        """One token for each sampler, which remembers it; the logits (n, n_vocab) are overwritten.

        greedy: the likeliest tokens. A draw does not depend on the others. Raises BackendError
        where the model gave nothing usable, or the grammars leave no token.
        """
        logits[:, self._banned] = NEVER
        best = logits.argmax(axis=1)
        peaks = logits[np.arange(len(logits)), best]
        if not np.isfinite(peaks).all():
            raise BackendError(
                "the model computed no usable logits",
                hint="The file may be damaged, or a weight type overflows: convert to F32 or Q8_0.",
            )
        logits -= peaks[:, None]
        weights, tempered = self._scratch(logits)
        np.exp(logits, out=weights)
        totals = weights.sum(axis=1)
        temperature = 0.0 if greedy else self._settings.temperature
        if temperature > 0 and temperature != 1:
            np.multiply(logits, np.float32(1 / temperature), out=tempered)
            np.exp(tempered, out=tempered)
        else:
            tempered = weights
        sums = tempered.sum(axis=1)
        drawn = []
        for i, sampler in enumerate(samplers):
            row, chance = logits[i], sampler.random.random()
            if self._settings.repeat_penalty != 1:
                token = self._choose(self._penalised(row, peaks[i], sampler), temperature, chance)
            elif temperature == 0 or self._alone(float(sums[i])):
                token = int(best[i])
            else:
                token = self._pick(tempered[i], float(sums[i]), chance)
            if not sampler.allows(token):
                sampler.grammar_misses += 1
                token = self._choose(_masked(row, sampler), temperature, chance)
            sampler.accept(token)
            total = math.log(totals[i])
            drawn.append(Drawn(token, float(row[token]) - total, self._likeliest(row, total)))
        return drawn

    def _likeliest(self, row: NDArray[np.float32], total: float) -> tuple[tuple[int, float], ...]:
        n = min(self._n_top, len(row))
        if not n:
            return ()
        best = np.argpartition(row, -n)[-n:]
        ordered = sorted(best.tolist(), key=lambda token: (-row[token], token))
        return tuple((token, float(row[token]) - total) for token in ordered)

    def _scratch(
        self, logits: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Two arrays of the logits' shape: fresh ones of many megabytes cost page faults."""
        n, n_vocab = logits.shape
        if self._weights.shape[0] < n or self._weights.shape[1] != n_vocab:
            self._weights = np.empty((n, n_vocab), dtype=np.float32)
            self._tempered = np.empty_like(self._weights)
        return self._weights[:n], self._tempered[:n]

    def _alone(self, total: float) -> bool:
        """Whether the likeliest token, of weight 1, is all that the filters leave."""
        settings = self._settings
        return settings.top_k == 1 or (settings.top_k <= 0 and settings.top_p * total <= 1 - 1e-6)

    def _choose(self, logits: NDArray[np.float32], temperature: float, chance: float) -> int:
        """A token by logits whose largest is 0."""
        if temperature == 0:
            return int(logits.argmax())
        weights = np.exp(logits * np.float32(1 / temperature))
        return self._pick(weights, float(weights.sum()), chance)

    def _pick(self, weights: NDArray[np.float32], total: float, chance: float) -> int:
        """A token by weights whose largest is 1, after the filters; chance: 0 to 1."""
        few = self._few(weights, total)
        some = weights if few is None else weights[few]
        # In the order of ids, not of weights: a last bit that differs moves no other token.
        kept = some * (some >= self._cut(some, total))  # ten times as fast as `where`
        at = _crossing(kept, chance * float(kept.sum(dtype=np.float64)), side="right")
        return at if few is None else int(few[at])

    def _few(self, weights: NDArray[np.float32], total: float) -> NDArray[np.int64] | None:
        """The tokens that are not faint, where they are few and all that the filters can leave."""
        clear, top_k, top_p = weights >= FAINT, self._settings.top_k, self._settings.top_p
        if SPREAD * np.count_nonzero(clear) >= len(weights):
            return None
        few = np.flatnonzero(clear)
        if top_k > 0:
            return few if len(few) >= top_k else None
        return few if float(weights[few].sum()) >= min(1.0, top_p) * total else None

    def _cut(self, weights: NDArray[np.float32], total: float) -> float:
        """The least weight that passes top-k, top-p and min-p."""
        top_k, top_p, cut = self._settings.top_k, self._settings.top_p, self._settings.min_p
        if 0 < top_k < len(weights):
            weights = np.partition(weights, -top_k)[-top_k:]
            cut = max(cut, float(weights[0]))
        if top_p < 1:
            falling = np.sort(weights)[::-1]
            wanted = top_p * (float(falling.sum()) if top_k > 0 else total)
            cut = max(cut, float(falling[_crossing(falling, wanted)]))
        return cut

    def _penalised(
        self, shifted: NDArray[np.float32], peak: np.float32, sampler: Sampler
    ) -> NDArray[np.float32]:
        """Tokens that stood in the text lately become less likely (as in Keskar et al. 2019)."""
        settings = self._settings
        recent = np.unique(np.array(sampler.recent[-settings.repeat_last_n :], dtype=np.int64))
        logits = shifted + peak
        values, penalty = logits[recent], np.float32(settings.repeat_penalty)
        logits[recent] = np.where(values > 0, values / penalty, values * penalty)
        return _shifted(logits)


def _masked(logits: NDArray[np.float32], sampler: Sampler) -> NDArray[np.float32]:
    """The logits of what the grammars allow. Raises BackendError where they allow nothing."""
    possible = np.flatnonzero(np.isfinite(logits))
    candidates = np.zeros(len(possible), dtype=CANDIDATE)
    candidates["id"], candidates["logit"] = possible, logits[possible]
    for grammar in sampler.grammars:
        grammar.mask(candidates)
    masked = np.full_like(logits, NEVER)
    masked[candidates["id"]] = candidates["logit"]
    if not np.isfinite(masked.max()):
        raise BackendError(
            "the grammar leaves no token to continue with",
            hint="An answer may not contain a stage tag; check the grammar.",
        )
    return _shifted(masked)


def _crossing(weights: NDArray[np.float32], wanted: float, *, side: Side = "left") -> int:
    """Where the running sum reaches `wanted` (side right: exceeds it); else the last weight not 0.

    Sums of blocks first: the running sum of a whole vocabulary would take four times as long.
    """
    n, start = len(weights) // BLOCK, 0
    if n > 1:
        blocks = weights[: n * BLOCK].reshape(n, BLOCK)
        sums = blocks.sum(axis=1, dtype=np.float64).cumsum()
        block = int(sums.searchsorted(wanted, side=side))
        start, wanted = block * BLOCK, wanted - (float(sums[block - 1]) if block else 0.0)
    end = start + BLOCK if n > 1 else len(weights)
    at = start + int(weights[start:end].cumsum(dtype=np.float64).searchsorted(wanted, side=side))
    if at < len(weights) and weights[at]:
        return at
    return int(np.flatnonzero(weights)[-1])  # the sums were rounded


def _shifted(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """The logits less their largest."""
    shifted: NDArray[np.float32] = logits - logits.max()
    return shifted

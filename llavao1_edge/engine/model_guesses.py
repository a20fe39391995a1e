"""Guesses of a draft model, which follows every candidate in a cache of its own."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from llavao1_edge.backend import Stop
from llavao1_edge.engine.draft_model import DraftModel, Followed
from llavao1_edge.engine.guessing import LEAST_GAIN, MOST, Costs, Guess, Guesser
from llavao1_edge.engine.sizes import MOST_ROWS
from llavao1_edge.engine.stream import CandidateStream
from llavao1_edge.errors import BackendError, ContextFullError
from llavao1_edge.llama.context import Row

LOGGER = logging.getLogger(__name__)
CLASSES = 10  # of the draft model's probability
# A guess is taken to be as likely as the draft model says, before any was tried: (right, of).
BEFORE = {i: (4 * (i + 0.5) / CLASSES, 4.0) for i in range(CLASSES)}
# How often a guess is right, before the draft model was asked; how much one guess changes that, and
# how much of the way back it goes with every step for which it was not asked.
USUAL, FORGET, RETURN = 0.7, 1 / 16, 1 / 1024
FEW = 8  # tokens that are computed together with those of other texts


class ModelGuesses(Guesser):
    """Sureness: the draft model's probability, in tenths."""

    def __init__(
        self,
        model: DraftModel,
        *,
        most: int | None = None,
        costs: Costs | None = None,
        draft_costs: Costs | None = None,
        n_vocab: int,
        stop: Stop,
    ) -> None:
        """costs, draft_costs: of a step of the large model, and of this one. n_vocab: tokens of the
        large model, which may have fewer."""
        super().__init__(BEFORE, most=most, costs=costs)
        self.idle = self.idle or (most is None and draft_costs is None)
        self._model, self._draft_costs, self._stop = model, draft_costs, stop
        self._n_vocab = n_vocab
        self._said: list[int] = []
        self._followed: dict[int, Followed] = {}  # by the stream's id
        self._usual = USUAL

    def close(self) -> None:
        super().close()
        while self._followed:
            self._model.keep(self._followed.popitem()[1])

    def read(self, tokens: Sequence[int]) -> None:
        self._said = self._known(tokens)

    def heard(self, stream: CandidateStream) -> None:
        """It is read when the next tokens are guessed."""

    # --- guessing -----------------------------------------------------------------------------
    def _chains(self, streams: Sequence[CandidateStream], most: Sequence[int]) -> list[list[Guess]]:
        chains: list[list[Guess]] = [[] for _ in streams]
        live = [i for i, n in enumerate(most) if n > 0]
        if not self._pays(chains, live):
            self._usual += RETURN * (USUAL - self._usual)
            return chains
        try:
            self._forget_ended(streams)
            rows = {i: self._follow(streams[i]) for i in live}
            while live and self._pays(chains, live):
                logits = self._decode([(self._followed[id(streams[i])], rows[i]) for i in live])
                known = _likeliest(logits[:, : self._n_vocab])
                for i, (token, probability) in zip(live, known, strict=True):
                    sureness = min(CLASSES - 1, int(probability * CLASSES))
                    chance = _chance(chains[i]) * self._chance(sureness)
                    chains[i].append(Guess(token, sureness, chance))
                    rows[i] = [token]
                live = [
                    i
                    for i in live
                    if len(chains[i]) < most[i] and self._goes_on(_chance(chains[i]))
                ]
        except (BackendError, ContextFullError) as error:
            LOGGER.warning("the draft model guesses no more in this answer: %s", error)
            self.close()
            return [[] for _ in streams]
        return chains

    def _paying(self, chains: Sequence[Sequence[Guess]]) -> list[int]:
        taken = super()._paying(chains)
        for guess in (guess for chain in chains for guess in chain):
            # Where none is worth its row, none was worth making.
            chance = self._chance(guess.sureness) if any(taken) else 0.0
            self._usual += FORGET * (chance - self._usual)
        return taken

    def _pays(self, chains: Sequence[Sequence[Guess]], live: Sequence[int]) -> bool:
        """Whether some more guesses behind those of `live` are worth their time, by how often
        guesses are right: some, as two rows can cost much and four hardly more."""
        if self._most is not None:
            return True
        if self._costs is None or self._draft_costs is None:
            return False
        n = len(chains)
        n_rows = n + sum(map(len, chains))
        worth = self._costs(n) / n  # what a token takes now
        expected, gain, draft = sum(_chance(chains[i]) for i in live), 0.0, 0.0
        for depth in range(1, MOST + 1):
            rows = n_rows + depth * len(live)
            if rows > MOST_ROWS:
                return False
            expected *= self._usual
            gain += expected * worth
            draft += self._draft_costs(len(live))
            if gain > LEAST_GAIN * (draft + self._costs(rows) - self._costs(n_rows)):
                return True
        return False

    # --- following ----------------------------------------------------------------------------
    def _known(self, tokens: Sequence[int]) -> list[int]:
        """A picture's token, and others behind the draft model's vocabulary, are left out."""
        n_vocab = self._model.n_vocab
        return [token for token in tokens if token < n_vocab]

    def _forget_ended(self, streams: Sequence[CandidateStream]) -> None:
        running = set(map(id, streams))
        for key in [key for key in self._followed if key not in running]:
            self._model.keep(self._followed.pop(key))

    def _follow(self, stream: CandidateStream) -> list[int]:
        """Makes the cache hold the stream's text but for the last few tokens, which are returned.

        Raises ContextFullError, BackendError, Cancelled.
        """
        text = [*self._said, *self._known(stream.base.tokens), *self._known(stream.tokens)]
        if id(stream) not in self._followed:
            self._begin(stream, text)
        followed = self._followed[id(stream)]
        n = min(_n_common(followed.tokens, text), len(text) - 1)
        if n < len(followed.tokens):
            self._model.rewind(followed.sequence, n)
            del followed.tokens[n:]
        if len(text) - n > FEW:
            self._decode([(followed, text[n:-1])], output=False)
        return text[len(followed.tokens) :]

    def _begin(self, stream: CandidateStream, text: Sequence[int]) -> None:
        """A sequence for the stream, which shares what another one has of this text."""
        while (sequence := self._model.take()) is None:
            if not self._model.make_room():
                raise ContextFullError("more candidates than the draft model has sequences")
        begun = self._followed[id(stream)] = Followed(sequence, [])
        best, n = None, 0
        for other in [*self._followed.values(), *self._model.kept]:
            if (shared := _n_common(other.tokens, text)) > n:
                best, n = other, shared
        if best is not None:
            self._model.fork(best.sequence, sequence, n)
            begun.tokens += text[:n]

    def _decode(
        self, jobs: Sequence[tuple[Followed, list[int]]], *, output: bool = True
    ) -> NDArray[np.float32]:
        """Adds tokens to each text; the logits behind each."""
        rows = [
            Row(
                token,
                len(followed.tokens) + i,
                followed.sequence,
                output=output and i == len(tokens) - 1,
            )
            for followed, tokens in jobs
            for i, token in enumerate(tokens)
        ]
        while True:
            try:
                logits = self._model.decode(rows, stop=self._stop)
                break
            except BaseException as error:
                for followed, _ in jobs:
                    self._model.rewind(followed.sequence, len(followed.tokens))
                if not isinstance(error, ContextFullError) or not self._model.make_room():
                    raise
        for followed, tokens in jobs:
            followed.tokens += tokens
        return logits


def _chance(chain: Sequence[Guess]) -> float:
    return chain[-1].chance if chain else 1.0


def _likeliest(logits: NDArray[np.float32]) -> list[tuple[int, float]]:
    """The likeliest token of every row, and its probability: 0 where numbers of a damaged file came
    to none."""
    tokens = logits.argmax(axis=1)
    best = np.take_along_axis(logits, tokens[:, None], axis=1)
    with np.errstate(invalid="ignore"):
        probabilities = np.nan_to_num(1 / np.exp(logits - best).sum(axis=1))
    return list(zip(tokens.tolist(), probabilities.tolist(), strict=True))


def _n_common(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens two texts begin with."""
    n = min(len(a), len(b))
    if a[:n] == b[:n]:
        return n
    return next(i for i in range(n) if a[i] != b[i])

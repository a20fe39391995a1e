"""Guessing the next tokens, so that one step of the model can bring several of them.

A guess takes a row of the batch and changes nothing else: every token is drawn from the model's
own distribution, with its candidate's own random numbers, and guesses that were not drawn are
forgotten. So a seed gives the tokens that it gives without guesses. Where guesses come from:
`lookup`, `model_guesses`; here it is decided how many are worth their rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from llavao1_edge.engine.sizes import MOST_ROWS
from llavao1_edge.engine.stream import CandidateStream

MOST = 15  # guesses of one candidate
LEAST_GAIN = 1.05  # by the figures: chances are guesses themselves
LEAST_CHANCE = 0.1  # no guess behind one that is less likely

Costs = Callable[[int], float]
"""What a step of so many rows costs, in milliseconds."""


@dataclass(frozen=True)
class Guess:
    """A token, how sure its source was (a class, by which its chance is learnt), and the chance
    that it and all before it are drawn."""

    token: int
    sureness: int
    chance: float


class Guesser(ABC):
    """Guesses for the candidates of one answer, and how often they were right."""

    def __init__(
        self,
        before: Mapping[int, tuple[float, float]],
        *,
        most: int | None = None,
        costs: Costs | None = None,
    ) -> None:
        """before: for every sureness how many guesses are taken to have been right, of how many,
        before any was made. most: guesses for each candidate at a time, whatever they cost; None:
        as many as pay by `costs`."""
        self._tried = {sureness: [*counts] for sureness, counts in before.items()}
        self._most, self._costs = most, costs
        self.idle = most == 0 or (most is None and costs is None)  # it never guesses

    def close(self) -> None:
        """Nothing is guessed after this."""
        self.idle = True

    @abstractmethod
    def read(self, tokens: Sequence[int]) -> None:
        """The conversation so far."""

    @abstractmethod
    def heard(self, stream: CandidateStream) -> None:
        """The stream has a new last token."""

    def guess(self, streams: Sequence[CandidateStream], most: Sequence[int]) -> None:
        """Gives every stream its guesses, at most so many. Raises Cancelled."""
        limit = MOST if self._most is None else self._most
        chains = self._chains(streams, [min(n, limit) for n in most])
        for stream, chain, n in zip(streams, chains, self._paying(chains), strict=True):
            stream.guess = [guess.token for guess in chain[:n]]
            stream.sureness = [guess.sureness for guess in chain[:n]]

    def learn(self, stream: CandidateStream) -> None:
        """How often guesses are right, from those behind which a token was drawn."""
        n_drawn = len(stream.tokens) - stream.n_decoded
        for i, sureness in enumerate(stream.sureness[:n_drawn]):
            counts = self._tried[sureness]
            counts[0] += i < stream.n_right
            counts[1] += 1

    @abstractmethod
    def _chains(
        self, streams: Sequence[CandidateStream], most: Sequence[int]
    ) -> Sequence[Sequence[Guess]]:
        """For every stream at most so many guesses, one behind the other."""

    def _chance(self, sureness: int) -> float:
        right, tried = self._tried[sureness]
        return right / tried

    def _goes_on(self, chance: float) -> bool:
        """Whether another guess behind one of this chance may be made."""
        return self._most is not None or chance >= LEAST_CHANCE

    def _paying(self, chains: Sequence[Sequence[Guess]]) -> list[int]:
        """How many of each chain's guesses to take: the likeliest of all, as many as bring the most
        tokens for what the step costs."""
        if self._most is not None or self._costs is None:
            return [len(chain) for chain in chains]
        n = len(chains)
        # Along a chain chances fall: the likeliest of all are the first of every chain.
        ordered = sorted((-guess.chance, i) for i, chain in enumerate(chains) for guess in chain)
        expected, best, n_taken = float(n), LEAST_GAIN * n / self._costs(n), 0
        for n_more, (chance, _) in enumerate(ordered[: max(0, MOST_ROWS - n)], 1):
            expected -= chance
            pays = expected / self._costs(n + n_more)
            if pays > best:
                best, n_taken = pays, n_more
        taken = [i for _, i in ordered[:n_taken]]
        return [taken.count(i) for i in range(n)]

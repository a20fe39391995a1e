"""Guessing the next tokens by looking up what stood behind the same last tokens before.

Later stages repeat earlier ones, and candidates their siblings (prompt look-up decoding). A guess
takes a row of the batch and changes nothing else: every token is drawn from the model's own
distribution, with its candidate's own random numbers, and guesses that were not drawn are
forgotten. So a seed gives the tokens that it gives without guesses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llavao1_edge.engine.sizes import MOST_ROWS
from llavao1_edge.engine.stream import CandidateStream

LONGEST = 4  # tokens that are compared
MOST = 15  # guesses of one candidate
# How often a guess is right whose last n tokens were found, before any was tried: (right, of).
BEFORE = {1: (1.1, 4.0), 2: (1.6, 4.0), 3: (1.6, 4.0), 4: (2.4, 4.0)}
LEAST_GAIN = 1.05  # by the figures: chances are guesses themselves
LEAST_CHANCE = 0.1  # no guess behind one that is less likely

Costs = Callable[[int], float]
"""What a step of so many rows costs; in any unit."""


@dataclass
class _Guess:
    """A token, the length of what was found before it, the chance that it and all before it are
    drawn."""

    token: int
    n_found: int
    chance: float


class Lookup:
    """What one answer has read and written so far. For its drafter."""

    def __init__(self, *, most: int | None = None, costs: Costs | None = None) -> None:
        """most: guesses for each candidate at a time, whatever they cost; None: as many as pay by
        `costs`."""
        self._after: dict[tuple[int, ...], int] = {}
        self._tried = {n: [right, tried] for n, (right, tried) in BEFORE.items()}
        self._most, self._costs = most, costs
        self.idle = most == 0 or (most is None and costs is None)  # it never guesses

    def read(self, tokens: Sequence[int]) -> None:
        """Remembers a text."""
        for end in range(2, len(tokens) + 1) if not self.idle else ():
            self._remember(tokens[max(0, end - LONGEST - 1) : end])

    def heard(self, stream: CandidateStream) -> None:
        """Remembers the stream's last token."""
        if not self.idle:
            self._remember(_tail(stream, LONGEST + 1))

    def _remember(self, tokens: Sequence[int]) -> None:
        *before, token = tokens
        for n in range(1, len(before) + 1):
            self._after[tuple(before[-n:])] = token

    def guess(self, streams: Sequence[CandidateStream], most: Sequence[int]) -> None:
        """Gives every stream its guesses, at most so many."""
        chains = [
            self._chain(stream, min(n, MOST if self._most is None else self._most))
            for stream, n in zip(streams, most, strict=True)
        ]
        for stream, chain, n in zip(streams, chains, self._paying(chains), strict=True):
            stream.guess = [guess.token for guess in chain[:n]]
            stream.n_found = [guess.n_found for guess in chain[:n]]

    def learn(self, stream: CandidateStream) -> None:
        """How often guesses are right, from those behind which a token was drawn."""
        n_drawn = len(stream.tokens) - stream.n_decoded
        for i, n_found in enumerate(stream.n_found[:n_drawn]):
            counts = self._tried[n_found]
            counts[0] += i < stream.n_right
            counts[1] += 1

    def _chain(self, stream: CandidateStream, most: int) -> list[_Guess]:
        tail, chain, chance = _tail(stream, LONGEST), [], 1.0
        for _ in range(most):
            n_found, token = self._find(tail)
            if not n_found:
                break
            right, tried = self._tried[n_found]
            chance *= right / tried
            chain.append(_Guess(token, n_found, chance))
            if chance < LEAST_CHANCE and self._most is None:
                break
            tail = [*tail[1 - LONGEST :], token]
        return chain

    def _find(self, tail: Sequence[int]) -> tuple[int, int]:
        """The length of the longest end of `tail` that stood somewhere before, and what came then;
        0 for none."""
        for n in range(len(tail), 0, -1):
            token = self._after.get(tuple(tail[-n:]))
            if token is not None:
                return n, token
        return 0, -1

    def _paying(self, chains: Sequence[Sequence[_Guess]]) -> list[int]:
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


def _tail(stream: CandidateStream, n: int) -> list[int]:
    """The last `n` tokens of a stream, those before it included."""
    own = stream.tokens[-n:]
    return own if len(own) == n else [*stream.base.tokens[len(own) - n :], *own]

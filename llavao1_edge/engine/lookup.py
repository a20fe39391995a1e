"""Guesses by looking up what stood behind the same last tokens before (prompt look-up decoding).

Later stages repeat earlier ones, and candidates their siblings.
"""

from __future__ import annotations

from collections.abc import Sequence

from llavao1_edge.engine.guessing import Costs, Guess, Guesser
from llavao1_edge.engine.stream import CandidateStream

LONGEST = 4  # tokens that are compared
# How often a guess is right whose last n tokens were found, before any was tried: (right, of).
BEFORE = {1: (1.1, 4.0), 2: (1.6, 4.0), 3: (1.6, 4.0), 4: (2.4, 4.0)}


class Lookup(Guesser):
    """Remembers what was read and written. Sureness: how many tokens were found."""

    def __init__(self, *, most: int | None = None, costs: Costs | None = None) -> None:
        super().__init__(BEFORE, most=most, costs=costs)
        self._after: dict[tuple[int, ...], int] = {}

    def read(self, tokens: Sequence[int]) -> None:
        for end in range(2, len(tokens) + 1) if not self.idle else ():
            self._remember(tokens[max(0, end - LONGEST - 1) : end])

    def heard(self, stream: CandidateStream) -> None:
        if not self.idle:
            self._remember(_tail(stream, LONGEST + 1))

    def _remember(self, tokens: Sequence[int]) -> None:
        *before, token = tokens
        for n in range(1, len(before) + 1):
            self._after[tuple(before[-n:])] = token

    def _chains(self, streams: Sequence[CandidateStream], most: Sequence[int]) -> list[list[Guess]]:
        return [self._chain(stream, n) for stream, n in zip(streams, most, strict=True)]

    def _chain(self, stream: CandidateStream, most: int) -> list[Guess]:
        tail, chain, chance = _tail(stream, LONGEST), [], 1.0
        for _ in range(most):
            n_found, token = self._find(tail)
            if not n_found:
                break
            chance *= self._chance(n_found)
            chain.append(Guess(token, n_found, chance))
            if not self._goes_on(chance):
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


def _tail(stream: CandidateStream, n: int) -> list[int]:
    """The last `n` tokens of a stream, those before it included."""
    own = stream.tokens[-n:]
    return own if len(own) == n else [*stream.base.tokens[len(own) - n :], *own]

"""The model itself compares candidates, two at a time, in a knock-out.

`Judge` reads the logits of "1" and "2" after a fixed opening, asked in both orders: where the two
orders contradict each other the judge prefers a position, not a text, and log-probability decides.
`ReferenceJudge` does it as the paper's code does: one random order, a written reason, a sampled
verdict, and for reasoning a text-only check first. What cannot be read is undecided.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from llavao1_edge.scoring import asks
from llavao1_edge.scoring.part import Contender
from llavao1_edge.scoring.scorer import Choice, Field, JudgeRunner, Ranking, Verdict
from llavao1_edge.stages import REASONING, Stage

Pair = tuple[int, int]


@dataclass(frozen=True)
class Judge:
    """The default judge: 2 (N - 1) short readings for N candidates, nothing is sampled."""

    name: str = "judge"

    def rank(
        self, field: Field, *, keep: int, judge: JudgeRunner
    ) -> Generator[Verdict, None, Ranking]:
        return (yield from _Bracket(field, judge, _weigh).rank(keep))


@dataclass(frozen=True)
class ReferenceJudge:
    """The judge of the paper's code, for comparison."""

    name: str = "judge-reference"

    def rank(
        self, field: Field, *, keep: int, judge: JudgeRunner
    ) -> Generator[Verdict, None, Ranking]:
        return (yield from _Bracket(field, judge, _discuss).rank(keep))


@dataclass
class _Bracket:
    """One knock-out over a field. `compare` judges all pairs of a round at once."""

    field: Field
    judge: JudgeRunner
    compare: Callable[[_Bracket, list[Pair]], list[Verdict]]
    known: dict[Pair, Verdict] = dataclasses.field(default_factory=dict)
    right: dict[int, bool | None] = dataclasses.field(
        default_factory=dict
    )  # what the text-only check said

    def rank(self, keep: int) -> Generator[Verdict, None, Ranking]:
        """N - 1 comparisons for the winner; each further place is played for among the rest."""
        n = len(self.field)
        survived = [0.0] * n
        order: list[int] = []
        rest = list(range(n))
        while rest and len(order) < keep:
            winner = yield from self._play(rest, survived)
            survived[winner] = max(survived) + 1
            order.append(winner)
            rest.remove(winner)
        rest.sort(key=lambda i: (-survived[i], -self.field.likelihood(i), i))
        places = {i: float(n - place) for place, i in enumerate([*order, *rest])}
        return Ranking((*order, *rest), tuple(places[i] for i in range(n)))

    def _play(self, alive: list[int], survived: list[float]) -> Generator[Verdict, None, int]:
        while len(alive) > 1:
            pairs = list(zip(alive[::2], alive[1::2], strict=False))
            new = [pair for pair in pairs if pair not in self.known]
            for pair, verdict in zip(new, self.compare(self, new), strict=True):
                self.known[pair] = verdict
                yield verdict
            winners = [self._position(self.known[pair].winner) for pair in pairs]
            alive = winners + alive[2 * len(pairs) :]
            for i in winners:
                survived[i] += 1
        return alive[0]

    def _position(self, key: int) -> int:
        return self.field.keys.index(key)

    def verdict(
        self,
        pair: Pair,
        choice: Choice,
        preferences: Sequence[float] = (),
        reasons: Sequence[str] = (),
    ) -> Verdict:
        first, second = pair
        if choice is Choice.UNDECIDED:
            first_wins = self.field.likelihood(first) >= self.field.likelihood(second)
        else:
            first_wins = choice is Choice.FIRST
        keys = self.field.keys
        winner = keys[first if first_wins else second]
        return Verdict(
            keys[first], keys[second], choice, winner, tuple(preferences), tuple(reasons)
        )

    def ask(self, first: int, second: int, *, reason: bool) -> asks.Ask:
        texts = [_texts(self.field.contenders[i]) for i in (first, second)]
        return asks.compare(self.judge.question, *texts, reason=reason)


def _texts(parts: Contender) -> list[tuple[Stage, str]]:
    return [(part.stage, part.text) for part in parts]


def _weigh(bracket: _Bracket, pairs: list[Pair]) -> list[Verdict]:
    """Both orders of every pair, in one batch."""
    orders = [order for a, b in pairs for order in ((a, b), (b, a))]
    read = bracket.judge.weigh(
        [bracket.ask(*order, reason=False) for order in orders], asks.OPTIONS
    )
    verdicts = []
    for pair, forth, back in zip(pairs, read[::2], read[1::2], strict=True):
        if forth is None or back is None:
            verdicts.append(bracket.verdict(pair, Choice.UNDECIDED))
            continue
        preferences = forth[0] - forth[1], back[1] - back[0]
        if preferences[0] * preferences[1] < 0 or sum(preferences) == 0:
            choice = Choice.UNDECIDED
        else:
            choice = Choice.FIRST if sum(preferences) > 0 else Choice.SECOND
        verdicts.append(bracket.verdict(pair, choice, preferences))
    return verdicts


def _discuss(bracket: _Bracket, pairs: list[Pair]) -> list[Verdict]:
    """One random order, a written reason; for reasoning a check of each text first."""
    judge, field = bracket.judge, bracket.field
    if all(len(own) == 1 and own[0].stage == REASONING for own in field.own):
        unchecked = [i for pair in pairs for i in pair if i not in bracket.right]
        checks = [asks.check(judge.question, _texts(field.contenders[i])) for i in unchecked]
        for i, reply in zip(unchecked, judge.reply(checks), strict=True):
            bracket.right[i] = asks.read_yes_no(reply)
    made: dict[Pair, Verdict] = {}
    for pair in pairs:
        opinions = [bracket.right.get(i) for i in pair]
        if sorted(map(str, opinions)) == ["False", "True"]:
            choice = Choice.FIRST if opinions[0] else Choice.SECOND
            made[pair] = bracket.verdict(pair, choice, reasons=("only one passed the check",))
    open_pairs = [pair for pair in pairs if pair not in made]
    orders = []
    for pair in open_pairs:
        said = [_texts(field.contenders[i]) for i in pair]
        coin = random.Random(f"{judge.seed}|{judge.question}|{said}")
        orders.append(pair if coin.random() < 0.5 else pair[::-1])
    replies = judge.reply([bracket.ask(a, b, reason=True) for a, b in orders])
    for pair, order, reply in zip(open_pairs, orders, replies, strict=True):
        chosen = asks.read_verdict(reply)
        choice = Choice.UNDECIDED
        if chosen is not None:
            choice = Choice.FIRST if order[chosen] == pair[0] else Choice.SECOND
        made[pair] = bracket.verdict(pair, choice, reasons=(reply,))
    return [made[pair] for pair in pairs]

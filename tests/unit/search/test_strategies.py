"""Strategies on the shipped fake: order of stages, events, and no branch left over."""

from __future__ import annotations

import pytest

from llavao1_edge.search import (
    STRATEGIES,
    Branch,
    CandidateFinished,
    Event,
    StageKept,
    StageStarted,
    Token,
)
from llavao1_edge.testing import ScriptedDrafter

SCRIPT = {
    "summary": ["plan"],
    "caption": ["a cat"],
    "reasoning": ["cats purr"],
    "conclusion": ["yes"],
    "free": ["<CONCLUSION> maybe </CONCLUSION>"],
}


def run(name: str) -> tuple[ScriptedDrafter, list[Event], Branch]:
    drafter = ScriptedDrafter(SCRIPT)
    strategy = STRATEGIES[name]()
    assert strategy.name == name
    search = strategy.run(drafter.root(), drafter)
    events: list[Event] = []
    while True:
        try:
            events.append(next(search))
        except StopIteration as finished:
            return drafter, events, finished.value


def test_staged_goes_through_the_four_stages() -> None:
    drafter, events, branch = run("staged")
    assert drafter.drafted == [(n, 1) for n in ("summary", "caption", "reasoning", "conclusion")]
    assert [text for _, text in branch.stages] == ["plan", "a cat", "cats purr", "yes"]
    kinds = [type(event) for event in events if not isinstance(event, Token)]
    assert kinds == [StageStarted, CandidateFinished, StageKept] * 4


def test_direct_asks_for_the_conclusion_alone() -> None:
    drafter, _, branch = run("direct")
    assert drafter.drafted == [("conclusion", 1)]
    assert [text for _, text in branch.stages] == ["yes"]


def test_free_forces_nothing() -> None:
    drafter, events, branch = run("free")
    assert drafter.drafted == [("free", 1)]
    assert branch.stages == ()
    kept = [event for event in events if isinstance(event, StageKept)]
    assert kept[0].candidate.text == SCRIPT["free"][0]


@pytest.mark.parametrize("name", STRATEGIES)
def test_only_the_chosen_branch_is_left(name: str) -> None:
    drafter, _, branch = run(name)
    assert drafter.live == {branch.key}


def test_the_fake_notices_the_use_of_a_dropped_branch() -> None:
    drafter = ScriptedDrafter(SCRIPT)
    root = drafter.root()
    drafter.drop(root)
    with pytest.raises(AssertionError, match="was dropped"):
        list(drafter.draft([root], None, n=1))

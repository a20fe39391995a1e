"""Laws that hold for every strategy, on the shipped fake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llavao1_edge.errors import UsageError
from llavao1_edge.scoring import SCORERS
from llavao1_edge.search import (
    STRATEGIES,
    Branch,
    Budget,
    CandidateFinished,
    Ending,
    Event,
    Judged,
    Retraced,
    StageKept,
    StageStarted,
    Token,
    make_strategy,
    options_of,
)
from llavao1_edge.search.answer import Recorder
from llavao1_edge.search.budget import Limit
from llavao1_edge.stages import STAGES
from llavao1_edge.testing import ScriptedDrafter, ScriptedJudge

SCRIPT = {
    "summary": ["look. then count", "count", "guess at once"],
    "caption": ["a cat", "a small cat. it sleeps", "a dog", "two cats"],
    "reasoning": ["cats purr", "dogs bark. loudly", "it is a cat"],
    "conclusion": ["yes", "no", "Yes."],
    "free": ["<CONCLUSION> maybe </CONCLUSION>"],
}
SEARCHES = ("stage-beam", "best-of-n", "sentence-beam", "retrace")
NAMES = [stage.name for stage in STAGES]


@dataclass
class Run:
    drafter: ScriptedDrafter
    events: list[Event] = field(default_factory=list)
    branch: Branch = field(default_factory=lambda: Branch(0))

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def texts(self) -> dict[str, str]:
        return {stage.name: text for stage, text in self.branch.stages}


def run(
    name: str,
    drafter: ScriptedDrafter | None = None,
    script: Mapping[str, Sequence[str]] = SCRIPT,
    **options: Any,
) -> Run:
    drafter = drafter or ScriptedDrafter(script)
    done = Run(drafter)
    search = make_strategy(name, options).run(drafter.root(), drafter)
    while True:
        try:
            done.events.append(next(search))
        except StopIteration as finished:
            done.branch = finished.value
            return done


def test_staged_goes_through_the_four_stages() -> None:
    done = run("staged")
    assert done.drafter.drafted == [(name, 1) for name in NAMES]
    assert list(done.texts.values()) == [SCRIPT[name][0] for name in NAMES]
    kinds = [type(event) for event in done.events if not isinstance(event, Token)]
    assert kinds == [StageStarted, CandidateFinished, StageKept] * 4


def test_direct_asks_for_the_conclusion_alone() -> None:
    done = run("direct")
    assert done.drafter.drafted == [("conclusion", 1)]
    assert done.texts == {"conclusion": "yes"}


def test_free_forces_nothing() -> None:
    done = run("free")
    assert done.drafter.drafted == [("free", 1)]
    assert done.branch.stages == ()
    assert done.of(StageKept)[0].candidate.text == SCRIPT["free"][0]


def test_where_the_first_has_half_of_the_probability_no_more_are_drawn() -> None:
    likely = {SCRIPT["caption"][0]: -0.3, SCRIPT["conclusion"][0]: -0.70}
    likely |= {SCRIPT["summary"][0]: -3.0, SCRIPT["reasoning"][0]: -0.1}
    drafter = ScriptedDrafter(SCRIPT, likely)
    done = run("stage-beam", drafter, candidates=6, enough=0.5, scorer="logprob")
    assert done.drafter.drafted == [
        ("summary", 1),
        ("summary", 5),
        ("caption", 1),
        ("reasoning", 1),
        ("conclusion", 1),
        ("conclusion", 5),
    ]
    assert done.drafter.live == {done.branch.key}


def test_one_that_was_cut_off_is_not_enough() -> None:
    likely = {text: -0.01 for texts in SCRIPT.values() for text in texts}
    drafter = ScriptedDrafter(SCRIPT, likely, endings={SCRIPT["caption"][0]: Ending.LENGTH})
    done = run("stage-beam", drafter, candidates=3, enough=0.5, scorer="logprob")
    assert [pair for pair in done.drafter.drafted if pair[0] == "caption"] == [
        ("caption", 1),
        ("caption", 2),
    ]


def test_those_that_are_drawn_later_are_those_of_one_round() -> None:
    """By their numbers: where none is likely enough, nothing else changes."""
    script = {name: ["a b c", "a b", "a", "a b c d", "a c"] for name in NAMES}
    unlikely = {text: -2.0 - i for i, text in enumerate(script["summary"])}
    found = []
    for enough in (0, 0.5):
        done = run("stage-beam", ScriptedDrafter(script, unlikely), candidates=5, enough=enough)
        numbers = [event.candidate.number for event in done.of(StageKept)]
        found.append((done.texts, numbers))
    assert found[0] == found[1]


@pytest.mark.parametrize("name", STRATEGIES)
def test_only_the_chosen_branch_is_left(name: str) -> None:
    done = run(name)
    assert done.drafter.live == {done.branch.key}


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_same_run_twice_is_the_same(name: str) -> None:
    first, second = run(name), run(name)
    assert first.events == second.events
    assert first.branch == second.branch


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("scorer", SCORERS)
def test_one_candidate_is_staged(name: str, scorer: str) -> None:
    more = {"returns": 0} if name == "retrace" else {}
    done = run(name, candidates=1, scorer=scorer, **more)
    assert done.texts == run("staged").texts
    assert not done.of(Judged)


@pytest.mark.parametrize("name", SEARCHES)
def test_what_each_strategy_drafts(name: str) -> None:
    wanted = {
        "stage-beam": [(stage, 4) for stage in NAMES],
        "best-of-n": [(stage, 4) for stage in NAMES],
        "sentence-beam": [
            *([("summary", 4)] * 2),
            *([("caption", 4)] * 2),
            ("reasoning", 4),
            ("conclusion", 4),
        ],
        "retrace": [
            ("summary", 1),
            *([("caption", 4), ("reasoning", 4)] * 3),
            ("conclusion", 3),
        ],
    }
    options = {"returns": 2, "threshold": -0.5} if name == "retrace" else {}
    # Likelier texts come first, so that the shorter ones do not win by chance.
    likely = {text: -0.6 for texts in SCRIPT.values() for text in texts} | {
        SCRIPT["summary"][0]: -0.55,
        SCRIPT["caption"][1]: -0.55,
    }
    done = run(name, ScriptedDrafter(SCRIPT, likely), scorer="logprob", **options)
    assert done.drafter.drafted == wanted[name]
    assert len(done.of(Retraced)) == (2 if name == "retrace" else 0)


def test_retrace_goes_on_when_the_reasoning_convinces() -> None:
    likely = dict.fromkeys(SCRIPT["reasoning"], -0.001)
    done = run("retrace", ScriptedDrafter(SCRIPT, likely), returns=3, scorer="logprob")
    assert not done.of(Retraced)
    assert [name for name, _ in done.drafter.drafted].count("caption") == 1


def test_keeping_several_branches() -> None:
    done = run("stage-beam", candidates=3, keep=2)
    assert [n for _, n in done.drafter.drafted] == [3, 6, 6, 6]
    assert [len(event.kept) for event in done.of(StageKept)] == [2, 2, 2, 1]


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("scorer", ["logprob", "min-logprob", "agreement", "combined"])
@given(data=st.data())
def test_the_winner_is_never_worse_than_a_loser(
    name: str, scorer: str, data: st.DataObject
) -> None:
    likely = {text: data.draw(st.floats(-9, -0.01)) for texts in SCRIPT.values() for text in texts}
    done = run(name, ScriptedDrafter(SCRIPT, likely), candidates=5, scorer=scorer)
    scored = [event for event in done.of(StageKept) if event.scores]
    assert scored
    for event in scored:
        assert event.scores[event.candidate.branch.key] == max(event.scores.values())


@pytest.mark.parametrize("n", [2, 3, 4, 7, 8])
@pytest.mark.parametrize("scorer", ["judge", "judge-reference"])
def test_a_tournament_needs_one_comparison_less_than_candidates(n: int, scorer: str) -> None:
    script = {name: [f"{name} {i}" for i in range(n)] for name in NAMES}
    worth = {text: float(i) for texts in script.values() for i, text in enumerate(texts)}
    drafter = ScriptedDrafter(script, judge=ScriptedJudge(logits=worth))
    done = run("stage-beam", drafter, candidates=n, scorer=scorer)
    assert len(done.of(Judged)) == 4 * (n - 1)
    assert done.texts == {name: f"{name} {n - 1}" for name in NAMES}
    if scorer == "judge":
        assert len(drafter.judge.asked) == 2 * 4 * (n - 1)


@pytest.mark.parametrize("name", SEARCHES)
@given(
    budget=st.integers(1, 60),
    n=st.integers(1, 5),
    scorer=st.sampled_from(["logprob", "agreement", "combined", "judge"]),
)
def test_a_token_budget_is_kept_exactly(name: str, budget: int, n: int, scorer: str) -> None:
    limited = Budget(tokens=budget)
    drafter = ScriptedDrafter(SCRIPT, budget=limited)
    done = run(name, drafter, candidates=n, scorer=scorer)
    free = ScriptedDrafter(SCRIPT)
    run(name, free, candidates=n, scorer=scorer)
    assert limited.spent == min(budget, free.budget.spent)
    assert list(done.texts) == NAMES  # finished, whatever it cost
    assert not done.branch.open
    assert drafter.live == {done.branch.key}


def test_a_time_budget_ends_the_search() -> None:
    moments = iter(range(1000))
    budget = Budget(seconds=12, clock=lambda: float(next(moments)))
    done = run("stage-beam", ScriptedDrafter(SCRIPT, budget=budget), candidates=4)
    assert list(done.texts) == NAMES
    assert budget.ended is Limit.TIME
    assert budget.told == "time budget of 12 s"
    assert any(event.by == "greedy" for event in done.of(StageKept))


@pytest.mark.parametrize("name", STRATEGIES)
@given(after=st.integers(0, 40))
def test_a_cancelled_search_returns_what_it_has(name: str, after: int) -> None:
    drafter = ScriptedDrafter(SCRIPT, cancel_after=after)
    done = run(name, drafter)
    assert drafter.sampled <= after or drafter.sampled == 0
    assert drafter.live == {done.branch.key}
    recorder = Recorder()
    for event in done.events:
        recorder.feed(event)
    path = recorder.chosen(done.branch)
    assert bool(path) == bool(done.branch.path)


def test_what_can_still_become_an_answer_is_finished() -> None:
    """At the end of a budget a likelier candidate that cannot go on does not win."""
    script = SCRIPT | {"summary": ["stuck", "slow but sure way"]}
    drafter = ScriptedDrafter(
        script,
        {"stuck": -0.01, "slow but sure way": -2.0},
        endings={"stuck": Ending.LENGTH},
        budget=Budget(tokens=3),
    )
    done = run("best-of-n", drafter, candidates=2)
    assert done.texts["summary"].startswith("slow")
    assert list(done.texts) == NAMES


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("scorer", SCORERS)
def test_equal_candidates_are_not_scored(name: str, scorer: str) -> None:
    script = {n: [f"The {n}.", f"the {n}", f" The  {n}. "] for n in NAMES}
    done = run(name, script=script, candidates=3, scorer=scorer)
    assert not done.of(Judged)
    assert {event.by for event in done.of(StageKept)} <= {"all equal", "only one", "all go on"}


@pytest.mark.parametrize("scorer", SCORERS)
def test_a_truncated_candidate_is_worse_than_any_finished_one(scorer: str) -> None:
    likely = {"a cat": -0.001}
    drafter = ScriptedDrafter(SCRIPT, likely, endings={"a cat": Ending.LENGTH})
    done = run("stage-beam", drafter, scorer=scorer)
    assert done.texts["caption"] != "a cat"
    only = ScriptedDrafter(
        SCRIPT | {"caption": ["a cat", "a dog"]},
        endings={"a cat": Ending.LENGTH, "a dog": Ending.CONTEXT},
    )
    assert run("stage-beam", only, scorer=scorer).texts["caption"] in ("a cat", "a dog")


def test_the_trace_holds_every_candidate_and_marks_the_path() -> None:
    done = run("stage-beam", candidates=3, keep=2)
    recorder = Recorder()
    for event in done.events:
        recorder.feed(event)
    path = recorder.chosen(done.branch)
    assert [node.candidate.text for node in path] == list(done.texts.values())
    assert [node.parent for node in path] == [0, *(node.key for node in path[:-1])]
    assert len(recorder.nodes) == len(done.of(CandidateFinished)) == 3 + 6 + 6 + 6
    assert sum(node.chosen for node in recorder.nodes) == 4
    assert all(node.kept for node in path)


def test_options_are_checked_by_name() -> None:
    assert options_of(make_strategy("stage-beam", {"keep": 2})) == {
        "candidates": 4,
        "scorer": "combined",
        "keep": 2,
        "enough": 0.0,
    }
    with pytest.raises(UsageError, match=r"candidates is 0"):
        make_strategy("stage-beam", {"candidates": 0})
    with pytest.raises(UsageError, match="has no option keep"):
        make_strategy("best-of-n", {"keep": 2})
    with pytest.raises(UsageError, match="scorer is 'dice'"):
        make_strategy("retrace", {"scorer": "dice"})
    with pytest.raises(UsageError, match="strategy is 'luck'"):
        make_strategy("luck", {})


def test_the_fake_notices_the_use_of_a_dropped_branch() -> None:
    drafter = ScriptedDrafter(SCRIPT)
    root = drafter.root()
    drafter.drop(root)
    with pytest.raises(AssertionError, match="was dropped"):
        list(drafter.draft([root], None, n=1))

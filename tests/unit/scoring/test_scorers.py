"""Scorers on hand-made candidates: what wins, what is asked, what stays undecided."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llavao1_edge.scoring import SCORERS, Choice, Decision, Part, Verdict, asks, decide
from llavao1_edge.scoring.part import own_parts
from llavao1_edge.scoring.text import closeness, normalise, normalise_answer
from llavao1_edge.stages import CAPTION, CONCLUSION, REASONING, SUMMARY, Stage
from llavao1_edge.testing import ScriptedJudge


def part(text: str, mean: float = -1.0, stage: Stage = CAPTION, **more: object) -> Part:
    n = len(text.split())
    return Part(stage, text, n, mean * n, mean, **more)  # type: ignore[arg-type]


def choose(
    parts: list[Part] | list[tuple[Part, ...]],
    scorer: str,
    *,
    keep: int = 1,
    judge: ScriptedJudge | None = None,
) -> tuple[Decision, list[Verdict]]:
    contenders = [
        (10 + i, (entry,) if isinstance(entry, Part) else entry) for i, entry in enumerate(parts)
    ]
    verdicts = []
    deciding = decide(
        contenders, keep=keep, scorer=SCORERS[scorer](), judge=judge or ScriptedJudge()
    )
    while True:
        try:
            verdicts.append(next(deciding))
        except StopIteration as finished:
            return finished.value, verdicts


def test_logprob_is_a_mean_and_min_logprob_the_worst_token() -> None:
    long = Part(CAPTION, "a b c d", 4, -2.0, -1.9)
    short = Part(CAPTION, "a", 1, -0.8, -0.8)
    assert choose([short, long], "logprob")[0].kept == (1,)
    assert choose([short, long], "min-logprob")[0].kept == (0,)
    assert choose([short, long], "logprob")[0].scores == (-0.8, -0.5)


def test_only_what_differs_is_scored() -> None:
    """Two answers with the same summary are compared by what follows it."""
    same = part("plan", -5.0, SUMMARY)
    decision, _ = choose([(same, part("a cat", -1.0)), (same, part("a dog", -0.5))], "logprob")
    assert decision.scores == (-1.0, -0.5)
    other = part("another plan", -0.1, SUMMARY)
    assert own_parts([(same,), (other,)]) == [(same,), (other,)]


def test_agreement_counts_answers_that_are_the_same() -> None:
    answers = ["3", "4", "The answer is 4.", "(4)", "3.0", "four"]
    decision, _ = choose([part(text, stage=CONCLUSION) for text in answers], "agreement")
    assert answers[decision.kept[0]] in ("4", "The answer is 4.", "(4)")
    assert decision.scores[1] == pytest.approx(3 / 6)
    assert decision.scores[0] == pytest.approx(2 / 6)


def test_agreement_takes_the_caption_in_the_middle() -> None:
    texts = [
        "a red circle and a square",
        "a red circle and a big square",
        "two dogs",
        "a red circle",
    ]
    decision, _ = choose([part(text) for text in texts], "agreement")
    assert decision.kept[0] in (0, 1)
    assert decision.scores[2] == min(s for s in decision.scores if s is not None)


def test_candidates_that_say_the_same_count_as_one_and_outvote() -> None:
    parts = [part("a cat", -0.1), part("A  dog.", -2.0), part("a dog", -2.0)]
    decision, _ = choose(parts, "agreement")
    assert decision.kept == (1,)
    assert decision.scores[1] == decision.scores[2]


def test_combined_weighs_both() -> None:
    parts = [
        part("3", -0.01, CONCLUSION),
        part("4", -0.02, CONCLUSION),
        part("4.", -0.02, CONCLUSION),
    ]
    assert choose(parts, "combined")[0].kept == (1,)
    unsure = [part("3", -0.01, CONCLUSION), *(part(t, -0.9, CONCLUSION) for t in ("4", "4."))]
    assert choose(unsure, "combined")[0].kept == (0,)


def test_the_judge_decides_by_both_orders() -> None:
    judge = ScriptedJudge(logits={"a cat": 1.0, "a dog": 2.5})
    decision, (verdict,) = choose([part("a cat"), part("a dog", -9)], "judge", judge=judge)
    assert decision.kept == (1,)
    assert (verdict.choice, verdict.winner) == (Choice.SECOND, 11)
    assert verdict.preferences == (-1.5, -1.5)
    texts = [ask.text for ask in judge.asked]
    assert "Response 1: a cat" in texts[0]
    assert "Response 1: a dog" in texts[1]


@pytest.mark.parametrize(("bias", "worth"), [(3.0, 1.0), (0.0, 0.0)])
def test_a_contradiction_or_a_tie_falls_to_log_probability(bias: float, worth: float) -> None:
    judge = ScriptedJudge(logits={"a cat": 0.0, "a dog": worth}, bias=bias)
    parts = [part("a cat", -0.1), part("a dog", -0.9)]
    decision, (verdict,) = choose(parts, "judge", judge=judge)
    assert verdict.choice is Choice.UNDECIDED
    assert decision.kept == (0,)


def test_a_biased_judge_never_decides_by_position() -> None:
    """Whatever the bias, swapping the candidates does not change who wins."""
    for bias in (-4.0, -1.0, 0.5, 4.0):
        worths = {"a cat": 0.3, "a dog": 0.9}
        parts = [part("a cat", -0.1), part("a dog", -0.9)]
        winners = set()
        for order in (parts, parts[::-1]):
            judge = ScriptedJudge(logits=worths, bias=bias)
            decision, _ = choose(order, "judge", judge=judge)
            winners.add(order[decision.kept[0]].text)
        assert len(winners) == 1


def test_the_reference_judge_checks_reasoning_first() -> None:
    class JudgeRunner(ScriptedJudge):
        def reply(self, asked: object) -> list[str]:
            assert isinstance(asked, list)
            self.asked += asked
            return ["Yes." if "good" in ask.text else "No." for ask in asked]

    judge = JudgeRunner()
    stages = [part("plan", stage=SUMMARY), part("a cat", stage=CAPTION)]
    parts = [(*stages, part(text, stage=REASONING)) for text in ("bad step", "good step")]
    decision, (verdict,) = choose(parts, "judge-reference", judge=judge)
    assert decision.kept == (1,)
    assert len(judge.asked) == 2
    assert all(not ask.picture for ask in judge.asked)
    assert "only one passed" in verdict.reasons[0]


def test_an_unreadable_verdict_is_undecided_not_second() -> None:
    class Mumbling(ScriptedJudge):
        def reply(self, asked: object) -> list[str]:
            return ["I cannot say."] * len(asked)  # type: ignore[arg-type]

    parts = [part("a cat", -0.1), part("a dog", -0.9)]
    decision, (verdict,) = choose(parts, "judge-reference", judge=Mumbling())
    assert verdict.choice is Choice.UNDECIDED
    assert decision.kept == (0,)


def test_keeping_two_plays_for_the_second_place() -> None:
    worth = {f"text {i}": float(i) for i in range(5)}
    judge = ScriptedJudge(logits=worth)
    decision, verdicts = choose([part(text) for text in worth], "judge", keep=2, judge=judge)
    assert decision.kept == (4, 3)
    pairs = [{verdict.first, verdict.second} for verdict in verdicts]
    assert len(pairs) == len({frozenset(pair) for pair in pairs})  # nobody is asked twice


def test_a_cut_off_candidate_is_kept_only_where_there_is_no_other() -> None:
    parts = [part("a cat", -0.01, finished=False), part("a dog", -5.0), part("a cow", -6.0)]
    for scorer in SCORERS:
        assert choose(parts, scorer)[0].kept == (1,) or scorer == "agreement"
        assert 0 not in choose(parts, scorer, keep=2)[0].kept
        assert choose(parts, scorer, keep=3)[0].kept[2] == 0


def test_one_and_none() -> None:
    assert choose([part("a cat")], "judge") == (Decision((0,), (None,), "only one"), [])
    with pytest.raises(ValueError, match="nothing to decide"):
        choose([], "judge")


# --- words ---------------------------------------------------------------------------------------
def test_the_ask_shares_its_beginning_and_names_what_counts() -> None:
    first = [(SUMMARY, "plan"), (CAPTION, "a cat")]
    second = [(SUMMARY, "plan"), (CAPTION, "a dog")]
    there = asks.compare("What?", first, second)
    back = asks.compare("What?", second, first)
    assert there.text.split("Response 1")[0] == back.text.split("Response 1")[0]
    assert "Summary: plan" in there.text
    assert "complete and accurate" in there.text
    assert there.opening == asks.VERDICT
    whole = asks.compare("What?", first, [(SUMMARY, "other"), (CAPTION, "a dog")])
    assert "Response 1: Summary: plan Caption: a cat" in whole.text
    assert asks.compare("What?", first, second, reason=True).opening == ""


@pytest.mark.parametrize(
    ("reply", "choice"),
    [
        ("Because it is. The better one is response 2.", 1),
        ("Response 1 is long. Response 2 is right. So response 1", 0),
        ("**Response 2**", 1),
        ("response 12", None),
        ("neither", None),
        ("", None),
    ],
)
def test_reading_a_verdict(reply: str, choice: int | None) -> None:
    assert asks.read_verdict(reply) == choice


@pytest.mark.parametrize(
    ("reply", "said"), [("Yes.", True), ("no", False), ("Not yes but no", False), ("maybe", None)]
)
def test_reading_yes_or_no(reply: str, said: bool | None) -> None:
    assert asks.read_yes_no(reply) is said


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("B", "b."),
        ("(B)", "B"),
        ("3", "3.0"),
        ("The answer is 7", "7"),
        ("Option: C", "c"),
        ("+2", "2"),
        ("-0", "0"),
        (".50", "0.5"),
    ],
)
def test_answers_that_are_the_same(first: str, second: str) -> None:
    assert normalise_answer(first) == normalise_answer(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [("3", "-3"), ("A", "B"), ("1", "10"), ("yes", "no"), ("1234567", "1234568"), (".5", "5")],
)
def test_answers_that_are_not(first: str, second: str) -> None:
    assert normalise_answer(first) != normalise_answer(second)


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@given(st.text(max_size=60), st.text(max_size=60))
def test_closeness_is_a_similarity(first: str, second: str) -> None:
    assert closeness(first, second) == closeness(second, first)
    assert 0 <= closeness(first, second) <= 1
    assert closeness(first, first) == 1

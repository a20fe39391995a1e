"""What is told while an answer is written is what it is in the end."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from llavao1_edge import BudgetSettings
from llavao1_edge.search import (
    BestOfN,
    Direct,
    Free,
    Retrace,
    SentenceBeam,
    StageBeam,
    Staged,
    StageKept,
    Strategy,
)
from llavao1_edge.serve.telling import Telling, cut, reasoning
from llavao1_edge.testing import Script, ScriptedEngine

TEXTS = {
    "summary": ["I look.  Then I count. "],
    "caption": ["Three shapes.", "Two shapes."],
    "reasoning": ["One, two.\n\nThree.", "One and two."],
    "conclusion": ["3 red ones END of it", "2"],
}
STRATEGIES: list[Strategy] = [
    *(Staged(), Direct(), Free(), StageBeam(candidates=1), StageBeam(candidates=3)),
    *(StageBeam(candidates=2, keep=2), BestOfN(candidates=2), SentenceBeam(candidates=2)),
    Retrace(candidates=2),
]


@pytest.fixture(scope="module")
def engine() -> Iterator[ScriptedEngine]:
    free = {"free": ["<CONCLUSION> 3 red ones END </CONCLUSION>"]}
    with ScriptedEngine(Script(texts={**TEXTS, **free})) as made:
        yield made


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda one: f"{one.name}-{one.width}")
@pytest.mark.parametrize("stops", [(), ("END",), ("red ones",), ("zebra", " E")])
def test_the_parts_make_the_whole(
    engine: ScriptedEngine, strategy: Strategy, stops: tuple[str, ...]
) -> None:
    parts: dict[bool, list[str]] = {True: [], False: []}
    telling = Telling(strategy, stops, lambda is_reasoning, text: parts[is_reasoning].append(text))
    for event in engine.session().stream("What?", search=strategy):
        telling.feed(event)
    answer = event.answer  # type: ignore[union-attr]
    conclusion = telling.finish(answer)
    assert conclusion == cut(answer.conclusion, stops)
    assert "".join(parts[False]) == conclusion
    stages = {name: text for name, text in answer.stages.items() if name != "conclusion"}
    assert "".join(parts[True]) == reasoning(stages)
    assert all(parts[False])
    if isinstance(strategy, Staged):
        assert len(parts[True]) > 5  # token by token


@pytest.mark.parametrize("tokens", range(1, 25, 2))
def test_a_stage_that_is_finished_greedily_is_told_once(
    engine: ScriptedEngine, tokens: int
) -> None:
    """A budget that ends inside a stage: what was written, and what was added, is one text."""
    parts: dict[bool, list[str]] = {True: [], False: []}
    strategy = StageBeam(candidates=2)
    telling = Telling(strategy, (), lambda is_reasoning, text: parts[is_reasoning].append(text))
    budget = BudgetSettings(token_budget=tokens)
    for event in engine.session().stream("What?", search=strategy, budget=budget):
        telling.feed(event)
        if isinstance(event, StageKept) and event.candidate.branch.parts:
            assert event.text == event.candidate.branch.parts[-1].text
    answer = event.answer  # type: ignore[union-attr]
    conclusion = telling.finish(answer)
    stages = {name: text for name, text in answer.stages.items() if name != "conclusion"}
    assert "".join(parts[True]) == reasoning(stages)
    assert "".join(parts[False]) == conclusion


@pytest.mark.parametrize("seed", range(20))
def test_a_stop_text_is_never_told_in_pieces(seed: int) -> None:
    """Whatever the tokens are."""
    from llavao1_edge.search import Token
    from llavao1_edge.stages import CONCLUSION

    rng = random.Random(seed)
    text = "".join(rng.choice("ab ") for _ in range(60)).strip()
    stops = tuple({"".join(rng.choice("ab") for _ in range(rng.randint(1, 4))) for _ in range(2)})
    told: list[str] = []
    telling = Telling(Staged(), stops, lambda _, part: told.append(part))
    at = 0
    while at < len(text):
        size = rng.randint(1, 4)
        telling.feed(Token(CONCLUSION, 0, text[at : at + size]))
        at += size
    assert cut(text, stops).startswith("".join(told))


def test_cut_takes_the_first_of_several() -> None:
    assert cut("one two three", ["three", "two"]) == "one"
    assert cut("one ", ["x"]) == "one "

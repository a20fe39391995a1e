"""The search on tiny random models: what is computed, what it costs, and what is left behind."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from llavao1_edge import (
    BestOfN,
    BudgetSettings,
    Engine,
    Retrace,
    SamplingSettings,
    SentenceBeam,
    StageBeam,
    Staged,
)
from llavao1_edge.engine.branches import BranchCache, BranchState
from llavao1_edge.engine.drafter import BatchDrafter
from llavao1_edge.engine.judging import LocalJudge
from llavao1_edge.engine.runtime import Runtime
from llavao1_edge.engine.slots import Root
from llavao1_edge.engine.turns import Latch
from llavao1_edge.errors import Cancelled, UsageError
from llavao1_edge.images import open_picture
from llavao1_edge.llama.context import Context
from llavao1_edge.llama.model import Model
from llavao1_edge.llama.sampler import BatchSampler, Grammar, Sampler, Sampling
from llavao1_edge.mllama.model import MllamaModel
from llavao1_edge.prompt import LLAMA3_VISION
from llavao1_edge.scoring import SCORERS, Ask
from llavao1_edge.scoring.asks import OPTIONS, compare
from llavao1_edge.search import (
    Answered,
    Branch,
    Budget,
    Candidate,
    CandidateFinished,
    Strategy,
    Token,
)
from llavao1_edge.search.answer import Answer, Counters
from llavao1_edge.stages import CAPTION, STAGES, SUMMARY, choices, stage_grammar
from tests.configurations import CONFIGURATIONS, picture_for

A = open_picture(picture_for(CONFIGURATIONS["base"], 1, 2, seed=1))
OPEN = SamplingSettings(temperature=1.0, top_p=1.0, max_tokens=40)
# Relative to the largest logit, F32 weights and cache: a row's sums are split differently in
# batches of other sizes.
ROUNDING = 1e-5
SEARCHES = [
    StageBeam(candidates=3),
    StageBeam(candidates=2, keep=2, scorer="judge"),
    BestOfN(candidates=3, scorer="judge-reference"),
    SentenceBeam(candidates=2, scorer="agreement"),
    Retrace(candidates=2, returns=1, threshold=-0.1),
    Staged(),
]


def texts(answer: Answer) -> list[tuple[str, int, str]]:
    return [
        (node.candidate.stage.name if node.candidate.stage else "", node.candidate.number,
         node.candidate.text)
        for node in answer.trace.nodes
    ]  # fmt: skip


def nothing_left(runtime: Runtime) -> bool:
    """llama.cpp's own account: no sequence holds a cell, and all of them are free."""
    memory = runtime.context._memory
    position = runtime.context._c.llama_memory_seq_pos_max
    held = [s for s in range(runtime.n_sequences) if position(memory, s) != -1]
    return not held and runtime.n_free_sequences == runtime.n_sequences


class Desk:
    """A drafter on picture A with a prompt, outside a session."""

    def __init__(self, runtime: Runtime, *, seed: int = 1) -> None:
        self.runtime, self.counters = runtime, Counters()
        self.sight, _ = runtime.vision.see(A)
        before = runtime.encode(LLAMA3_VISION.opening())
        sequence = runtime.take_sequence()
        place = runtime.vision.place(self.sight, sequence, before, stop=lambda: False)
        self.first = Root(before, sequence, place)
        question = runtime.encode(LLAMA3_VISION.question("What?"))
        self.prompt = before + question  # all that stands before the answer
        stop, sampling = Latch(lambda: False), Sampling(temperature=1.0, top_p=1.0)
        self.cache = BranchCache(runtime, sight=self.sight, stop=stop, counters=self.counters)
        self.judge = LocalJudge(
            self.cache,
            question="What?",
            sight=self.sight,
            root=self.first,
            sampling=sampling,
            seed=seed,
            budget=Budget(),
            stop=stop,
        )
        self.drafter = BatchDrafter(
            self.cache,
            sampling=sampling,
            max_tokens=400,
            stage_tokens=24,
            seed=seed,
            budget=Budget(),
            stop=stop,
            judge=self.judge,
        )
        started = runtime.take_sequence()
        runtime.context.fork(sequence, started)
        self.root = self.drafter.root(BranchState(started, place.position, question))

    def draft(self, branches: list[Branch], stage: object, **options: int) -> list[Candidate]:
        events = self.drafter.draft(branches, stage, **options)  # type: ignore[arg-type]
        finished = [event for event in events if isinstance(event, CandidateFinished)]
        return [event.candidate for event in sorted(finished, key=lambda event: event.number)]

    def logits(self, cache: list[BranchState]) -> NDArray[np.float32]:
        """After the last token of each."""
        bases, logits = self.cache.extend([(state, []) for state in cache])
        for base in bases:
            self.cache.free(base)
        return logits

    def close(self) -> None:
        self.judge.close()
        self.drafter.close()
        self.runtime.release(self.first.held)


@pytest.fixture
def desk(open_tiny: Callable[..., Engine]) -> Iterator[Desk]:
    made = Desk(open_tiny().runtime)
    yield made
    made.close()
    assert nothing_left(made.runtime)


# --- what is computed ----------------------------------------------------------------------------
def test_a_forked_branch_equals_a_fresh_prefill(open_tiny: Callable[..., Engine]) -> None:
    """Logits after two stages in lock-step with others, against the same tokens in one go."""
    engine = open_tiny()
    desk = Desk(engine.runtime)
    first = desk.draft([desk.root], SUMMARY, n=3)
    second = desk.draft([first[1].branch, first[2].branch], CAPTION, n=2)
    for candidate in second:
        state = desk.cache[candidate.branch.key]
        logits = desk.logits([state])
        fresh = engine.prompt_logits(A, desk.prompt + state.tokens).logits[-1]
        ours = logits[0][: len(fresh)]
        assert np.abs(ours - fresh).max() <= ROUNDING * np.abs(fresh).max()
    desk.close()


@pytest.mark.parametrize("n", [2, 5])
def test_a_candidate_does_not_depend_on_its_neighbours(
    n: int, open_tiny: Callable[..., Engine]
) -> None:
    """Candidate k of N has the text of candidate k of any other N, or drawn alone."""
    runtime = open_tiny().runtime

    def drawn(n: int, first: int = 0) -> list[str]:
        desk = Desk(runtime)
        found = [candidate.text for candidate in desk.draft([desk.root], SUMMARY, n=n, first=first)]
        desk.close()
        return found

    together = drawn(n)
    assert len(set(together)) == n
    assert [drawn(1, first=i)[0] for i in range(n)] == together


def test_batched_logits_equal_single_ones(desk: Desk) -> None:
    """The promise behind the test above: rows of one batch are rows alone, but for rounding."""
    candidates = desk.draft([desk.root], SUMMARY, n=4)
    cache = [desk.cache[candidate.branch.key] for candidate in candidates]
    together = desk.logits(cache)
    for state, row in zip(cache, together, strict=True):
        fresh = Desk(desk.runtime)
        alone = fresh.draft([fresh.root], SUMMARY, n=1, first=cache.index(state))[0]
        single = fresh.logits([fresh.cache[alone.branch.key]])
        assert np.abs(single[0] - row).max() <= ROUNDING * np.abs(row).max()
        fresh.close()


def test_a_branch_can_be_drafted_from_again(desk: Desk) -> None:
    first = desk.draft([desk.root], SUMMARY, n=2)
    assert [c.text for c in desk.draft([desk.root], SUMMARY, n=2)] == [c.text for c in first]
    more = desk.draft([desk.root], SUMMARY, n=2, first=1)
    assert more[0].text == first[1].text
    branch = first[0].branch
    once = [c.text for c in desk.draft([branch], CAPTION, n=2)]
    assert [c.text for c in desk.draft([branch], CAPTION, n=2)] == once


def test_a_parked_branch_comes_back_as_it_was(desk: Desk) -> None:
    candidates = desk.draft([desk.root], SUMMARY, n=2)
    wanted = [c.text for c in desk.draft([c.branch for c in candidates], CAPTION, n=1)]
    while desk.cache.make_room():
        pass
    assert all(desk.cache[c.branch.key].sequence is None for c in candidates)
    assert [c.text for c in desk.draft([c.branch for c in candidates], CAPTION, n=1)] == wanted
    assert desk.counters.restored_tokens > 0


def test_the_log_probability_is_that_of_the_models_own_tokens(
    open_tiny: Callable[..., Engine],
) -> None:
    engine = open_tiny()
    desk = Desk(engine.runtime)
    (candidate,) = desk.draft([desk.root], SUMMARY, n=1)
    tokens = desk.cache[candidate.branch.key].tokens
    n_forced = len(tokens) - candidate.n_tokens
    whole = engine.prompt_logits(A, desk.prompt + tokens).logits.astype(np.float64)
    whole[:, engine.runtime.banned[engine.runtime.banned < whole.shape[1]]] = -np.inf
    logprobs = []
    for i, token in enumerate(tokens[n_forced:]):
        row = whole[len(desk.prompt) + n_forced + i - 1]
        logprobs.append(row[token] - row.max() - np.log(np.exp(row - row.max()).sum()))
    assert candidate.mean_logprob == pytest.approx(np.mean(logprobs), abs=1e-4)
    assert candidate.min_logprob == pytest.approx(np.min(logprobs), abs=1e-4)
    desk.close()


def test_judging_side_by_side_equals_judging_alone(desk: Desk) -> None:
    asks = [
        compare("What?", [(SUMMARY, "x"), (CAPTION, a)], [(SUMMARY, "x"), (CAPTION, b)])
        for a, b in (("a cat", "a dog"), ("a dog", "a cat"), ("one", "two"))
    ]
    together = desk.judge.weigh(asks, OPTIONS)
    for ask, weighed in zip(asks, together, strict=True):
        desk.judge.close()
        (alone,) = desk.judge.weigh([ask], OPTIONS)
        assert weighed is not None
        assert alone == pytest.approx(weighed, rel=1e-4, abs=1e-4)
    assert desk.judge.weigh([], OPTIONS) == []


def test_replies_do_not_depend_on_their_neighbours(desk: Desk) -> None:
    asks = [Ask(f"Question {i}?", picture=i % 2 == 0) for i in range(4)]
    together = desk.judge.reply(asks)
    assert all(together)
    assert [desk.judge.reply([ask])[0] for ask in asks] == together


# --- what it costs -------------------------------------------------------------------------------
@pytest.mark.parametrize("search", SEARCHES, ids=lambda search: search.name)
def test_one_vision_pass_and_one_prefill_whatever_the_search(
    search: Staged, open_tiny: Callable[..., Engine]
) -> None:
    session = open_tiny().session(A)
    first = session.ask("What?", search=search, sampling=OPEN).trace.counters
    assert first.vision_passes == 1
    assert first.prefill_tokens == len(session.conversation.history) - len(_answer_tokens(session))
    again = session.ask("And?", search=search, sampling=OPEN).trace.counters
    assert again.vision_passes == 0
    assert again.prefill_tokens < first.prefill_tokens + 8  # the history is not computed again


def _answer_tokens(session: object) -> list[int]:
    """The tokens after the (only) question of a session's history."""
    history: list[int] = session.conversation.history  # type: ignore[attr-defined]
    end = session.engine.runtime.model.special("<|end_header_id|>")  # type: ignore[attr-defined]
    last = len(history) - 1 - history[::-1].index(end)
    return history[last + 3 :]  # two line breaks stand after the header


def test_lock_step_needs_as_many_steps_as_the_longest(open_tiny: Callable[..., Engine]) -> None:
    engine = open_tiny()
    answer = engine.session(A).ask("What?", search=BestOfN(candidates=4), sampling=OPEN)
    counters = answer.trace.counters
    longest = 0
    for stage in STAGES:
        lengths = [
            node.candidate.n_tokens for node in answer.trace.nodes if node.candidate.stage == stage
        ]
        longest += max(lengths)
    assert counters.decode_steps <= longest + len(STAGES)
    assert counters.sampled_tokens == sum(n.candidate.n_tokens for n in answer.trace.nodes)


@pytest.mark.parametrize("budget", [1, 7, 30, 64])
@pytest.mark.parametrize("search", SEARCHES[:4], ids=lambda search: search.name)
def test_a_token_budget_is_kept_exactly(
    budget: int, search: StageBeam, open_tiny: Callable[..., Engine]
) -> None:
    limits = BudgetSettings(token_budget=budget, stage_tokens=8)
    answer = open_tiny().session(A).ask("What?", search=search, sampling=OPEN, budget=limits)
    greedy = 0
    for node in answer.trace.nodes:
        if node.by == "greedy":
            greedy += node.candidate.n_tokens
    assert answer.trace.counters.sampled_tokens - greedy <= budget
    assert list(answer.stages) == [stage.name for stage in STAGES]
    if greedy:
        assert answer.trace.counters.sampled_tokens - greedy == budget
        assert f"token budget of {budget} is used up" in answer.notes[-1]


def test_a_stage_limit_closes_the_stage_properly(open_tiny: Callable[..., Engine]) -> None:
    engine = open_tiny()
    session = engine.session(A)
    answer = session.ask(
        "What?", search=StageBeam(candidates=2), sampling=OPEN,
        budget=BudgetSettings(stage_tokens=5),
    )  # fmt: skip
    assert all(node.candidate.n_tokens <= 5 for node in answer.trace.nodes)
    written = b"".join(map(engine.runtime.piece, session.conversation.history)).decode(
        "utf-8", "replace"
    )
    for stage in STAGES[:3]:
        assert written.count(stage.closing) == 1
    assert "ended early (length)" in " ".join(answer.notes)


# --- too little room -----------------------------------------------------------------------------
def test_candidates_run_in_waves_where_the_context_is_small(
    open_tiny: Callable[..., Engine],
) -> None:
    roomy = open_tiny(context=2048).session(A)
    tight = open_tiny(context=256).session(A)
    search, sampling = BestOfN(candidates=8), SamplingSettings(temperature=1.0, max_tokens=80)
    wanted = roomy.ask("What?", search=search, sampling=sampling)
    answer = tight.ask("What?", search=search, sampling=sampling)
    assert sorted(texts(answer)) == sorted(texts(wanted))
    assert answer.stages == wanted.stages
    assert not wanted.trace.remarks
    assert any("waves" in remark for remark in answer.trace.remarks)
    assert answer.trace.counters.restored_tokens > 0


def test_a_search_takes_the_room_of_other_conversations(open_tiny: Callable[..., Engine]) -> None:
    engine = open_tiny(context=512)
    others = [engine.session(A) for _ in range(4)]
    short = SamplingSettings(max_tokens=30)
    kept = [session.ask("What?", sampling=short).stages for session in others]
    search, sampling = BestOfN(candidates=4), SamplingSettings(temperature=1.0, max_tokens=90)
    answer = engine.session(A).ask("What?", search=search, sampling=sampling)
    roomy = open_tiny(context=2048).session(A).ask("What?", search=search, sampling=sampling)
    assert answer.stages == roomy.stages
    assert min(session.conversation.n_cached for session in others) == 0
    again = [session.ask("And?", sampling=short).stages for session in others]
    assert all(again)
    assert len(kept) == 4


def test_more_candidates_than_sequences(open_tiny: Callable[..., Engine]) -> None:
    search = StageBeam(candidates=12, scorer="judge")
    few = open_tiny(batch=8, context=2048)
    many = open_tiny(context=2048)
    answers = [e.session(A).ask("What?", search=search, sampling=OPEN) for e in (few, many)]
    assert sorted(texts(answers[0])) == sorted(texts(answers[1]))
    assert nothing_left_but_one(few.runtime)


@pytest.mark.parametrize("sizes", [{"batch": 8, "context": 2048}, {"context": 256}])
def test_branches_that_do_not_fit_together_go_on_in_groups(
    sizes: dict[str, int], open_tiny: Callable[..., Engine]
) -> None:
    """All of them reach the conclusion with the texts they have where there is room."""
    search, budget = BestOfN(candidates=12), BudgetSettings(stage_tokens=14)
    asked = {"search": search, "sampling": SamplingSettings(temperature=1.0), "budget": budget}
    tight = open_tiny(**sizes).session(A).ask("What?", **asked)  # type: ignore[arg-type]
    roomy = open_tiny(context=4096).session(A).ask("What?", **asked)  # type: ignore[arg-type]
    assert sorted(texts(tight)) == sorted(texts(roomy))
    assert len(tight.trace.nodes) == 48
    assert all(node.candidate.ending != "context" for node in tight.trace.nodes)
    assert any("groups" in remark for remark in tight.trace.remarks)


def test_a_stage_limit_holds_over_sentences(open_tiny: Callable[..., Engine]) -> None:
    answer = open_tiny().session(A).ask(
        "What?",
        search=SentenceBeam(candidates=2),
        sampling=SamplingSettings(temperature=1.5),
        budget=BudgetSettings(stage_tokens=30),
    )  # fmt: skip
    for stage in STAGES:
        spent = sum(
            node.candidate.n_tokens
            for node in answer.trace.nodes
            if node.chosen and node.candidate.stage == stage
        )
        assert spent <= 30


def test_a_second_stream_does_not_take_the_first_ones_cancel(
    open_tiny: Callable[..., Engine],
) -> None:
    session = open_tiny(context=4096).session(A)
    running = session.stream("What?", sampling=SamplingSettings(temperature=1.0, max_tokens=900))
    while not isinstance(next(running), Token):
        pass
    with pytest.raises(UsageError, match="still being written"):
        session.ask("And?")
    session.cancel()
    *_, last = running
    assert isinstance(last, Answered)
    assert last.answer.cancelled


def nothing_left_but_one(runtime: Runtime) -> bool:
    """One conversation: what stands before its questions, and its history."""
    return runtime.n_free_sequences >= runtime.n_sequences - 2


def test_a_judge_without_room_is_undecided_not_a_crash(open_tiny: Callable[..., Engine]) -> None:
    session = open_tiny(context=256).session(A)
    sampling = SamplingSettings(temperature=1.0, max_tokens=160)
    for scorer in ("judge", "judge-reference"):
        answer = session.ask(
            "What?", search=BestOfN(candidates=4, scorer=scorer), sampling=sampling
        )
        assert answer.stages
        assert len(answer.trace.comparisons) == 3
        # Two whole answers of 160 tokens do not fit beside the branches.
        assert all(e.verdict.choice == "undecided" for e in answer.trace.comparisons)
        session = open_tiny(context=256).session(A)


# --- nothing is left behind ----------------------------------------------------------------------
def test_nothing_is_left_after_many_searches_and_cancels(open_tiny: Callable[..., Engine]) -> None:
    engines = [open_tiny(context=1024), open_tiny(context=256)]
    rng = random.Random(4)
    outcomes = {"done": 0, "cancelled": 0, "closed": 0}
    for number in range(200):
        engine = engines[number % 2]
        n = rng.randrange(1, 6)
        search = rng.choice(
            [
                StageBeam(candidates=n, keep=rng.randrange(1, 3), scorer=rng.choice(list(SCORERS))),
                BestOfN(candidates=n, scorer=rng.choice(list(SCORERS))),
                SentenceBeam(candidates=n),
                Retrace(candidates=n, threshold=-0.1, returns=1),
            ]
        )
        session = engine.session(A)
        left = rng.randrange(1, 120)
        stream = session.stream(
            "What?",
            search=search,
            seed=number,
            sampling=SamplingSettings(temperature=1.5, max_tokens=24),
            budget=BudgetSettings(token_budget=rng.choice([None, 20])),
        )
        kind = "done"
        try:
            for event in stream:
                left -= 1
                if left == 0 and number % 3 == 0:
                    kind = "closed"
                    stream.close()
                    break
                if left == 0 and number % 3 == 1:
                    session.cancel()
                if isinstance(event, Answered) and event.answer.cancelled:
                    kind = "cancelled"
        except Cancelled:
            kind = "cancelled"
        outcomes[kind] += 1
        session.close()
        engine.local.slots.sweep()
        assert nothing_left(engine.runtime), (number, search, kind)
    assert min(outcomes.values()) > 20


def test_cancel_from_another_thread_keeps_the_best_so_far(open_tiny: Callable[..., Engine]) -> None:
    engine = open_tiny(context=4096)
    session = engine.session(A)
    n_tokens, after = 0, 0
    timer: threading.Thread | None = None
    answer: Answer | None = None
    sampling = SamplingSettings(temperature=1.0, max_tokens=600)
    for event in session.stream("What?", search=StageBeam(candidates=3), sampling=sampling):
        if isinstance(event, Token):
            n_tokens += 1
            after += timer is not None
        if n_tokens == 100 and timer is None:
            timer = threading.Thread(target=session.cancel)
            timer.start()
            timer.join()
        if isinstance(event, Answered):
            answer = event.answer
    assert answer is not None
    assert answer.cancelled
    assert answer.stages
    assert after <= 3  # the rest of the step that was being shown
    assert "stopped" in answer.notes[-1]
    assert session.conversation.history == []
    assert session.ask("What?", sampling=OPEN).stages


# --- grammar -------------------------------------------------------------------------------------
TAG = re.compile(r"</?(?:SUMMARY|CAPTION|REASONING|CONCLUSION)", re.IGNORECASE)


@pytest.fixture(scope="module")
def straddling(pair_of: Callable[..., tuple[object, object]]) -> Iterator[Model]:
    text, _ = pair_of("straddling")
    model = Model(text, gpu_layers=0)  # type: ignore[arg-type]
    yield model
    model.close()


@given(seed=st.integers(0, 2**32 - 1), stage=st.sampled_from(STAGES), boost=st.floats(0, 8))
@settings(max_examples=300)
def test_every_text_follows_its_grammar(
    straddling: Model, seed: int, stage: object, boost: float
) -> None:
    """Random logits over a vocabulary whose tokens straddle the tags."""
    assert stage in STAGES
    rng = np.random.default_rng(seed)
    tags = slice(263, straddling.n_vocab)
    sampler = Sampler(seed=seed, grammars=[Grammar(straddling, stage_grammar(stage))])  # type: ignore[arg-type]
    draws = BatchSampler(Sampling(temperature=1.0, top_p=1.0), np.arange(256, 263))
    written = b""
    try:
        for _ in range(60):
            logits = rng.normal(0, 2, (1, straddling.n_vocab)).astype(np.float32)
            logits[0, tags] += boost
            written += straddling.piece(draws.draw([sampler], logits)[0].token)
            if stage.closing.encode() in written:  # type: ignore[attr-defined]
                break
    finally:
        sampler.close()
    text = written.decode("utf-8", "replace")
    inside, closing, after = text.partition(stage.closing)  # type: ignore[attr-defined]
    last = inside.rfind("<")
    if not closing and stage.closing.startswith(inside[last:]):  # type: ignore[attr-defined]
        inside = inside[:last]  # it ended in the middle of its own closing tag
    assert not TAG.search(inside + "x")
    assert set(after) <= {"\n"}


def test_a_conclusion_follows_the_answer_grammar(open_tiny: Callable[..., Engine]) -> None:
    engine = open_tiny()
    for search in SEARCHES[:4]:
        answer = engine.session(A).ask(
            "Which?",
            search=search,
            sampling=SamplingSettings(temperature=2.0, max_tokens=200),
            budget=BudgetSettings(stage_tokens=20),
            answer_format=choices(["red", "green", "blue"]),
        )
        assert answer.conclusion in ("red", "green", "blue")
        assert answer.trace.counters.grammar_misses > 0


# --- memory that cannot go back -------------------------------------------------------------------
class OneWay:
    """A context whose memory cannot be rewound, as with recurrent state or a sliding window."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def rewind(*_: object) -> bool:
            raise AssertionError("the memory was asked to go back")

        monkeypatch.setattr(MllamaModel, "can_rewind", property(lambda _: False))
        monkeypatch.setattr(Context, "rewind", rewind)


@pytest.mark.parametrize(
    ("search", "context"),
    [
        (StageBeam(candidates=4, scorer="judge"), 2048),
        (StageBeam(candidates=4, scorer="judge-reference"), 2048),
        (BestOfN(candidates=4, scorer="judge"), 2048),
        (SentenceBeam(candidates=3), 2048),
        (StageBeam(candidates=6, scorer="logprob"), 256),
        (BestOfN(candidates=6, scorer="logprob"), 256),
    ],
)
def test_without_going_back_the_same_is_written(
    search: Strategy, context: int, open_tiny: Callable[..., Engine],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """What would be taken back is freed and computed again: the same texts, nothing left over."""
    budget = BudgetSettings(stage_tokens=14)
    answers = []
    for one_way in (False, True):
        if one_way:
            OneWay(monkeypatch)
        engine = open_tiny(context=context)
        session = engine.session(A)
        given = [
            session.ask(q, search=search, sampling=OPEN, budget=budget, seed=2)
            for q in ("What?", "And now?")
        ]
        answers.append([sorted(texts(answer)) for answer in given])
        assert nothing_left_but_one(engine.runtime)
        session.close()
        engine.local.slots.sweep()
        assert nothing_left(engine.runtime)
    assert answers[0] == answers[1]


def test_a_stop_without_going_back(
    open_tiny: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    OneWay(monkeypatch)
    engine = open_tiny(context=2048)
    session = engine.session(A)
    for stop_after in (1, 5, 20, 60):
        calls = iter(range(10_000))
        with suppress(Cancelled):
            session.ask(
                "What?",
                search=StageBeam(candidates=4),
                sampling=OPEN,
                stop=lambda calls=calls, n=stop_after: next(calls) > n,  # type: ignore[misc]
            )
    assert session.ask("What?", sampling=OPEN).trace.nodes
    session.close()
    engine.local.slots.sweep()
    assert nothing_left(engine.runtime)

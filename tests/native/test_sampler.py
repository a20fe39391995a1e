"""Drawing tokens: bans, seeds, filters, log-probabilities, and the lazily checked grammar."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from llavao1_edge import demo
from llavao1_edge.errors import ModelFileError, UsageError
from llavao1_edge.llama.model import Model
from llavao1_edge.llama.sampler import CANDIDATE, BatchSampler, Grammar, Sampler, Sampling
from llavao1_edge.stages import STAGES, Stage, stage_grammar

NOTHING = np.array([], dtype=np.int64)


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    opened = Model(demo.text_path(), gpu_layers=0)
    yield opened
    opened.close()


def logits(model: Model, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 2, model.n_vocab).astype(np.float32)


def draw(
    model: Model,
    settings: Sampling,
    *,
    n: int = 200,
    seed: int = 1,
    banned: NDArray[np.int64] = NOTHING,
) -> list[int]:
    sampler, draws = Sampler(seed=seed), BatchSampler(settings, banned)
    try:
        return [draws.draw([sampler], logits(model)[None])[0].token for _ in range(n)]
    finally:
        sampler.close()


def test_temperature_zero_takes_the_likeliest(model: Model) -> None:
    assert set(draw(model, Sampling(temperature=0), n=3)) == {int(logits(model).argmax())}


def test_the_seed_decides(model: Model) -> None:
    assert draw(model, Sampling(), seed=1) == draw(model, Sampling(), seed=1)
    assert draw(model, Sampling(), seed=1) != draw(model, Sampling(), seed=2)


def test_top_k_and_top_p_and_min_p_narrow(model: Model) -> None:
    order = np.argsort(-logits(model))
    assert set(draw(model, Sampling(temperature=5, top_p=1, top_k=3))) == set(order[:3].tolist())
    assert set(draw(model, Sampling(temperature=1, top_p=0.01))) == {int(order[0])}
    values = logits(model)
    kept = np.flatnonzero(values >= values.max() + np.log(0.5))
    drawn = set(draw(model, Sampling(temperature=1, top_p=1, min_p=0.5)))
    assert drawn == set(kept.tolist())


def test_the_temperature_comes_before_top_p(model: Model) -> None:
    """At a low temperature fewer tokens hold 90 % of the probability."""
    values = logits(model).astype(np.float64)

    def nucleus(temperature: float) -> int:
        p = np.exp((values - values.max()) / temperature)
        p = np.sort(p / p.sum())[::-1]
        return int(np.searchsorted(np.cumsum(p), 0.9)) + 1

    drawn = set(draw(model, Sampling(temperature=0.5, top_p=0.9), n=2000))
    assert len(drawn) <= nucleus(0.5) < nucleus(1.0)


def test_banned_tokens_are_never_drawn(model: Model) -> None:
    best = int(logits(model).argmax())
    assert best not in draw(model, Sampling(), banned=np.array([best]))
    only = np.array([i for i in range(model.n_vocab) if i != 7])
    assert set(draw(model, Sampling(), banned=only, n=5)) == {7}


def test_log_probabilities_are_the_models_own(model: Model) -> None:
    values = logits(model).astype(np.float64)
    banned = np.array([3, 4])
    sampler = Sampler(seed=0)
    (drawn,) = BatchSampler(Sampling(temperature=0.3), banned).draw([sampler], logits(model)[None])
    sampler.close()
    values[banned] = -np.inf
    wanted = values[drawn.token] - np.log(np.exp(values - values.max()).sum()) - values.max()
    assert drawn.logprob == pytest.approx(wanted, abs=1e-5)


def test_the_repeat_penalty_pushes_tokens_down(model: Model) -> None:
    plain = draw(model, Sampling(temperature=0), n=20)
    varied = draw(model, Sampling(temperature=0, repeat_penalty=2.0), n=20)
    assert len(set(plain)) == 1
    assert len(set(varied)) > 1


def accepts(model: Model, gbnf: str, text: str) -> bool:
    """Whether a grammar lets `text` pass, token by token."""
    grammar = Grammar(model, gbnf)
    try:
        for token in model.tokenise(text):
            if not grammar.allows(token):
                return False
            grammar.accept(token)
        return True
    finally:
        grammar.close()


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_a_stage_ends_with_its_own_tag(stage: Stage, model: Model) -> None:
    grammar = stage_grammar(stage)
    assert accepts(model, grammar, f" Some text.\nAnd more. {stage.closing}\n\n")
    assert not accepts(model, grammar, f" Some text. {stage.closing} more")
    for other in STAGES:
        assert not accepts(model, grammar, f" Some text. {other.opening}")
        if other is not stage:
            assert not accepts(model, grammar, f" Some text. {other.closing}")


@pytest.mark.parametrize(
    "text",
    [
        " 1 < 2 and 3 > 2",
        " <b>bold</b> <x>",
        " a <- b",
        " x<y",
        " angle <ABC",
        " é 日本 😀",
        " < / >",
    ],
)
def test_ordinary_text_passes(text: str, model: Model) -> None:
    assert accepts(model, stage_grammar(STAGES[2]), text)


@pytest.mark.parametrize("text", [" <SUMMARY>", " <summary>", " <<CAPTION>", " </Reasoning>x"])
def test_tags_in_any_case_do_not_pass(text: str, model: Model) -> None:
    assert not accepts(model, stage_grammar(STAGES[0]), text)


def test_a_miss_is_masked_and_counted(model: Model) -> None:
    """The likeliest token is forbidden: the likeliest allowed one is taken instead."""
    grammar = Grammar(model, 'root ::= "yes" | "no"')
    yes, other = model.tokenise("yes")[0], model.tokenise(" red")[0]
    values = np.zeros(model.n_vocab, dtype=np.float32)
    values[other], values[yes] = 9, 1
    sampler = Sampler(seed=0, grammars=[grammar])
    assert (
        BatchSampler(Sampling(), NOTHING).draw([sampler], values[None], greedy=True)[0].token == yes
    )
    assert sampler.grammar_misses == 1
    sampler.close()


def test_a_bad_grammar_is_an_error(model: Model) -> None:
    with pytest.raises(UsageError, match="cannot be parsed"):
        Grammar(model, "root ::= (")


def test_special_tokens_in_text_are_not_recognised(model: Model) -> None:
    assert model.special("<|eot_id|>") not in model.tokenise("a<|eot_id|>b")
    with pytest.raises(ModelFileError, match="no special token"):
        model.special("<|nothing|>")


def test_tokens_give_their_text_back(model: Model) -> None:
    text = " How many red circles? é 日本 😀\n\n"
    assert b"".join(model.piece(token) for token in model.tokenise(text)).decode() == text
    assert model.piece(model.special("<|eot_id|>")) == b""


@pytest.mark.parametrize("n_vocab", [40, 1500, 40_000])
@pytest.mark.parametrize("spread", [0.5, 3.0, 8.0])
@pytest.mark.parametrize(
    "settings",
    [
        Sampling(temperature=1, top_p=1),
        Sampling(temperature=1, top_p=0.9),
        Sampling(temperature=1, top_p=0.5),
        Sampling(temperature=1, top_p=0.8, top_k=40),
        Sampling(temperature=1, top_p=0.95, min_p=0.05),
    ],
    ids=lambda s: f"p{s.top_p}-k{s.top_k}-m{s.min_p}",
)
def test_a_draw_is_what_sorting_everything_would_give(
    settings: Sampling, n_vocab: int, spread: float
) -> None:
    """Against the plain definition: top-k, top-p of the sorted weights, min-p, then the running sum
    in the order of ids."""
    random = np.random.default_rng(7)
    draws, sampler = BatchSampler(settings, NOTHING), Sampler(seed=3)
    chances = np.random.Generator(np.random.PCG64(3))
    for _ in range(20):
        values = random.normal(0, spread, n_vocab).astype(np.float32)
        weights = np.exp(values - values.max()).astype(np.float64)
        falling = np.sort(weights)[::-1]
        if settings.top_k:
            falling = falling[: settings.top_k]
        n = int(np.searchsorted(falling.cumsum(), settings.top_p * falling.sum()))
        cut = max(falling[min(n, len(falling) - 1)], settings.min_p)
        kept = np.where(weights >= cut * (1 - 1e-6), weights, 0)
        chance = chances.random()
        found = draws.draw([sampler], values[None].copy())[0].token
        below, up_to = kept[:found].sum() / kept.sum(), kept[: found + 1].sum() / kept.sum()
        assert kept[found] > 0
        assert below - 1e-5 <= chance <= up_to + 1e-5


def test_a_mask_in_slices_is_the_mask(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    masks = []
    for size in (7, 100_000):
        monkeypatch.setattr("llavao1_edge.llama.sampler.MASKED", size)
        grammar = Grammar(model, 'root ::= "a" [a-f]* | "0"')
        candidates = np.zeros(model.n_vocab, dtype=CANDIDATE)
        candidates["id"] = np.arange(model.n_vocab)
        grammar.mask(candidates)
        grammar.close()
        masks.append(np.isfinite(candidates["logit"]))
    assert masks[0].any()
    assert not masks[0].all()
    assert (masks[0] == masks[1]).all()

"""Stage-level beam search with a judge: the reference procedure against ours, step by step.

    python -m benchmarks.reference --questions 6          (needs torch and transformers 4.54.1)

The reference procedure is re-implemented on transformers with the checkpoint of shapes: every
candidate and every judgement is a `generate` of its own, with image processing, vision tower and
the whole prefill. The other rows are our engine with the same search (`stage-beam`, N = 4, judge
mode `reference`), first sharing nothing, then with one technique more in every row.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.machine import header
from benchmarks.weakened import weakened
from llavao1_edge import Engine, RuntimeSettings, SamplingSettings
from llavao1_edge.engine.drafter import BatchDrafter
from llavao1_edge.engine.judging import LocalJudge
from llavao1_edge.engine.local import LocalAttempt
from llavao1_edge.images import open_picture
from llavao1_edge.scoring import Ask, asks, decision
from llavao1_edge.scoring.text import normalise
from llavao1_edge.search import (
    Answered,
    Branch,
    CandidateFinished,
    Ending,
    StageBeam,
    Token,
    Unit,
)
from llavao1_edge.stages import REASONING, STAGES, Stage
from train.evaluate import SEED
from train.questions import draw_task
from train.scene import draw_scene, render, scene_rng

CHECKPOINT = Path(__file__).parent.parent / "train" / "checkpoint"
N = 4
REPLY_TOKENS = 256


@dataclass
class Cost:
    seconds: float = 0.0
    right: int = 0
    vision_passes: int = 0
    prefill_tokens: int = 0
    sampled_tokens: int = 0
    model_calls: int = 0
    judge_calls: int = 0
    each: list[float] = field(default_factory=list)


# --- the reference procedure ---------------------------------------------------------------------
class Reference:
    """One `generate` after another, nothing kept between them."""

    def __init__(self, engine: Engine, temperature: float) -> None:
        from tests.oracle import Oracle

        self.temperature = temperature
        self.oracle, self.runtime = Oracle.load(CHECKPOINT), engine.runtime
        self.cost = Cost()

    def answer(self, picture: Any, question: str, seed: int) -> str:
        import torch

        torch.manual_seed(seed)
        rng = random.Random(seed)
        prefix: list[int] = self._turn(question, picture=True)
        done: list[tuple[Stage, str]] = []
        for number, stage in enumerate(STAGES):
            gap = "\n\n" if number else ""
            prefix += self.runtime.model.tokenise(gap + stage.opening)
            drawn = [self._generate(prefix, picture, until=stage.closing) for _ in range(N)]
            texts = [self._text(tokens).partition(stage.closing)[0].strip() for tokens in drawn]
            best = self._knock_out(rng, picture, question, done, stage, texts)
            prefix += drawn[best]
            done.append((stage, texts[best]))
        return done[-1][1]

    def _knock_out(
        self,
        rng: random.Random,
        picture: Any,
        question: str,
        done: list[tuple[Stage, str]],
        stage: Stage,
        texts: list[str],
    ) -> int:
        alive = list(range(len(texts)))
        while len(alive) > 1:
            first, second = rng.sample(alive, 2)
            alive.remove(self._loser(picture, question, done, stage, texts, (first, second)))
        return alive[0]

    def _loser(
        self,
        picture: Any,
        question: str,
        done: list[tuple[Stage, str]],
        stage: Stage,
        texts: list[str],
        pair: tuple[int, int],
    ) -> int:
        both = [[*done, (stage, texts[i])] for i in pair]
        if stage == REASONING:
            said = [asks.read_yes_no(self._ask(asks.check(question, one), None)) for one in both]
            if said.count(True) == said.count(False) == 1:
                return pair[said.index(False)]
        chosen = asks.read_verdict(self._ask(asks.compare(question, *both, reason=True), picture))
        return pair[0] if chosen is None or chosen == 1 else pair[1]

    def _ask(self, ask: Ask, picture: Any) -> str:
        self.cost.judge_calls += 1
        prompt = self._turn(ask.text, picture=picture is not None)
        return self._text(self._generate(prompt, picture, most=REPLY_TOKENS))

    def _turn(self, text: str, *, picture: bool) -> list[int]:
        chat = self.runtime.words.chat
        pieces = [*chat.opening(), *chat.question(text)] if picture else chat.turn(text)
        return self.runtime.encode(pieces)

    def _text(self, tokens: Sequence[int]) -> str:
        return b"".join(map(self.runtime.piece, tokens)).decode("utf-8", "replace")

    def _generate(
        self, prompt: list[int], picture: Any, *, until: str = "", most: int = 512
    ) -> list[int]:
        import torch
        from transformers import StoppingCriteria, StoppingCriteriaList

        text, n_prompt = self._text, len(prompt)

        class Closed(StoppingCriteria):  # type: ignore[misc]
            def __call__(self, ids: Any, *_: Any, **__: Any) -> Any:
                return torch.tensor([bool(until) and until in text(ids[0, n_prompt:].tolist())])

        ids = torch.tensor([prompt])
        output = self.oracle.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            temperature=self.temperature,
            top_p=0.9,
            max_new_tokens=most,
            stopping_criteria=StoppingCriteriaList([Closed()]),
            **self.oracle.inputs(prompt, picture),
        )
        written = [int(token) for token in output[0, n_prompt:]]
        self.cost.vision_passes += picture is not None
        self.cost.prefill_tokens += n_prompt
        self.cost.sampled_tokens += len(written)
        self.cost.model_calls += len(written)
        return written


# --- ours, with and without its techniques -------------------------------------------------------
@dataclass(frozen=True)
class Techniques:
    """What is shared. Each row of the table has one more than the row before."""

    picture: bool = False
    prefix: bool = False
    lock_step: bool = False
    early_stop: bool = False
    logits: bool = False  # the judge reads logits instead of writing a reason


class Frugal:
    """A drafter that does without some of ours. before: the tokens up to the picture's own; prompt:
    those of the question."""

    def __init__(
        self, inner: BatchDrafter, before: list[int], prompt: list[int], made: Techniques, see: Any
    ) -> None:
        self.inner, self.before, self.prompt = inner, before, prompt
        self.made, self._see = made, see
        self.judge = FrugalJudge(inner.judge, self)  # type: ignore[arg-type]

    @property
    def ended(self) -> Ending | None:
        return self.inner.ended

    def drop(self, branch: Branch) -> None:
        self.inner.drop(branch)

    def draft(
        self, branches: Sequence[Branch], stage: Stage | None, *, n: int, first: int = 0,
        unit: Unit = Unit.STAGE, greedy: bool = False,
    ) -> Iterator[Token | CandidateFinished]:  # fmt: skip
        options: dict[str, Any] = {"unit": unit, "greedy": greedy}
        if self.made.lock_step:
            yield from self.inner.draft(branches, stage, n=n, first=first, **options)
            return
        for branch in branches:
            for number in range(first, first + n):
                self.start_over()
                yield from self.inner.draft([branch], stage, n=1, first=number, **options)

    def see(self) -> Any:
        """The picture read anew, seen from its own token on."""
        return self._see().at(len(self.before) - 1)

    def start_over(self) -> None:
        """Forgets what this row does not share."""
        cache = self.inner.cache
        if not self.made.picture:
            cache.sight = self.see()
        if not self.made.prefix:
            while cache.make_room():
                pass
            root = cache._root
            assert root is not None
            cache.runtime.context.forget(root.held)
            root.n_past, root.pending = 0, [*self.before, *self.prompt]
            cache.counters.prefill_tokens += len(root.pending)
            (base,), _ = cache.extend([(root, [])])
            cache.free(base)


class FrugalJudge:
    """A judge that asks one thing at a time where nothing is shared."""

    def __init__(self, inner: LocalJudge, drafter: Frugal) -> None:
        self.inner, self.drafter = inner, drafter
        self.question, self.seed = inner.question, inner.seed

    def weigh(self, asked: Sequence[Ask], options: tuple[str, ...]) -> Any:
        return self.inner.weigh(asked, options)

    def reply(self, asked: Sequence[Ask]) -> list[str]:
        if self.drafter.made.lock_step:
            return self.inner.reply(asked)
        replies = []
        for ask in asked:
            if not self.drafter.made.picture:
                sight = self.drafter.see()
                self.drafter.inner.cache.sight = self.inner._sight = sight
            if not self.drafter.made.prefix:
                self.inner.close()
            replies += self.inner.reply([ask])
        return replies


def ours(
    engine: Engine, picture: Any, question: str, seed: int, made: Techniques, temperature: float
) -> tuple[Cost, str]:
    """What one answer with the chosen techniques cost, and its conclusion; every answer reads the
    picture anew."""
    runtime = engine.runtime
    runtime.vision.forget_pictures()
    search = StageBeam(candidates=N, scorer="judge" if made.logits else "judge-reference")

    def see() -> Any:
        runtime.vision.forget_pictures()
        return runtime.vision.see(picture)[0]

    def frugal(attempt: LocalAttempt) -> Frugal:
        assert attempt._drafter is not None
        assert attempt.slot.root is not None
        return Frugal(attempt._drafter, attempt.slot.root.tokens, attempt.prompt, made, see)

    distinct = iter(range(1 << 30))
    same = normalise if made.early_stop else lambda _: str(next(distinct))
    session = engine.session(picture)
    passes, context = runtime.vision.n_seen, runtime.context
    started = time.perf_counter()
    # The strategy gets the frugal drafter; what is kept and closed is the real one.
    with (
        patch.object(LocalAttempt, "drafter", property(frugal)),
        patch.object(decision, "normalise", same),
        patch.object(context, "decode", wraps=context.decode) as decode,
    ):
        *_, last = session.stream(
            question,
            search=search,
            seed=seed,
            sampling=SamplingSettings(temperature=temperature),
        )
    seconds = time.perf_counter() - started
    assert isinstance(last, Answered)
    session.close()
    counters = last.answer.trace.counters
    cost = Cost(
        seconds,
        0,
        runtime.vision.n_seen - passes,
        counters.prefill_tokens + counters.restored_tokens + counters.judge_tokens,
        counters.sampled_tokens,
        decode.call_count,
        counters.judge_calls,
    )
    return cost, last.answer.conclusion


ROWS = {
    "ours, sharing nothing": Techniques(),
    "+ the picture is read once": Techniques(picture=True),
    "+ the prompt is computed once, branches fork": Techniques(picture=True, prefix=True),
    "+ candidates and judgements in lock-step": Techniques(True, True, True),
    "+ equal candidates are not judged": Techniques(True, True, True, True),
    "+ the judge reads logits, both orders (as shipped)": Techniques(True, True, True, True, True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=6)
    parser.add_argument("--folder", type=Path, default=Path("runs/reference"), help="of the pair")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--temperature", type=float, default=0.6)
    options = parser.parse_args()
    tasks = []
    for index in range(options.questions):
        scene = draw_scene(scene_rng(SEED, index), tile_size=56)
        tasks.append((draw_task(random.Random(f"question-{index}"), scene), render(scene)))
    settings = RuntimeSettings(gpu_layers=0, threads=options.threads, context=4096)
    table: dict[str, Cost] = {name: Cost() for name in ("reference on transformers", *ROWS)}
    text, mmproj = weakened(options.folder, noise=0)
    with Engine.open(text=text, mmproj=mmproj, settings=settings) as engine:
        reference = Reference(engine, options.temperature)
        reference.cost = table["reference on transformers"]
        for number, (task, image) in enumerate([tasks[0], *tasks]):  # the first one warms up
            if number == 1:
                table["reference on transformers"] = reference.cost = Cost()
                for name in ROWS:
                    table[name] = Cost()
            started = time.perf_counter()
            said = reference.answer(image, task.question, number)
            reference.cost.each.append(time.perf_counter() - started)
            reference.cost.right += said == task.conclusion
            picture = open_picture(image)
            for name, made in ROWS.items():
                cost, told = ours(engine, picture, task.question, number, made, options.temperature)
                total = table[name]
                total.right += told == task.conclusion
                total.each.append(cost.seconds)
                for key in ("vision_passes", "prefill_tokens", "sampled_tokens", "model_calls",
                            "judge_calls"):  # fmt: skip
                    setattr(total, key, getattr(total, key) + getattr(cost, key))
    print(header("reference"))
    print(f"Temperature {options.temperature}, top-p 0.9.\n")
    report(table, len(tasks))


def report(table: dict[str, Cost], n: int) -> None:
    print(f"{n} questions, N = {N}; per question:\n")
    print("| | seconds (median) | times faster | vision passes | prefill tokens | sampled tokens "
          "| model calls | judge calls | right |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|")
    base = np.array(next(iter(table.values())).each)
    for name, cost in table.items():
        ratio = float(np.median(base / np.array(cost.each)))
        print(
            f"| {name} | {np.median(cost.each):.3f} | {ratio:.1f} | {cost.vision_passes / n:.1f} "
            f"| {cost.prefill_tokens / n:.0f} | {cost.sampled_tokens / n:.0f} "
            f"| {cost.model_calls / n:.0f} | {cost.judge_calls / n:.1f} | {cost.right}/{n} |"
        )


if __name__ == "__main__":
    main()

"""What guessing tokens ahead brings: the same answers with and without it, side by side.

    python -m benchmarks.synthetic one-b FOLDER/source
    llavao1-edge convert FOLDER/source --out FOLDER --quant Q4_K_M
    python -m benchmarks.speculation FOLDER/TEXT.gguf
    python -m benchmarks.speculation demo

With --draft the guesses are a draft model's (`benchmarks.drafting` makes one). A pair of random
weights writes noise, so it is made to write what is given here: the true texts of all stages of
held-out questions of both demo models (shapes; charts, tables and geometry), and nonsense. A token
is a word, up to three digits, other characters, or a part of a closing tag, as with Llama 3's
vocabulary. All else is as always: every logit is computed, drawn from and checked. The demo writes
itself.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import platformdirs

from benchmarks.machine import header
from benchmarks.synthetic import PIECES
from llavao1_edge import Engine, RuntimeSettings
from llavao1_edge.demo import text_path
from llavao1_edge.engine import drafter
from llavao1_edge.engine.step_costs import SIZES
from llavao1_edge.images import Picture, open_picture
from llavao1_edge.llama.sampler import BatchSampler
from llavao1_edge.search import make_strategy
from llavao1_edge.stages import STAGES, Stage
from tests.configurations import noise

SEED = 11
PIECE = re.compile(r" ?[A-Za-z]+|\d{1,3}| ?[^\sA-Za-z\d]+|\s")
FIRST_WORD = 1000  # ids of the synthetic vocabulary that are words
WORDS = "words.json"  # those that a draft model has learnt, beside its file
CLOSING_PIECE = re.compile("|".join(PIECES))
WRITTEN = 1e6  # logit of the token that has to be drawn


@dataclass(frozen=True)
class Text:
    """An answer that is to be written: a question and the text of every stage."""

    question: str
    stages: dict[str, str]


def scenes(n: int, first: int = 0) -> Iterator[tuple[Any, Any]]:
    """Held-out pictures of the demo model's kind, each with a question."""
    from train.questions import KINDS, draw_task
    from train.scene import draw_scene, scene_rng

    for i in range(first, first + n):
        scene = draw_scene(scene_rng(SEED, i), tile_size=56)
        yield scene, draw_task(random.Random(f"{SEED}-{i}"), scene, kind=KINDS[i % len(KINDS)])


def told(task: Any) -> Text:
    return Text(task.question, {stage.name: task.stage(stage.name) for stage in STAGES})


def shapes(n: int, first: int = 0) -> list[Text]:
    return [told(task) for _, task in scenes(n, first)]


def world(n: int, first: int = 0) -> list[Text]:
    from train.world.families import scene_at

    texts = []
    for i in range(first, first + n):
        family = ("chart", "geometry", "table")[i % 3]
        task = scene_at(SEED, i, family=family).draw_task(random.Random(f"{SEED}-{i}"))
        texts.append(told(task))
    return texts


def nonsense(n: int) -> list[Text]:
    texts = []
    for i in range(n):
        rng = random.Random(f"{SEED}-{i}")
        words = ["".join(rng.choices("aeioubdfgklmnprst", k=5)) for _ in range(1000)]
        stages = {stage.name: " ".join(rng.choices(words, k=25)) for stage in STAGES}
        texts.append(Text("What is it?", stages))
    return texts


def spelled(text: Text, stage: Stage, ids: dict[str, int]) -> list[int]:
    """The tokens of a stage with its closing tag; words that are new get the next id."""
    words = PIECE.findall(f" {text.stages[stage.name]}")
    closing = CLOSING_PIECE.findall(f" {stage.closing}")
    written = [ids.setdefault(word, FIRST_WORD + len(ids)) for word in words]
    return [*written, *(256 + PIECES.index(piece) for piece in closing)]


@contextmanager
def dictated(ids: dict[str, int]) -> Iterator[Callable[[Sequence[Text], int], None]]:
    """Inside, engines write the text that was chosen last; yields what chooses one of several."""
    now: list[Text] = []
    made, drawn = drafter.BatchDrafter.sampler, BatchSampler.draw

    def sampler(self: Any, branch: Any, base: Any, stage: Any, draw: int) -> Any:
        found: Any = made(self, branch, base, stage, draw)
        found.script = spelled(now[0], stage, ids)
        found.begun = len(found.recent)
        return found

    def draw(self: Any, samplers: Any, logits: Any, *, greedy: bool = False) -> Any:
        for row, each in zip(logits, samplers, strict=True):
            row[each.script[len(each.recent) - each.begun]] = WRITTEN
        return drawn(self, samplers, logits, greedy=greedy)

    drafter.BatchDrafter.sampler, BatchSampler.draw = sampler, draw  # type: ignore[method-assign]
    try:
        yield lambda texts, i: now.__setitem__(slice(None), [texts[i]])
    finally:
        drafter.BatchDrafter.sampler, BatchSampler.draw = made, drawn  # type: ignore[method-assign]


@dataclass
class Figures:
    seconds: float = 0.0
    n_tokens: int = 0
    n_steps: int = 0
    n_guessed: int = 0
    n_right: int = 0

    def add(self, trace: Any) -> None:
        counters = trace.counters
        self.seconds += counters.decode_ms / 1000
        self.n_tokens += counters.sampled_tokens
        self.n_steps += counters.decode_steps
        self.n_guessed += counters.draft_n
        self.n_right += counters.draft_n_accepted


def compare(
    engines: Sequence[Engine],
    questions: Sequence[tuple[Picture, str]],
    search: str,
    candidates: int | None,
    before: Callable[[int], None],
) -> str:
    """The end of a row: without and with guesses, question by question in turn."""
    figures = [Figures() for _ in engines]
    ratios, same = [], 0
    for i, (picture, question) in enumerate(questions):
        before(i)
        texts, seconds = [], []
        for engine, total in zip(engines, figures, strict=True):
            strategy = make_strategy(
                search, {} if candidates is None else {"candidates": candidates}
            )
            answer = engine.session(picture).ask(question, search=strategy, seed=i)
            total.add(answer.trace)
            texts.append([node.candidate.text for node in answer.trace.nodes])
            seconds.append(answer.trace.counters.decode_ms)
        ratios.append(seconds[0] / seconds[1])
        same += texts[0] == texts[1]
    off, on = figures
    return (
        f"| {off.n_tokens / off.seconds:.1f} | {on.n_tokens / on.seconds:.1f} "
        f"| **{off.seconds / on.seconds:.2f}** ({min(ratios):.2f}–{max(ratios):.2f}) "
        f"| {on.n_steps / off.n_steps:.2f} | {on.n_guessed / on.n_tokens:.2f} "
        f"| {on.n_right / max(1, on.n_guessed):.2f} | {same} of {len(questions)} |"
    )


def demo_questions(n: int) -> list[tuple[Picture, str]]:
    from train.scene import render

    return [(open_picture(render(scene)), task.question) for scene, task in scenes(n)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", help="of a pair, or demo")
    parser.add_argument("--n", type=int, default=6, help="questions of each kind")
    parser.add_argument("--draft-max", type=int, help="in place of what pays")
    parser.add_argument("--draft", type=Path, help="a text file that makes the guesses")
    options = parser.parse_args()
    model = text_path() if options.text == "demo" else Path(options.text)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        platformdirs.user_cache_dir = lambda *_, **__: folder
        engines = [
            stack.enter_context(
                Engine.open(
                    model,
                    settings=RuntimeSettings(
                        gpu_layers=0,
                        draft_max=most,
                        draft=str(options.draft) if options.draft and most != 0 else None,
                    ),
                )
            )
            for most in (0, options.draft_max)
        ]
        ids: dict[str, int] = {}
        if options.draft and options.text != "demo":
            ids = json.loads((options.draft.parent / WORDS).read_text(encoding="utf-8"))
        print(header("speculation"))
        print("| text | N | tokens/s without | with | ratio (least–most) | steps | guessed of a "
              "token | right | same text |")  # fmt: skip
        print("|---|---|---|---|---|---|---|---|---|")
        if options.text == "demo":
            for search, candidates in (("staged", None), ("stage-beam", 8)):
                row = compare(
                    engines, demo_questions(options.n), search, candidates, lambda _: None
                )
                print(f"| its own | {candidates or 1} {row}", flush=True)
            return
        picture = open_picture(noise(560, 560, seed=1))
        for name, draw in {"shapes": shapes, "world": world, "nonsense": nonsense}.items():
            texts = draw(options.n)
            questions = [(picture, text.question) for text in texts]
            with dictated(ids) as write:
                row = compare(engines, questions, "staged", None, partial(write, texts))
            print(f"| {name} | 1 {row}", flush=True)
        for path in Path(folder).glob("step-costs.json"):
            for costs in json.loads(path.read_text()).values():
                print(f"\nA step of {SIZES} rows takes {costs} ms.")


if __name__ == "__main__":
    main()

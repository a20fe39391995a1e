"""What each quantisation costs the demo model: size, accuracy, mean KL against F32.

    python -m benchmarks.quantisation --questions 500

KL (nats, mean over positions) is between the distributions of the F32 pair and of the other one, on
the prompts and the F32 pair's own greedy answers. Where the demo's sizes forbid a type, the type
that was stored instead is shown. `--noise` weakens the weights first (see `weakened`): the plain
model is so sure of itself that little shows.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import header
from benchmarks.questions import write
from benchmarks.weakened import weakened_checkpoint
from llavao1_convert.conversion import run
from llavao1_convert.planning import plan_conversion
from llavao1_edge import Engine, RuntimeSettings, SamplingSettings
from llavao1_edge.contract.gguf import read_header
from llavao1_edge.evaluation.datasets import read_dataset
from llavao1_edge.evaluation.items import Item
from llavao1_edge.evaluation.matching import match
from llavao1_edge.evaluation.statistics import paired, wilson
from train.evaluate import SEED

TEXT = ("F32", "F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0")
PAIRS = (*((name, "F32") for name in TEXT), ("F32", "F16"), ("F32", "Q8_0"))
SETTINGS = RuntimeSettings(gpu_layers=0, threads=1, context=1024)
GREEDY = SamplingSettings(temperature=0, max_tokens=300)
KL_QUESTIONS = 60


@dataclass
class Found:
    """What one pair did. tokens: of whole turns; logits: of the first of them."""

    right: list[bool]
    tokens: list[list[int]]
    logits: list[NDArray[np.float32]]


def ask_all(text: Path, mmproj: Path, items: list[Item], given: list[list[int]] | None) -> Found:
    """given: the turns to compute logits for; None: its own."""
    found = Found([], [], [])
    with Engine.open(text=text, mmproj=mmproj, settings=SETTINGS) as engine:
        for number, item in enumerate(items):
            with engine.session(item.picture_bytes()) as session:
                answer = session.ask(item.prompt(), sampling=GREEDY)
                found.right.append(bool(match(item, answer.conclusion).right))
                if number < KL_QUESTIONS:
                    own: Any = session.conversation
                    turn = own.history if given is None else given[number]
                    found.tokens.append(list(turn))
                    picture = item.picture_bytes()
                    found.logits.append(engine.prompt_logits(picture, turn).logits)
    return found


def mean_kl(base: Found, other: Found) -> float:
    total = n = 0.0
    for ours, theirs in zip(other.logits, base.logits, strict=True):
        p, q = _log_softmax(theirs), _log_softmax(ours)
        total += float((np.exp(p) * (p - q)).sum())
        n += len(p)
    return total / n


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=1, keepdims=True)
    result: NDArray[np.float64] = wide - np.log(np.exp(wide).sum(axis=1, keepdims=True))
    return result


def stored(path: Path) -> str:
    """The types of most matrices."""
    kinds: Counter[str] = Counter()
    for info in read_header(path).tensors.values():
        if len(info.shape) > 1:
            kinds[info.kind.name] += info.n_bytes
    return " ".join(name for name, _ in kinds.most_common(3))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=500)
    parser.add_argument("--noise", type=float, default=0.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        items = [
            row
            for row in read_dataset(write(folder / "questions", options.questions, SEED))
            if isinstance(row, Item)
        ]
        source = Path("train/checkpoint")
        if options.noise:
            source = weakened_checkpoint(folder / "weakened", noise=options.noise)
        print(header("quantisation"))
        print("| text | vision | stored as | MB | right | 95 % | against F32 | mean KL |")
        print("|---|---|---|---|---|---|---|---|")
        base: Found | None = None
        for text, vision in PAIRS:
            plan = plan_conversion(
                source, folder, text_quantisation=text, vision_quantisation=vision, name="Demo"
            )
            for _ in run(plan):
                pass
            given = None if base is None else base.tokens
            found = ask_all(plan.text.path, plan.mmproj.path, items, given)
            base = base or found
            hits, n = sum(found.right), len(found.right)
            low, high = wilson(hits, n)
            gain = paired(found.right, base.right)
            size = (plan.text.n_bytes + plan.mmproj.n_bytes) / 1e6
            print(
                f"| {text} | {vision} | {stored(plan.text.path)} | {size:.1f} | {hits / n:.1%} "
                f"| {low:.1%}–{high:.1%} | {gain[0]:+.1%} ({gain[1]:+.1%} to {gain[2]:+.1%}) "
                f"| {mean_kl(base, found):.1e} |",
                flush=True,
            )


if __name__ == "__main__":
    main()

"""Questions asked while the model learns: whether held-out conclusions are right, as `eval` says.

A part of the loss says little about that. Asked greedily, by transformers itself.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from llavao1_edge.errors import PictureError
from llavao1_edge.evaluation.items import NUMBER, TEXT, YES_NO, Item
from llavao1_edge.evaluation.matching import match
from llavao1_edge.stages import parse
from train.finetune.inputs import Collator, Encoder, Encodings

LOGGER = logging.getLogger(__name__)
A_NUMBER = re.compile(r"[-+]?[\d.,]*\d\s*%?")


@dataclass(frozen=True)
class Score:
    """Of n questions, how many conclusions were right and how many answers had four stages."""

    n: int
    right: int
    staged: int


def item_of(question: str, conclusion: str) -> Item:
    """A question with its one right answer."""
    kind = TEXT
    if A_NUMBER.fullmatch(conclusion.strip()):
        kind = NUMBER
    elif conclusion.strip().strip(".").lower() in ("yes", "no"):
        kind = YES_NO
    return Item(question, 0, question, (conclusion,), kind)


def conclusion_of(text: str) -> tuple[str, int]:
    """(the conclusion or all there is, how many stages there are)."""
    parsed = parse(text)
    return parsed.conclusion, len(parsed.stages)


@torch.no_grad()
def ask(
    model: Any,
    data: Encodings,
    encoder: Encoder,
    collate: Collator,
    *,
    chosen: Sequence[int],
    most_tokens: int,
) -> Score:
    """The first question of each chosen example, but of those whose picture is damaged. model: not
    wrapped by anything."""
    asked = right = staged = 0
    was_training = model.training
    model.eval()
    for number in chosen:
        question, answer = data.examples[number].turns[0]
        try:
            item = data.exactly(number)
        except PictureError as error:
            LOGGER.warning("%s: its question is not asked", error.message)
            continue
        asked += 1
        prompt = encoder.prompt(question, picture=bool(data.examples[number].picture))
        batch = collate([item | {"ids": prompt, "learnt": [False] * len(prompt)}])
        del batch["labels"]
        device = next(model.parameters()).device
        said = model.generate(
            **{name: value.to(device) for name, value in batch.items()},
            do_sample=False,
            use_cache=True,
            max_new_tokens=most_tokens,
            eos_token_id=encoder.end,
            pad_token_id=collate.pad,
            temperature=None,
            top_p=None,
        )
        told, n_stages = conclusion_of(encoder.text(said[0, len(prompt) :].tolist()))
        right += bool(match(item_of(question, conclusion_of(answer)[0]), told).right)
        staged += n_stages == 4
    model.train(was_training)
    return Score(asked, right, staged)

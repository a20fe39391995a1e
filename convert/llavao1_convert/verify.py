"""Checks a converted pair: against its checkpoint where torch is installed, else by itself.

The reference is transformers 4.45 to 4.54.1; later versions feed the wrong vision layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llavao1_edge.engine import Engine
from llavao1_edge.errors import LlavaError
from llavao1_edge.images import Picture, open_picture
from llavao1_edge.phrases import Phrase
from llavao1_edge.settings import RuntimeSettings, SamplingSettings

SUPPORTED = tuple(f"4.{minor}." for minor in range(45, 55))
QUESTION = "What is shown in this picture?"
WIDEN_BELOW = 4 << 30  # checkpoints smaller than this are compared in float32


class VerificationError(LlavaError):
    """The pair does not do what it should."""


@dataclass(frozen=True)
class Agreement:
    """Of one picture's logits with the checkpoint's, over `n_tokens` positions.

    top1: share of positions with the same likeliest token; mean_kl: of the checkpoint's
    distribution from ours, in nats; largest: largest difference of a logit.
    """

    picture: str
    n_tokens: int
    top1: float
    mean_kl: float
    largest: float


def reference_problem(*, with_adapter: bool = False) -> str:
    """Empty, or why the checkpoint cannot be run here."""
    try:
        if with_adapter:
            import peft  # noqa: F401
        import torch  # noqa: F401
        import transformers
    except ImportError as error:
        return f"{error.name} is not installed"
    if not transformers.__version__.startswith(SUPPORTED):
        return (
            f"transformers {transformers.__version__} feeds the wrong vision layers to this model; "
            "4.45 to 4.54.1 are right"
        )
    return ""


def self_check(text: Path, mmproj: Path, pictures: Sequence[Path]) -> str:
    """Structure, pairing, and a short answer about the first picture, which is returned.

    Raises LlavaError.
    """
    with _engine(text, mmproj) as engine:
        session = engine.session(pictures[0])
        answer = session.ask(QUESTION, sampling=SamplingSettings(temperature=0, max_tokens=24))
    if not answer.trace.counters.sampled_tokens:
        raise VerificationError(
            Phrase(
                "{name} wrote nothing about {picture}", name=text.name, picture=pictures[0].name
            ),
            hint="Convert the source again, with another quantisation.",
        )
    return " ".join(answer.stages.values()).strip()


def compare(
    text: Path,
    mmproj: Path,
    checkpoint: Path,
    pictures: Sequence[Path],
    *,
    adapter: Path | None = None,
) -> Iterator[Agreement]:
    """The pair's logits with the checkpoint's, picture by picture; adapter: merged by peft.

    Raises LlavaError.
    """
    reference = _Reference(checkpoint, adapter)
    with _engine(text, mmproj) as engine:
        for path in pictures:
            picture = open_picture(path)
            ours = engine.prompt_logits(picture, QUESTION)
            theirs = reference.logits(ours.tokens, picture)
            yield agreement(path.name, ours.logits, theirs)


def agreement(name: str, ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> Agreement:
    """Both logits (n_tokens, vocabulary). Raises VerificationError where they are not finite."""
    if ours.shape != theirs.shape or not np.isfinite(ours).all() or not np.isfinite(theirs).all():
        raise VerificationError(
            Phrase(
                "{name}: logits {shape} and {other} cannot be compared, or are not finite",
                name=name,
                shape=ours.shape,
                other=theirs.shape,
            ),
            hint="The source or the pair is damaged: convert again.",
        )
    p, q = _log_softmax(theirs), _log_softmax(ours)
    return Agreement(
        picture=name,
        n_tokens=len(ours),
        top1=float((ours.argmax(axis=1) == theirs.argmax(axis=1)).mean()),
        mean_kl=float((np.exp(p) * (p - q)).sum(axis=1).mean()),
        largest=float(np.abs(ours - theirs).max()),
    )


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=1, keepdims=True)
    result: NDArray[np.float64] = wide - np.log(np.exp(wide).sum(axis=1, keepdims=True))
    return result


def _engine(text: Path, mmproj: Path) -> Engine:
    return Engine.open(text=text, mmproj=mmproj, settings=RuntimeSettings(context=1024))


class _Reference:
    """The checkpoint in transformers."""

    def __init__(self, folder: Path, adapter: Path | None) -> None:
        import torch
        from transformers import MllamaForConditionalGeneration, MllamaImageProcessor

        size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
        dtype = torch.float32 if size < WIDEN_BELOW else torch.bfloat16
        self._model: Any = MllamaForConditionalGeneration.from_pretrained(
            folder, torch_dtype=dtype, attn_implementation="eager"
        ).eval()
        if adapter is not None:
            from peft import PeftModel

            self._model = PeftModel.from_pretrained(self._model, adapter).merge_and_unload()
        self._processor: Any = MllamaImageProcessor.from_pretrained(folder)

    def logits(self, tokens: list[int], picture: Picture) -> NDArray[np.float32]:
        import torch

        features = self._processor(images=picture.image, return_tensors="pt")
        n_tiles = features.pop("num_tiles")[0][0]
        config = self._model.config
        mask = torch.zeros(1, len(tokens), 1, config.vision_config.max_num_tiles, dtype=torch.long)
        mask[0, tokens.index(config.image_token_index) :, 0, :n_tiles] = 1
        features["pixel_values"] = features["pixel_values"].to(self._model.dtype)
        with torch.no_grad():
            output = self._model(
                input_ids=torch.tensor([tokens]), cross_attention_mask=mask, **features
            )
        return np.asarray(output.logits[0].float())

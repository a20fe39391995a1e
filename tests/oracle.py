"""The oracle: transformers 4.45-4.54.1 on a checkpoint folder. Needs torch.

Used by `tests/golden/make_golden.py` and by the live comparison.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SUPPORTED = ("4.45", "4.46", "4.47", "4.48", "4.49", "4.50", "4.51", "4.52", "4.53", "4.54")


def available() -> str:
    """Empty, or the reason why the oracle cannot be asked."""
    try:
        import torch  # noqa: F401
        import transformers
    except ImportError as error:
        return f"needs torch==2.13.0 and transformers==4.54.1 ({error.name} is missing)"
    version = transformers.__version__
    if not version.startswith(SUPPORTED):
        return f"transformers {version} feeds the wrong vision layers; 4.54.1 is right"
    return ""


@dataclass
class Oracle:
    """A loaded float32 model and its image processor."""

    model: Any
    processor: Any

    @classmethod
    def load(cls, folder: Path) -> Oracle:
        import torch
        from transformers import MllamaForConditionalGeneration, MllamaImageProcessor

        torch.set_num_threads(2)
        model = MllamaForConditionalGeneration.from_pretrained(
            folder, torch_dtype=torch.float32, attn_implementation="eager"
        )
        return cls(model.eval(), MllamaImageProcessor.from_pretrained(folder))

    def vision_tokens(self, image: Image.Image) -> NDArray[np.float32]:
        """Projector output (tiles * tokens, text width)."""
        import torch

        features = self.processor(images=image, return_tensors="pt")
        inner = self.model.model
        with torch.no_grad():
            states = inner.vision_model(
                pixel_values=features["pixel_values"],
                aspect_ratio_ids=features["aspect_ratio_ids"],
                aspect_ratio_mask=features["aspect_ratio_mask"],
            )[0]
            projected = inner.multi_modal_projector(states)
        return np.asarray(projected.reshape(-1, projected.shape[-1]))

    def cross_keys_values(
        self, vision: NDArray[np.float32], layer: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(kv heads, tokens, head width) keys and values of a cross layer."""
        import torch

        attention = self.model.model.language_model.layers[layer].cross_attn
        heads, width = attention.num_key_value_heads, attention.head_dim
        states = torch.from_numpy(vision)
        with torch.no_grad():
            keys = attention.k_norm(attention.k_proj(states).view(-1, heads, width))
            values = attention.v_proj(states).view(-1, heads, width)
        return np.asarray(keys.transpose(0, 1)), np.asarray(values.transpose(0, 1))

    def logits(self, tokens: list[int], image: Image.Image | None) -> NDArray[np.float32]:
        """(n_tokens, head vocabulary)."""
        import torch

        with torch.no_grad():
            output = self.model(input_ids=torch.tensor([tokens]), **self.inputs(tokens, image))
        return np.asarray(output.logits[0])

    def inputs(self, tokens: list[int], image: Image.Image | None) -> dict[str, Any]:
        """The picture's part of the model's inputs, masks as its processor makes them."""
        import torch

        if image is None:
            return {}
        features = self.processor(images=image, return_tensors="pt")
        n_tiles = features.pop("num_tiles")[0][0]
        max_tiles = self.model.config.vision_config.max_num_tiles
        mask = torch.zeros(1, len(tokens), 1, max_tiles, dtype=torch.long)
        mask[0, tokens.index(self.model.config.image_token_index) :, 0, :n_tiles] = 1
        return {**features, "cross_attention_mask": mask}

    def greedy(self, tokens: list[int], image: Image.Image | None, n: int) -> list[int]:
        """`n` tokens by `generate`, or fewer if the turn ends."""
        import torch

        ids = torch.tensor([tokens])
        output = self.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            temperature=None,
            top_p=None,
            max_new_tokens=n,
            **self.inputs(tokens, image),
        )
        return [int(token) for token in output[0, len(tokens) :]]

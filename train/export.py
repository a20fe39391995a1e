"""Writes a Hugging Face checkpoint folder from a trained model. Knows nothing of training.

python -m train.export --out runs/demo --to train/checkpoint
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import MllamaForConditionalGeneration

from train.data import Writer
from train.model import IMAGE_MEAN, IMAGE_STD, MAX_TILES, TILE_SIZE, build_model, demo_config
from train.tokenizer import save_tokenizer, train_tokenizer


def export_checkpoint(
    model: MllamaForConditionalGeneration,
    tokenizer: Tokenizer,
    folder: Path,
    *,
    tile_size: int = TILE_SIZE,
) -> None:
    """safetensors in float16 with config, tokenizer, preprocessor and generation defaults.

    float16 halves the repository; the weights of so small a model fit its range easily.
    """
    folder.mkdir(parents=True, exist_ok=True)
    specials = Writer(tokenizer).special
    stops = [specials[name] for name in ("<|end_of_text|>", "<|eom_id|>", "<|eot_id|>")]
    model.generation_config.update(
        bos_token_id=specials["<|begin_of_text|>"],
        eos_token_id=stops,
        pad_token_id=specials["<|finetune_right_pad_id|>"],
        do_sample=True,
        temperature=0.6,
        top_p=0.9,
    )
    model.half().save_pretrained(folder, safe_serialization=True)
    save_tokenizer(tokenizer, folder)
    preprocessor = {
        "image_processor_type": "MllamaImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "do_pad": True,
        "do_rescale": True,
        "do_normalize": True,
        "rescale_factor": 1 / 255,
        "resample": 2,
        "size": {"height": tile_size, "width": tile_size},
        "max_image_tiles": MAX_TILES,
        "image_mean": IMAGE_MEAN,
        "image_std": IMAGE_STD,
    }
    text = json.dumps(preprocessor, indent=1) + "\n"
    (folder / "preprocessor_config.json").write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--to", type=Path, required=True)
    options = parser.parse_args()
    tokenizer = train_tokenizer()
    specials = Writer(tokenizer).special
    model = build_model(demo_config(specials["<|image|>"], specials), seed=0)
    model.load_state_dict(torch.load(options.out / "answers.pt")["model"])
    export_checkpoint(model, tokenizer, options.to)


if __name__ == "__main__":
    main()

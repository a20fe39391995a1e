"""Shape of the demo model and its tokenizer: Hugging Face's Mllama, small."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import MllamaConfig
from transformers.models.mllama.configuration_mllama import MllamaTextConfig, MllamaVisionConfig

from train.model import IMAGE_MEAN, IMAGE_STD
from train.questions import DIRECT_SUFFIX, STAGES, UNTAGGED_SUFFIX
from train.tokenizer import HEADER_GAP, IMAGE_TOKEN, SPECIALS
from train.world.words import MOST

__all__ = ["IMAGE_MEAN", "IMAGE_STD"]

TILE_SIZE = 112
PATCH_SIZE = 14
MAX_TILES = 4
HIDDEN = 128
CONTEXT = 8192


def world_config(vocab_size: int, specials: dict[str, int]) -> MllamaConfig:
    """Head vocabulary `vocab_size`; `specials` maps the special tokens' text to their ids."""
    vision = MllamaVisionConfig(
        hidden_size=128,
        num_hidden_layers=5,
        num_global_layers=2,
        num_attention_heads=4,
        intermediate_size=512,
        intermediate_layers_indices=[1, 3],
        vision_output_dim=128 * 3,
        image_size=TILE_SIZE,
        patch_size=PATCH_SIZE,
        max_num_tiles=MAX_TILES,
    )
    text = MllamaTextConfig(
        vocab_size=vocab_size,
        hidden_size=HIDDEN,
        num_hidden_layers=12,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=512,
        cross_attention_layers=[1, 3, 5, 7],
        rope_theta=10_000.0,
        rope_scaling={
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 1024,
        },
        max_position_embeddings=CONTEXT,
        bos_token_id=specials["<|begin_of_text|>"],
        eos_token_id=[specials["<|end_of_text|>"], specials["<|eom_id|>"], specials["<|eot_id|>"]],
        pad_token_id=specials["<|finetune_right_pad_id|>"],
    )
    return MllamaConfig(
        vision_config=vision.to_dict(),
        text_config=text.to_dict(),
        image_token_index=specials["<|image|>"],
    )


def _corpus(n_scenes: int) -> Iterator[str]:
    from train.world.families import FAMILIES, scene_at

    yield from [HEADER_GAP] * 4000 + ["user", "assistant", "system"] * 1500
    for number in range(MOST + 1):
        yield from [f"{number}", f" {number}"] * 40
    for index in range(n_scenes):
        scene = scene_at(7, index, family=list(FAMILIES)[index % len(FAMILIES)])
        task = scene.draw_task(random.Random(index))
        yield task.question + random.Random(index).choice((DIRECT_SUFFIX, UNTAGGED_SUFFIX))
        yield from (f"<{name.upper()}> {task.stage(name)} </{name.upper()}>" for name in STAGES)


def world_tokenizer(*, n_scenes: int = 6000) -> Tokenizer:
    """Byte-level BPE with the GPT-2 split; every word and number of the world is one token.
    n_scenes: whose questions and answers it is made from; fewer are for tests."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=10_000,
        min_frequency=12,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(n_scenes), trainer)
    names = (*SPECIALS, IMAGE_TOKEN)
    tokenizer.add_special_tokens([AddedToken(text, normalized=False) for text in names])
    return tokenizer

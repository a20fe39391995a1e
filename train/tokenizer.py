"""The demo tokenizer: byte-level BPE with the GPT-2 split, special tokens named as in Llama 3.

Every word of the task is one token; every other text is still representable, byte by byte. As in
the real model `<|image|>` is the first id past the head's vocabulary.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from train.questions import DIRECT_SUFFIX, STAGES, UNTAGGED_SUFFIX, draw_task
from train.scene import draw_scene, scene_rng

SPECIALS = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|finetune_right_pad_id|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eom_id|>",
    "<|eot_id|>",
    "<|python_tag|>",
)
IMAGE_TOKEN = "<|image|>"
HEADER_GAP = "\n\n"
CHAT_TEMPLATE = (
    "{{- bos_token }}{% for message in messages %}"
    "{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}"
    "{%- if message['content'] is string %}{{- message['content'] }}{%- else %}"
    "{%- for part in message['content'] %}{%- if part['type'] == 'image' %}{{- '<|image|>' }}"
    "{%- elif part['type'] == 'text' %}{{- part['text'] }}{%- endif %}{%- endfor %}{%- endif %}"
    "{{- '<|eot_id|>' }}{% endfor %}"
    "{%- if add_generation_prompt %}"
    "{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}"
)


def train_tokenizer(specials: Sequence[str] = (*SPECIALS, IMAGE_TOKEN)) -> Tokenizer:
    """The same tokenizer every time: the corpus comes from fixed seeds."""
    corpus = [HEADER_GAP] * 4000 + ["user", "assistant", "system"] * 1500
    for index in range(3000):
        rng = scene_rng(7, index)
        task = draw_task(rng, draw_scene(rng, tile_size=56))
        corpus.append(task.question + random.Random(index).choice((DIRECT_SUFFIX, UNTAGGED_SUFFIX)))
        corpus += [f"<{name.upper()}> {task.stage(name)} </{name.upper()}>" for name in STAGES]
    return byte_bpe(corpus, specials)


def byte_bpe(
    corpus: Iterable[str], specials: Sequence[str] = (*SPECIALS, IMAGE_TOKEN)
) -> Tokenizer:
    """Byte-level BPE with the GPT-2 split, from the words of `corpus`; then the special tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=10_000,
        min_frequency=12,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.add_special_tokens([AddedToken(text, normalized=False) for text in specials])
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write tokenizer.json, tokenizer_config.json and chat_template.json."""
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": SPECIALS[0],
        "eos_token": "<|eot_id|>",
        "pad_token": "<|finetune_right_pad_id|>",
        "chat_template": CHAT_TEMPLATE,
        "model_max_length": 8192,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")
    template = {"chat_template": CHAT_TEMPLATE}
    (folder / "chat_template.json").write_text(json.dumps(template, indent=1) + "\n")

"""Writes the pairs of this folder: tiny random checkpoints, converted by llama.cpp's own converter,
which the source archive of llama-cpp-python holds.

    pip download --no-deps --no-binary llama-cpp-python llama-cpp-python==0.3.36   # and unpack it
    pip install sentencepiece protobuf
    python -m tests.native_models.make llama_cpp_python-0.3.36/vendor/llama.cpp [NAME ...]
    python -m tests.native_models.make … --checkpoint runs/native/checkpoint    (the trained one)

Two of them come from transformers' own classes, so that their logits can be compared with it
(`golden.npz`, written by the same command); Gemma 3 has sliding windows, LFM2 recurrent states.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from llavao1_edge import Engine, RuntimeSettings
from tests.native_models import FOLDER, NAMES, TRAINED, oracle, pair

WIDTH, FFN, LAYERS, HEADS = 64, 96, 3, 4
EXACT = RuntimeSettings(gpu_layers=0, cache="f32", stage_prompt="off")
CHATML = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
SPECIALS = {
    "qwen2vl": (*CHATML, "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"),
    "idefics3": (*CHATML, "<fake_token_around_image>", "<image>", "<global-img>",
                 "<end_of_utterance>",
                 *(f"<row_{r}_col_{c}>" for r in range(1, 5) for c in range(1, 5))),
    "gemma3": ("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>", "<start_of_image>",
               "<end_of_image>", "<image_soft_token>"),
    "lfm2": (*CHATML, "<|startoftext|>", "<|image_start|>", "<|image_end|>", "<|img_thumbnail|>",
             "<image>",
             *(f"<|img_row_{r}_col_{c}|>" for r in range(1, 3) for c in range(1, 3))),
}  # fmt: skip
STOPS = {"qwen2vl": "<|im_end|>", "idefics3": "<end_of_utterance>", "gemma3": "<end_of_turn>",
         "lfm2": "<|im_end|>"}  # fmt: skip
# As in Qwen3: in plain text llama.cpp recognises them, although they are no control tokens.
USER_DEFINED = ("<think>", "</think>")
# llama.cpp's converter knows tokenizers by a hash of what they do; ours is new to it.
RUN = """
import sys
sys.path[:0] = [{root!r}, {root!r} + "/gguf-py"]
from conversion.base import TextModel
TextModel.get_vocab_base_pre = lambda self, tokenizer: "gpt-2"
import convert_hf_to_gguf
sys.argv = ["convert_hf_to_gguf.py", *{arguments!r}]
convert_hf_to_gguf.main()
"""


def tokenizer(name: str) -> Tokenizer:
    """Byte-level BPE with a few merges."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    made.decoder = decoders.ByteLevel()
    corpus = [
        "What is this? A red circle and a small square.",
        "user assistant system model\n\n",
    ] * 9
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    made.train_from_iterator(corpus, trainer)
    made.add_special_tokens([AddedToken(text, normalized=False) for text in SPECIALS[name]])
    made.add_tokens([AddedToken(text, normalized=False, special=False) for text in USER_DEFINED])
    return made


def qwen2vl(ids: dict[str, int]) -> Any:
    config = transformers.Qwen2VLConfig(
        vision_config={"depth": 3, "embed_dim": 32, "num_heads": 2, "mlp_ratio": 2,
                       "hidden_size": WIDTH, "patch_size": 14, "spatial_merge_size": 2},
        text_config={"vocab_size": len(ids), "hidden_size": WIDTH, "num_hidden_layers": LAYERS,
                     "num_attention_heads": HEADS, "num_key_value_heads": 2,
                     "intermediate_size": FFN, "max_position_embeddings": 8192,
                     "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]},
                     "tie_word_embeddings": False, "eos_token_id": ids["<|im_end|>"],
                     "bos_token_id": ids["<|endoftext|>"]},
        image_token_id=ids["<|image_pad|>"], video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"], vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=False,
    )  # fmt: skip
    return transformers.Qwen2VLForConditionalGeneration(config)


def idefics3(ids: dict[str, int]) -> Any:
    config = transformers.Idefics3Config(
        vision_config={"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
                       "num_attention_heads": 2, "image_size": 56, "patch_size": 14,
                       "model_type": "idefics3"},
        text_config={"model_type": "llama", "architectures": ["LlamaForCausalLM"],
                     "vocab_size": len(ids), "hidden_size": WIDTH, "num_hidden_layers": LAYERS,
                     "num_attention_heads": HEADS, "num_key_value_heads": 2,
                     "intermediate_size": FFN, "max_position_embeddings": 8192,
                     "eos_token_id": ids["<end_of_utterance>"], "pad_token_id": 0,
                     "tie_word_embeddings": False, "bos_token_id": ids["<|im_start|>"]},
        image_token_id=ids["<image>"], scale_factor=2, tie_word_embeddings=False,
        pad_token_id=ids["<|endoftext|>"],
    )  # fmt: skip
    return transformers.Idefics3ForConditionalGeneration(config)


def gemma3(ids: dict[str, int]) -> Any:
    config = transformers.Gemma3Config(
        vision_config={"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
                       "num_attention_heads": 2, "image_size": 112, "patch_size": 14},
        text_config={"vocab_size": len(ids), "hidden_size": WIDTH, "num_hidden_layers": 6,
                     "num_attention_heads": HEADS, "num_key_value_heads": 2, "head_dim": 16,
                     "intermediate_size": FFN, "max_position_embeddings": 8192,
                     "sliding_window": 32, "query_pre_attn_scalar": 16},
        mm_tokens_per_image=16, image_token_index=ids["<image_soft_token>"],
        boi_token_index=ids["<start_of_image>"], eoi_token_index=ids["<end_of_image>"],
    )  # fmt: skip
    return transformers.Gemma3ForConditionalGeneration(config)


def spread(model: Any, seed: int) -> Any:
    """Weights large enough that what a model sees makes a difference to what it says."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() >= 2:
                table = "embed_tokens" in name or "lm_head" in name
                std = 0.5 if table else 1.2 * weight[0].numel() ** -0.5
                weight.copy_(torch.randn(weight.shape, generator=generator) * std)
            elif name.endswith("bias"):
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.1)
    return model.float().eval()


def lfm2(ids: dict[str, int], folder: Path) -> None:
    """Without transformers' class, which came later: its names and shapes."""
    generator = torch.Generator().manual_seed(4)

    def random(*shape: int, scale: float = 1.2) -> torch.Tensor:
        fan_in = int(np.prod(shape[1:])) or 1
        return torch.randn(shape, generator=generator) * (scale * fan_in**-0.5)

    kinds = ["conv", "full_attention", "conv", "full_attention"]
    tensors = {
        "model.language_model.embed_tokens.weight": random(len(ids), WIDTH, scale=4.0),
        "model.language_model.embedding_norm.weight": torch.ones(WIDTH),
    }
    for i, kind in enumerate(kinds):
        start = f"model.language_model.layers.{i}"
        tensors |= {
            f"{start}.operator_norm.weight": torch.ones(WIDTH),
            f"{start}.ffn_norm.weight": torch.ones(WIDTH),
            f"{start}.feed_forward.w1.weight": random(FFN, WIDTH),
            f"{start}.feed_forward.w2.weight": random(WIDTH, FFN),
            f"{start}.feed_forward.w3.weight": random(FFN, WIDTH),
        }
        if kind == "conv":
            tensors |= {
                f"{start}.conv.conv.weight": random(WIDTH, 1, 3),
                f"{start}.conv.in_proj.weight": random(3 * WIDTH, WIDTH),
                f"{start}.conv.out_proj.weight": random(WIDTH, WIDTH),
            }
        else:
            kv, head = 32, WIDTH // HEADS
            tensors |= {
                f"{start}.self_attn.q_proj.weight": random(WIDTH, WIDTH),
                f"{start}.self_attn.k_proj.weight": random(kv, WIDTH),
                f"{start}.self_attn.v_proj.weight": random(kv, WIDTH),
                f"{start}.self_attn.out_proj.weight": random(WIDTH, WIDTH),
                f"{start}.self_attn.q_layernorm.weight": torch.ones(head),
                f"{start}.self_attn.k_layernorm.weight": torch.ones(head),
            }
    wide, deep = 32, 64
    tower = "model.vision_tower.vision_model"
    tensors |= {
        f"{tower}.embeddings.patch_embedding.weight": random(wide, 3 * 16 * 16),
        f"{tower}.embeddings.patch_embedding.bias": torch.zeros(wide),
        f"{tower}.embeddings.position_embedding.weight": random(16, wide),
        f"{tower}.post_layernorm.weight": torch.ones(wide),
        f"{tower}.post_layernorm.bias": torch.zeros(wide),
        "model.multi_modal_projector.layer_norm.weight": torch.ones(4 * wide),
        "model.multi_modal_projector.layer_norm.bias": torch.zeros(4 * wide),
        "model.multi_modal_projector.linear_1.weight": random(96, 4 * wide),
        "model.multi_modal_projector.linear_1.bias": torch.zeros(96),
        "model.multi_modal_projector.linear_2.weight": random(WIDTH, 96),
        "model.multi_modal_projector.linear_2.bias": torch.zeros(WIDTH),
    }
    for i in range(3):
        start = f"{tower}.encoder.layers.{i}"
        shapes = {"self_attn.q_proj": (wide, wide), "self_attn.k_proj": (wide, wide),
                  "self_attn.v_proj": (wide, wide), "self_attn.out_proj": (wide, wide),
                  "mlp.fc1": (deep, wide), "mlp.fc2": (wide, deep)}  # fmt: skip
        for part, shape in shapes.items():
            tensors[f"{start}.{part}.weight"] = random(*shape)
            tensors[f"{start}.{part}.bias"] = torch.zeros(shape[0])
        for norm in ("layer_norm1", "layer_norm2"):
            tensors[f"{start}.{norm}.weight"] = torch.ones(wide)
            tensors[f"{start}.{norm}.bias"] = torch.zeros(wide)
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    config = {
        "architectures": ["Lfm2VlForConditionalGeneration"], "model_type": "lfm2_vl",
        "image_token_id": ids["<image>"], "downsample_factor": 2, "projector_hidden_size": 96,
        "projector_hidden_act": "gelu", "vision_feature_layer": -1,
        "min_image_tokens": 4, "max_image_tokens": 64, "encoder_patch_size": 16, "tile_size": 64,
        "text_config": {"architectures": ["Lfm2ForCausalLM"], "model_type": "lfm2",
            "vocab_size": len(ids), "hidden_size": WIDTH, "num_hidden_layers": len(kinds),
            "layer_types": kinds, "num_attention_heads": HEADS, "num_key_value_heads": 2,
            "block_ff_dim": FFN, "intermediate_size": FFN, "block_auto_adjust_ff_dim": False,
            "block_ffn_dim_multiplier": 1.0, "block_multiple_of": 32, "conv_L_cache": 3,
            "norm_eps": 1e-5, "max_position_embeddings": 8192, "rope_theta": 1e6,
            "bos_token_id": ids["<|startoftext|>"], "eos_token_id": ids["<|im_end|>"]},
        "vision_config": {"model_type": "siglip2_vision_model", "hidden_size": wide,
            "intermediate_size": deep, "num_hidden_layers": 3, "num_attention_heads": 2,
            "num_channels": 3, "patch_size": 16, "num_patches": 16, "image_size": 64,
            "layer_norm_eps": 1e-6, "hidden_act": "gelu_pytorch_tanh"},
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))


def preprocessor(name: str) -> dict[str, Any]:
    half = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    if name == "qwen2vl":
        return half | {"image_processor_type": "Qwen2VLImageProcessor", "patch_size": 14,
                       "merge_size": 2, "temporal_patch_size": 2, "min_pixels": 3136,
                       "max_pixels": 50176}  # fmt: skip
    if name == "idefics3":
        return half | {"image_processor_type": "Idefics3ImageProcessor",
                       "size": {"longest_edge": 168},
                       "max_image_size": {"longest_edge": 56}}  # fmt: skip
    if name == "gemma3":
        return half | {"image_processor_type": "Gemma3ImageProcessor", "image_seq_length": 16,
                       "size": {"height": 112, "width": 112}}  # fmt: skip
    return half | {"image_processor_type": "Lfm2VlImageProcessorFast", "tile_size": 64}


def write(name: str, source: Path, work: Path) -> None:
    made = tokenizer(name)
    ids = made.get_vocab()
    folder = work / name
    if name == "lfm2":
        lfm2(ids, folder)
    else:
        checkpoint(name).save_pretrained(folder)
        config = json.loads((folder / "config.json").read_text())
        config["text_config"].setdefault("architectures", None)
        if name == "idefics3":
            config["text_config"]["architectures"] = ["LlamaForCausalLM"]
        (folder / "config.json").write_text(json.dumps(config))
    made.save(str(folder / "tokenizer.json"))
    first = {"gemma3": "<bos>", "lfm2": "<|startoftext|>"}.get(name)
    told = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": STOPS[name]}
    told |= {"bos_token": first} if first else {}
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor(name)))
    convert(folder, name, source, kind="f32")


def convert(folder: Path, name: str, source: Path, *, kind: str) -> None:
    """A checkpoint's folder as a pair of this folder, by llama.cpp's converter at `source`."""
    text, mmproj = pair(name)
    for target, more in ((text, []), (mmproj, ["--mmproj"])):
        arguments = [str(folder), "--outfile", str(target), "--outtype", kind, *more]
        code = RUN.format(root=str(source), arguments=arguments)
        subprocess.run([sys.executable, "-c", code], check=True)


BUILD: dict[str, Callable[[dict[str, int]], Any]] = {
    "qwen2vl": qwen2vl,
    "idefics3": idefics3,
    "gemma3": gemma3,
}


def checkpoint(name: str) -> Any:
    """transformers' model; the same weights every time."""
    return spread(BUILD[name](tokenizer(name).get_vocab()), seed=len(name))


def golden() -> None:
    """The logits of transformers into `golden.npz`."""
    kept = {}
    for name in oracle.IMAGE_TOKENS:
        text, mmproj = pair(name)
        with Engine.open(text=text, mmproj=mmproj, settings=EXACT) as engine:
            ids, n, parts = oracle.prompt(engine.runtime, name)
        kept[name] = oracle.logits(checkpoint(name), name, ids, parts)[-n:]
    np.savez_compressed(FOLDER / "golden.npz", **kept)


def main() -> None:
    source, names = Path(sys.argv[1]).resolve(), sys.argv[2:] or NAMES
    if names[0] == "--checkpoint":  # FOLDER: what `train.native` has written
        convert(Path(names[1]), TRAINED, source, kind="q8_0")
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            write(name, source, Path(folder))
    golden()
    print({path.name: path.stat().st_size for path in sorted(FOLDER.glob("*.gguf"))})


if __name__ == "__main__":
    main()

"""Which metadata each file carries. Pure: values in, tables out."""

from __future__ import annotations

from dataclasses import dataclass

from llavao1_convert.checkpoint import Json
from llavao1_convert.hyperparameters import Hyperparameters
from llavao1_convert.storage import Quantisation
from llavao1_convert.tokenizer import Vocabulary
from llavao1_convert.writer import Entry, array, boolean, f32, f64, string, u32
from llavao1_edge.contract import keys

QUANTISATION_VERSION = 2
PLACEHOLDER = "pair-id-" * 8  # as long as a pair id


@dataclass(frozen=True)
class Identity:
    """What both files say about where they come from. The pair id follows when all was read."""

    name: str


def text_metadata(
    identity: Identity,
    shape: Hyperparameters,
    vocabulary: Vocabulary,
    *,
    quantisation: Quantisation,
    generation: Json,
) -> list[Entry]:
    text = shape.text
    entries = [
        *_general(identity, keys.TEXT_ARCHITECTURE, "model", quantisation),
        u32("llama.block_count", len(text.self_layers)),
        u32("llama.context_length", text.context),
        u32("llama.embedding_length", text.width),
        u32("llama.feed_forward_length", text.ffn),
        u32("llama.attention.head_count", text.heads),
        u32("llama.attention.head_count_kv", text.kv_heads),
        f32("llama.attention.layer_norm_rms_epsilon", text.eps),
        f32("llama.rope.freq_base", text.rope.theta),
        u32("llama.rope.dimension_count", text.head_width),
        u32("llama.vocab_size", text.embedding_rows),
        u32(keys.HEAD_VOCAB, text.vocab),
        u32(keys.IMAGE_TOKEN, shape.image_token),
        array(keys.STOP_TOKENS, "u32", list(vocabulary.stops)),
        boolean(keys.SYSTEM_BLOCK, vocabulary.system_block),
        *_sampling(generation),
        string("tokenizer.ggml.model", "gpt2"),
        string("tokenizer.ggml.pre", vocabulary.pre),
        array("tokenizer.ggml.tokens", "string", list(vocabulary.tokens)),
        array("tokenizer.ggml.token_type", "i32", list(vocabulary.types)),
        array("tokenizer.ggml.merges", "string", list(vocabulary.merges)),
        u32("tokenizer.ggml.bos_token_id", vocabulary.bos),
        u32("tokenizer.ggml.eos_token_id", vocabulary.eos),
        u32("tokenizer.ggml.eot_token_id", vocabulary.eot),
        u32("tokenizer.ggml.padding_token_id", vocabulary.pad),
        boolean("tokenizer.ggml.add_bos_token", True),
    ]
    if vocabulary.chat_template:
        entries.append(string("tokenizer.chat_template", vocabulary.chat_template))
    return entries


def mmproj_metadata(
    identity: Identity, shape: Hyperparameters, *, quantisation: Quantisation
) -> list[Entry]:
    vision, text, pictures = shape.vision, shape.text, shape.preprocessing
    return [
        *_general(identity, keys.MMPROJ_ARCHITECTURE, keys.MMPROJ_TYPE, quantisation),
        boolean("clip.has_vision_encoder", True),
        string(keys.PROJECTOR, keys.PROJECTOR_TYPE),
        u32(keys.IMAGE_SIZE, vision.image_size),
        u32(keys.PATCH_SIZE, vision.patch_size),
        u32(keys.VISION_WIDTH, vision.width),
        u32(keys.VISION_FFN, vision.ffn),
        u32(keys.VISION_LAYERS, vision.layers),
        u32(keys.GLOBAL_LAYERS, vision.global_layers),
        u32(keys.VISION_HEADS, vision.heads),
        f32(keys.VISION_EPS, vision.eps),
        u32(keys.MAX_TILES, vision.max_tiles),
        array(keys.INTERMEDIATE, "u32", list(vision.intermediate)),
        u32(keys.PROJECTION, text.width),
        array(keys.MEAN, "f64", list(pictures.mean)),
        array(keys.STD, "f64", list(pictures.std)),
        f64(keys.RESCALE, pictures.rescale),
        array(keys.CROSS_AFTER, "u32", list(text.cross_after)),
        array(keys.CROSS_SOURCE, "u32", list(text.cross)),
        u32(keys.CROSS_HEADS, text.heads),
        u32(keys.CROSS_KV_HEADS, text.kv_heads),
        u32(keys.CROSS_HEAD_WIDTH, text.head_width),
        f32(keys.CROSS_EPS, text.eps),
        u32(keys.TEXT_WIDTH, text.width),
        u32(keys.TEXT_FFN, text.ffn),
        u32(keys.TEXT_LAYERS, len(text.self_layers)),
    ]


def _general(
    identity: Identity, architecture: str, kind: str, quantisation: Quantisation
) -> list[Entry]:
    return [
        string(keys.ARCHITECTURE, architecture),
        string(keys.GENERAL_TYPE, kind),
        string(keys.NAME, identity.name),
        u32(keys.FILE_TYPE, quantisation.file_type),
        u32("general.quantization_version", QUANTISATION_VERSION),
        string(keys.PAIR_ID, PLACEHOLDER),
        u32(keys.VERSION, keys.CONTRACT_VERSION),
    ]


def _sampling(generation: Json) -> list[Entry]:
    """Sampling defaults, where the checkpoint states them and they make sense."""
    entries = []
    temperature, top_p, top_k = (generation.get(k) for k in ("temperature", "top_p", "top_k"))
    if isinstance(temperature, int | float) and 0 <= temperature <= 10:
        entries.append(f32(keys.TEMPERATURE, float(temperature)))
    if isinstance(top_p, int | float) and 0 < top_p <= 1:
        entries.append(f32(keys.TOP_P, float(top_p)))
    if type(top_k) is int and 0 < top_k < 1 << 31:
        entries.append(u32(keys.TOP_K, top_k))
    return entries

"""Metadata keys of the pair. `docs/file-format.md` is printed from this table."""

from __future__ import annotations

from dataclasses import dataclass

CONTRACT_VERSION = 1
TEXT_ARCHITECTURE = "llama"
MMPROJ_ARCHITECTURE = "clip"
MMPROJ_TYPE = "mmproj"
PROJECTOR_TYPE = "mllama"

ARCHITECTURE = "general.architecture"
GENERAL_TYPE = "general.type"
NAME = "general.name"
FILE_TYPE = "general.file_type"
PAIR_ID = "llavao1.pair_id"
VERSION = "llavao1.contract_version"

HEAD_VOCAB = "llavao1.head_vocab_size"
IMAGE_TOKEN = "llavao1.image_token_id"
STOP_TOKENS = "llavao1.stop_token_ids"
SYSTEM_BLOCK = "llavao1.chat.system_block"
TEMPERATURE = "llavao1.sampling.temperature"
TOP_P = "llavao1.sampling.top_p"
TOP_K = "llavao1.sampling.top_k"

PROJECTOR = "clip.projector_type"
IMAGE_SIZE = "clip.vision.image_size"
PATCH_SIZE = "clip.vision.patch_size"
VISION_WIDTH = "clip.vision.embedding_length"
VISION_FFN = "clip.vision.feed_forward_length"
VISION_LAYERS = "clip.vision.block_count"
VISION_HEADS = "clip.vision.attention.head_count"
VISION_EPS = "clip.vision.attention.layer_norm_epsilon"
PROJECTION = "clip.vision.projection_dim"
MEAN = "clip.vision.image_mean"
STD = "clip.vision.image_std"
RESCALE = "clip.vision.rescale_factor"
GLOBAL_LAYERS = "clip.vision.global_block_count"
MAX_TILES = "clip.vision.max_num_tiles"
INTERMEDIATE = "clip.vision.intermediate_layers_indices"

CROSS_AFTER = "llavao1.cross_attention.after_layer"
CROSS_SOURCE = "llavao1.cross_attention.source_layer"
CROSS_HEADS = "llavao1.cross_attention.head_count"
CROSS_KV_HEADS = "llavao1.cross_attention.head_count_kv"
CROSS_HEAD_WIDTH = "llavao1.cross_attention.key_length"
CROSS_EPS = "llavao1.cross_attention.layer_norm_rms_epsilon"
TEXT_WIDTH = "llavao1.cross_attention.embedding_length"
TEXT_FFN = "llavao1.cross_attention.feed_forward_length"
TEXT_LAYERS = "llavao1.cross_attention.text_block_count"


@dataclass(frozen=True)
class Key:
    """A row of the file-format table. `where` is text, mmproj or both."""

    name: str
    kind: str
    where: str
    meaning: str


KEYS = (
    Key(PAIR_ID, "string", "both", "hash of the source weights; must be equal in both files"),
    Key(VERSION, "u32", "both", f"this table's version: {CONTRACT_VERSION}"),
    Key(HEAD_VOCAB, "u32", "text", "rows of the source's head; logits beyond are padding"),
    Key(IMAGE_TOKEN, "u32", "text", "id of `<|image|>`, input only"),
    Key(STOP_TOKENS, "u32[]", "text", "ids that end a turn"),
    Key(
        SYSTEM_BLOCK, "bool", "text", "whether a turn without a picture starts with a system block"
    ),
    Key(TEMPERATURE, "f32", "text", "sampling default of the source, if it states one"),
    Key(TOP_P, "f32", "text", "sampling default of the source, if it states one"),
    Key(TOP_K, "u32", "text", "sampling default of the source, if it states one"),
    Key(PROJECTOR, "string", "mmproj", f"`{PROJECTOR_TYPE}`"),
    Key(IMAGE_SIZE, "u32", "mmproj", "side of a tile in pixels"),
    Key(PATCH_SIZE, "u32", "mmproj", "side of a patch in pixels"),
    Key(VISION_WIDTH, "u32", "mmproj", "width of the vision tower"),
    Key(VISION_FFN, "u32", "mmproj", "width of its MLP"),
    Key(VISION_LAYERS, "u32", "mmproj", "local layers"),
    Key(GLOBAL_LAYERS, "u32", "mmproj", "gated global layers"),
    Key(VISION_HEADS, "u32", "mmproj", "attention heads"),
    Key(VISION_EPS, "f32", "mmproj", "epsilon of the layers' norms (pre and post norm: 1e-5)"),
    Key(MAX_TILES, "u32", "mmproj", "tile slots per picture"),
    Key(INTERMEDIATE, "u32[]", "mmproj", "local layers whose *input* is also projected"),
    Key(PROJECTION, "u32", "mmproj", "width of the text model"),
    Key(MEAN, "f64[3]", "mmproj", "subtracted after rescaling"),
    Key(STD, "f64[3]", "mmproj", "divided by after that"),
    Key(RESCALE, "f64", "mmproj", "factor from 0..255"),
    Key(CROSS_AFTER, "u32[]", "mmproj", "text layer (of the text file) each cross layer follows"),
    Key(CROSS_SOURCE, "u32[]", "mmproj", "index of each cross layer in the source model"),
    Key(CROSS_HEADS, "u32", "mmproj", "query heads"),
    Key(CROSS_KV_HEADS, "u32", "mmproj", "key and value heads"),
    Key(CROSS_HEAD_WIDTH, "u32", "mmproj", "width of a head"),
    Key(CROSS_EPS, "f32", "mmproj", "epsilon of the cross layers' norms"),
    Key(TEXT_WIDTH, "u32", "mmproj", "width of the text model"),
    Key(TEXT_FFN, "u32", "mmproj", "width of the cross layers' MLP"),
    Key(TEXT_LAYERS, "u32", "mmproj", "self-attention layers the text file must have"),
)

"""Pairs of models that llama.cpp runs itself: what their two headers must say.

llama.cpp writes and reads these files, so there is no contract of ours; but a projector of another
family loads as long as its width fits, and answers nonsense. What can be told is told here, before
any memory is spent. Source: llama.cpp's tools/mtmd and its converter, at the version in use.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass

from llavao1_edge.contract import keys
from llavao1_edge.contract.gguf import GgufHeader, Strings
from llavao1_edge.errors import ModelFileError, PairError
from llavao1_edge.phrases import Phrase

VISION_PROJECTOR = "clip.vision.projector_type"  # where a file holds a vision and an audio encoder
HAS_VISION, HAS_AUDIO = "clip.has_vision_encoder", "clip.has_audio_encoder"
TOKENS = "tokenizer.ggml.tokens"
# As libmtmd has it (`mtmd_decode_use_non_causal`).
SEE_EACH_OTHER = ("gemma3", "gemma4v", "gemma4uv", "deepseek4v")
GEMMA3_MERGED = 4  # patches on a token's side, where the file says nothing
MOST_LAYERS, MOST_TOKENS, MOST_WIDTH = 1024, 1 << 21, 1 << 17


@dataclass(frozen=True)
class Family:
    """Models that share a projector.

    projectors: names in the mmproj file; architectures: of the text file, empty for any that is
    not another family's own (`OWN`); chat: a name of `prompt.FORMATS`; line_break: whether one
    stands between a picture and the question; tested: what was run here, for people.
    """

    name: str
    projectors: tuple[str, ...]
    architectures: tuple[str, ...]
    chat: str
    tested: str = ""
    line_break: bool = False

    @property
    def known(self) -> bool:
        """Whether its chat format is known, so that nobody has to name it."""
        return bool(self.chat)


TINY = "tiny random model: search, forks, parking"
FAMILIES = (
    Family(
        "Qwen2-VL", ("qwen2vl_merger",), ("qwen2vl", "llama"), "chatml",
        f"{TINY}; logits against transformers; trained small model",
    ),
    Family("Qwen2.5-VL", ("qwen2.5vl_merger",), ("qwen2vl",), "chatml"),
    Family(
        "Qwen3-VL", ("qwen3vl_merger",),
        ("qwen3vl", "qwen3vlmoe", "qwen35", "qwen35moe", "qwen4exp"), "chatml",
    ),
    Family("Gemma 3", ("gemma3",), ("gemma3",), "gemma", TINY),
    Family("Gemma 3n", ("gemma3nv",), ("gemma3n",), "gemma"),
    Family(
        "SmolVLM, Idefics3", ("idefics3",), (), "smolvlm",
        f"{TINY}; logits against transformers",
    ),
    Family("InternVL", ("internvl",), (), "chatml", line_break=True),
    Family("LLaVA 1.5 and 1.6", ("mlp", "mlp_norm"), (), "vicuna", line_break=True),
    Family("MiniCPM-V", ("resampler", "minicpmv4_6"), (), "chatml"),
    Family("Pixtral, Mistral Small", ("pixtral",), (), "mistral-v7-tekken"),
    Family("Llama 4", ("llama4",), ("llama4",), "llama4"),
    Family("LFM2-VL", ("lfm2",), ("lfm2", "lfm2moe"), "chatml", TINY),
)  # fmt: skip
# Of text models that no other family uses; Qwen3.5 is also under MiniCPM-V, Llama under many.
SHARED = {"qwen35", "qwen35moe", "llama"}
OWN = {name for family in FAMILIES for name in family.architectures} - SHARED
# libmtmd loads these too; nobody has tried them here, and their chat format must be named.
UNTRIED = (
    *("adapter", "cogvlm", "deepseek4v", "deepseekocr", "deepseekocr2", "dots3note_v", "dots_ocr"),
    *("exaone4_5", "gemma4uv", "gemma4v", "glm4v", "glm5v", "granite4_vision", "hunyuanvl"),
    *("janus_pro", "kimik25", "kimivl", "ldp", "ldpv2", "lightonocr", "ling3vl", "mimovl"),
    *("minimax_m3", "muse-glimmer", "nemotron_v2_vl", "paddleocr", "phi4", "qwen2.5o", "step3vl"),
    *("yasa2", "youtuvl"),
)


def projector_of(mmproj: GgufHeader) -> str:
    """The name of the vision projector. Raises ModelFileError where the file has none."""
    for key in (VISION_PROJECTOR, keys.PROJECTOR):
        if isinstance(mmproj.metadata.get(key), str):
            return mmproj.text(key)
    raise ModelFileError(
        Phrase("{name} is not an mmproj file: it names no projector", name=mmproj.path.name),
        hint="Give the text file with --model and the mmproj file with --mmproj.",
    )


def family_of(mmproj: GgufHeader) -> Family:
    """Raises ModelFileError for a projector that nobody knows."""
    name = projector_of(mmproj)
    for family in FAMILIES:
        if name in family.projectors:
            return family
    if name in UNTRIED:
        return Family(name, (name,), (), "")
    raise ModelFileError(
        Phrase(
            "{name} has the unknown projector {projector}",
            name=mmproj.path.name,
            projector=repr(name),
        ),
        hint="A newer llama-cpp-python may know it. docs/models.md lists what this one runs.",
    )


def check_native(text: GgufHeader, mmproj: GgufHeader) -> None:
    """Raises ModelFileError or PairError for the first thing that cannot be."""
    architecture = text.metadata.get(keys.ARCHITECTURE)
    if mmproj.metadata.get(keys.ARCHITECTURE) != keys.MMPROJ_ARCHITECTURE:
        raise PairError(
            Phrase(
                "{name} is not an mmproj file (architecture {architecture})",
                name=mmproj.path.name,
                architecture=repr(mmproj.metadata.get(keys.ARCHITECTURE)),
            ),
            hint="A text model alone cannot see: give the mmproj file of this model with --mmproj.",
        )
    if mmproj.metadata.get(HAS_VISION) is not True:
        heard = " it reads sound" if mmproj.metadata.get(HAS_AUDIO) is True else " there is none"
        raise ModelFileError(
            Phrase(
                "{name} has no encoder for pictures:{heard}", name=mmproj.path.name, heard=heard
            ),
            hint="Give the mmproj file that reads pictures.",
        )
    family = family_of(mmproj)
    wanted = architecture in (family.architectures or {architecture} - OWN)
    if family.known and not wanted:
        raise PairError(
            Phrase(
                "{name} belongs to {family}, but {model} is a text model of the "
                "architecture {architecture}",
                name=mmproj.path.name,
                family=family.name,
                model=text.path.name,
                architecture=repr(architecture),
            ),
            hint="Use the mmproj file that was published with this text file.",
        )
    check_numbers(text)
    _check_width(text, mmproj)


def check_numbers(text: GgufHeader) -> None:
    """Of a text file whose vocabulary, layers and widths are read. Raises ModelFileError."""
    prefix = text.text(keys.ARCHITECTURE)
    tokens = text.metadata.get(TOKENS)
    if not isinstance(tokens, Strings) or not 8 <= len(tokens) <= MOST_TOKENS:
        raise ModelFileError(
            Phrase("{name} has no vocabulary ({tokens})", name=text.path.name, tokens=TOKENS),
            hint="Fetch the file again.",
        )
    for name, most in (
        ("block_count", MOST_LAYERS),
        ("context_length", 1 << 32),
        ("embedding_length", MOST_WIDTH),
    ):
        value = text.integer(f"{prefix}.{name}")
        if not 0 < value <= most:
            raise ModelFileError(
                Phrase(
                    "{name}: {prefix}.{key} is {value}, it must be from 1 to {most}",
                    name=text.path.name,
                    prefix=prefix,
                    key=name,
                    value=value,
                    most=most,
                ),
                hint="The file is damaged: fetch it again.",
            )
    if "token_embd.weight" not in text.tensors:
        raise ModelFileError(
            Phrase("{name} has no tensor 'token_embd.weight'", name=text.path.name),
            hint="Files that are split into parts must be merged first: llama-gguf-split --merge.",
        )


def _check_width(text: GgufHeader, mmproj: GgufHeader) -> None:
    """A projector writes rows as wide as the text model's."""
    width = text.integer(f"{text.text(keys.ARCHITECTURE)}.embedding_length")
    stated = mmproj.metadata.get(keys.PROJECTION)
    parts = ("mm.", "resampler.", "adapter.")
    written = {size for name, info in mmproj.tensors.items() if name.startswith(parts)
               for size in info.shape}  # fmt: skip
    if written and width not in written and stated != width:
        raise PairError(
            Phrase(
                "{name} was made for a text model of another width than {text} ({width})",
                name=mmproj.path.name,
                text=text.path.name,
                width=width,
            ),
            hint="Use the mmproj file that was published with this text file.",
        )


def rows_at_once(mmproj: GgufHeader, picture_tokens: int) -> int:
    """Rows of a picture that see each other, and must be in one batch; 0 where they do not.
    picture_tokens: the most of a picture, where it may have any size. Raises ModelFileError."""
    name = projector_of(mmproj)
    if name not in SEE_EACH_OTHER:
        return 0
    if name != "gemma3":
        return picture_tokens
    side, patch = (count(mmproj, f"clip.vision.{key}") for key in ("image_size", "patch_size"))
    merged = count(mmproj, "clip.vision.projector.scale_factor", GEMMA3_MERGED)
    return (side // max(1, patch * merged)) ** 2


def per_layer(text: GgufHeader, name: str, default: int = 0) -> list[int]:
    """A number of each layer: one for all, or a list. Raises ModelFileError."""
    n = text.integer(f"{text.text(keys.ARCHITECTURE)}.block_count")
    value = text.metadata.get(f"{text.text(keys.ARCHITECTURE)}.{name}", default)
    found = [value] * n if type(value) is int else value
    whole = isinstance(found, list) or (isinstance(found, array) and found.typecode not in "fd")
    if not whole or len(found) != n or not all(0 <= one <= MOST_WIDTH for one in found):  # type: ignore
        raise ModelFileError(
            Phrase(
                "{name}: {key} is neither a number nor a list of {n}, up to {most_width}",
                name=text.path.name,
                key=name,
                n=n,
                most_width=MOST_WIDTH,
            ),
            hint="The file is damaged: fetch it again.",
        )
    return [int(one) for one in found]  # type: ignore[union-attr]


def count(header: GgufHeader, key: str, default: int | None = None) -> int:
    """A number of a model's shape, which nothing sensible exceeds. Raises ModelFileError."""
    value = header.integer(key, default)
    if not 0 <= value <= MOST_WIDTH:
        raise ModelFileError(
            Phrase(
                "{name}: {key} is {value}, it must be from 0 to {most_width}",
                name=header.path.name,
                key=key,
                value=value,
                most_width=MOST_WIDTH,
            ),
            hint="The file is damaged: fetch it again.",
        )
    return value

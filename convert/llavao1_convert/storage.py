"""Which storage type each tensor gets: pure functions, the seam for every quantisation.

The text half follows llama.cpp's mixtures (`llama_tensor_get_type`), which a test compares with
llama.cpp itself. The cross layers belong to the text model, so they follow the same quantisation:
the table counted over the cross layers alone, but keys and values at Q8_0 at least, because they
are read once per picture and not once per token. Vision tower and projector follow the vision
quantisation.
"""

from __future__ import annotations

from dataclasses import dataclass

from llavao1_edge.contract import tensors as names
from llavao1_edge.errors import UsageError
from llavao1_edge.ggml.types import (
    BF16,
    F16,
    F32,
    IQ4_NL,
    IQ4_XS,
    PLAIN,
    Q4_0,
    Q4_1,
    Q4_K,
    Q5_0,
    Q5_1,
    Q5_K,
    Q6_K,
    Q8_0,
    StorageType,
)
from llavao1_edge.phrases import Phrase

# Where rows are not whole blocks of 256. Source: llama.cpp.
FALLBACK = {Q4_K: Q5_0, Q5_K: Q5_1, Q6_K: Q8_0, IQ4_XS: IQ4_NL}
SEVENTY_B = 80  # text layers; that many heads share a value matrix, so it may be larger


@dataclass(frozen=True)
class Quantisation:
    """A name, the type of most matrices, and `general.file_type` (llama.cpp's `llama_ftype`)."""

    name: str
    base: StorageType
    file_type: int


QUANTISATIONS = {
    made.name: made
    for made in (
        Quantisation("F32", F32, 0),
        Quantisation("F16", F16, 1),
        Quantisation("BF16", BF16, 32),
        Quantisation("Q8_0", Q8_0, 7),
        Quantisation("Q6_K", Q6_K, 18),
        Quantisation("Q5_K_M", Q5_K, 17),
        Quantisation("Q5_K_S", Q5_K, 16),
        Quantisation("Q4_K_M", Q4_K, 15),
        Quantisation("Q4_K_S", Q4_K, 14),
        Quantisation("Q4_0", Q4_0, 2),
        Quantisation("IQ4_NL", IQ4_NL, 25),
        Quantisation("IQ4_XS", IQ4_XS, 30),
    )
}


def parse_quantisation(text: str) -> Quantisation:
    """Raises UsageError for one that does not exist."""
    found = QUANTISATIONS.get(text.upper())
    if found is None:
        raise UsageError(
            Phrase("unknown quantisation {text}", text=repr(text)),
            hint=Phrase("Choose one of {quantisations}.", quantisations=", ".join(QUANTISATIONS)),
        )
    return found


@dataclass(frozen=True)
class TextRules:
    """What the mixture of the text half depends on. gqa: query heads per key-value head."""

    n_layers: int
    gqa: int
    has_imatrix: bool = False


def text_type(
    name: str, shape: tuple[int, ...], quantisation: Quantisation, rules: TextRules
) -> StorageType:
    """The type of a tensor of the text file, as llama.cpp's own quantiser chooses it."""
    base = quantisation.base
    if len(shape) == 1 or base in PLAIN:
        return F32 if len(shape) == 1 else base
    if name == "output.weight":
        wanted = base if base is Q8_0 else Q6_K if shape[0] % Q6_K.block == 0 else Q8_0
    elif name == "token_embd.weight":
        wanted = base
    else:
        layer, part = int(name.split(".")[1]), name.split(".")[2]
        wanted = _mixed(quantisation.name, base, part, layer, rules)
    return fitting(wanted, shape[0])


def _mixed(name: str, base: StorageType, part: str, layer: int, rules: TextRules) -> StorageType:
    """A matrix of a layer."""
    n, first_eighth = rules.n_layers, layer < rules.n_layers // 8
    if part == "attn_v":
        wanted = base
        if name in ("IQ4_NL", "IQ4_XS") and rules.gqa >= 4:
            wanted = Q5_K
        elif name in ("Q4_K_M", "Q5_K_M") and use_more_bits(layer, n):
            wanted = Q6_K
        elif name == "Q4_K_S" and layer < 4:
            wanted = Q5_K
        return Q5_K if n == SEVENTY_B and wanted is Q4_K else wanted
    if part == "ffn_down":
        if name in ("Q4_K_M", "Q5_K_M") and use_more_bits(layer, n):
            return Q6_K
        if name == "Q4_K_S" and first_eighth:
            return Q5_K
        if name in ("IQ4_NL", "IQ4_XS") and first_eighth and not rules.has_imatrix:
            return Q5_K
        if name == "Q4_0" and first_eighth and rules.has_imatrix:
            return Q4_1
    return base


def use_more_bits(layer: int, n: int) -> bool:
    """The first and the last eighth, and every third layer between. Source: llama.cpp."""
    return layer < n // 8 or layer >= 7 * n // 8 or (layer - n // 8) % 3 == 2


def mmproj_type(
    name: str,
    shape: tuple[int, ...],
    quantisation: Quantisation,
    vision: Quantisation,
    *,
    cross_layers: int,
) -> StorageType:
    """The type of a tensor of the mmproj file; position tables never go below F16."""
    if len(shape) == 1:
        return F32
    if name in names.TABLES:
        return F32 if vision.base is F32 else F16
    if not name.startswith(names.CROSS):
        return fitting(vision.base, shape[0])
    base, part = quantisation.base, name.split(".")[3]
    if base in PLAIN:
        return base
    if part in ("attn_k", "attn_v"):
        return fitting(Q8_0, shape[0])
    layer = int(name.split(".")[2])
    mixed = _mixed(quantisation.name, base, part, layer, TextRules(cross_layers, gqa=1))
    return fitting(mixed, shape[0])


def fitting(wanted: StorageType, row_length: int) -> StorageType:
    """`wanted`, or the nearest type whose blocks fill a row."""
    if row_length % wanted.block:
        wanted = FALLBACK.get(wanted, F16)
    return wanted if row_length % wanted.block == 0 else F16

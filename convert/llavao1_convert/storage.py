"""Which storage type each tensor gets: one pure function, the seam for every quantisation."""

from __future__ import annotations

from llavao1_edge.contract import tensors as names
from llavao1_edge.errors import UsageError
from llavao1_edge.ggml.types import BF16, F16, F32, Q8_0, StorageType

QUANTISATIONS: dict[str, StorageType] = {"F32": F32, "F16": F16, "BF16": BF16, "Q8_0": Q8_0}
# `general.file_type` of llama.cpp (enum llama_ftype).
FILE_TYPES = {"F32": 0, "F16": 1, "Q8_0": 7, "BF16": 32}


def parse_quantisation(text: str) -> str:
    """The canonical name. Raises UsageError for one that does not exist."""
    name = text.upper()
    if name not in QUANTISATIONS:
        raise UsageError(
            f"unknown quantisation {text!r}", hint=f"Choose one of {', '.join(QUANTISATIONS)}."
        )
    return name


def storage_type(name: str, shape: tuple[int, ...], quantisation: str) -> StorageType:
    """Vectors (norms, biases, gates) stay F32; position tables never go below F16.

    A matrix whose rows are not whole blocks falls back to F16.
    """
    wanted = QUANTISATIONS[quantisation]
    if len(shape) == 1 or wanted is F32:
        return F32
    if name in names.TABLES:
        return F16
    return wanted if shape[0] % wanted.block == 0 else F16

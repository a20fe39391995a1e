"""Storage types of tensors: their numbers, names and block sizes. No native code.

Source: `enum ggml_type` and the block structs of ggml.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StorageType:
    """A ggml type: `block` weights take `block_bytes` bytes."""

    number: int
    name: str
    block: int
    block_bytes: int

    def row_bytes(self, n: int) -> int:
        """Bytes of a row of `n` weights; `n` must be a multiple of `block`."""
        if n % self.block:
            raise ValueError(f"{n} weights are not whole blocks of {self.block} ({self.name})")
        return n // self.block * self.block_bytes


F32 = StorageType(0, "F32", 1, 4)
F16 = StorageType(1, "F16", 1, 2)
Q4_0 = StorageType(2, "Q4_0", 32, 18)
Q4_1 = StorageType(3, "Q4_1", 32, 20)
Q5_0 = StorageType(6, "Q5_0", 32, 22)
Q5_1 = StorageType(7, "Q5_1", 32, 24)
Q8_0 = StorageType(8, "Q8_0", 32, 34)
Q4_K = StorageType(12, "Q4_K", 256, 144)
Q5_K = StorageType(13, "Q5_K", 256, 176)
Q6_K = StorageType(14, "Q6_K", 256, 210)
IQ4_NL = StorageType(20, "IQ4_NL", 32, 18)
IQ4_XS = StorageType(23, "IQ4_XS", 256, 136)
BF16 = StorageType(30, "BF16", 1, 2)

PLAIN = (F32, F16, BF16)

# What we write, and then what only files from elsewhere carry (llama.cpp computes with all).
WRITTEN = (F32, F16, BF16, Q8_0, Q6_K, Q5_K, Q5_1, Q5_0, Q4_K, Q4_1, Q4_0, IQ4_NL, IQ4_XS)
READ = (
    StorageType(10, "Q2_K", 256, 84),
    StorageType(11, "Q3_K", 256, 110),
    StorageType(16, "IQ2_XXS", 256, 66),
    StorageType(17, "IQ2_XS", 256, 74),
    StorageType(18, "IQ3_XXS", 256, 98),
    StorageType(19, "IQ1_S", 256, 50),
    StorageType(21, "IQ3_S", 256, 110),
    StorageType(22, "IQ2_S", 256, 82),
    StorageType(29, "IQ1_M", 256, 56),
    StorageType(34, "TQ1_0", 256, 54),
    StorageType(35, "TQ2_0", 256, 66),
    StorageType(39, "MXFP4", 32, 17),
)
STORAGE_TYPES: dict[int, StorageType] = {kind.number: kind for kind in (*WRITTEN, *READ)}

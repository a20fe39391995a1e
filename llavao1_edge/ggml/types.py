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
Q8_0 = StorageType(8, "Q8_0", 32, 34)
BF16 = StorageType(30, "BF16", 1, 2)

# Types a file may carry. Those beyond the four above are read (llama.cpp computes with them).
STORAGE_TYPES: dict[int, StorageType] = {
    kind.number: kind
    for kind in (
        F32,
        F16,
        StorageType(2, "Q4_0", 32, 18),
        StorageType(3, "Q4_1", 32, 20),
        StorageType(6, "Q5_0", 32, 22),
        StorageType(7, "Q5_1", 32, 24),
        Q8_0,
        StorageType(12, "Q4_K", 256, 144),
        StorageType(13, "Q5_K", 256, 176),
        StorageType(14, "Q6_K", 256, 210),
        StorageType(20, "IQ4_NL", 32, 18),
        StorageType(23, "IQ4_XS", 256, 136),
        BF16,
    )
}

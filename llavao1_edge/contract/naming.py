"""What people call the two files of a pair. Names only; headers tell whether it is one."""

from __future__ import annotations

import re

# Encoders of pictures lose most by few bits, and are small: as other programs, F16 is preferred.
USUAL = ("F16", "BF16", "Q8_0", "F32")
_WEIGHTS = re.compile(
    r"[-._]?(bf16|f16|fp16|f32|fp32|q8_0|q6_k|q5_k_m|q4_k_m|q4_0)(?=\.gguf$)", re.I
)


def is_mmproj(name: str) -> bool:
    """Whether a file is called an mmproj file, as llama.cpp's converter and others do."""
    return name.endswith(".gguf") and "mmproj" in name.rpartition("/")[2].lower()


def usual_mmproj(names: list[str]) -> str | None:
    """The only one, or of files that differ only in how weights are stored, the usual one."""
    if len(names) == 1:
        return names[0]
    if len({_WEIGHTS.sub("", name).lower() for name in names}) != 1:
        return None
    for wanted in USUAL:
        for name in names:
            found = _WEIGHTS.search(name)
            if found and found[1].upper().replace("FP", "F") == wanted:
                return name
    return None

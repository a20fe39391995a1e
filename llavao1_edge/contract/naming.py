"""What people call the two files of a pair. Names only; headers tell whether it is one."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Encoders of pictures lose most by few bits, and are small: as other programs, F16 is preferred.
USUAL = ("F16", "BF16", "Q8_0", "F32")
_WEIGHTS = re.compile(
    r"[-._]?(bf16|fp?16|fp?32|q\d_0|q\d_k(?:_[sml])?|iq\d_[a-z]+)(?=\.gguf$)", re.IGNORECASE
)
ANY_MODEL = ("", "model")  # what is left of `mmproj-F16.gguf` and `mmproj-model-f16.gguf`


def is_mmproj(name: str) -> bool:
    """Whether a file is called an mmproj file, as llama.cpp's converter and others do."""
    return name.endswith(".gguf") and "mmproj" in name.rpartition("/")[2].lower()


def model_of(name: str) -> str:
    """The model that a file is named after: without folder, `mmproj` and kind of weights."""
    file = _WEIGHTS.sub("", name.rpartition("/")[2]).removesuffix(".gguf").lower()
    return file.replace("mmproj", "").strip("-._")


def mmproj_for(text: str, names: Iterable[str]) -> str | None:
    """Of files in one folder: the mmproj file named after the text file, or after its model, or
    after none; of several that differ in how weights are stored, the usual one."""
    projectors = sorted(name for name in names if is_mmproj(name))
    stem = text.rpartition("/")[2].removesuffix(".gguf").lower()
    model = model_of(text)
    named = [name for name in projectors if model_of(name) not in ANY_MODEL]
    for matching in (
        [n for n in named if n.rpartition("/")[2].lower() == f"mmproj-{stem}.gguf"],
        [n for n in named if model_of(n) == model],
        [n for n in named if n.rpartition("/")[2].lower().startswith(f"mmproj-{stem}")],
        [n for n in named if model_of(n).startswith(model) or model.startswith(model_of(n))],
        [n for n in projectors if n not in named],
    ):
        found = _usual(matching)
        if found is not None:
            return found
    return None


def _usual(names: list[str]) -> str | None:
    """The only one, or the usual one of files that are named after one model; else None."""
    if len(names) == 1:
        return names[0]
    if len({model_of(name) for name in names}) != 1:  # of several models, or there is none
        return None
    for wanted in USUAL:
        for name in names:
            found = _WEIGHTS.search(name)
            if found and found[1].upper().replace("FP", "F") == wanted:
                return name
    return names[0]

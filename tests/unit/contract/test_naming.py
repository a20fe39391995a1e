"""Which mmproj file belongs to a text file, by the names that people publish."""

from __future__ import annotations

import pytest

from llavao1_edge.contract.naming import is_mmproj, mmproj_for

OURS = ["LLaVA-CoT-Q4_K_M.gguf", "mmproj-LLaVA-CoT-Q8_0.gguf"]
GGML_ORG = ["Qwen2.5-VL-3B-Instruct-Q4_K_M.gguf", "mmproj-Qwen2.5-VL-3B-Instruct-Q8_0.gguf",
            "mmproj-Qwen2.5-VL-3B-Instruct-f16.gguf"]  # fmt: skip
UNSLOTH = ["Qwen3-VL-2B-Instruct-Q4_K_M.gguf", "mmproj-BF16.gguf", "mmproj-F16.gguf",
           "mmproj-F32.gguf"]  # fmt: skip
LM_STUDIO = ["gemma-3-4b-it-Q4_K_M.gguf", "mmproj-model-f16.gguf"]
BEHIND = ["llava-v1.5-7b-Q4_K.gguf", "llava-v1.5-7b-mmproj-Q8_0.gguf"]
OTHERS = ["SmolVLM-256M-Instruct-Q8_0.gguf", "mmproj-Qwen2-VL-2B-Instruct-f16.gguf"]


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (OURS, "mmproj-LLaVA-CoT-Q8_0.gguf"),
        (GGML_ORG, "mmproj-Qwen2.5-VL-3B-Instruct-f16.gguf"),
        (UNSLOTH, "mmproj-F16.gguf"),
        (LM_STUDIO, "mmproj-model-f16.gguf"),
        (BEHIND, "llava-v1.5-7b-mmproj-Q8_0.gguf"),
        (OTHERS, None),
        (["a.gguf"], None),
        (["Tiny-Q8_0.gguf", "mmproj-Tiny-F16.gguf", "mmproj-Tiny-Q8_0.gguf"],
         "mmproj-Tiny-Q8_0.gguf"),
        (["x.gguf", "mmproj-a.gguf", "mmproj-F16.gguf"], "mmproj-F16.gguf"),
        (["smol.gguf", "mmproj-smol.gguf", "mmproj-smol-big.gguf"], "mmproj-smol.gguf"),
        (["smol-Q4_0.gguf", "mmproj-smol-F16.gguf", "mmproj-smol-big-F16.gguf"],
         "mmproj-smol-F16.gguf"),
        (["smol.gguf", "mmproj-smol-a.gguf", "mmproj-smol-b.gguf", "mmproj-F16.gguf"],
         "mmproj-F16.gguf"),
    ],
)  # fmt: skip
def test_the_projector_of_a_text_file(names: list[str], wanted: str | None) -> None:
    assert mmproj_for(names[0], names) == wanted
    assert mmproj_for(names[0], names[::-1]) == wanted


def test_names_of_two_models_decide_nothing() -> None:
    names = ["Qwen-a-Q4_0.gguf", "mmproj-Qwen-a-b-F16.gguf", "mmproj-Qwen-a-c-F16.gguf"]
    assert mmproj_for(names[0], names) is None


@pytest.mark.parametrize("name", ["mmproj-a.gguf", "a/b-MMPROJ-f16.gguf"])
def test_mmproj_by_name(name: str) -> None:
    assert is_mmproj(name)
    assert not is_mmproj("mmproj/a.gguf")

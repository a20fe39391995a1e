"""The pure questions of the converter: routes, rows, types, names."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llavao1_convert.checkpoint import canonical
from llavao1_convert.hyperparameters import Rope
from llavao1_convert.routes import pair_rows, rope_factors
from llavao1_convert.storage import (
    QUANTISATIONS,
    TextRules,
    fitting,
    mmproj_type,
    parse_quantisation,
    text_type,
)
from llavao1_edge.contract import tensors as names
from llavao1_edge.errors import UsageError
from llavao1_edge.ggml.types import F16, F32, IQ4_XS, Q4_K, Q8_0, StorageType


@given(st.integers(1, 6), st.integers(1, 16))
def test_pairing_rows_is_a_permutation_within_heads(heads: int, half: int) -> None:
    order = pair_rows(heads, 2 * half)
    assert sorted(order) == list(range(heads * 2 * half))
    for head in range(heads):
        part = order[head * 2 * half : (head + 1) * 2 * half]
        assert part.min() // (2 * half) == part.max() // (2 * half) == head
        assert list(part[0::2] + half) == list(part[1::2])


def test_rope_factors_of_llama_3_2() -> None:
    """Published values of the 11B model's `rope_freqs.weight`: 1 at first, 8 at last."""
    factors = rope_factors(Rope(500_000.0, 8.0, 1.0, 4.0, 8192), 128)
    assert factors is not None
    assert factors.shape == (64,)
    assert factors[0] == 1
    assert factors[-1] == 8
    assert np.all(np.diff(factors) >= 0)
    assert rope_factors(Rope(10_000.0), 128) is None


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("language_model.model.layers.3.mlp.up_proj.weight", "text.layers.3.mlp.up_proj.weight"),
        ("model.language_model.layers.3.mlp.up_proj.weight", "text.layers.3.mlp.up_proj.weight"),
        ("language_model.lm_head.weight", "head.weight"),
        ("lm_head.weight", "head.weight"),
        ("vision_model.class_embedding", "vision.class_embedding"),
        ("model.vision_model.class_embedding", "vision.class_embedding"),
        ("multi_modal_projector.bias", "projector.bias"),
        ("model.multi_modal_projector.bias", "projector.bias"),
        ("language_model.model.rotary_emb.inv_freq", None),
        ("something.else", "something.else"),
    ],
)
def test_both_naming_schemes_have_one_name(name: str, wanted: str | None) -> None:
    assert canonical(name) == wanted


@pytest.mark.parametrize("quantisation", QUANTISATIONS)
def test_vectors_stay_f32_and_tables_never_go_below_f16(quantisation: str) -> None:
    chosen = QUANTISATIONS[quantisation]

    def kind(name: str, *shape: int) -> StorageType:
        return mmproj_type(name, shape, chosen, chosen, cross_layers=8)

    assert kind("v.blk.0.ln1.weight", 32) is F32
    assert kind("cross.blk.0.attn_gate", 1) is F32
    assert kind(names.TILE_POSITION, 64, 9) is (F32 if quantisation == "F32" else F16)
    assert text_type("blk.0.attn_norm.weight", (64,), chosen, TextRules(32, 4)) is F32


def test_cross_layers_follow_the_text_but_keys_and_values_stay_fine() -> None:
    text, vision = QUANTISATIONS["Q4_K_M"], QUANTISATIONS["BF16"]

    def kind(name: str, *shape: int) -> str:
        return mmproj_type(name, shape, text, vision, cross_layers=8).name

    assert kind("v.blk.0.attn_q.weight", 1280, 1280) == "BF16"
    assert kind("cross.blk.1.attn_q.weight", 4096, 4096) == "Q4_K"
    assert kind("cross.blk.1.attn_k.weight", 4096, 1024) == "Q8_0"
    downs = [kind(f"cross.blk.{i}.ffn_down.weight", 14336, 4096) for i in range(8)]
    assert downs == ["Q6_K", "Q4_K", "Q4_K", "Q6_K", "Q4_K", "Q4_K", "Q6_K", "Q6_K"]


def test_rows_that_are_no_whole_blocks_fall_back() -> None:
    assert fitting(Q8_0, 588) is F16
    assert fitting(Q8_0, 64) is Q8_0
    assert fitting(Q4_K, 64).name == "Q5_0"
    assert fitting(IQ4_XS, 64).name == "IQ4_NL"


def test_an_unknown_quantisation_names_the_known_ones() -> None:
    assert parse_quantisation("q8_0").name == "Q8_0"
    with pytest.raises(UsageError, match="Q9_9") as caught:
        parse_quantisation("Q9_9")
    assert "Q8_0" in caught.value.hint

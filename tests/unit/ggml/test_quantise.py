"""Rounding: exact where it can be, bounded where not, and an independent library agrees."""

from __future__ import annotations

import numpy as np
import pytest

from llavao1_edge.ggml.quantise import from_bf16, quantise, to_bf16
from llavao1_edge.ggml.types import BF16, F16, F32, Q8_0, STORAGE_TYPES

ROWS = np.random.default_rng(0).standard_normal((5, 64)).astype(np.float32)


def test_f32_is_untouched() -> None:
    assert quantise(ROWS, F32).tobytes() == ROWS.tobytes()


def test_f16_rounds_to_nearest_and_refuses_overflow() -> None:
    assert quantise(ROWS, F16).tobytes() == ROWS.astype(np.float16).tobytes()
    with pytest.raises(OverflowError, match="70000"):
        quantise(np.full((1, 32), 70000, dtype=np.float32), F16)


def test_bf16_keeps_what_it_can_hold_and_rounds_to_even() -> None:
    exact = from_bf16(to_bf16(ROWS))
    assert np.array_equal(from_bf16(to_bf16(exact)), exact)
    assert np.abs(exact - ROWS).max() <= np.abs(ROWS).max() / 256
    halfway = np.array([[1 + 2**-8, 1 + 3 * 2**-8]], dtype=np.float32)
    assert from_bf16(to_bf16(halfway)).tolist() == [[1.0, 1 + 2**-6]]
    assert quantise(ROWS, BF16).nbytes == ROWS.size * 2


def test_an_independent_library_quantises_alike() -> None:
    gguf = pytest.importorskip("gguf", reason="the gguf package is not installed")
    wanted = gguf.quants.quantize(ROWS, gguf.GGMLQuantizationType.Q8_0)
    ours = quantise(ROWS, Q8_0)
    values = gguf.quants.dequantize(ours.reshape(5, -1), gguf.GGMLQuantizationType.Q8_0)
    assert np.abs(values - ROWS).max() < np.abs(ROWS).max() / 127
    assert np.mean(ours == wanted) > 0.98  # scales are rounded alike, halves may differ


def test_block_sizes_agree_with_the_independent_library() -> None:
    gguf = pytest.importorskip("gguf", reason="the gguf package is not installed")
    for number, kind in STORAGE_TYPES.items():
        block, n_bytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(number)]
        assert (kind.block, kind.block_bytes) == (block, n_bytes)

"""Where the cross layers' matrices lie, and the cells behind the last token that nobody sees."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from llavao1_edge import Engine
from llavao1_edge.errors import OutOfMemory
from llavao1_edge.ggml import library as c
from llavao1_edge.ggml.backend import Backend, cpu_device
from llavao1_edge.ggml.trial import name_of, safe_kinds
from llavao1_edge.images import open_picture
from llavao1_edge.mllama import cross, weights
from llavao1_edge.mllama.encoder import of_text_rows
from llavao1_edge.mllama.shape import in_sixteens
from tests.configurations import CONFIGURATIONS, picture_for

Open = Callable[..., Engine]
PICTURE = open_picture(picture_for(CONFIGURATIONS["base"], 1, 2, seed=1))
QUESTION = "What is in the picture, and how many?"


def logits(engine: Engine) -> NDArray[np.float32]:
    return engine.prompt_logits(PICTURE, QUESTION).logits


def difference(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def kinds(engine: Engine) -> list[str]:
    """Names of the memory in which the matrices for rows of text lie."""
    encoder = engine.runtime.vision.encoder  # type: ignore[attr-defined]
    shape = engine.runtime.vision.shape  # type: ignore[attr-defined]
    buffers = [encoder.weights[name].struct.buffer for name in of_text_rows(shape)]
    return [name_of(c.ggml_backend_buffer_get_type(buffer)) for buffer in buffers]


@pytest.fixture
def in_the_file(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From its call on no processor has memory of its own kind."""
    return lambda: monkeypatch.setattr(weights, "safe_kinds", lambda _: [])


def test_matrices_lie_where_llama_cpp_puts_its_own(
    open_tiny: Open, in_the_file: Callable[[], None]
) -> None:
    fast = open_tiny(quantisation="Q4_0")
    backend = Backend(cpu_device(), n_threads=1)
    extra = [name_of(kind) for kind in safe_kinds(backend)]
    backend.close()
    if "CPU_REPACK" in extra:  # a build for a processor without it says so itself
        assert set(kinds(fast)) & set(extra)
    found = logits(fast)
    in_the_file()
    plain = open_tiny(quantisation="Q4_0")
    assert not set(kinds(plain)) & set(extra)
    # Both round the rows to eight bits, in another order.
    assert difference(found, logits(plain)) < 0.03


@pytest.mark.parametrize("quantisation", ["F32", "F16"])
def test_matrices_that_no_other_memory_takes_stay_in_the_file(
    open_tiny: Open, quantisation: str
) -> None:
    assert all("REPACK" not in kind for kind in kinds(open_tiny(quantisation=quantisation)))


def test_no_memory_for_them_is_no_crash(
    pair_of: Callable[..., tuple[Path, Path]], open_tiny: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OutOfMemory("not enough memory for the cross layers' weights")

    monkeypatch.setattr(Backend, "allocate_in", full)
    monkeypatch.setattr(weights, "safe_kinds", lambda _: [1])
    monkeypatch.setattr(Backend, "multiplies_from", lambda *_: True)
    with pytest.raises(OutOfMemory, match="cross layers"):
        open_tiny(quantisation="Q4_0")


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_cells_behind_the_last_token_are_seen_by_nobody(
    open_tiny: Open, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever stands there: the logits of as many cells as there are tokens."""
    picture = open_picture(picture_for(CONFIGURATIONS[name], 1, 1, seed=3))
    engine = open_tiny(name)
    states = engine.runtime.vision.states(picture)  # type: ignore[attr-defined]
    padded = states.keys[0].shape[1] - states.n_tokens
    assert padded == -states.n_tokens % 16
    for keys, values in zip(states.keys, states.values, strict=True):
        if padded:
            for tensor, axis in ((keys, 1), (values, 2)):
                content = tensor.read_f32()[0]
                rest = [slice(None)] * 3
                rest[axis] = slice(states.n_tokens, None)
                assert not content[tuple(rest)].any()
                content[tuple(rest)] = 1e3
                tensor.write(content)
    found = engine.prompt_logits(picture, QUESTION).logits
    monkeypatch.setattr(cross, "in_sixteens", lambda n: n)
    monkeypatch.setattr("llavao1_edge.mllama.shape.in_sixteens", lambda n: n)
    exact = open_tiny(name).prompt_logits(picture, QUESTION).logits
    assert difference(found, exact) < 1e-5


def test_sixteens() -> None:
    assert [in_sixteens(n) for n in (1, 15, 16, 17, 1601, 6404)] == [16, 16, 16, 32, 1616, 6416]

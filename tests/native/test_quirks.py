"""Each quirk of the oracle has a test that fails when the quirk is removed.

Every test compares with the golden file twice: as we do it, and with the quirk taken out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from llavao1_convert import routes
from llavao1_convert.conversion import run
from llavao1_convert.planning import plan_conversion
from llavao1_edge import Engine, RuntimeSettings
from llavao1_edge.contract import tensors as names
from llavao1_edge.ggml.graph import Plan
from llavao1_edge.ggml.library import Address, c_function
from llavao1_edge.ggml.tensor import Tensor
from llavao1_edge.images import open_picture
from llavao1_edge.mllama import cross, injection, vision
from tests.configurations import CONFIGURATIONS, QUESTION, picture_for
from tests.native.test_golden import difference, golden

GRID = (1, 2)  # two of four tiles: padding tiles exist
MATCH, MISS = 1e-4, 3e-3


@c_function
def ggml_gelu(ctx: Address, a: Address) -> Address:
    """The tanh form, which we do not use."""
    raise AssertionError


def error_of(engine: Engine, *, rows: slice = slice(None)) -> float:
    picture = open_picture(picture_for(CONFIGURATIONS["base"], *GRID))
    ours = engine.prompt_logits(picture, QUESTION).logits
    return difference(ours[rows], golden()[f"base/{GRID[0]}x{GRID[1]}/logits"][rows])


@pytest.fixture
def checked(open_tiny: Callable[..., Engine]) -> Callable[..., Engine]:
    """Opens an engine after asserting that, left alone, it equals the oracle."""
    assert error_of(open_tiny()) < MATCH
    return open_tiny


def test_padding_is_seen_by_the_tower(
    checked: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = vision._Pass._blocks

    def without(self: vision._Pass, heads: int) -> list[tuple[int, int, int]]:
        return [(at, n, min(keys, self.n_valid)) for at, n, keys in blocks(self, heads)]

    monkeypatch.setattr(vision._Pass, "_blocks", without)
    assert error_of(checked()) > MISS


def test_padding_queries_do_not_see_padding(
    checked: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = vision._Pass._blocks

    def without(self: vision._Pass, heads: int) -> list[tuple[int, int, int]]:
        return [(at, n, self.n_rows) for at, n, _ in blocks(self, heads)]

    monkeypatch.setattr(vision._Pass, "_blocks", without)
    assert error_of(checked()) > MISS


def test_rows_before_the_picture_see_all_tile_slots(
    checked: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = injection.Segment.visibility.fget
    assert whole is not None

    def without(self: injection.Segment) -> cross.Visibility:
        assert self.states is not None
        return replace(whole(self), n_keys=self.states.n_valid)

    monkeypatch.setattr(injection.Segment, "visibility", property(without))
    engine = checked()
    assert error_of(engine, rows=slice(0, 5)) > MISS


def test_rows_before_the_picture_have_no_mlp_branch(
    checked: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = injection.Segment.visibility.fget
    assert whole is not None
    monkeypatch.setattr(
        injection.Segment, "visibility", property(lambda self: replace(whole(self), mlp=True))
    )
    engine = checked()
    assert error_of(engine, rows=slice(0, 5)) > MISS


def test_intermediate_states_enter_their_layer(checked: Callable[..., Engine]) -> None:
    engine = checked()
    runtime = engine.runtime
    later = replace(
        runtime.vision.shape,
        intermediate=tuple(index + 1 for index in runtime.vision.shape.intermediate),
    )
    later = replace(later, intermediate=(1, 2))  # one layer late, as transformers >= 4.56 has it
    runtime.vision.encoder.tower._shape = later
    assert error_of(engine) > MISS


def test_the_projector_interleaves_intermediate_states(
    checked: Callable[..., Engine],
    checkpoint_of: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = routes._projector

    def side_by_side(shape: routes.Hyperparameters) -> list[routes.Route]:
        width = shape.vision.width
        changed = []
        for route in original(shape):
            at = 0
            if route.name != names.PROJECT_GLOBAL:
                at = width * (1 + int(route.name.split(".")[2]))
            changed.append(replace(route, columns=slice(at, at + width)))
        return changed

    checked()
    monkeypatch.setattr(routes, "_projector", side_by_side)
    plan = plan_conversion(
        checkpoint_of("base"), tmp_path, text_quantisation="F32", vision_quantisation="F32"
    )
    for _ in run(plan):
        pass
    settings = RuntimeSettings(gpu_layers=0)
    with Engine.open(text=plan.text.path, mmproj=plan.mmproj.path, settings=settings) as engine:
        assert error_of(engine) > MISS


def test_gelu_is_the_erf_form(
    checked: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    def tanh_form(self: Plan, x: Tensor) -> Tensor:
        return Tensor(ggml_gelu(self._arena.address, x.address))

    assert error_of(checked()) < 1e-5
    monkeypatch.setattr(Plan, "gelu", tanh_form)
    # The two forms differ by less than 1e-3, so both bars are lower here.
    assert error_of(checked()) > 5e-5


def test_missing_hooks_are_an_error(open_tiny: Callable[..., Engine]) -> None:
    from llavao1_edge.errors import BackendError

    engine = open_tiny()
    engine.runtime.vision.injection._names = {b"no_such_node": 0}
    with pytest.raises(BackendError, match="l_out-0"):
        error_of(engine)

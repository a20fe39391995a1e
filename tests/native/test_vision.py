"""Every form of the vision tower's arithmetic gives the same states, and merging is exact."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from llavao1_convert.conversion import run
from llavao1_convert.planning import plan_conversion
from llavao1_edge import Engine, RuntimeSettings
from llavao1_edge.engine.runtime import Runtime
from llavao1_edge.ggml.types import Q8_0
from llavao1_edge.images import tile_picture
from llavao1_edge.mllama import tuning
from llavao1_edge.mllama.arithmetic import BLAS, BLOCKS, FUSED, Arithmetic, measure
from llavao1_edge.mllama.attention import Blas
from llavao1_edge.mllama.vision import VisionTower
from tests.configurations import CONFIGURATIONS, padded_picture, picture_for
from tests.tiny import Tiny, arrangements, save, save_safetensors, weights

BASE = CONFIGURATIONS["base"]
TABLES = ("tile_embedding.weight", "tile_positional_embedding.embedding.weight")
ForRuntime = Callable[[str], Runtime]


def as_trained(tiny: Tiny) -> dict[str, NDArray[np.float32]]:
    """Rows of tiles that an arrangement does not use are zero, as in real checkpoints."""
    made = weights(tiny)
    for name, values in made.items():
        if name.endswith(TABLES):
            tiles = values.reshape(len(values), tiny.max_tiles, -1)
            tiles[0] = 0
            for identity, (rows, columns) in enumerate(arrangements(tiny.max_tiles), 1):
                tiles[identity, rows * columns :] = 0
    return made


@pytest.fixture(scope="module")
def open_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForRuntime]:
    opened: dict[str, Engine] = {}

    def make(kind: str) -> Runtime:
        """kind: storage type; `random` has tables that differ between empty tiles."""
        if kind not in opened:
            folder = tmp_path_factory.mktemp(kind)
            source = save(BASE, folder / "tiny")
            if kind != "random":
                save_safetensors(as_trained(BASE), source / "model.safetensors")
            chosen = "F32" if kind == "random" else kind
            plan = plan_conversion(
                source, folder, text_quantisation=chosen, vision_quantisation=chosen
            )
            for _ in run(plan):
                pass
            opened[kind] = Engine.open(
                text=plan.text.path,
                mmproj=plan.mmproj.path,
                settings=RuntimeSettings(gpu_layers=0, context=256),
            )
        return opened[kind].runtime

    yield make
    for engine in opened.values():
        engine.close()


def states(
    runtime: Runtime, grid: tuple[int, int] | None, arithmetic: Arithmetic, *, merge: bool = True
) -> NDArray[np.float32]:
    image = padded_picture(BASE) if grid is None else picture_for(BASE, *grid)
    tiled = tile_picture(image, rules=runtime.vision.shape.tiling)
    tower = VisionTower(
        runtime.vision.shape,
        runtime.vision.encoder.weights,
        runtime.vision.encoder.backend,
        arithmetic=arithmetic,
        merge=merge,
    )
    made = tower.encode(tiled)
    values = made.tokens.read_f32()
    made.close()
    return values


GRIDS = [None, (1, 1), (1, 2), (2, 1), (1, 3), (2, 2)]


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("form", [FUSED, BLAS])
def test_forms_of_attention_agree(
    form: str, grid: tuple[int, int] | None, open_pair: ForRuntime
) -> None:
    runtime = open_pair("F32")
    wanted = states(runtime, grid, Arithmetic(attention=BLOCKS))
    found = states(runtime, grid, Arithmetic(attention=form), merge=False)
    np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0"])
def test_products_in_blas_agree(
    kind: str, grid: tuple[int, int] | None, open_pair: ForRuntime
) -> None:
    """Whatever the weights are stored in, they are multiplied as F32."""
    runtime = open_pair(kind)
    wanted = states(runtime, grid, Arithmetic(quantised="F32"))
    blas = Arithmetic(attention=BLAS, linear=BLAS, quantised="F32")
    for merge in (False, True):
        found = states(runtime, grid, blas, merge=merge)
        np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("grid", GRIDS)
def test_empty_tiles_are_computed_once(
    grid: tuple[int, int] | None, open_pair: ForRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the rows of a picture of one tile, and the same states."""
    runtime, blas = open_pair("F32"), Arithmetic(attention=BLAS)
    rows = []
    attend = Blas.attend

    def counted(self: Blas, q: NDArray[np.float32], *rest: NDArray[np.float32]) -> None:
        rows.append(len(q))
        attend(self, q, *rest)

    monkeypatch.setattr(Blas, "attend", counted)
    wanted = states(runtime, grid, blas, merge=False)
    full, rows[:] = sum(rows), []
    found = states(runtime, grid, blas)
    np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())
    n_tiles = 1 if grid is None else grid[0] * grid[1]
    computed = min(4, n_tiles + 1) if n_tiles < 3 else 4
    if grid is not None:
        assert sum(rows) * 4 == full * computed
    else:
        assert sum(rows) <= full


@pytest.mark.parametrize("size", [0.1, 3.0, 40.0])
def test_scores_of_any_size(size: float) -> None:
    """With and without the pass that finds the largest score; also scores that would overflow."""
    rng = np.random.default_rng(2)
    q, k, v = (rng.standard_normal((n, 32)).astype(np.float32) for n in (37, 50, 50))
    q, k = q * np.float32(size), k * np.float32(size)
    weights = rng.integers(1, 4, 50).astype(np.float32)
    out = np.empty_like(q)
    with Blas(heads=2, n_threads=2) as blas:
        blas.attend(q, k, v, weights, out)
    for head in range(2):
        part = slice(16 * head, 16 * head + 16)
        scores = (q[:, part].astype(np.float64) @ k[:, part].T.astype(np.float64)) / 4
        shares = np.exp(scores - scores.max(axis=1, keepdims=True)) * weights
        wanted = shares / shares.sum(axis=1, keepdims=True) @ v[:, part]
        np.testing.assert_allclose(out[:, part], wanted, atol=2e-4 if size > 10 else 2e-5)


def test_keys_and_values_of_equal_tiles_are_copies(open_pair: ForRuntime) -> None:
    runtime = open_pair("F32")
    tiled = tile_picture(picture_for(BASE, 1, 1), rules=runtime.vision.shape.tiling)
    found = []
    for merge in (False, True):
        tower = VisionTower(
            runtime.vision.shape,
            runtime.vision.encoder.weights,
            runtime.vision.encoder.backend,
            arithmetic=Arithmetic(attention=BLAS),
            merge=merge,
        )
        made = tower.encode(tiled)
        assert made.n_distinct == runtime.vision.shape.n_tokens // (2 if merge else 1)
        cross = runtime.vision.encoder.layers.states(made, n_tiles=1, f32=True)
        found.append([t.read_f32() for t in (*cross.keys, *cross.values)])
        cross.close()
        made.close()
    for whole, merged in zip(*found, strict=True):
        np.testing.assert_allclose(merged, whole, atol=1e-5 * np.abs(whole).max())


def test_tables_that_a_fine_tune_has_moved_are_not_merged(
    open_pair: ForRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime, blas = open_pair("random"), Arithmetic(attention=BLAS)
    whole = states(runtime, (1, 1), blas, merge=False)
    np.testing.assert_array_equal(states(runtime, (1, 1), blas), whole)
    # The check is what keeps it right: without it, the states would be others.
    from llavao1_edge.mllama import vision

    monkeypatch.setattr(vision._Pass, "_empty_tiles_are_equal", lambda _: True)
    assert np.abs(states(runtime, (1, 1), blas) - whole).max() > 1e-2


@pytest.mark.parametrize(("kind", "tolerance"), [("BF16", 0.02), ("Q8_0", 0.03)])
@pytest.mark.parametrize("numbers", ["F32", "BF16", "stored"])
def test_number_types_agree_roughly(
    kind: str, tolerance: float, numbers: str, open_pair: ForRuntime
) -> None:
    runtime = open_pair(kind)
    exact = states(runtime, (1, 2), Arithmetic(quantised="F32", bf16="F32"))
    found = states(runtime, (1, 2), Arithmetic(quantised=numbers, bf16=numbers))
    assert np.abs(found - exact).max() <= tolerance * np.abs(exact).max()
    assert (numbers == "F32") == bool((found == exact).all())


def test_plain_weights_are_never_narrowed(open_pair: ForRuntime) -> None:
    """F32 and F16 files compute in F32, whatever would be faster."""
    for kind in ("F32", "F16"):
        runtime = open_pair(kind)
        wanted = states(runtime, (1, 1), Arithmetic())
        narrow = Arithmetic(quantised="BF16", bf16="stored")
        np.testing.assert_array_equal(states(runtime, (1, 1), narrow), wanted)


def test_the_choice_is_measured_once_and_kept(
    open_pair: ForRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = open_pair("Q8_0")
    monkeypatch.setattr(tuning, "_path", lambda: tmp_path / "x" / "tuning.json")
    assert (
        tuning.tuned(runtime.vision.encoder.backend, runtime.vision.shape, Q8_0) == Arithmetic()
    )  # too small to care
    monkeypatch.setattr(tuning, "worth_measuring", lambda *_: True)
    measured = []

    def counting(*arguments: object) -> Arithmetic:
        measured.append(arguments)
        return measure(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(tuning, "measure", counting)
    first = tuning.tuned(runtime.vision.encoder.backend, runtime.vision.shape, Q8_0)
    assert tuning.tuned(runtime.vision.encoder.backend, runtime.vision.shape, Q8_0) == first
    assert len(measured) == 1
    for damage in ("", "[]", "{}", "nonsense"):
        (tmp_path / "x" / "tuning.json").write_text(damage, encoding="utf-8")
        tuning.tuned(runtime.vision.encoder.backend, runtime.vision.shape, Q8_0)
    assert len(measured) == 5

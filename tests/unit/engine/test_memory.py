"""The memory plan: what is given up first, what is refused, and what it says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llavao1_edge.engine.machine import Machine
from llavao1_edge.engine.memory import SMALLEST_CONTEXT, fit
from llavao1_edge.engine.sizes import DraftSizes, Part, Sizes
from llavao1_edge.errors import BackendError
from llavao1_edge.settings import RuntimeSettings

GB = 10**9
# About the 11B model at Q4_K_M with vision at Q8_0.
ELEVEN = Sizes(
    text=4_900_000_000,
    reordered=3_300_000_000,
    per_layer=130_000_000,
    n_layers=32,
    head=430_000_000,
    mmproj=2_000_000_000,
    per_cell=131_072,
    picture=210_000_000,
    vision=500_000_000,
    decoding=110_000_000,
    per_candidate=2_100_000,
    context_length=131_072,
    compute=93_000_000,
)
AUTO = RuntimeSettings()


def test_a_large_machine_gets_everything() -> None:
    plan = fit(ELEVEN, Machine(64 * GB, 64 * GB), AUTO, width=16)
    assert (plan.n_ctx, plan.width, plan.given_up) == (4096 + 15 * 640, 16, ())
    assert (plan.gpu_layers, plan.vision_on_gpu, plan.gpu) == (0, False, 0)
    assert plan.resident == plan.needed + ELEVEN.reordered


def test_candidates_go_first_then_the_context() -> None:
    needs = fit(ELEVEN, Machine(64 * GB, 64 * GB), AUTO, width=1).needed
    some = fit(ELEVEN, Machine(int((needs + 0.6 * GB) / 0.96), 16 * GB), AUTO, width=16)
    assert 1 < some.width < 16
    assert "of 16 candidates" in some.given_up[0]
    less = fit(ELEVEN, Machine(int((needs - 0.1 * GB) / 0.96), 16 * GB), AUTO, width=16)
    assert less.width == 1
    assert SMALLEST_CONTEXT <= less.n_ctx < 4096
    assert any("context" in what for what in less.given_up)


def test_too_little_names_the_shortfall_and_the_next_quantisation() -> None:
    with pytest.raises(BackendError, match=r"needs 7\.\d+ GB.*short") as caught:
        fit(ELEVEN, Machine(7_500_000_000, 8 * GB), AUTO, width=1, quantisation="Q4_K_M")
    assert "--quant IQ4_XS" in caught.value.hint
    with pytest.raises(BackendError) as caught:
        fit(ELEVEN, Machine(3 * GB, 8 * GB), AUTO, width=1, quantisation="Q4_K_M")
    assert "--memory-check off" in caught.value.hint
    plan = fit(ELEVEN, Machine(3 * GB, 8 * GB), RuntimeSettings(memory_check="off"), width=2)
    assert plan.width == 2


def test_a_given_context_is_kept() -> None:
    settings = RuntimeSettings(context=8192)
    assert fit(ELEVEN, Machine(64 * GB, 64 * GB), settings, width=4).n_ctx == 8192
    with pytest.raises(BackendError):
        fit(ELEVEN, Machine(8 * GB, 8 * GB), settings, width=4)


@pytest.mark.parametrize(
    ("gpu", "layers", "vision"),
    [(24.0, 33, True), (8.0, 26, True), (6.0, 16, True), (3.0, 11, False), (0.5, 0, False)],
)
def test_what_goes_to_the_gpu(gpu: float, layers: int, vision: bool) -> None:
    machine = Machine(32 * GB, 32 * GB, int(gpu * GB))
    plan = fit(ELEVEN, machine, AUTO, width=4)
    assert plan.vision_on_gpu is vision
    assert abs(plan.gpu_layers - layers) <= 4
    assert plan.gpu <= gpu * GB
    assert bool(plan.given_up) is (gpu < 10)
    if layers == 33:
        assert plan.parts[Part.TEXT] < 0.4 * GB


def test_the_gpu_is_left_alone_where_nobody_wants_it() -> None:
    machine = Machine(32 * GB, 32 * GB, 24 * GB)
    plan = fit(ELEVEN, machine, RuntimeSettings(gpu_layers=0), width=1)
    assert (plan.gpu, plan.gpu_layers, plan.vision_on_gpu) == (0, 0, False)
    few = fit(ELEVEN, machine, RuntimeSettings(gpu_layers=7), width=1)
    assert few.gpu_layers == 7


def test_a_gpu_that_shares_the_memory_is_not_counted_twice() -> None:
    shared = Machine(9 * GB, 16 * GB, 9 * GB, gpu_shared=True)
    plan = fit(ELEVEN, shared, AUTO, width=1)
    assert plan.gpu == 0 or plan.needed + plan.gpu <= 9 * GB
    large = replace(shared, free=32 * GB, gpu_free=32 * GB)
    assert fit(ELEVEN, large, AUTO, width=1).vision_on_gpu


def test_a_draft_model_goes_where_the_layers_go() -> None:
    """One of a billion weights: on the CPU it is counted, on a GPU it comes before layers, which
    it takes the room of; where no layer has room it stays on the CPU too."""
    one_b = DraftSizes(800_000_000, 500_000_000, 32_768, 20_000_000, 80_000_000)
    with_draft = replace(ELEVEN, draft=one_b)
    on_cpu = Machine(32 * GB, 32 * GB)
    plans = [fit(found, on_cpu, AUTO, width=4) for found in (ELEVEN, with_draft)]
    draft = one_b.on_cpu(plans[1].n_ctx)
    assert plans[1].needed == plans[0].needed + draft
    assert plans[1].parts[Part.DRAFT] == draft
    assert plans[1].mapped == plans[0].mapped + one_b.reordered
    for gpu in (8, 24):
        there = replace(on_cpu, gpu_free=gpu * GB)
        alone, both = (fit(found, there, AUTO, width=4) for found in (ELEVEN, with_draft))
        assert both.draft_on_gpu
        assert both.parts[Part.DRAFT] == 0
        assert both.gpu <= gpu * GB
        if gpu == 24:
            assert both.gpu == alone.gpu + one_b.on_gpu(both.n_ctx)
            assert both.mapped == alone.mapped
        else:
            assert both.gpu_layers < alone.gpu_layers
    small = fit(with_draft, replace(on_cpu, gpu_free=GB // 2), AUTO, width=4)
    assert (small.gpu_layers, small.draft_on_gpu, small.parts[Part.DRAFT]) == (0, False, draft)
    tight = fit(with_draft, replace(on_cpu, gpu_free=int(1.9 * GB)), AUTO, width=4)
    assert tight.gpu_layers
    assert not tight.draft_on_gpu
    assert any("draft model" in what for what in tight.given_up)
    with pytest.raises(BackendError) as caught:
        fit(with_draft, Machine(int(8.3 * GB), 32 * GB), AUTO, width=1)
    assert "--draft" in str(caught.value.hint)
    for layers in (0, 7):
        given = fit(with_draft, there, RuntimeSettings(gpu_layers=layers), width=4)
        assert given.draft_on_gpu is bool(layers)


def test_the_compute_buffer_of_each_device_is_counted() -> None:
    """It grows with the batch: 1.5 GB at 2048 rows for the 11B model."""
    machine = Machine(32 * GB, 32 * GB, 8 * GB)
    usual = fit(ELEVEN, machine, AUTO, width=1)
    wide = fit(replace(ELEVEN, compute=16 * ELEVEN.compute), machine, AUTO, width=1)
    assert wide.gpu_layers < usual.gpu_layers
    assert wide.gpu + 16 * ELEVEN.compute <= 8 * GB


def test_several_gpus_count_together_but_one_reads_the_pictures() -> None:
    two = Machine(32 * GB, 32 * GB, 8 * GB, n_gpus=2, reader_free=4 * GB)
    one = Machine(32 * GB, 32 * GB, 8 * GB)
    small = replace(two, reader_free=2 * GB)
    assert fit(ELEVEN, two, AUTO, width=1).vision_on_gpu
    assert not fit(ELEVEN, small, AUTO, width=1).vision_on_gpu
    assert fit(ELEVEN, two, AUTO, width=1).gpu_layers < fit(ELEVEN, one, AUTO, width=1).gpu_layers


def test_a_reader_of_its_own_takes_nothing_from_the_layers() -> None:
    """With pictures on another GPU there is as much room for layers as with pictures on the CPU."""
    on_cpu = Machine(32 * GB, 32 * GB, 4 * GB, reader_free=None)
    apart = replace(on_cpu, reader_free=24 * GB, reader_apart=True)
    shared = replace(on_cpu, reader_free=4 * GB)
    plans = [fit(ELEVEN, machine, AUTO, width=1) for machine in (on_cpu, apart, shared)]
    assert plans[0].gpu_layers == plans[1].gpu_layers > plans[2].gpu_layers
    assert [plan.vision_on_gpu for plan in plans] == [False, True, True]


def test_pictures_are_read_where_the_user_says() -> None:
    on_cpu = Machine(32 * GB, 32 * GB, 24 * GB, reader_free=None)
    plan = fit(ELEVEN, on_cpu, RuntimeSettings(mmproj_device="cpu"), width=1)
    assert (plan.gpu_layers, plan.vision_on_gpu, plan.given_up) == (33, False, ())
    there = Machine(32 * GB, 32 * GB, 24 * GB)
    settings = RuntimeSettings(gpu_layers=0, mmproj_device="GPU0")
    plan = fit(ELEVEN, there, settings, width=1)
    assert (plan.gpu_layers, plan.vision_on_gpu) == (0, True)


def test_a_container_has_what_its_limit_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llavao1_edge.engine import machine

    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    assert machine._container() is None
    (tmp_path / "memory.max").write_text("10000000000\n", encoding="ascii")
    (tmp_path / "memory.current").write_text("9500000000\n", encoding="ascii")
    statistics = "anon 1\nactive_file 8000000000\ninactive_file 500000000\n"
    (tmp_path / "memory.stat").write_text(statistics, encoding="ascii")
    assert machine._container() == (9 * GB, 10 * GB)
    (tmp_path / "memory.max").write_text("max\n", encoding="ascii")
    assert machine._container() is None


@given(
    free=st.integers(1, 64 * GB),
    gpu=st.one_of(st.none(), st.integers(0, 64 * GB)),
    width=st.integers(1, 64),
    scale=st.floats(0.01, 4),
)
def test_what_is_planned_fits_or_is_refused(
    free: int, gpu: int | None, width: int, scale: float
) -> None:
    found = replace(ELEVEN, text=int(ELEVEN.text * scale), mmproj=int(ELEVEN.mmproj * scale))
    try:
        plan = fit(found, Machine(free, free, gpu), AUTO, width=width)
    except BackendError:
        return
    assert plan.needed <= free
    assert 1 <= plan.width <= width
    assert plan.n_ctx >= SMALLEST_CONTEXT
    assert gpu is None or plan.gpu <= max(0, gpu)
    assert all(size >= 0 for size in plan.parts.values())
    assert (plan.width < width) == any("candidates" in what for what in plan.given_up)
    assert plan.lines()

"""Where memory is short: less at a time, then another device, and the same answer."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from llavao1_edge import Engine, RuntimeSettings, SamplingSettings, StageBeam, demo
from llavao1_edge.devices import Chosen
from llavao1_edge.engine import runtime as runtime_module
from llavao1_edge.engine.machine import Machine
from llavao1_edge.engine.sizes import Part
from llavao1_edge.errors import BackendError, OutOfMemory
from llavao1_edge.ggml.backend import GPU, Backend, Device, cpu_device
from llavao1_edge.ggml.graph import Scratch
from tests.configurations import CONFIGURATIONS, picture_for

GB = 10**9
SETTINGS = RuntimeSettings(gpu_layers=0, context=256)


def picture(seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    picture_for(CONFIGURATIONS["base"], 1, 2, seed=seed).save(buffer, "PNG")
    return buffer.getvalue()


def logits(engine: Engine, seed: int = 0) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return engine.prompt_logits(picture(seed), "Hi?").logits


def fail(patch: pytest.MonkeyPatch, times: int) -> list[int]:
    """The next `times` graphs find no memory."""
    left = [times]
    allocate = Scratch.allocate

    def short(self: Scratch, graph: int) -> None:
        if left[0] > 0:
            left[0] -= 1
            raise OutOfMemory("not enough memory to compute a graph")
        allocate(self, graph)

    patch.setattr(Scratch, "allocate", short)
    return left


@pytest.mark.parametrize("times", [1, 2])
def test_a_picture_is_read_with_less_at_a_time(
    times: int, pair_of: Callable[..., tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    text, mmproj = pair_of("base")
    with Engine.open(text=text, mmproj=mmproj, settings=SETTINGS) as engine:
        wanted = logits(engine)
        # Another picture is kept, so that the first thing to give up is there.
        logits(engine, seed=1)
        engine.runtime.vision.forget_pictures()
        logits(engine, seed=1)
        left = fail(monkeypatch, times)
        with caplog.at_level(logging.WARNING):
            found = logits(engine)
        assert left == [0]
        np.testing.assert_allclose(found, wanted, atol=1e-5)
        assert "trying again with less" in caplog.text
        # The engine goes on as before.
        np.testing.assert_allclose(logits(engine, seed=1), logits(engine, seed=1))


def test_where_nothing_helps_it_is_an_error_and_the_engine_lives(
    pair_of: Callable[..., tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    text, mmproj = pair_of("base")
    with Engine.open(text=text, mmproj=mmproj, settings=SETTINGS) as engine:
        wanted = logits(engine)
        engine.runtime.vision.forget_pictures()
        with monkeypatch.context() as patch:
            fail(patch, 99)
            with pytest.raises(OutOfMemory):
                logits(engine)
        np.testing.assert_array_equal(logits(engine), wanted)


def test_from_a_full_gpu_to_the_cpu(
    pair_of: Callable[..., tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CPU that says it is a GPU, and that has no memory for graphs."""
    text, mmproj = pair_of("base")
    with Engine.open(text=text, mmproj=mmproj, settings=SETTINGS) as engine:
        wanted = logits(engine)
    real = cpu_device()
    pretended = Device(real.address, "GPU0", "pretended", GPU, 8 * GB, 8 * GB)
    monkeypatch.setattr(runtime_module, "choose", lambda *_: Chosen((), pretended, real))
    monkeypatch.setattr(runtime_module, "read_machine", lambda _: Machine(16 * GB, 16 * GB, 8 * GB))
    allocate = Scratch.allocate

    class Full(Scratch):
        def __init__(self, backend: Backend) -> None:
            super().__init__(backend)
            self.full = backend.device.is_gpu

        def allocate(self, graph: int) -> None:
            if self.full:
                raise OutOfMemory("not enough memory to compute a graph")
            allocate(self, graph)

    from llavao1_edge.mllama import vision

    monkeypatch.setattr(vision, "Scratch", Full)
    settings = RuntimeSettings(context=256)
    with Engine.open(text=text, mmproj=mmproj, settings=settings) as engine:
        assert engine.runtime.plan.vision_on_gpu
        assert engine.runtime.vision.encoder.on_gpu
        found = logits(engine)
        assert not engine.runtime.vision.encoder.on_gpu
        np.testing.assert_allclose(found, wanted, atol=1e-4)
        logits(engine, seed=3)


@pytest.mark.parametrize("operation", ["GELU_ERF", "SOFT_MAX", "SWIGLU", "RMS_NORM"])
def test_what_a_device_cannot_compute_is_computed_on_the_cpu(
    operation: str,
    pair_of: Callable[..., tuple[Path, Path]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Asked before the first use, of the tower's graphs and of the cross layers'."""
    from llavao1_edge.ggml import library as c

    text, mmproj = pair_of("base")
    with Engine.open(text=text, mmproj=mmproj, settings=SETTINGS) as engine:
        wanted = logits(engine)
    real = cpu_device()
    pretended = Device(real.address, "GPU0", "pretended", GPU, 8 * GB, 8 * GB)
    monkeypatch.setattr(runtime_module, "choose", lambda *_: Chosen((), pretended, real))
    monkeypatch.setattr(runtime_module, "read_machine", lambda _: Machine(16 * GB, 16 * GB, 8 * GB))
    monkeypatch.setattr(
        Backend, "supports", lambda _, node: c.ggml_op_desc(node.address).decode() != operation
    )
    settings = RuntimeSettings(context=256)
    with Engine.open(text=text, mmproj=mmproj, settings=settings) as engine:
        assert engine.runtime.vision.encoder.on_gpu
        with caplog.at_level(logging.WARNING):
            found = logits(engine)
        assert not engine.runtime.vision.encoder.on_gpu
    assert f"cannot compute {operation}" in caplog.text
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_a_search_that_does_not_fit_runs_in_waves(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    search = StageBeam(candidates=16)
    with Engine.open("demo", settings=RuntimeSettings(gpu_layers=0), search=search) as engine:
        whole = engine.runtime.plan
    cells = whole.parts[Part.CELLS]
    free = whole.needed - cells // 2 + (200 << 20)
    monkeypatch.setattr(runtime_module, "read_machine", lambda _: Machine(free, free))
    sample = demo.samples()[0]
    with caplog.at_level(logging.WARNING):
        with Engine.open("demo", settings=RuntimeSettings(gpu_layers=0), search=search) as engine:
            assert engine.runtime.context.n_ctx < whole.n_ctx
            answer = engine.session(sample.picture).ask(
                sample.question, search=search, sampling=SamplingSettings(temperature=0.5)
            )
    assert "given up" in caplog.text
    assert answer.complete


def test_a_model_that_does_not_fit_is_refused_before_loading(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runtime_module, "read_machine", lambda _: Machine(GB // 4, GB // 4))
    with pytest.raises(BackendError, match="GB short"):
        Engine.open("demo", settings=RuntimeSettings(gpu_layers=0))
    Engine.open("demo", settings=RuntimeSettings(gpu_layers=0, memory_check="off")).close()

"""Puts every engine that the tests open onto a device.

    LLAVAO1_TEST_DEVICE=RPC0 LLAVAO1_TEST_RPC=127.0.0.1:50052 LLAVAO1_PLUGINS=build/plugins \\
        pytest tests/native/test_golden.py

LLAVAO1_TEST_LAYERS: how many layers go there, default: all.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from llavao1_edge.engine.runtime import Runtime
from llavao1_edge.settings import RuntimeSettings

DEVICE = os.environ.get("LLAVAO1_TEST_DEVICE", "")


def settings(given: RuntimeSettings) -> RuntimeSettings:
    """The same on the device."""
    return replace(
        given,
        device=DEVICE,
        mmproj_device=DEVICE.split(",")[0],
        gpu_layers=int(os.environ.get("LLAVAO1_TEST_LAYERS", "999")),
        rpc=os.environ.get("LLAVAO1_TEST_RPC") or None,
    )


def apply() -> None:
    """Does nothing where no device was named."""
    if not DEVICE:
        return
    real = Runtime.__init__

    def opened(self: Runtime, text: Any, mmproj: Any, given: RuntimeSettings, **more: Any) -> None:
        real(self, text, mmproj, settings(given), **more)
        assert self.vision.encoder.on_gpu, "the test ran on the CPU"

    Runtime.__init__ = opened  # type: ignore[method-assign]

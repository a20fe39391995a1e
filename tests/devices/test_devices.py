"""The laws of every device: the CPU's texts at every split, and numbers within named tolerances.

RPC runs everywhere (its plug-in is built in seconds), Vulkan where its plug-in and a driver are.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.devices.conftest import Place

# Largest difference relative to the largest value: (keys and values, logits), with an F16 and with
# an F32 cache. RPC computes with the CPU's kernels in other groups of rows, on F16 weights; Vulkan
# itself rounds products to half precision.
TOLERANCES = {
    "RPC0": {"f16": (2e-3, 1e-3), "f32": (1e-3, 1e-3)},
    "Vulkan0": {"f16": (2e-2, 1e-2), "f32": (2e-2, 1e-2)},
}


@pytest.fixture(params=["rpc", "vulkan"])
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(request.param)
    return found


def test_a_device_computes_what_the_cpu_computes(place: Place) -> None:
    """One process measures everything: opening a device costs more than asking it."""
    arguments = ["-m", "tests.devices.probe", "--device", place.device]
    if place.rpc:
        arguments += ["--rpc", place.rpc]
    done = place.run(*arguments)
    assert done.returncode == 0, done.stderr[-2000:]
    report: dict[str, Any] = json.loads(done.stdout)
    assert set(report["texts"].values()) == {report["questions"]}, "texts differ at a split"
    for cache, (keys, logits) in TOLERANCES[place.device].items():
        numbers = report[cache]
        assert numbers["device"] == place.device
        assert numbers["keys"] < keys
        assert numbers["logits"] < logits
        assert numbers["likeliest_differ"] == 0
    assert set(report["mixed"].values()) == {report["questions"]}
    assert all(report["searches"].values()), report["searches"]
    # A stop ends every part of a split graph at its first node.
    assert report["cancel"]["cancelled"] == report["cancel"]["right_afterwards"] == 1
    assert report["cancel"]["nodes_after"] <= 4
    assert report["out_of_memory"] == {"read_on": "CPU", "same": True}


@pytest.mark.parametrize("layers", ["999", "4"])
def test_the_native_tests_pass_on_a_device(place: Place, layers: str) -> None:
    """Golden numbers of transformers, quirks and the demo, all engines forced onto the device."""
    if place.device != "RPC0":
        pytest.skip("F32 numbers to 1e-4 are more than this device computes with")
    environment = {"LLAVAO1_TEST_DEVICE": place.device, "LLAVAO1_TEST_LAYERS": layers}
    files = [f"tests/native/test_{name}.py" for name in ("golden", "quirks", "demo")]
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", *files]
    done = place.run(*command, **environment, LLAVAO1_TEST_RPC=place.rpc or "")
    assert done.returncode == 0, done.stdout[-3000:]
    assert "passed" in done.stdout

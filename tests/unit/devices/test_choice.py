"""Which devices are taken, and whose memory they use. No device is opened."""

from __future__ import annotations

import pytest

from llavao1_edge.devices import choose
from llavao1_edge.devices.rpc import shares_memory
from llavao1_edge.engine.machine import read_machine
from llavao1_edge.errors import UsageError
from llavao1_edge.ggml.backend import CPU, GPU, INTEGRATED_GPU, Device
from llavao1_edge.settings import RuntimeSettings

GB = 10**9


def device(name: str, kind: int, free: int = 8, description: str = "") -> Device:
    return Device(1, name, description or name, kind, free * GB, free * GB)


PROCESSOR = device("CPU", CPU, 64)
LARGE, SMALL = device("CUDA0", GPU, 24), device("Vulkan1", GPU, 6)
INSIDE = device("Vulkan0", INTEGRATED_GPU, 32)
ALL = [INSIDE, SMALL, LARGE, PROCESSOR]


def names(found: list[Device], **settings: object) -> list[str]:
    chosen = choose(found, RuntimeSettings(**settings))  # type: ignore[arg-type]
    return [each.name for each in chosen.devices]


def test_an_integrated_gpu_is_taken_only_where_there_is_no_other() -> None:
    assert names(ALL) == ["Vulkan1", "CUDA0"]
    assert names([INSIDE, PROCESSOR]) == ["Vulkan0"]
    assert names([PROCESSOR]) == []


def test_names_are_taken_in_their_order_and_in_any_case() -> None:
    assert names(ALL, device="vulkan0, CUDA0") == ["Vulkan0", "CUDA0"]
    assert names(ALL, device="cpu") == names(ALL, device="CPU") == []
    with pytest.raises(UsageError, match="'CUDA7'") as caught:
        names(ALL, device="CUDA0,CUDA7")
    assert "Vulkan0, Vulkan1, CUDA0, CPU" in caught.value.hint


def test_pictures_are_read_where_there_is_most_room_or_where_they_should_be() -> None:
    assert choose(ALL, RuntimeSettings()).reader is LARGE
    assert choose(ALL, RuntimeSettings(mmproj_device="Vulkan1")).reader is SMALL
    assert choose(ALL, RuntimeSettings(mmproj_device="cpu")).reader is PROCESSOR
    assert choose(ALL, RuntimeSettings(device="cpu")).reader is PROCESSOR


def test_the_memory_of_the_chosen_devices() -> None:
    machine = read_machine(choose(ALL, RuntimeSettings()))
    assert (machine.gpu_free, machine.n_gpus, machine.gpu_shared) == (30 * GB, 2, False)
    assert machine.room_to_read == 24 * GB
    assert read_machine(choose([INSIDE, PROCESSOR], RuntimeSettings())).gpu_shared
    apart = read_machine(choose(ALL, RuntimeSettings(mmproj_device="cpu")))
    assert apart.room_to_read is None
    other = read_machine(choose(ALL, RuntimeSettings(device="CUDA0", mmproj_device="Vulkan1")))
    assert (other.reader_apart, other.n_gpus) == (True, 1)
    assert read_machine(choose([PROCESSOR], RuntimeSettings())).gpu_free is None


@pytest.mark.parametrize(
    ("description", "shared"),
    [("127.0.0.1:50052", True), ("localhost:1", True), ("192.168.1.20:50052", False)],
)
def test_a_server_on_this_machine_takes_its_memory(description: str, shared: bool) -> None:
    assert shares_memory(device("RPC0", GPU, description=description)) is shared


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"rpc": "host"}, "HOST:PORT"),
        ({"rpc": "host:99999"}, "HOST:PORT"),
        ({"rpc": "host:x"}, "HOST:PORT"),
        ({"rpc": "host:²"}, "HOST:PORT"),
        ({"rpc": ":50052"}, "HOST:PORT"),
        ({"rpc": " , "}, "HOST:PORT"),
        ({"device": "a,,b"}, "devices"),
        ({"device": ""}, "devices"),
        ({"device": "cpu", "gpu_layers": 3}, "Leave one"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        RuntimeSettings(**settings)  # type: ignore[arg-type]
    assert said in caught.value.hint


def test_servers_are_read() -> None:
    assert RuntimeSettings(rpc="a:1, [::1]:2").servers == (("a", 1), ("::1", 2))
    assert RuntimeSettings().servers == ()

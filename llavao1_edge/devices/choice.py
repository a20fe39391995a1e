"""Which devices an engine computes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llavao1_edge.errors import UsageError
from llavao1_edge.ggml.backend import CPU, GPU, INTEGRATED_GPU, Device
from llavao1_edge.phrases import Phrase
from llavao1_edge.settings import CPU_DEVICE, RuntimeSettings


@dataclass(frozen=True)
class Chosen:
    """devices: for the layers of the text model, empty for the CPU alone; pictures: the one that
    reads pictures if it was named, the CPU's being its own; cpu: always there."""

    devices: tuple[Device, ...]
    pictures: Device | None
    cpu: Device

    @property
    def reader(self) -> Device:
        """The device to read pictures on, if there is room: the one with most of it."""
        if self.pictures is not None:
            return self.pictures
        return max(self.devices, key=lambda device: device.memory_free, default=self.cpu)

    @property
    def cpu_only(self) -> Chosen:
        return Chosen((), self.cpu, self.cpu)


def choose(found: Sequence[Device], settings: RuntimeSettings) -> Chosen:
    """Raises UsageError for a name that is not there."""
    cpu = next(device for device in found if device.kind == CPU)
    if settings.on_cpu:
        devices: tuple[Device, ...] = ()
    elif settings.device is not None:
        devices = tuple(_named(found, name) for name in settings.device.split(","))
    else:
        devices = _usual(found)
    pictures = cpu if settings.on_cpu else None
    if settings.mmproj_device is not None:
        pictures = _named(found, settings.mmproj_device)
    return Chosen(devices, pictures, cpu)


def _usual(found: Sequence[Device]) -> tuple[Device, ...]:
    """As llama.cpp: integrated GPUs are left alone where there is another one."""
    for kind in (GPU, INTEGRATED_GPU):
        devices = tuple(device for device in found if device.kind == kind)
        if devices:
            return devices
    return ()


def _named(found: Sequence[Device], name: str) -> Device:
    wanted = name.strip().lower()
    for device in found:
        if device.name.lower() == wanted or (device.kind == CPU and wanted == CPU_DEVICE):
            return device
    known = ", ".join(device.name for device in found)
    raise UsageError(
        Phrase("there is no device {name}", name=repr(name.strip())),
        hint=Phrase("This machine has: {known}.", known=known),
    )

"""What this machine has free: main memory, and a GPU that llama.cpp can use."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llavao1_edge.ggml.backend import INTEGRATED_GPU, Device

CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Machine:
    """Bytes. gpu_free: None where there is no GPU, or it shares the main memory."""

    free: int
    total: int
    gpu_free: int | None = None
    gpu_name: str = ""


def read_machine(devices: Sequence[Device]) -> Machine:
    """Now. A container's limit counts where it is tighter than the machine's memory."""
    import psutil

    memory = psutil.virtual_memory()
    free, total = int(memory.available), int(memory.total)
    limit = _container()
    if limit is not None:
        free, total = min(free, limit[0]), min(total, limit[1])
    for device in devices:
        if device.is_gpu:
            shared = device.kind == INTEGRATED_GPU
            gpu_free = min(device.memory_free, free) if shared else device.memory_free
            return Machine(free, total, gpu_free, device.description)
    return Machine(free, total)


def _container() -> tuple[int, int] | None:
    """(free, limit) of the control group this process is in, if it has a limit."""
    with contextlib.suppress(OSError, ValueError):
        limit = (CGROUP / "memory.max").read_text(encoding="ascii").strip()
        if limit != "max":
            used = int((CGROUP / "memory.current").read_text(encoding="ascii"))
            cached = _reclaimable()
            return max(0, int(limit) - used + cached), int(limit)
    return None


def _reclaimable() -> int:
    """Pages of files that the kernel gives up when memory is asked for."""
    with contextlib.suppress(OSError, ValueError):
        for line in (CGROUP / "memory.stat").read_text(encoding="ascii").splitlines():
            if line.startswith("inactive_file "):
                return int(line.split()[1])
    return 0


def resident() -> int:
    """Bytes of this process now."""
    import psutil

    return int(psutil.Process(os.getpid()).memory_info().rss)

"""What this machine has free: main memory, and a GPU that llama.cpp can use."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llavao1_edge.ggml.backend import INTEGRATED_GPU, Device

CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Machine:
    """Bytes. gpu_free: None where there is no GPU; gpu_shared: it takes from the main memory."""

    free: int
    total: int
    gpu_free: int | None = None
    gpu_name: str = ""
    gpu_shared: bool = False


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
            shared = device.kind == INTEGRATED_GPU or device.name.startswith(("Metal", "MTL"))
            return Machine(free, total, device.memory_free, device.description, shared)
    return Machine(free, total)


# (limit, used, statistics, words for pages of files) of both versions of control groups.
GROUPS = (
    ("memory.max", "memory.current", "memory.stat", ("inactive_file", "active_file")),
    (
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
        ("total_inactive_file", "total_active_file"),
    ),
)


def _container() -> tuple[int, int] | None:
    """(free, limit) of the control group this process is in, if it has a limit."""
    for limit_file, used_file, statistics, words in GROUPS:
        with contextlib.suppress(OSError, ValueError):
            limit = (CGROUP / limit_file).read_text(encoding="ascii").strip()
            if limit == "max" or int(limit) >= 1 << 60:
                return None
            used = int((CGROUP / used_file).read_text(encoding="ascii"))
            text = (CGROUP / statistics).read_text(encoding="ascii")
            found = dict(line.split(maxsplit=1) for line in text.splitlines() if " " in line)
            # Pages of files are given up when memory is asked for.
            cached = sum(int(found.get(word, 0)) for word in words)
            return max(0, int(limit) - used + cached), int(limit)
    return None

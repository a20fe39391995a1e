"""What this machine has free: main memory, and the memory of the devices that were chosen."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from llavao1_edge.devices import Chosen, choose, machine_devices
from llavao1_edge.devices.rpc import shares_memory
from llavao1_edge.settings import RuntimeSettings

CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Machine:
    """Bytes. gpu_free: of all chosen GPUs together, None without any; gpu_shared: they take it from
    the main memory; reader_free: of the one that would read pictures, None where that is the CPU's
    part (left out: the same as gpu_free). n_gpus: those that layers go to; reader_apart: pictures
    are read on another one."""

    free: int
    total: int
    gpu_free: int | None = None
    gpu_shared: bool = False
    n_gpus: int = 1
    reader_free: int | None = -1
    reader_apart: bool = False

    @property
    def room_to_read(self) -> int | None:
        return self.gpu_free if self.reader_free == -1 else self.reader_free

    @property
    def room(self) -> int:
        """Bytes that a model may take."""
        return self.free + (0 if self.gpu_shared else self.gpu_free or 0)


def read_machine(chosen: Chosen) -> Machine:
    """Now. A container's limit counts where it is tighter than the machine's memory."""
    import psutil

    memory = psutil.virtual_memory()
    free, total = int(memory.available), int(memory.total)
    limit = _container()
    if limit is not None:
        free, total = min(free, limit[0]), min(total, limit[1])
    reader = chosen.reader
    used = {device.name: device for device in (*chosen.devices, reader) if device.is_gpu}
    if not used:
        return Machine(free, total)
    return Machine(
        free,
        total,
        gpu_free=sum(device.memory_free for device in chosen.devices),
        gpu_shared=any(shares_memory(device) for device in used.values()),
        n_gpus=max(1, sum(device.is_gpu for device in chosen.devices)),
        reader_free=reader.memory_free if reader.is_gpu else None,
        reader_apart=reader.is_gpu and reader.name not in {d.name for d in chosen.devices},
    )


def room_for_a_model() -> int:
    """Bytes that the weights of a model may take here, now."""
    return read_machine(choose(machine_devices(), RuntimeSettings())).room


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

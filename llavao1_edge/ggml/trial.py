"""Which of the processor's own kinds of memory are safe to multiply from.

With llama.cpp's AMX kernels a product of several rows can end the process by an illegal
instruction, though processor, system and library all say that they have AMX: GCC may leave out the
shapes of the tiles (ggml-org/llama.cpp, pull request 26954), and a virtual machine may lack the
state. Nothing tells before it happens, so a product is tried in a process of its own, once a
machine.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np

from llavao1_edge import measured
from llavao1_edge.ggml import library as c
from llavao1_edge.ggml.backend import Backend, Device, cpu_device
from llavao1_edge.ggml.graph import Plan, Scratch
from llavao1_edge.ggml.tensor import Arena
from llavao1_edge.ggml.types import F32, Q4_0, Q8_0
from llavao1_edge.program import command, import_path

PLAIN = "CPU_REPACK"  # its kernels are made of the instructions that all of ggml is made of
WIDTH, ROWS, THREADS = 256, (1, 2, 33), 2
SECONDS = 60.0  # for a trial
LEAST_CRASH = 256  # smaller exit codes are the process's own; a signal is negative


def name_of(kind: int) -> str:
    """Such as "AMX"."""
    return c.ggml_backend_buft_name(kind).decode()


def safe_kinds(backend: Backend) -> list[int]:
    """The backend's extra buffer types that a product was tried from, the best first."""
    return [kind for kind in backend.extra_buffer_types if is_safe(backend.device, name_of(kind))]


def all_safe() -> bool:
    """Whether llama.cpp may put its weights where it likes: it takes all kinds or none."""
    with closing(Backend(cpu_device(), n_threads=1)) as backend:
        return len(safe_kinds(backend)) == len(backend.extra_buffer_types)


def is_safe(device: Device, name: str) -> bool:
    """Tried once a machine and build; the answer is kept. What cannot be tried is not used."""
    if name == PLAIN:
        return True
    path = measured.file_of("processor.json")
    key = measured.key_of(name, device.description, *_build())
    known = measured.read(path).get(key)
    if not isinstance(known, bool):
        known = survives(name)
        if known is None:
            return False
        measured.keep(path, key, known)
    return known


@functools.cache
def _build() -> tuple[int, ...]:
    """Tells builds of the same version apart: sizes and times of ggml's libraries."""
    files = sorted(Path(c.library_folder()).glob("*ggml-cpu*"))
    return tuple(n for file in files for n in (file.stat().st_size, file.stat().st_mtime_ns))


@functools.cache
def survives(name: str) -> bool | None:
    """Whether a process that multiplies from this kind of memory ends well; None where that could
    not be found out today."""
    try:
        ended = subprocess.run(
            command(__name__, name),
            env={**os.environ, "PYTHONPATH": import_path()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    crashed = not 0 <= ended.returncode < LEAST_CRASH
    return None if ended.returncode and not crashed else not crashed


def multiply(backend: Backend, kind: int) -> None:
    """Products of one row, a few and many. Ends the process where this does not work."""
    for stored in (Q4_0, Q8_0):
        with closing(Scratch(backend)) as scratch, closing(Arena(n_tensors=1)) as arena:
            matrix = arena.tensor(stored, WIDTH, WIDTH)
            if not backend.multiplies_from(kind, matrix):
                continue
            with closing(backend.allocate_in(arena, kind, purpose="a trial")):
                matrix.write(np.zeros(matrix.n_bytes, dtype=np.uint8))
                for rows in ROWS:
                    with Plan(n_nodes=8) as plan:
                        x = plan.input(F32, WIDTH, rows, name="x")
                        plan.output(plan.matmul(matrix, x))
                        plan.finish(scratch)
                        x.write(np.ones((rows, WIDTH), dtype=np.float32))
                        plan.run(backend)


def main() -> None:
    with closing(Backend(cpu_device(), n_threads=THREADS)) as backend:
        for kind in backend.extra_buffer_types:
            if name_of(kind) == sys.argv[1]:
                multiply(backend, kind)


if __name__ == "__main__":
    main()

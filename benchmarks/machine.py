"""What every benchmark prints beside its numbers: the machine, the versions, the command."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import platformdirs

from llavao1_edge import RuntimeSettings
from llavao1_edge.cli.doctor import versions
from llavao1_edge.state_cache import StateCache


@contextmanager
def own_cache(beside: Path) -> Iterator[Path]:
    """Inside, what is kept on disk is kept in an empty folder, which is yielded (it is made with
    the first file). It lies on the same disk as `beside`, and goes in the end."""
    with tempfile.TemporaryDirectory(dir=beside.parent) as folder:
        with patch.object(platformdirs, "user_cache_dir", lambda *_, **__: folder):
            yield StateCache.of_user(1).folder


def cpu() -> str:
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


def machine() -> dict[str, object]:
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {"cpu": cpu(), "cores": RuntimeSettings().n_threads, "load": load, **versions()}


def header(module: str) -> str:
    """Two lines for the top of a report."""
    command = f"python -m benchmarks.{module} {' '.join(sys.argv[1:])}".strip()
    facts = "; ".join(f"{key} {value}" for key, value in machine().items())
    return f"`{command}`\n\n{facts}\n"

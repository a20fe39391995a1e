"""Digests of files, and what long work is told and asked. Needs no network library."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from llavao1_edge.errors import Cancelled

Report = Callable[[int], None]
"""Bytes so far."""
Stop = Callable[[], bool]


def check(stop: Stop | None) -> None:
    """Raises Cancelled."""
    if stop is not None and stop():
        raise Cancelled("the download was stopped; what has come is kept")


def file_sha256(path: Path, *, stop: Stop | None = None) -> str:
    """Hexadecimal. Raises Cancelled."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while data := file.read(1 << 22):
            digest.update(data)
            check(stop)
    return digest.hexdigest()

"""What was measured on this machine, once, and is kept in a file of the cache folder.

Kept, because the same seed must give the same answer tomorrow: a race that is close could end
otherwise each time. A file may be deleted at any moment; it is measured again then.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
from pathlib import Path
from typing import Any

from llavao1_edge.files import write_whole

MOST_KEPT = 256


def file_of(name: str) -> Path:
    """In the cache folder."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("llavao1-edge", appauthor=False)) / name


def key_of(*parts: object) -> str:
    """parts: all that a measurement depends on, beside the libraries."""
    versions = [importlib.metadata.version(name) for name in ("llama-cpp-python", "numpy")]
    return " | ".join(map(str, [*parts, *versions]))


def read(path: Path) -> dict[str, Any]:
    """By key; what is no such file holds nothing."""
    try:
        known = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return known if isinstance(known, dict) else {}


def keep(path: Path, key: str, value: object) -> None:
    """A cache: where it cannot be written, it is measured again next time."""
    others = [entry for entry in read(path).items() if entry[0] != key]
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(path, json.dumps(dict([*others[1 - MOST_KEPT :], (key, value)]), indent=1))

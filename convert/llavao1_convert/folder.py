"""What a checkpoint folder holds: which weight files count, and what it is if it is no checkpoint.

As transformers: `model.safetensors` before an index. An adapter is never ignored.
"""

from __future__ import annotations

import json
import logging
import re
from itertools import islice
from pathlib import Path
from typing import Any

from llavao1_edge.errors import CheckpointError
from llavao1_edge.phrases import Phrase

LOGGER = logging.getLogger(__name__)
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")
MAX_JSON = 256 << 20
MAX_ADAPTER_CONFIG = 1 << 20
MOST_ENTRIES = 1000  # of a folder that is looked through for adapters
HINT = "Download the whole checkpoint folder again."
_SHARD = re.compile(r"model-(\d{5})-of-(\d{5})\.safetensors")
_CACHE = re.compile(r"models--(.+?)--(.+)")


def weight_files(folder: Path, read_json: Any) -> list[Path]:
    """The safetensors files that count. Raises CheckpointError with what the folder is instead."""
    index, single = folder / INDEX, folder / SINGLE
    if single.is_file():
        if index.is_file():
            LOGGER.warning("%s is converted; %s beside it is left out", single, INDEX)
        return [single]
    if index.is_file():
        weights = read_json(index).get("weight_map")
        if not isinstance(weights, dict) or not weights:
            raise CheckpointError(Phrase("{index} has no weight_map", index=index), hint=HINT)
        return [_inside(folder, str(name)) for name in sorted(set(map(str, weights.values())))]
    shards = {found[1]: found for p in folder.iterdir() if (found := _SHARD.fullmatch(p.name))}
    if shards:
        return _without_index(folder, shards)
    raise _no_weights(folder)


def _without_index(folder: Path, shards: dict[str, re.Match[str]]) -> list[Path]:
    """All shards of a set, where only the index is missing."""
    n = {int(found[2]) for found in shards.values()}
    missing = [k for k in range(1, max(n) + 1) if f"{k:05d}" not in shards]
    if len(n) > 1 or missing:
        raise CheckpointError(
            Phrase(
                "{folder} has no {index}, and shard {missing} of {n} is missing",
                folder=folder,
                index=INDEX,
                missing=missing[0] if missing else 1,
                n=max(n),
            )
            if missing
            else Phrase(
                "{folder} holds shards of {n_sets} different sets", folder=folder, n_sets=len(n)
            ),
            hint=HINT,
        )
    return [folder / found[0] for _, found in sorted(shards.items())]


def _no_weights(folder: Path) -> CheckpointError:
    whole = Phrase("Give the folder of a downloaded checkpoint (config.json, *.safetensors).")
    if list(folder.glob("weights*.safetensors")) or list(folder.glob("*.npz")):
        return CheckpointError(
            Phrase("{folder} is a checkpoint for MLX", folder=folder),
            hint="Convert the original checkpoint: MLX stores weights in another way.",
        )
    pickles = [path.name for pattern in PICKLES for path in sorted(folder.glob(pattern))]
    if pickles:
        return CheckpointError(
            Phrase(
                "{folder} holds pickle files only ({pickles}); loading them can run code",
                folder=folder,
                pickles=pickles[0],
            ),
            hint="Get the safetensors version, or save it again with safe_serialization=True.",
        )
    inside = [
        path for path in folder.iterdir() if path.is_dir() and (path / "config.json").exists()
    ]
    if inside:
        return CheckpointError(
            Phrase("{folder} holds no weights", folder=folder),
            hint=Phrase("Did you mean {inside}?", inside=inside[0]),
        )
    return CheckpointError(
        Phrase(
            "{folder} holds neither {single} nor {index}", folder=folder, single=SINGLE, index=INDEX
        ),
        hint=whole,
    )


def refuse_adapter(folder: Path) -> None:
    """Raises CheckpointError where a LoRA adapter lies in the folder: it would be left out."""
    found = next((name for name in ADAPTER_FILES if (folder / name).exists()), None)
    if found is None:
        return
    base = base_of(folder)
    of = f" of {base}" if base else ""
    raise CheckpointError(
        Phrase(
            "{folder} holds a LoRA adapter{of} ({found}), which is not part of the base's weights",
            folder=folder,
            of=of,
            found=found,
        ),
        hint=Phrase(
            "Convert the base with it: llavao1-edge convert {base} "
            "--adapter {folder}. To convert the base alone, move the adapter's files away.",
            base=base or "BASE",
            folder=folder,
        ),
    )


def adapters_near(folder: Path) -> list[Path]:
    """Adapters that nobody asked for: in a folder of the checkpoint's, or beside it where they say
    that they belong to it."""
    found = []
    for place, any_base in ((folder, True), (folder.resolve().parent, False)):
        try:
            entries = sorted(islice(place.iterdir(), MOST_ENTRIES))
        except OSError:
            continue
        for entry in entries:
            if entry == folder or not (entry / ADAPTER_FILES[0]).is_file():
                continue
            if any_base or base_of(entry).rpartition("/")[2] == folder.resolve().name:
                found.append(entry)
    return found


def base_of(adapter: Path) -> str:
    """What an adapter says that it was trained on; empty where it does not."""
    try:
        if (adapter / ADAPTER_FILES[0]).stat().st_size > MAX_ADAPTER_CONFIG:
            return ""
        config = json.loads((adapter / ADAPTER_FILES[0]).read_text(encoding="utf-8-sig"))
        return str(config.get("base_model_name_or_path") or "")
    except (OSError, ValueError, AttributeError, RecursionError):
        return ""


def refuse_unmerged(names: Any) -> None:
    """Raises CheckpointError for names that PEFT gives to weights with an adapter beside them."""
    for name in names:
        if ".lora_" in name or ".base_layer." in name or name.startswith("base_model.model."):
            raise CheckpointError(
                Phrase(
                    "the tensor {name} belongs to a LoRA adapter that is not merged",
                    name=repr(name),
                ),
                hint="Save base and adapter apart and use convert BASE --adapter FOLDER, or merge "
                "with peft: model.merge_and_unload(), then save_pretrained.",
            )


def what_it_is(path: Path) -> CheckpointError | None:
    """What lies there in place of a weight file, if its beginning tells."""
    try:
        with path.open("rb") as file:
            start = file.read(512).lstrip().lower()
    except OSError:
        return None
    if start.startswith(b"version https://git-lfs"):
        return CheckpointError(
            Phrase(
                "{name} is a Git LFS pointer: the weights themselves are not here", name=path.name
            ),
            hint="Fetch them with `git lfs pull`, or use `llavao1-edge models pull OWNER/NAME`.",
        )
    if start.startswith((b"<!doctype html", b"<html")):
        return CheckpointError(
            Phrase(
                "{name} is a web page, not weights: the download needed a login, or failed",
                name=path.name,
            ),
            hint="Use `llavao1-edge models pull OWNER/NAME`, or download it again.",
        )
    return None


def _inside(folder: Path, name: str) -> Path:
    """A shard that an index names: it may be a link of the user's, but no name leads elsewhere."""
    path = folder / name
    plain = Path(name).name == name and name not in ("", ".", "..") and "\\" not in name
    if not plain:
        raise CheckpointError(
            Phrase(
                "{folder}: shard name {name} leads out of the folder",
                folder=folder / INDEX,
                name=repr(name),
            ),
            hint="Do not convert this checkpoint unless you trust where it came from.",
        )
    if not path.is_file():
        raise CheckpointError(
            Phrase("{folder}: shard {name} is missing", folder=folder, name=name), hint=HINT
        )
    return path


def stays_inside(folder: Path, path: Path) -> bool:
    """Whether a small file, whose text ends up in the model, is the folder's own. The hub's cache
    stores `snapshots/REV/file` as a link into `blobs/` beside it."""
    root, real = folder.resolve(), path.resolve()
    cached = root.parent.name == "snapshots" and real.parent == root.parent.parent / "blobs"
    return real.is_relative_to(root) or cached


def cached_snapshot(folder: Path) -> Path:
    """Of a folder of the hub's cache (`models--owner--name`) the newest snapshot; else itself."""
    snapshots = folder / "snapshots"
    if not _CACHE.fullmatch(folder.name) or not snapshots.is_dir():
        return folder
    main = folder / "refs" / "main"
    if main.is_file():
        named = snapshots / main.read_text(encoding="utf-8", errors="replace").strip()
        if named.is_dir() and named.parent == snapshots:
            return named
    found = sorted((p for p in snapshots.iterdir() if p.is_dir()), key=lambda p: p.stat().st_mtime)
    return found[-1] if found else folder


def repository_name(folder: Path) -> str | None:
    """The name that a cached repository has on the hub: snapshots are called after commits."""
    for parent in (folder, *folder.parents[:2]):
        found = _CACHE.fullmatch(parent.name)
        if found:
            return found[2]
    return None

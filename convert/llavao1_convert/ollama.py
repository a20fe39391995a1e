"""Finds a model's files in Ollama's store, by name. Reads only.

A manifest lists layers by digest; the files are `blobs/sha256-…`. Source: Ollama's manifest format.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from llavao1_convert.checkpoint import read_json
from llavao1_edge.errors import CheckpointError, UsageError
from llavao1_edge.phrases import Phrase

PREFIX = "ollama:"
MODEL = "application/vnd.ollama.image.model"
PROJECTOR = "application/vnd.ollama.image.projector"
DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class OllamaModel:
    """The files of a model; projector None: the model file holds everything."""

    name: str
    text: Path
    projector: Path | None


def folders() -> list[Path]:
    """Where Ollama keeps models: `OLLAMA_MODELS`, the user's folder, the service's."""
    given = os.environ.get("OLLAMA_MODELS")
    if given:
        return [Path(given)]
    return [Path.home() / ".ollama/models", Path("/usr/share/ollama/.ollama/models")]


def find_model(name: str) -> OllamaModel:
    """`llama3.2-vision`, `user/model:tag`, `host/user/model:tag`. Raises CheckpointError."""
    host, namespace, model, tag = _parts(name)
    try:
        searched = [folder for folder in folders() if folder.is_dir()]
        for folder in searched:
            manifest = folder / "manifests" / host / namespace / model / tag
            if manifest.is_file():
                return _read(folder, manifest, f"{model}-{tag}" if tag != "latest" else model)
        known = sorted({found for folder in searched for found in _names(folder)})
    except OSError as error:
        raise CheckpointError(
            Phrase(
                "cannot read {filename}: {reason}",
                filename=error.filename,
                reason=error.strerror,
            ),
            hint="It belongs to Ollama's service: copy it, or run this as a user who may read it.",
        ) from error
    where = ", ".join(map(str, searched or folders()))
    raise CheckpointError(
        Phrase("Ollama has no model {name} in {where}", name=repr(name), where=where),
        hint=Phrase("There are: {known}.", known=", ".join(known))
        if known
        else "Set OLLAMA_MODELS to its folder.",
    )


def _parts(name: str) -> tuple[str, str, str, str]:
    path, _, tag = name.partition(":")
    parts = path.split("/")
    defaults = ["registry.ollama.ai", "library"]
    full = [*defaults[: max(0, 3 - len(parts))], *parts, tag or "latest"]
    if len(full) != 4 or not all(NAME.fullmatch(part) for part in full):
        raise UsageError(
            Phrase("{name} is not the name of an Ollama model", name=repr(name)),
            hint="For example: ollama:llama3.2-vision",
        )
    return full[0], full[1], full[2], full[3]


def _names(folder: Path) -> list[str]:
    root = folder / "manifests"
    found = []
    for path in root.glob("*/*/*/*"):
        host, namespace, model, tag = path.relative_to(root).parts
        plain = host == "registry.ollama.ai" and namespace == "library"
        found.append(f"{'' if plain else f'{host}/{namespace}/'}{model}:{tag}")
    return found


def _read(folder: Path, manifest: Path, name: str) -> OllamaModel:
    layers = read_json(manifest).get("layers")
    if not isinstance(layers, list):
        raise CheckpointError(
            Phrase("{manifest} lists no layers", manifest=manifest), hint="Pull the model again."
        )
    found: dict[str, Path] = {}
    for layer in layers:
        kind = layer.get("mediaType") if isinstance(layer, dict) else None
        if kind not in (MODEL, PROJECTOR):
            continue
        match = DIGEST.fullmatch(str(layer.get("digest")))
        if match is None or kind in found:
            raise CheckpointError(
                Phrase("{manifest} has a damaged layer", manifest=manifest),
                hint="Pull the model again.",
            )
        path = folder / "blobs" / f"sha256-{match.group(1)}"
        size = layer.get("size")
        if not path.is_file() or (type(size) is int and path.stat().st_size != size):
            raise CheckpointError(
                Phrase("{path} is missing or incomplete", path=path),
                hint="It belongs to an interrupted download.",
            )
        found[kind] = path
    if MODEL not in found:
        raise CheckpointError(
            Phrase("{manifest} has no model layer", manifest=manifest), hint="Pull the model again."
        )
    return OllamaModel(name, found[MODEL], found.get(PROJECTOR))

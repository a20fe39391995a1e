"""Finds the two files of a model by what people call it. Opens nothing."""

from __future__ import annotations

from pathlib import Path

from llavao1_edge.errors import UsageError
from llavao1_edge.files import expanded
from llavao1_edge.phrases import Phrase


def model_paths(model: str, mmproj: str | None = None) -> tuple[Path, Path]:
    """Text and mmproj file of `demo`, of a path, or of a name in the model store.

    Raises UsageError, ModelFileError.
    """
    from llavao1_edge.engine import resolve_pair

    if not model.strip():
        raise UsageError(
            Phrase("model is {model}", model=repr(model)),
            hint="Name a model of `models list`, or a text file (GGUF).",
        )
    path = expanded(model)
    if mmproj is None:
        _check_kind(model, path)
    named = path.suffix != ".gguf" and not path.exists() and path.name == model
    if model == "demo" or mmproj is not None or not named:
        return resolve_pair("demo" if model == "demo" else path, text=None, mmproj=mmproj)
    from llavao1_edge.store.catalogue import Store

    store = Store()
    return store.files(store.find(model))


def _check_kind(model: str, path: Path) -> None:
    """Raises UsageError for what people give in place of a model, with the next command."""
    from llavao1_edge.contract.naming import is_mmproj

    if path.is_dir():
        raise UsageError(
            Phrase("{model} is a folder", model=model),
            hint=Phrase("Convert it: llavao1-edge convert {path} --out models", path=path),
        )
    if path.suffix == ".safetensors":
        raise UsageError(
            Phrase("{model} is one file of a checkpoint", model=model),
            hint=Phrase(
                "Convert its folder: llavao1-edge convert {parent} --out models", parent=path.parent
            ),
        )
    if is_mmproj(path.name) and path.exists():
        raise UsageError(
            Phrase("{model} is an mmproj file", model=model),
            hint="Give the text file beside it with --model.",
        )
    like_a_name = "/" in model and not model.startswith((".", "/", "~"))
    if like_a_name and path.suffix != ".gguf" and not path.exists():
        raise UsageError(
            Phrase("there is no file {model}", model=model),
            hint=Phrase("If it is a repository: llavao1-edge models pull {model}", model=model),
        )

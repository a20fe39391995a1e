"""Reads a checkpoint folder: safetensors headers, tensor data, JSON files. Trusts nothing in it."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llavao1_convert.folder import (
    HINT,
    MAX_JSON,
    refuse_adapter,
    refuse_unmerged,
    stays_inside,
    weight_files,
    what_it_is,
)
from llavao1_convert.source import Shard, SourceTensor
from llavao1_edge.errors import CheckpointError
from llavao1_edge.ggml.types import BF16, F16, F32
from llavao1_edge.phrases import Phrase

Json = dict[str, Any]
MAX_HEADER = 100 << 20
DTYPES = {"F32": F32, "F16": F16, "BF16": BF16}


@dataclass(frozen=True)
class Checkpoint:
    """A folder whose headers were checked. Tensors carry their canonical names.

    origin: where it came from, for people; revision: which version of it, if that is known;
    adapter: which one is merged, in a sentence.
    """

    folder: Path
    tensors: dict[str, SourceTensor]
    origin: str
    revision: str | None = None
    adapter: str | None = None

    def json(self, name: str) -> Json:
        """A JSON file of the folder. Raises CheckpointError if it is missing or damaged."""
        found = self.json_or_none(name)
        if found is None:
            raise CheckpointError(
                Phrase("{folder}: {name} is missing", folder=self.folder, name=name), hint=HINT
            )
        return found

    def json_or_none(self, name: str) -> Json | None:
        path = self.folder / name
        return read_json(path) if self.has(name) else None

    def has(self, name: str) -> bool:
        """Whether a small file is there. Raises CheckpointError for a link that leads out."""
        path = self.folder / name
        if path.is_file() and not stays_inside(self.folder, path):
            raise CheckpointError(
                Phrase("{path} is a link out of the folder", path=path),
                hint="Its text would become part of the model: put the file itself there.",
            )
        return path.is_file()


def open_checkpoint(folder: Path, *, with_adapter: bool = False) -> Checkpoint:
    """Checks the folder and every safetensors header, reads no tensor data.

    with_adapter: an adapter is merged by the caller, so one in the folder is no reason to stop.
    """
    if not folder.is_dir():
        raise CheckpointError(
            Phrase("{folder} is not a folder", folder=folder),
            hint="Give the folder of a downloaded checkpoint (config.json, *.safetensors).",
        )
    if not with_adapter:
        refuse_adapter(folder)
    paths = weight_files(folder, read_json)
    tensors = [tensor for path in paths for tensor in read_shard(path)]
    refuse_unmerged(tensor.name for tensor in tensors)
    return Checkpoint(folder, collect(tensors), origin=str(folder.resolve()))


def collect(found: Iterable[SourceTensor]) -> dict[str, SourceTensor]:
    """By canonical name. Raises CheckpointError where a tensor stands twice."""
    tensors: dict[str, SourceTensor] = {}
    for tensor in found:
        name = canonical(tensor.name)
        if name is None:
            continue
        if name in tensors:
            raise CheckpointError(
                Phrase(
                    "{name}: tensor {tensor} stands twice",
                    name=tensor.shard.name,
                    tensor=repr(tensor.name),
                ),
                hint=HINT,
            )
        tensors[name] = tensor
    return tensors


def read_json(path: Path) -> Json:
    try:
        if path.stat().st_size > MAX_JSON:
            raise CheckpointError(
                Phrase("{path} is larger than {most} MB", path=path, most=MAX_JSON >> 20),
                hint=HINT,
            )
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise CheckpointError(
            Phrase("cannot read {path}: {reason}", path=path, reason=error.strerror or error),
            hint=HINT,
        ) from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            Phrase("{path} is not valid JSON: {error}", path=path, error=error), hint=HINT
        ) from error
    if not isinstance(value, dict):
        raise CheckpointError(Phrase("{path} holds no JSON object", path=path), hint=HINT)
    return value


def canonical(name: str) -> str | None:
    """One name for what the versions of transformers call differently; None for buffers.

    4.45-4.51 files: `language_model.model.X`; newer module trees: `model.language_model.X`.
    """
    if name.endswith("rotary_emb.inv_freq"):
        return None
    for prefix in ("language_model.", "vision_model.", "multi_modal_projector."):
        if name.startswith(f"model.{prefix}"):
            name = name.removeprefix("model.")
    if name in ("lm_head.weight", "language_model.lm_head.weight"):
        return "head.weight"
    for old, new in (
        ("language_model.model.", "text."),
        ("language_model.", "text."),
        ("vision_model.", "vision."),
        ("multi_modal_projector.", "projector."),
    ):
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name


def read_shard(path: Path) -> Iterator[SourceTensor]:
    """The tensors of a safetensors file. Raises CheckpointError."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(8)
            n = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
            if not 2 <= n <= min(MAX_HEADER, size - 8):
                raise what_it_is(path) or CheckpointError(
                    Phrase("{name}: damaged header ({n} bytes)", name=path.name, n=n), hint=HINT
                )
            header = json.loads(file.read(n))
    except OSError as error:
        raise CheckpointError(
            Phrase("cannot read {path}: {reason}", path=path, reason=error.strerror or error),
            hint=HINT,
        ) from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            Phrase("{name}: damaged header: {error}", name=path.name, error=error), hint=HINT
        ) from error
    yield from describe(header, Shard(path.name, path), start=8 + n, size=size)


def describe(header: Any, shard: Shard, *, start: int, size: int) -> Iterator[SourceTensor]:
    """The tensors of a safetensors header; `start`: where the data begins, `size`: of the file."""
    if not isinstance(header, dict):
        raise CheckpointError(Phrase("{name}: damaged header", name=shard.name), hint=HINT)
    for name, entry in header.items():
        if name != "__metadata__":
            yield _describe(shard, name, entry, start=start, size=size)


def _describe(shard: Shard, name: str, entry: Any, *, start: int, size: int) -> SourceTensor:
    try:
        dtype, shape = str(entry["dtype"]), tuple(int(length) for length in entry["shape"])
        begin, end = (int(offset) for offset in entry["data_offsets"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(
            Phrase("{name}: tensor {tensor} is damaged", name=shard.name, tensor=repr(name)),
            hint=HINT,
        ) from error
    kind = DTYPES.get(dtype)
    if kind is None:
        raise CheckpointError(
            Phrase(
                "{name}: tensor {tensor} has type {dtype}, supported are {dtypes}",
                name=shard.name,
                tensor=repr(name),
                dtype=dtype,
                dtypes=", ".join(DTYPES),
            ),
            hint="Convert the original 16-bit checkpoint, not a quantised copy.",
        )
    expected = kind.block_bytes
    for length in shape:
        expected *= length
    if min(shape, default=1) < 1 or end - begin != expected or start + end > size or begin < 0:
        raise CheckpointError(
            Phrase(
                "{name}: tensor {tensor} is cut off or damaged", name=shard.name, tensor=repr(name)
            ),
            hint=HINT,
        )
    return SourceTensor(name, shard, kind, shape or (1,), start + begin, expected)

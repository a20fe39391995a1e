"""Whether two files are a pair: one of ours, or one of a model that llama.cpp runs itself."""

from __future__ import annotations

import hashlib
from array import array
from enum import Enum
from pathlib import Path

from llavao1_edge.contract import keys
from llavao1_edge.contract.gguf import GgufHeader, Strings, Value, read_header
from llavao1_edge.contract.native import check_native
from llavao1_edge.contract.text import check_text
from llavao1_edge.errors import ModelFileError, PairError
from llavao1_edge.phrases import Phrase

SAMPLE_BYTES = 1 << 12  # a page of the file, twice for each tensor


class Kind(Enum):
    """Who runs a pair's vision: our own cross layers, or llama.cpp's libmtmd."""

    MLLAMA = "mllama"
    NATIVE = "native"


def kind_of(text: GgufHeader, mmproj: GgufHeader) -> Kind:
    """Ours where one of the files says so: then the other one must be ours too."""
    ours = (
        mmproj.metadata.get(keys.PROJECTOR) == keys.PROJECTOR_TYPE
        or keys.PAIR_ID in text.metadata
        or keys.PAIR_ID in mmproj.metadata
        or text.metadata.get(keys.ARCHITECTURE) == "mllama"
    )
    return Kind.MLLAMA if ours else Kind.NATIVE


def identity(text: GgufHeader, mmproj: GgufHeader) -> str:
    """Names a model: for pairs of ours the same for all conversions of one checkpoint, for others
    a digest of the files' headers and of the beginning and the middle of every tensor: a merged
    adapter, another chat template or vocabulary make another model."""
    if kind_of(text, mmproj) is Kind.MLLAMA:
        return text.text(keys.PAIR_ID)
    return fingerprint(text, mmproj)


def fingerprint(*headers: GgufHeader) -> str:
    """A digest of files by their headers and samples of every tensor: other weights, or the same in
    other types, have another one."""
    digest = hashlib.sha256()
    for header in headers:
        for key, value in sorted(header.metadata.items()):
            digest.update(f"{key}\n".encode() + _bytes(value))
        for info in sorted(header.tensors.values(), key=lambda info: info.name):
            digest.update(f"{info.name} {info.shape} {info.kind.name}\n".encode())
            for start in (info.offset, info.offset + info.n_bytes // 2):
                end = min(start + SAMPLE_BYTES, info.offset + info.n_bytes)
                digest.update(header.data[start:end])
    return digest.hexdigest()


def _bytes(value: Value) -> bytes:
    if isinstance(value, Strings):
        return value.raw
    return value.tobytes() if isinstance(value, array) else repr(value).encode()


def read_pair(text_path: Path, mmproj_path: Path) -> tuple[GgufHeader, GgufHeader]:
    """Both checked headers. Raises ModelFileError or PairError with the reason."""
    text, mmproj = read_header(text_path), read_header(mmproj_path)
    if text.metadata.get(keys.ARCHITECTURE) == keys.MMPROJ_ARCHITECTURE:
        raise PairError(
            Phrase("{name} is an mmproj file, expected the text model", name=text.path.name),
            hint="Give the text file with --model and the mmproj file with --mmproj.",
        )
    if kind_of(text, mmproj) is Kind.NATIVE:
        check_native(text, mmproj)
        return text, mmproj
    _check_text(text)
    _check_mmproj(mmproj)
    for header in (text, mmproj):
        _check_version(header)
    check_text(text)
    if text.text(keys.PAIR_ID) != mmproj.text(keys.PAIR_ID):
        raise PairError(
            Phrase(
                "{name} and {other} were not made from the same checkpoint ({id} and {other_id})",
                name=text_path.name,
                other=mmproj_path.name,
                id=text.text(keys.PAIR_ID)[:12],
                other_id=mmproj.text(keys.PAIR_ID)[:12],
            ),
            hint="Use the two files that one `llavao1-edge convert` wrote.",
        )
    n_layers = text.integer("llama.block_count")
    if n_layers != mmproj.integer(keys.TEXT_LAYERS):
        raise PairError(
            Phrase(
                "{name} has {n_layers} layers, {other} was made for {wanted}",
                name=text_path.name,
                n_layers=n_layers,
                other=mmproj_path.name,
                wanted=mmproj.integer(keys.TEXT_LAYERS),
            ),
            hint="Use the two files that one `llavao1-edge convert` wrote.",
        )
    return text, mmproj


def _check_text(header: GgufHeader) -> None:
    if header.metadata.get(keys.ARCHITECTURE) == "mllama":
        raise ModelFileError(
            Phrase(
                "{name} is a Llama-3.2-Vision file made for old Ollama versions",
                name=header.path.name,
            ),
            hint="Rescue it with: llavao1-edge convert FILE (see docs/converting.md).",
        )
    if header.metadata.get(keys.ARCHITECTURE) != keys.TEXT_ARCHITECTURE:
        raise ModelFileError(
            Phrase(
                "{name} holds architecture {architecture}, expected {wanted}",
                name=header.path.name,
                architecture=repr(header.metadata.get(keys.ARCHITECTURE)),
                wanted=repr(keys.TEXT_ARCHITECTURE),
            ),
            hint="Use the text file that `llavao1-edge convert` wrote.",
        )


def _check_mmproj(header: GgufHeader) -> None:
    kind = header.metadata.get(keys.PROJECTOR)
    if kind != keys.PROJECTOR_TYPE:
        raise PairError(
            Phrase(
                "{name} is not an mmproj file for this model (projector {kind})",
                name=header.path.name,
                kind=repr(kind),
            ),
            hint="Use the mmproj-*.gguf that `llavao1-edge convert` wrote beside the text file.",
        )


def _check_version(header: GgufHeader) -> None:
    version = header.metadata.get(keys.VERSION)
    if version is None:
        raise ModelFileError(
            Phrase(
                "{name} was not written by llavao1-edge (no {version})",
                name=header.path.name,
                version=keys.VERSION,
            ),
            hint="Convert the checkpoint with: llavao1-edge convert FOLDER.",
        )
    if version != keys.CONTRACT_VERSION:
        raise ModelFileError(
            Phrase(
                "{name} has contract version {version}, this program reads {contract_version}",
                name=header.path.name,
                version=version,
                contract_version=keys.CONTRACT_VERSION,
            ),
            hint="Convert the checkpoint again, or install the matching llavao1-edge.",
        )

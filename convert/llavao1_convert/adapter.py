"""A LoRA adapter as PEFT saves it, merged into the base's tensors while they are read.

Each merged weight is W + scale · B·A in float32, a few rows at a time; PEFT's own
`merge_and_unload` gives the same in float32. What cannot be merged exactly is refused by name.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llavao1_convert.checkpoint import Checkpoint, Json, canonical, read_json, read_shard
from llavao1_convert.folder import ADAPTER_FILES
from llavao1_convert.source import SourceTensor
from llavao1_edge.errors import CheckpointError
from llavao1_edge.ggml.types import F32
from llavao1_edge.phrases import Phrase

CONFIG, WEIGHTS, PICKLE = ADAPTER_FILES
HINT = "Merge it with peft: model.merge_and_unload(), then save_pretrained, and convert that."
# Ways to start an adapter that change the base's own weights too.
CHANGES_BASE = ("pissa", "olora", "loftq", "corda", "lora_ga")
# Settings that add something besides B·A. Empty or false: not used.
OTHER_METHODS = {
    "use_dora": "DoRA scales every column of the merged weight",
    "use_qalora": "QALoRA pools the inputs in groups",
    "use_bdlora": "its matrices are block-diagonal",
    "lora_bias": "it adds biases that the base does not have",
    "alora_invocation_tokens": "aLoRA is active for a part of the prompt only",
    "layer_replication": "it repeats layers of the base",
    "trainable_token_indices": "it trains single rows of the embedding",
    "target_parameters": "it changes bare parameters",
    "megatron_config": "it is for Megatron's layers",
    "velora_config": "it changes how activations are kept",
    "monteclora_config": "its weights are drawn at random",
}
_LORA = re.compile(r"(.+)\.lora_(?:embedding_)?([AB])(?:\.(?!weight$|bias$)[^.]+)?(?:\.weight)?")
# What could be searched for ever: repeats of groups or repeats, and more than three of them.
_PATTERN = re.compile(r"(?!.*[)\]][*+{])(?!.*[*+}][*+{])(?!(?:.*[*+{]){4}).{1,200}")
MOST_PATTERNS = 10_000


@dataclass(frozen=True)
class Factors:
    """B (rows, rank) and A (rank, columns) of one weight, and what their product is scaled by.

    An embedding is stored the other way round: A (rank, rows), B (columns, rank).
    """

    a: SourceTensor
    b: SourceTensor
    scale: float
    transposed: bool

    @property
    def rank(self) -> int:
        return self.a.shape[0]

    def shape(self) -> tuple[int, int]:
        """Rows and columns of the weight that they change."""
        rows, columns = self.b.n_rows, self.a.row_length
        return (columns, rows) if self.transposed else (rows, columns)

    def delta(self, start: int, stop: int) -> NDArray[np.float32]:
        """What is added to rows start..stop, shape (n, columns)."""
        if self.transposed:
            left = self._embedding[:, start:stop].T
            right = self.b.rows(0, self.b.n_rows).T
        else:
            left = self.b.rows(start, stop).reshape(stop - start, -1)
            right = self.a.rows(0, self.rank)
        product: NDArray[np.float32] = np.float32(self.scale) * (left @ right)
        return product

    @cached_property
    def _embedding(self) -> NDArray[np.float32]:
        return self.a.rows(0, self.rank)

    def digest(self) -> str:
        whole = hashlib.sha256(f"{self.scale!r} {self.transposed}".encode())
        for tensor in (self.b, self.a):
            whole.update(f"{tensor.shape} {tensor.digest()}".encode())
        return whole.hexdigest()


@dataclass(frozen=True)
class MergedTensor(SourceTensor):
    """A base's tensor that is read as float32 with the adapter's part added."""

    base: SourceTensor = field(kw_only=True)
    factors: Factors = field(kw_only=True)

    def stored(self, start: int, stop: int) -> NDArray[np.uint8]:
        rows = self.base.rows(start, stop) + self.factors.delta(start, stop)
        return np.ascontiguousarray(rows, dtype="<f4").view(np.uint8)

    def digest(self) -> str:
        whole = f"{self.base.digest()} {self.factors.digest()}"
        return hashlib.sha256(whole.encode()).hexdigest()

    def recipe(self) -> str:
        return f"{self.factors.scale!r} {self.factors.a.shard.state()} {self.factors.a.offset}"


@dataclass(frozen=True)
class Adapter:
    """name: for people; base: what it was trained on, as it says; factors, replaced (whole
    tensors, `modules_to_save`): by canonical name."""

    name: str
    base: str
    factors: Mapping[str, Factors]
    replaced: Mapping[str, SourceTensor]

    def note(self) -> str:
        ranks = sorted({factors.rank for factors in self.factors.values()})
        shown = f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {ranks[0]} to {ranks[-1]}"
        parts = [f"{len(self.factors)} weights changed, {shown}"] if ranks else []
        parts += [f"{len(self.replaced)} tensors replaced"] if self.replaced else []
        trained = f", trained on {self.base}" if self.base else ""
        return f"the LoRA adapter {self.name} is merged: {', '.join(parts)}{trained}"


def open_adapter(folder: Path, *, name: str | None = None) -> Adapter:
    """Reads the config and the header. Raises CheckpointError for what cannot be merged."""
    if not folder.is_dir():
        raise CheckpointError(
            Phrase("{folder} is not a folder", folder=folder),
            hint="Give the adapter's folder (adapter_config.json, adapter_model.safetensors).",
        )
    config_path, weights = folder / CONFIG, folder / WEIGHTS
    if not config_path.is_file():
        raise CheckpointError(
            Phrase("{folder} holds no {config}", folder=folder, config=CONFIG),
            hint="Give the folder that peft's save_pretrained wrote.",
        )
    if not weights.is_file():
        pickled = (folder / PICKLE).is_file()
        raise CheckpointError(
            Phrase(
                "{folder} holds a pickle file only ({pickle}); loading it can run code",
                folder=folder,
                pickle=PICKLE,
            )
            if pickled
            else Phrase("{folder} holds no {weights}", folder=folder, weights=WEIGHTS),
            hint="Save the adapter again with safe_serialization=True."
            if pickled
            else "Download the whole adapter folder again.",
        )
    config = read_json(config_path)
    _refuse_other_methods(config, config_path)
    tensors = list(read_shard(weights))
    factors, replaced = _sorted_out(tensors, _Scales(config, config_path))
    if not factors and not replaced:
        raise CheckpointError(
            Phrase("{weights} changes nothing", weights=weights), hint="Download the adapter again."
        )
    base = str(config.get("base_model_name_or_path") or "")
    base = Path(base).name if Path(base).is_absolute() else base
    return Adapter(name or folder.resolve().name, base, factors, replaced)


def merged(checkpoint: Checkpoint, adapter: Adapter) -> Checkpoint:
    """The checkpoint as it is with the adapter. Raises CheckpointError where they do not fit."""
    tensors = dict(checkpoint.tensors)
    for name, tensor in adapter.replaced.items():
        base = _base_of(tensors, name, adapter)
        if base.shape != tensor.shape:
            raise _misfit(adapter, tensor.name, tensor.shape, base.shape)
        tensors[name] = tensor
    for name, factors in adapter.factors.items():
        base = _base_of(tensors, name, adapter)
        if (base.n_rows, base.row_length) != factors.shape() or len(base.shape) < 2:
            raise _misfit(adapter, factors.a.name, factors.shape(), base.shape)
        same = {f.name: getattr(base, f.name) for f in base.__dataclass_fields__.values()}
        tensors[name] = MergedTensor(**{**same, "kind": F32}, base=base, factors=factors)
    return replace(checkpoint, tensors=tensors, adapter=adapter.note())


def _base_of(tensors: Mapping[str, SourceTensor], name: str, adapter: Adapter) -> SourceTensor:
    if name not in tensors:
        raise CheckpointError(
            Phrase(
                "the adapter {name} changes {tensor}, which the base does not have",
                name=adapter.name,
                tensor=repr(name),
            ),
            hint=_its_base(adapter),
        )
    return tensors[name]


def _misfit(adapter: Adapter, name: str, ours: Any, theirs: Any) -> CheckpointError:
    return CheckpointError(
        Phrase(
            "the adapter {name} does not fit: {tensor} is for {ours}, the base has {theirs}",
            name=adapter.name,
            tensor=repr(name),
            ours=ours,
            theirs=theirs,
        ),
        hint=_its_base(adapter),
    )


def _refuse_other_methods(config: Json, path: Path) -> None:
    method = config.get("peft_type")
    if method != "LORA":
        raise CheckpointError(
            Phrase("{path}: peft_type is {method}, not LORA", path=path, method=repr(method)),
            hint=HINT,
        )
    for key, reason in OTHER_METHODS.items():
        if config.get(key):
            raise CheckpointError(
                Phrase("{path}: {key} is set: {reason}", path=path, key=key, reason=reason),
                hint=HINT,
            )
    start = config.get("init_lora_weights")
    if isinstance(start, str) and start.lower().startswith(CHANGES_BASE):
        raise CheckpointError(
            Phrase(
                "{path}: init_lora_weights is {start}, which changed the base's weights too",
                path=path,
                start=repr(start),
            ),
            hint="Merge it with peft, on the base as it was changed, or save the adapter with "
            "path_initial_model_for_weight_conversion.",
        )


class _Scales:
    """Of each module: alpha / rank, or alpha / √rank for rsLoRA."""

    def __init__(self, config: Json, path: Path) -> None:
        self._path = path
        self._rank, self._alpha = config.get("r"), config.get("lora_alpha")
        self._rs = bool(config.get("use_rslora"))
        self._ranks = self._patterns(config, "rank_pattern")
        self._alphas = self._patterns(config, "alpha_pattern")

    def _patterns(self, config: Json, key: str) -> list[tuple[re.Pattern[str], Any]]:
        """As peft: a regular expression for the end of a module's name. The first match counts."""
        found = config.get(key) or {}
        if not isinstance(found, dict) or len(found) > MOST_PATTERNS:
            raise self._bad(key, f"no table of at most {MOST_PATTERNS} patterns")
        table = []
        for pattern, value in found.items():
            try:
                if not _PATTERN.fullmatch(pattern):  # could be searched for ever
                    raise re.error("too complex")
                table.append((re.compile(rf"(.*\.)?({pattern})$"), value))
            except re.error as error:
                raise self._bad(key, f"{pattern!r} ({error})") from error
        return table

    def _bad(self, key: str, value: Any) -> CheckpointError:
        return CheckpointError(
            Phrase(
                "{path}: {key} is {value}",
                path=self._path,
                key=key,
                value=value if isinstance(value, str) else repr(value),
            ),
            hint="Download the adapter again.",
        )

    def of(self, module: str, rank: int) -> float:
        """`rank`: the stored one. Raises CheckpointError where the config says another."""
        told = _first(self._ranks, module, self._rank)
        if told != rank:
            raise CheckpointError(
                Phrase(
                    "{path}: {module} has rank {rank}, the config says {told}",
                    path=self._path,
                    module=module,
                    rank=rank,
                    told=repr(told),
                ),
                hint="adapter_config.json and adapter_model.safetensors do not belong together.",
            )
        alpha = _first(self._alphas, module, self._alpha)
        is_number = isinstance(alpha, int | float) and not isinstance(alpha, bool)
        if not is_number or not math.isfinite(alpha):
            raise self._bad("lora_alpha", alpha)
        return float(alpha / (math.sqrt(rank) if self._rs else rank))


def _first(patterns: list[tuple[re.Pattern[str], Any]], module: str, default: Any) -> Any:
    return next((value for pattern, value in patterns if pattern.match(module)), default)


def _sorted_out(
    tensors: Iterable[SourceTensor], scales: _Scales
) -> tuple[dict[str, Factors], dict[str, SourceTensor]]:
    halves: dict[str, dict[str, SourceTensor]] = {}
    replaced: dict[str, SourceTensor] = {}
    for tensor in tensors:
        path = tensor.name
        while path.startswith("base_model.model."):  # twice where peft wrapped a wrapped model
            path = path.removeprefix("base_model.model.")
        found = _LORA.fullmatch(path)
        if found:
            halves.setdefault(found[1], {})[found[2]] = tensor
        elif ".lora_" in path:
            raise CheckpointError(
                Phrase(
                    "{name}: {tensor} is neither lora_A nor lora_B",
                    name=tensor.shard.name,
                    tensor=repr(tensor.name),
                ),
                hint=HINT,
            )
        else:
            path = re.sub(r"\.(?:base_layer|modules_to_save(?:\.[^.]+)?)(?=\.)", "", path)
            replaced[canonical(path) or path] = tensor
    factors = {}
    for module, pair in halves.items():
        if set(pair) != {"A", "B"}:
            (left,) = pair.values()
            raise CheckpointError(
                Phrase(
                    "{name}: {tensor} has no other half",
                    name=left.shard.name,
                    tensor=repr(left.name),
                ),
                hint="Download the adapter again.",
            )
        a, b = pair["A"], pair["B"]
        rank = a.shape[0]
        if len(a.shape) < 2 or b.shape[1:2] != (rank,):
            raise CheckpointError(
                Phrase(
                    "{name}: {module} has halves of shapes {shape} and {other}",
                    name=a.shard.name,
                    module=module,
                    shape=a.shape,
                    other=b.shape,
                ),
                hint="Download the adapter again.",
            )
        name = canonical(f"{module}.weight") or module
        transposed = ".lora_embedding_" in a.name
        factors[name] = Factors(a, b, scales.of(module, rank), transposed)
    return factors, replaced


def _its_base(adapter: Adapter) -> str:
    if not adapter.base:
        return Phrase("Convert the base that it was trained on.")
    return Phrase("Convert the base that it was trained on: {base}.", base=adapter.base)

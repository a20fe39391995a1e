"""What a SOURCE can be: a checkpoint folder, a repository on the hub, or an old GGUF file."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from llavao1_convert.folder import cached_snapshot
from llavao1_convert.hub_source import fetch_adapter, open_hub_checkpoint
from llavao1_convert.legacy import Choices, is_legacy
from llavao1_convert.legacy_plan import LegacySource, plan_legacy
from llavao1_convert.ollama import PREFIX, find_model
from llavao1_convert.plan import Conversion
from llavao1_convert.planning import Options, plan_checkpoint, plan_conversion
from llavao1_convert.storage import parse_quantisation
from llavao1_edge.contract.gguf import read_header
from llavao1_edge.errors import CheckpointError, ModelFileError, UsageError
from llavao1_edge.files import expanded
from llavao1_edge.phrases import Phrase
from llavao1_edge.store.digest import Stop
from llavao1_edge.store.hub import REPO, Repository, parse_repo, repository_of

DEFAULT_TEXT, DEFAULT_VISION = "Q4_K_M", "Q8_0"
FORMS = "Give a checkpoint folder, a repository (owner/name), an old .gguf file, or ollama:NAME."


@dataclass(frozen=True)
class Request:
    """Everything a conversion can be asked for; None: the default for this kind of source."""

    source: str
    out: Path
    quant: str | None = None
    vision_quant: str | None = None
    name: str | None = None
    imatrix: Path | None = None
    projector: Path | None = None
    choices: Choices = field(default_factory=Choices)
    low_disk: bool = False
    adapter: str | None = None

    @property
    def wishes(self) -> Options:
        return Options(
            self.out,
            parse_quantisation(self.quant or DEFAULT_TEXT),
            parse_quantisation(self.vision_quant or DEFAULT_VISION),
            self.name,
            self.imatrix,
        )


def plan_source(request: Request, *, stop: Stop | None = None) -> Conversion:
    """The plan; a repository's headers and small files are fetched for it.

    Raises UsageError, CheckpointError, DownloadError.
    """
    wishes = request.wishes
    if request.source.startswith(PREFIX):
        found = find_model(request.source.removeprefix(PREFIX))
        origin = f"Ollama's {request.source.removeprefix(PREFIX)}"
        return _rescue(
            request, LegacySource(found.text, found.projector, found.name, origin), wishes
        )
    request = replace(request, source=repository_of(request.source))
    path, kind = _look(request.source)
    if request.adapter is not None:
        wishes = replace(wishes, adapter=_adapter_folder(request.adapter, stop))
    if kind == "folder":
        legacy = _legacy_in(path)
        if legacy is not None:
            return _rescue(request, legacy, wishes)
        _no_legacy_options(request)
        return plan_conversion(
            path,
            request.out,
            text_quantisation=wishes.text.name,
            vision_quantisation=wishes.vision.name,
            name=request.name,
            imatrix=request.imatrix,
            adapter=wishes.adapter,
        )
    if kind == "file" and path.suffix == ".safetensors":
        raise UsageError(
            Phrase("{path} is one file of a checkpoint", path=path),
            hint=Phrase("Give its folder: convert {parent}", parent=path.parent),
        )
    if kind == "file":
        name = path.stem if path.suffix == ".gguf" else path.name
        source = LegacySource(path, request.projector, name, str(path.resolve()))
        return _rescue(request, source, wishes)
    _no_legacy_options(request)
    if not REPO.fullmatch(request.source.partition("@")[0]):
        raise UsageError(Phrase("there is nothing at {source}", source=request.source), hint=FORMS)
    return _plan_hub(request, wishes, stop)


def _look(source: str) -> tuple[Path, str]:
    """(path, `folder`, `file` or `nothing`). Raises CheckpointError where one may not look."""
    path = expanded(source)
    try:
        return path, "folder" if path.is_dir() else "file" if path.exists() else "nothing"
    except OSError as error:
        raise CheckpointError(
            Phrase("cannot read {source}: {reason}", source=source, reason=error.strerror or error),
            hint="Check the permissions.",
        ) from error


def _adapter_folder(text: str, stop: Stop | None) -> Path:
    """Of a folder, of its weight file, or of a repository. Raises UsageError, DownloadError."""
    text = repository_of(text)
    path, kind = _look(text)
    if kind == "nothing":
        if not REPO.fullmatch(text.partition("@")[0]):
            raise UsageError(
                Phrase("there is no adapter at {text}", text=text),
                hint="Give a folder with adapter_config.json, or a repository (owner/name).",
            )

        def staging(repository: Repository) -> Path:
            folder = download_folder(repository)
            folder.mkdir(parents=True, exist_ok=True)
            return folder

        return fetch_adapter(text, staging=staging, stop=stop)
    return cached_snapshot(path if kind == "folder" else path.parent)


def _plan_hub(request: Request, wishes: Options, stop: Stop | None) -> Conversion:
    repo, _ = parse_repo(request.source)
    base = repo.partition("/")[2]
    staged: list[Path] = []

    def staging(repository: Repository) -> Path:
        if request.low_disk:
            label = f"{wishes.text.name}-{wishes.vision.name}"
            folder = request.out / f".{base}-{label}-{repository.commit[:12]}.download"
            staged.append(folder)
        else:
            folder = download_folder(repository)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    try:
        checkpoint = open_hub_checkpoint(
            request.source,
            staging=staging,
            low_disk=request.low_disk,
            with_adapter=wishes.adapter is not None,
            stop=stop,
        )
        plan = plan_checkpoint(checkpoint, wishes, base=base)
    except OSError as error:
        raise CheckpointError(
            Phrase(
                "cannot write to {out}: {reason}",
                out=request.out,
                reason=error.strerror or error,
            ),
            hint="Choose another folder with --out.",
        ) from error
    return replace(plan, staging=staged[0] if staged else None)


def download_folder(repository: Repository) -> Path:
    """Where shards are kept, for the next quantisation of the same checkpoint."""
    import platformdirs

    root = Path(platformdirs.user_cache_dir("llavao1-edge", appauthor=False)) / "downloads"
    return root / repository.name.replace("/", "--") / repository.commit


def _rescue(request: Request, source: LegacySource, wishes: Options) -> Conversion:
    for wrong, told in ((request.low_disk, "--low-disk"), (request.adapter, "--adapter")):
        if wrong:
            raise UsageError(Phrase("{told} is not for old files", told=told), hint="Leave it out.")
    if request.projector is not None:
        source = replace(source, projector=request.projector)
    return plan_legacy(source, wishes, request.choices, keep=request.quant is None)


def _no_legacy_options(request: Request) -> None:
    if request.projector is not None or request.choices != Choices():
        raise UsageError(
            Phrase("{source} is a checkpoint, which leaves nothing open", source=request.source),
            hint="--projector, --cross-permuted, --raw-gates and --system-block are for old files.",
        )


def _legacy_in(folder: Path) -> LegacySource | None:
    """An old text file and its projector file, side by side in a folder without a checkpoint."""
    if (folder / "config.json").exists() or not list(folder.glob("*.gguf")):
        return None
    old = []
    for path in sorted(folder.glob("*.gguf")):
        try:
            if is_legacy(read_header(path)):
                old.append(path)
        except ModelFileError as error:
            raise CheckpointError(error.message, hint=error.hint) from error
    if not 1 <= len(old) <= 2:
        raise CheckpointError(
            Phrase(
                "{folder} holds {n_old} old files of Llama-3.2-Vision",
                folder=folder,
                n_old=len(old),
            ),
            hint="Give the text file, and the other one with --projector.",
        )
    projector = old[1] if len(old) == 2 else None
    if projector is not None and "token_embd.weight" not in read_header(old[0]).tensors:
        old.reverse()
    return LegacySource(
        old[0], old[1] if len(old) == 2 else None, old[0].stem, str(folder.resolve())
    )


__all__ = ["Choices", "Request", "plan_source"]

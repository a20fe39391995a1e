"""Repositories on the Hugging Face hub: what they hold, parts of files, whole files.

huggingface_hub does the talking, so `HF_ENDPOINT`, `HF_TOKEN`, `HF_HOME` and `HF_HUB_OFFLINE` hold.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from llavao1_edge import __version__
from llavao1_edge.errors import DownloadError, UsageError
from llavao1_edge.store.fetching import Download, Report, Stop, difference, fetch, read_range

REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95}")
REVISION = re.compile(r"[\w./-]{1,128}")
TIMEOUT = 20.0


@dataclass(frozen=True)
class RemoteFile:
    """sha256: None for small files, which are kept in git."""

    name: str
    n_bytes: int
    sha256: str | None


@dataclass(frozen=True)
class Repository:
    """A repository at one commit."""

    name: str
    commit: str
    files: dict[str, RemoteFile]

    def fetch(
        self,
        name: str,
        folder: Path,
        *,
        report: Report | None = None,
        stop: Stop | None = None,
    ) -> Path:
        """A whole file, its checksum compared: from the hub's cache, or into `folder`.

        report is told the bytes so far. Raises DownloadError, Cancelled, OSError.
        """
        remote = self.files.get(name)
        if remote is None:
            raise DownloadError(f"{self.name} has no file {name}", hint="Check the repository.")
        cached = self._cached(remote, stop)
        if cached is not None:
            return cached
        target = folder / name
        fetch(
            Download(self._url(name), self._headers(), remote.n_bytes, remote.sha256),
            target,
            report=report,
            stop=stop,
        )
        return target

    def _cached(self, remote: RemoteFile, stop: Stop | None) -> Path | None:
        """What other programs have fetched already."""
        import huggingface_hub

        found = huggingface_hub.try_to_load_from_cache(
            self.name, remote.name, cache_dir=_cache(), revision=self.commit
        )
        if not isinstance(found, str):
            return None
        path = Path(found)
        same = difference(path, remote.n_bytes, remote.sha256, stop=stop) is None
        return path if same else None

    def _url(self, name: str) -> str:
        from huggingface_hub import constants

        return f"{constants.ENDPOINT}/{self.name}/resolve/{self.commit}/{quote(name)}"

    def _headers(self) -> dict[str, str]:
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

        headers: dict[str, str] = build_hf_headers(
            library_name="llavao1-edge", library_version=__version__
        )
        return headers

    def read(self, name: str, start: int, n: int) -> bytes:
        """A part of a file. Raises DownloadError."""
        wanted = Download(self._url(name), self._headers(), n, None)
        return read_range(wanted, start, n)


def _cache() -> str:
    from huggingface_hub import constants

    return str(constants.HF_HUB_CACHE)


def repository_of(text: str) -> str:
    """`owner/name` of a page's address on the hub; any other text as it is."""
    found = re.fullmatch(
        r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/([\w.-]+/[\w.-]+)(?:/tree/([\w.-]+))?/?",
        text.strip(),
    )
    if found is None:
        return text
    return found[1] + (f"@{found[2]}" if found[2] and found[2] != "main" else "")


def parse_repo(text: str) -> tuple[str, str | None]:
    """`owner/name` or `owner/name@revision`. Raises UsageError."""
    name, _, revision = repository_of(text).partition("@")
    bad = ".." in text or not REPO.fullmatch(name)
    if bad or (revision and not REVISION.fullmatch(revision)):
        raise UsageError(
            f"{text!r} is no name of a repository", hint="For example: Xkev/Llama-3.2V-11B-cot"
        )
    return name, revision or None


def is_offline() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def open_repository(text: str) -> Repository:
    """Asks the hub what is there. Raises UsageError, DownloadError."""
    name, revision = parse_repo(text)
    if is_offline():
        raise DownloadError(
            f"{name} was not asked: HF_HUB_OFFLINE is set", hint="Unset it to use the network."
        )
    import huggingface_hub

    try:
        info: Any = huggingface_hub.HfApi().model_info(
            name, revision=revision, files_metadata=True, timeout=TIMEOUT
        )
    except Exception as error:
        raise explain(error, name) from error
    files = {}
    for sibling in info.siblings or []:
        lfs = sibling.lfs
        digest = None if lfs is None else lfs.get("sha256") if isinstance(lfs, dict) else lfs.sha256
        size = sibling.size if lfs is None or sibling.size is not None else lfs.size
        safe = _is_safe(sibling.rfilename)
        if safe and size is not None:
            files[sibling.rfilename] = RemoteFile(sibling.rfilename, int(size), digest)
    return Repository(name, str(info.sha), files)


def _is_safe(name: str) -> bool:
    """Names that stay inside a folder."""
    return not (name.startswith("/") or "\\" in name or ".." in name.split("/") or ":" in name)


def cached_snapshot(text: str) -> Path | None:
    """The folder of a repository in the hub's cache, if it is there; no network."""
    import huggingface_hub

    name, revision = parse_repo(text)
    try:
        return Path(
            huggingface_hub.snapshot_download(
                name, revision=revision, cache_dir=_cache(), local_files_only=True
            )
        )
    except Exception:
        return None


def explain(error: Exception, repo: str) -> DownloadError:
    """What people can do about an error of huggingface_hub or of its HTTP library."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return DownloadError(
            f"{repo} is given out only to those who accepted its licence",
            hint="Accept it on the hub's page, then set HF_TOKEN to your token.",
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return DownloadError(f"{repo} has no such revision", hint="Check it on the hub.")
    if isinstance(error, errors.RepositoryNotFoundError):
        return DownloadError(
            f"there is no repository {repo}, or it is private",
            hint="Check the name; for a private one set HF_TOKEN.",
        )
    if isinstance(error, errors.EntryNotFoundError) and not isinstance(
        error, errors.LocalEntryNotFoundError
    ):
        return DownloadError(f"{repo} lacks this file", hint="Check the repository.")
    if isinstance(error, OSError) and error.errno is not None and error.strerror:
        return DownloadError(error.strerror, hint=f"Check {error.filename or 'the disk'}.")
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    text = str(cause).strip().splitlines() or [type(cause).__name__]
    return DownloadError(
        f"the connection to the hub failed ({type(cause).__name__}: {text[0][:160]})",
        hint="Try again; what has come so far is kept.",
    )

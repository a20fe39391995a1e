"""Repositories on the Hugging Face hub: what they hold, parts of files, whole files.

huggingface_hub does the talking, so `HF_ENDPOINT`, `HF_TOKEN`, `HF_HOME` and `HF_HUB_OFFLINE` hold.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llavao1_edge.errors import DownloadError, UsageError
from llavao1_edge.store.fetching import Report, Stop, fetch, file_sha256

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
        files: Sequence[str],
        *,
        folder: Path | None = None,
        report: Report | None = None,
        stop: Stop | None = None,
    ) -> list[Path]:
        """Whole files, their checksums compared. folder None: the hub's cache, shared with others.

        report is told the bytes of the present file so far. Raises DownloadError, Cancelled.
        """
        missing = [name for name in files if name not in self.files]
        if missing:
            raise DownloadError(
                f"{self.name} has no file {missing[0]}", hint="Check the repository."
            )
        if not files:
            return []
        request = {
            "repo": self.name,
            "files": list(files),
            "revision": self.commit,
            "folder": None if folder is None else str(folder),
        }
        watch = folder or _cache_folder(self.name)
        for attempt in range(2):
            paths = fetch(request, watch=watch, report=report, stop=stop)
            problems = []
            for name, path in zip(files, paths, strict=True):
                problem = _compare(path, self.files[name], stop)
                if problem is not None:
                    problems.append(f"{name} of {self.name} came damaged twice: {problem}")
                    path.resolve().unlink(missing_ok=True)
                    path.unlink(missing_ok=True)
            if not problems:
                return paths
            if attempt:
                hint = "Try again later, or over another connection."
                raise DownloadError(problems[0], hint=hint)
        raise AssertionError

    def read(self, name: str, start: int, n: int) -> bytes:
        """A part of a file. Raises DownloadError."""
        import huggingface_hub
        from huggingface_hub.utils import (  # type: ignore[attr-defined]
            build_hf_headers,
            get_session,
        )

        url = huggingface_hub.hf_hub_url(self.name, name, revision=self.commit)
        headers = {**build_hf_headers(), "Range": f"bytes={start}-{start + n - 1}"}
        try:
            answer = get_session().get(url, headers=headers, timeout=TIMEOUT)
            answer.raise_for_status()
            data = bytes(answer.content)
        except Exception as error:
            raise explain(error, self.name) from error
        if answer.status_code == 200:
            data = data[start : start + n]
        if len(data) != n:
            raise DownloadError(f"{name}: the server sent {len(data)} of {n} bytes", hint="Retry.")
        return data


def _compare(path: Path, remote: RemoteFile, stop: Stop | None) -> str | None:
    n_bytes = path.stat().st_size
    if n_bytes != remote.n_bytes:
        return f"{n_bytes} bytes instead of {remote.n_bytes}"
    if remote.sha256 is None:
        return None
    digest = file_sha256(path, stop=stop)
    return None if digest == remote.sha256 else f"sha256 {digest} instead of {remote.sha256}"


def _cache_folder(repo: str) -> Path:
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}"


def parse_repo(text: str) -> tuple[str, str | None]:
    """`owner/name` or `owner/name@revision`. Raises UsageError."""
    name, _, revision = text.partition("@")
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
            huggingface_hub.snapshot_download(name, revision=revision, local_files_only=True)
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

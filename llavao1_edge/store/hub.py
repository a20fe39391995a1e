"""Repositories on the Hugging Face hub: what they hold, parts of files, whole files.

Settings, token and cache are huggingface_hub's: `HF_ENDPOINT`, `HF_TOKEN`, `HF_HOME` and
`HF_HUB_OFFLINE` hold. One client talks, to the API and to the files (`client`).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from llavao1_edge import __version__
from llavao1_edge.errors import DownloadError, UsageError
from llavao1_edge.phrases import Phrase
from llavao1_edge.store.client import UnreachableError
from llavao1_edge.store.digest import Report, Stop
from llavao1_edge.store.fetching import Download, difference, fetch, read_json, read_range

LOGGER = logging.getLogger(__name__)
REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95}")
REVISION = re.compile(r"[\w./-]{1,128}")


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
            raise DownloadError(
                Phrase("{name} has no file {file}", name=self.name, file=name),
                hint="Check the repository.",
            )
        cached = self._cached(remote, stop)
        if cached is not None:
            return cached
        target = folder / name
        fetch(
            Download(self.name, self._url(name), _headers(), remote.n_bytes, remote.sha256),
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

    def read(self, name: str, start: int, n: int) -> bytes:
        """A part of a file. Raises DownloadError."""
        wanted = Download(self.name, self._url(name), _headers(), n, None)
        return read_range(wanted, start, n)


def _headers() -> dict[str, str]:
    """With the token that `hf auth login` or HF_TOKEN left."""
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    headers: dict[str, str] = build_hf_headers(
        library_name="llavao1-edge", library_version=__version__
    )
    return headers


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
            Phrase("{text} is not the name of a repository", text=repr(text)),
            hint="For example: Xkev/Llama-3.2V-11B-cot",
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
            Phrase("{name} was not asked: HF_HUB_OFFLINE is set", name=name),
            hint="Unset it to use the network.",
        )
    from huggingface_hub import constants

    url = f"{constants.ENDPOINT}/api/models/{name}"
    if revision:
        url += f"/revision/{quote(revision, safe='')}"
    info = read_json(f"{url}?blobs=true", _headers(), what=name)
    return Repository(name, str(info.get("sha")), dict(_files(info)))


def find(text: str) -> Repository | Path:
    """The repository, or offline its folder in the hub's cache.

    Raises UsageError, DownloadError.
    """
    if not is_offline():
        try:
            return open_repository(text)
        except UnreachableError as error:
            cached = cached_snapshot(text)
            if cached is None:
                raise
            LOGGER.warning("%s; what the hub's cache holds of %s is used", error.message, text)
            return cached
    cached = cached_snapshot(text)
    if cached is None:
        raise DownloadError(
            Phrase("{text} is not in the hub's cache, and HF_HUB_OFFLINE is set", text=text),
            hint="Unset it once to fetch the model.",
        )
    return cached


def _files(info: dict[str, Any]) -> Iterator[tuple[str, RemoteFile]]:
    """Of the API's answer; what has no size or leads out of a folder is left out."""
    siblings = info.get("siblings")
    for sibling in siblings if isinstance(siblings, list) else []:
        if not isinstance(sibling, dict):
            continue
        name, size, lfs = sibling.get("rfilename"), sibling.get("size"), sibling.get("lfs")
        large = lfs if isinstance(lfs, dict) else {}
        size = large.get("size") if size is None else size
        if isinstance(name, str) and isinstance(size, int) and size >= 0 and _is_safe(name):
            digest = large.get("sha256")
            yield name, RemoteFile(name, size, digest if isinstance(digest, str) else None)


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

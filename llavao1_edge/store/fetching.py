"""Downloads one file over HTTP: resumed, checked, cancellable, under its name only when whole.

huggingface_hub's own download cannot be stopped by a caller, does not compare checksums, and newer
versions begin from zero after a kill. Its cache, its settings and its token are used (`hub`).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import httpx
from filelock import FileLock, Timeout

from llavao1_edge.errors import DownloadError
from llavao1_edge.phrases import Phrase
from llavao1_edge.store.client import (
    BrokenError,
    UnreachableError,
    answer,
    refuse_web_page,
    web_page,
)
from llavao1_edge.store.digest import Report, Stop, check, file_sha256

ASKED = 3  # times that the API is asked
TRIES = 5  # without a single byte between them
PAUSE = 0.5  # before the first new try, then twice as long each time
MAX_JSON = 64 << 20


@dataclass(frozen=True)
class Download:
    """What to fetch. The address must always give the same bytes (a commit, not a branch).

    what: the repository, for people; sha256: None where it is not known; the number of bytes is
    always compared.
    """

    what: str

    url: str
    headers: Mapping[str, str]
    n_bytes: int
    sha256: str | None


def fetch(
    wanted: Download, target: Path, *, report: Report | None = None, stop: Stop | None = None
) -> None:
    """Returns when `target` is there. What has come stays in `target.incomplete` until then.

    report is told the bytes so far. Raises DownloadError, Cancelled, OSError.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with _locked(target, stop):
        if target.is_file() and target.stat().st_size == wanted.n_bytes:
            return
        partial = target.with_name(f"{target.name}.incomplete")
        for last in (False, True):
            _complete(wanted, partial, report, stop)
            problem = difference(partial, wanted.n_bytes, wanted.sha256, stop=stop)
            if problem is None:
                partial.replace(target)
                return
            partial.unlink()
            if last:
                raise DownloadError(
                    Phrase(
                        "{name} came damaged twice: {problem}", name=target.name, problem=problem
                    ),
                    hint="Try again later, or over another connection.",
                )


class _locked:  # noqa: N801 (reads as a word in a `with`)
    """One process at a time for each file."""

    def __init__(self, target: Path, stop: Stop | None) -> None:
        self._lock = FileLock(target.with_name(f".{target.name}.lock"))
        self._stop = stop

    def __enter__(self) -> None:
        while True:
            try:
                self._lock.acquire(timeout=0.2)
                return
            except Timeout:
                check(self._stop)

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def _complete(wanted: Download, partial: Path, report: Report | None, stop: Stop | None) -> None:
    """Adds to the partial file until it has all bytes."""
    name = partial.name.removesuffix(".incomplete")
    tries = 0
    partial.touch()
    with partial.open("r+b") as file:
        if file.seek(0, os.SEEK_END) > wanted.n_bytes:
            _empty(file)
        while file.tell() < wanted.n_bytes:
            before = file.tell()
            broken = BrokenError(Phrase("the connection ended early"))
            try:
                _receive(wanted, file, name, report, stop)
            except BrokenError as error:
                broken = error
            tries = 0 if file.tell() > before else tries + 1
            if file.tell() < wanted.n_bytes:
                if tries >= TRIES:
                    raise _given_up(name, broken)
                _pause(broken.pause_s or PAUSE * 2**tries, stop)
        file.flush()
        os.fsync(file.fileno())


def _given_up(name: str, broken: BrokenError) -> DownloadError:
    return UnreachableError(
        Phrase("cannot fetch {name}: {problem}", name=name, problem=broken.problem),
        hint="Check the network and try again; what has come so far is kept.",
    )


def _receive(
    wanted: Download, file: BinaryIO, name: str, report: Report | None, stop: Stop | None
) -> None:
    """Raises BrokenError where the connection ends, DownloadError where there is no use in more."""
    start = file.tell()
    headers = dict(wanted.headers)
    if start:
        headers["Range"] = f"bytes={start}-"
    with answer(wanted.url, headers, what=wanted.what, name=name) as found:
        if not name.endswith((".html", ".htm")):
            refuse_web_page(found, name)
        if start and found.status_code != 206:
            _empty(file)  # no ranges here: from the beginning
        for data in found.iter_raw():
            if file.tell() + len(data) > wanted.n_bytes:
                _empty(file)
                raise DownloadError(
                    Phrase(
                        "the server sends more than the {n_bytes} bytes of {name}",
                        n_bytes=wanted.n_bytes,
                        name=name,
                    ),
                    hint="Try again later, or over another connection.",
                )
            _write(file, data)
            if report is not None:
                report(file.tell())
            check(stop)


def _empty(file: BinaryIO) -> None:
    file.seek(0)
    file.truncate()


def _write(file: BinaryIO, data: bytes) -> None:
    """A full disk is no broken connection."""
    try:
        file.write(data)
    except OSError as error:
        raise DownloadError(
            Phrase("cannot write {name}: {reason}", name=file.name, reason=error.strerror or error),
            hint="Free some space; what has come so far is kept.",
        ) from error


def read_range(wanted: Download, start: int, n: int) -> bytes:
    """A part of a file. Raises DownloadError."""
    name = wanted.url.rpartition("/")[2]
    headers = {**wanted.headers, "Range": f"bytes={start}-{start + n - 1}"}
    broken = BrokenError(Phrase("nothing came"))
    for attempt in range(TRIES):
        time.sleep(broken.pause_s or PAUSE * attempt)
        try:
            with answer(wanted.url, headers, what=wanted.what, name=name) as found:
                refuse_web_page(found, name)
                skip = 0 if found.status_code == 206 else start
                data = _first_bytes(found, skip + n)[skip:]
            if len(data) == n:
                return data
            broken = BrokenError(Phrase("{came} of {n} bytes came", came=len(data), n=n))
        except BrokenError as error:
            broken = error
    raise _given_up(name, broken)


def read_json(url: str, headers: Mapping[str, str], *, what: str) -> dict[str, Any]:
    """A small answer of the hub's API. Raises DownloadError, UnreachableError if nobody answers."""
    broken = BrokenError(Phrase("nothing came"))
    for attempt in range(ASKED):
        time.sleep(broken.pause_s or PAUSE * attempt)
        try:
            with answer(url, headers, what=what) as found:
                refuse_web_page(found, what)
                data = _first_bytes(found, MAX_JSON + 1)
            if len(data) > MAX_JSON:
                raise DownloadError(
                    Phrase("the answer about {what} is too long", what=what),
                    hint="Try again later.",
                )
            told = json.loads(data)
            if isinstance(told, dict):
                return told
            raise ValueError("no object")
        except BrokenError as error:
            broken = error
        except (ValueError, RecursionError) as error:
            raise web_page(found, what) from error
    raise UnreachableError(
        Phrase("the connection to the hub failed ({problem})", problem=broken.problem),
        hint="Check the network and try again; what has come so far is kept.",
    )


def _first_bytes(found: httpx.Response, n: int) -> bytes:
    """At most n, whatever the server sends."""
    data = bytearray()
    for part in found.iter_raw():
        data += part
        if len(data) >= n:
            break
    return bytes(data[:n])


def _pause(seconds: float, stop: Stop | None) -> None:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        check(stop)
        time.sleep(0.05)


def difference(
    path: Path, n_bytes: int, sha256: str | None, *, stop: Stop | None = None
) -> str | None:
    """What is wrong with a file, or None."""
    found = path.stat().st_size
    if found != n_bytes:
        return f"{found} bytes instead of {n_bytes}"
    if sha256 is None:
        return None
    digest = file_sha256(path, stop=stop)
    return None if digest == sha256 else f"sha256 {digest} instead of {sha256}"

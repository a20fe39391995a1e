"""Downloads one file over HTTP: resumed, checked, cancellable, under its name only when whole.

huggingface_hub asks the hub everything else; its own download cannot be stopped by a caller, does
not compare checksums, and newer versions begin from zero after a kill.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from llavao1_edge.errors import Cancelled, DownloadError

Report = Callable[[int], None]
Stop = Callable[[], bool]
BLOCK = 1 << 20
SILENCE = 10.0  # seconds without a byte until the connection is made anew
TRIES = 5  # without a single byte between them
PAUSE = 0.5  # before the first new try, then twice as long each time
BUSY = (408, 429)  # answers that are worth another try
BROKEN = (OSError, http.client.HTTPException)


@dataclass(frozen=True)
class Download:
    """What to fetch. The address must always give the same bytes (a commit, not a branch).

    sha256: None where it is not known; the number of bytes is always compared.
    """

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
                    f"{target.name} came damaged twice: {problem}",
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
                _check(self._stop)

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def _complete(wanted: Download, partial: Path, report: Report | None, stop: Stop | None) -> None:
    """Adds to the partial file until it has all bytes."""
    tries = 0
    partial.touch()
    with partial.open("r+b") as file:
        if file.seek(0, os.SEEK_END) > wanted.n_bytes:
            _empty(file)
        while file.tell() < wanted.n_bytes:
            before = file.tell()
            try:
                _receive(wanted, file, report, stop)
                problem = "the connection ended early"
            except urllib.error.HTTPError as error:
                if error.code < 500 and error.code not in BUSY:
                    raise refused(error, partial.name.removesuffix(".incomplete")) from error
                problem = f"the server answered {error.code}"
            except BROKEN as error:
                problem = str(getattr(error, "reason", error)) or type(error).__name__
            tries = 0 if file.tell() > before else tries + 1
            if file.tell() < wanted.n_bytes:
                if tries >= TRIES:
                    raise DownloadError(
                        f"cannot fetch {partial.name.removesuffix('.incomplete')}: {problem}",
                        hint="Try again; what has come so far is kept.",
                    )
                _pause(PAUSE * 2**tries, stop)
        file.flush()
        os.fsync(file.fileno())


def _receive(wanted: Download, file: BinaryIO, report: Report | None, stop: Stop | None) -> None:
    start = file.tell()
    request = _request(wanted)
    if start:
        request.add_header("Range", f"bytes={start}-")
    with urllib.request.urlopen(request, timeout=SILENCE) as answer:
        if start and answer.status != 206:
            _empty(file)  # no ranges here: from the beginning
        while data := answer.read1(BLOCK):
            _write(file, data)
            if report is not None:
                report(file.tell())
            _check(stop)


def _empty(file: BinaryIO) -> None:
    file.seek(0)
    file.truncate()


def _write(file: BinaryIO, data: bytes) -> None:
    """A full disk is no broken connection."""
    try:
        file.write(data)
    except OSError as error:
        raise DownloadError(
            f"cannot write {file.name}: {error.strerror or error}",
            hint="Free some space; what has come so far is kept.",
        ) from error


def _request(wanted: Download) -> urllib.request.Request:
    request = urllib.request.Request(wanted.url)
    for name, value in wanted.headers.items():
        # A token is for the hub, not for the storage that it sends us to.
        secret = name.lower() == "authorization"
        (request.add_unredirected_header if secret else request.add_header)(name, value)
    return request


def read_range(wanted: Download, start: int, n: int) -> bytes:
    """A part of a file. Raises DownloadError."""
    name = wanted.url.rpartition("/")[2]
    request = _request(wanted)
    request.add_header("Range", f"bytes={start}-{start + n - 1}")
    problem = ""
    for attempt in range(TRIES):
        time.sleep(PAUSE * attempt)
        try:
            with urllib.request.urlopen(request, timeout=SILENCE) as answer:
                if answer.status != 206:
                    answer.read(start)
                data: bytes = answer.read(n)
            if len(data) == n:
                return data
            problem = f"{len(data)} of {n} bytes came"
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in BUSY:
                raise refused(error, name) from error
            problem = f"the server answered {error.code}"
        except BROKEN as error:
            problem = str(getattr(error, "reason", error)) or type(error).__name__
    raise DownloadError(f"cannot read {name}: {problem}", hint="Try again later.")


def refused(error: urllib.error.HTTPError, name: str) -> DownloadError:
    """The hub's own reasons, in words."""
    reason = error.headers.get("X-Error-Code", "") if error.headers else ""
    hints = {
        "GatedRepo": "Accept its licence on the hub's page, then set HF_TOKEN.",
        "EntryNotFound": "The repository lacks this file.",
    }
    return DownloadError(
        f"cannot fetch {name}: the server answered {error.code} {reason}".rstrip(),
        hint=hints.get(reason, "Check the name; for a private repository set HF_TOKEN."),
    )


def _pause(seconds: float, stop: Stop | None) -> None:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        _check(stop)
        time.sleep(0.05)


def _check(stop: Stop | None) -> None:
    if stop is not None and stop():
        raise Cancelled("the download was stopped; what has come is kept")


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


def file_sha256(path: Path, *, stop: Stop | None = None) -> str:
    """Hexadecimal. Raises Cancelled."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while data := file.read(1 << 22):
            digest.update(data)
            _check(stop)
    return digest.hexdigest()

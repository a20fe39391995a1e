"""Downloads files in a process of its own, with huggingface_hub.

The library resumes, retries and knows the hub's storage, but it cannot be cancelled and does not
compare checksums; a process can be ended at any moment, and what has come stays for the next try.

The child reads a request (JSON) from its standard input and prints its result (JSON).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llavao1_edge.errors import Cancelled, DownloadError

Report = Callable[[int], None]
Stop = Callable[[], bool]
POLL_SECONDS = 0.1


def fetch(
    request: dict[str, Any], *, watch: Path, report: Report | None = None, stop: Stop | None = None
) -> list[Path]:
    """Runs the child until the files are there.

    request: `repo`, `files`, `revision`, `folder` (None: the hub's cache). watch: the folder in
    which an unfinished file grows. Raises DownloadError, Cancelled.
    """
    command = [sys.executable, "-m", "llavao1_edge.store.fetching"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        try:
            child.stdin.write(json.dumps(request))
            child.stdin.close()
            child.stdin = None
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    out, errors = child.communicate(timeout=POLL_SECONDS)
                    break
                if report is not None:
                    report(_unfinished(watch))
                if stop is not None and stop():
                    raise Cancelled("the download was stopped")
        except BaseException:
            child.kill()
            raise
    return _result(request, out, errors, child.returncode)


def _result(request: dict[str, Any], out: str, errors: str, code: int) -> list[Path]:
    try:
        result = json.loads(out.splitlines()[-1])
    except (ValueError, IndexError):
        last = errors.strip().splitlines()[-1:] or [f"exit code {code}"]
        raise DownloadError(
            f"cannot fetch {request['files'][0]}: {last[0]}",
            hint="Try again; it goes on from there.",
        ) from None
    if "paths" in result:
        return [Path(path) for path in result["paths"]]
    raise DownloadError(f"cannot fetch {result['file']}: {result['error']}", hint=result["hint"])


def _unfinished(folder: Path) -> int:
    """Bytes of the file that is growing."""
    sizes = [0]
    with contextlib.suppress(OSError):
        newest = max(
            folder.rglob("*.incomplete"), key=lambda path: path.stat().st_mtime, default=None
        )
        if newest is not None:
            sizes.append(newest.stat().st_size)
    return max(sizes)


def file_sha256(path: Path, *, stop: Stop | None = None) -> str:
    """Hexadecimal. Raises Cancelled."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while data := file.read(1 << 22):
            digest.update(data)
            if stop is not None and stop():
                raise Cancelled("stopped while checking a file")
    return digest.hexdigest()


# --- the child ------------------------------------------------------------------------------------
def main() -> None:
    request = json.loads(sys.stdin.read())
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from llavao1_edge.store.hub import explain

    paths: list[str] = []
    for file in request["files"]:
        with contextlib.redirect_stdout(sys.stderr):
            result = _download(request, file, explain)
        if "path" not in result:
            print(json.dumps(result | {"file": file}))
            return
        paths.append(result["path"])
    print(json.dumps({"paths": paths}))


def _download(
    request: dict[str, Any], file: str, explain: Callable[..., DownloadError]
) -> dict[str, str]:
    import huggingface_hub

    try:
        path = huggingface_hub.hf_hub_download(
            request["repo"], file, revision=request["revision"], local_dir=request["folder"]
        )
    except Exception as error:  # whatever its HTTP library raises, after its own retries
        found = explain(error, request["repo"])
        return {"error": found.message, "hint": found.hint}
    return {"path": str(path)}


if __name__ == "__main__":
    main()

"""A small hub on the loopback: real HTTP, the hub's routes, range requests, and its bad days.

with Hub({"owner/name": {"config.json": b"{}"}}) as hub: os.environ["HF_ENDPOINT"] = hub.url
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "c0ffee" + "0" * 34
LARGE = (".safetensors", ".gguf", ".bin")


@dataclass
class BadDay:
    """What goes wrong. break_after: close the connection after so many bytes of a body, so many
    `times`; wrong: send other bytes of the same length, so many times; delay: seconds per 64 KiB;
    status: answer every request for the file with it, and `headers`; page: a web page instead;
    more: so many bytes after the last one."""

    break_after: int | None = None
    times: int = 0
    wrong: int = 0
    delay: float = 0.0
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    page: bool = False
    more: int = 0


@dataclass
class Hub:
    """repositories: name → file → content. bad: by file, and "" for the API."""

    repositories: dict[str, dict[str, bytes]]
    bad: dict[str, BadDay] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    """(method, path, range)"""
    sent: dict[str, int] = field(default_factory=dict)
    """Bytes of bodies, by file."""

    def __enter__(self) -> Hub:
        hub = self

        class Handler(_Handler):
            home = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign, assignment]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def bodies(self, file: str) -> list[str]:
        """The ranges in which a file was asked for."""
        return [r for method, path, r in self.requests if method == "GET" and path.endswith(file)]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    home: Hub

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = self.path.partition("?")[0]
        bad = self.home.bad.get("" if path.startswith("/api/") else path.rpartition("/")[2])
        if bad is not None and (bad.status is not None or bad.page):
            self.home.requests.append((self.command, path, self.headers.get("Range", "")))
            kind = {"Content-Type": "text/html; charset=utf-8"} if bad.page else {}
            page = b"<!DOCTYPE html><title>Welcome to the Grand Hotel</title>" if bad.page else b""
            self._send(bad.status or 200, page, {**kind, **bad.headers})
            return
        self.home.requests.append((self.command, path, self.headers.get("Range", "")))
        model = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?", path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        if model:
            self._model(model[1], model[2])
        elif file:
            self._file(file[1], file[2], file[3], body=body)
        else:
            self._error(404, "EntryNotFound")

    def _known(self, name: str, revision: str | None) -> bool:
        if name in self.home.gated and not self.headers.get("Authorization"):
            self._error(403, "GatedRepo")
        elif name not in self.home.repositories:
            self._error(404, "RepoNotFound")
        elif revision not in (None, "main", "v1", COMMIT):
            self._error(404, "RevisionNotFound")
        else:
            return True
        return False

    def _model(self, name: str, revision: str | None) -> None:
        if not self._known(name, revision):
            return
        siblings: list[dict[str, Any]] = []
        for file, content in self.home.repositories[name].items():
            entry: dict[str, Any] = {
                "rfilename": file,
                "size": len(content),
                "blobId": _git(content),
            }
            if file.endswith(LARGE):
                digest = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 134}
            siblings.append(entry)
        answer = {"id": name, "modelId": name, "sha": COMMIT, "private": False, "tags": [],
                  "downloads": 0, "likes": 0, "siblings": siblings}  # fmt: skip
        self._send(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _file(self, name: str, revision: str, file: str, *, body: bool) -> None:
        if not self._known(name, revision):
            return
        content = self.home.repositories[name].get(file)
        bad = self.home.bad.get(file, BadDay())
        if content is None:
            self._error(404, "EntryNotFound")
            return
        large = file.endswith(LARGE)
        etag = hashlib.sha256(content).hexdigest() if large else _git(content)
        headers = {
            "ETag": f'"{etag}"',
            "X-Repo-Commit": COMMIT,
            "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",
        }
        if large:
            headers |= {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(content))}
        if not body:
            self._send(200, b"", headers | {"Content-Length": str(len(content))})
            return
        if bad.wrong > 0 and "Range" not in self.headers:
            bad.wrong -= 1
            content = bytes(byte ^ 1 for byte in content)
        self._body(file, content, headers, bad)

    def _body(self, file: str, content: bytes, headers: dict[str, str], bad: BadDay) -> None:
        start, stop, status = 0, len(content), 200
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted:
            start, status = int(wanted[1]), 206
            stop = min(stop, int(wanted[2]) + 1) if wanted[2] else stop
            if start >= len(content):
                self._error(416, "")
                return
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
        part = content[start:stop] + bytes(bad.more)
        self.send_response(status)
        for key, value in (headers | {"Content-Length": str(len(part))}).items():
            self.send_header(key, value)
        self.end_headers()
        broken = bad.break_after is not None and bad.times > 0
        if broken:
            bad.times -= 1
            part = part[: bad.break_after]
        for at in range(0, len(part), 1 << 16):
            piece = part[at : at + (1 << 16)]
            try:
                self.wfile.write(piece)
            except OSError:
                return
            self.home.sent[file] = self.home.sent.get(file, 0) + len(piece)
            time.sleep(bad.delay)
        if broken:
            self.close_connection = True
            self.connection.close()

    def _error(self, status: int, code: str) -> None:
        self._send(status, b"", {"X-Error-Code": code, "X-Error-Message": code})

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in ({"Content-Length": str(len(content))} | headers).items():
            self.send_header(key, value)
        self.end_headers()
        if content and self.command != "HEAD":
            self.wfile.write(content)


def _git(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

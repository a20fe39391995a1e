"""A server of OpenAI's protocol that says what a script tells it to, and breaks where it shall.

It goes on in the assistant's message as real ones do: the stage that was opened last decides what
it writes.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TEXTS = {
    "SUMMARY": ["I will look.", "I will count."],
    "CAPTION": ["Three shapes.", "Two shapes."],
    "REASONING": ["One, two. Then three.", "One and two."],
    "CONCLUSION": ["3", "2"],
}
USAGE = {"prompt_tokens": 50, "prompt_tokens_details": {"cached_tokens": 40}}
OPENED = re.compile(r"<([A-Z]+)>(?!.*</\1>)", re.DOTALL)


@dataclass
class Script:
    """owner: what it calls itself. echoes: it repeats the prefix. broken: the name of a fault, in
    answers (not while it is probed); status: of the next replies, one after the other; fails_from:
    how many answers are good before the rest is cut off."""

    owner: str = "llamacpp"
    models: list[str] = field(default_factory=lambda: ["llava-cot"])
    texts: dict[str, list[str]] = field(default_factory=lambda: dict(TEXTS))
    echoes: bool = False
    logprobs: bool = True
    slots: int = 4
    token_s: float = 0.0
    broken: str = ""
    status: list[int] = field(default_factory=list)
    key: str = ""
    fails_from: int | None = None
    comes_again: bool = True
    streams_logprobs: bool = True
    repeats_usage: bool = False
    trace: Any = None
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    hung_up: int = 0

    @property
    def answers(self) -> list[dict[str, Any]]:
        """The bodies of questions, without those of the probe."""
        return [body for body in self.asked if not is_probe(body)]


def is_probe(body: dict[str, Any]) -> bool:
    return bool(body["messages"][0]["content"] == "Say one word.")


def tokens_of(text: str) -> list[str]:
    return re.findall(r"\s*\S+\s?$|\s*\S+", text)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    script: Script

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        script = self.script
        if script.key and self.headers.get("Authorization") != f"Bearer {script.key}":
            self.reply(401, {"error": {"message": "no such key"}})
        elif script.broken == "a web page":
            self.raw(200, b"<html>hello</html>", "text/html")
        elif self.path == "/v1/models":
            models = [{"id": name, "owned_by": script.owner} for name in script.models]
            self.reply(200, {"data": models})
        elif self.path == "/props":
            self.reply(200, {"total_slots": script.slots})
        else:
            self.reply(404, {"error": "nothing there"})

    def do_POST(self) -> None:
        script = self.script
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        script.asked.append(body)
        script.headers.append(dict(self.headers))
        if is_probe(body):
            self.probed(body)
        elif script.status:
            status = script.status.pop(0)
            again = status in (429, 503) and script.comes_again
            headers = {"Retry-After": "0"} if again else {}
            self.reply(status, {"error": {"message": "not now"}}, headers)
        elif body.get("stream"):
            with suppress(BrokenPipeError, ConnectionResetError):
                self.streamed(body)
                return
            script.hung_up += 1
        else:
            self.whole(body)

    def probed(self, body: dict[str, Any]) -> None:
        grammar = json.dumps(
            [body.get("grammar"), body.get("ebnf"), body.get("structured_outputs")]
        )
        text = " certainly" if "certainly" in grammar else "so"
        self.reply(200, {"choices": [self.choice(0, text, body)]})

    def choice(self, index: int, text: str, body: dict[str, Any]) -> dict[str, Any]:
        told: dict[str, Any] = {
            "index": index,
            "message": {"role": "assistant", "content": text},
            "finish_reason": "stop",
        }
        if body.get("logprobs") and self.script.logprobs:
            told["logprobs"] = self.logprobs(tokens_of(text))
        return told

    def logprobs(self, tokens: list[str]) -> dict[str, Any]:
        worth = {"1": -0.2, "2": -1.7}
        top = [{"token": f" {n}", "logprob": value} for n, value in worth.items()]
        content = [
            {"token": token, "bytes": list(token.encode()), "logprob": -0.5, "top_logprobs": top}
            for token in tokens
        ]
        return {"content": content}

    def prefix(self, body: dict[str, Any]) -> str:
        last = body["messages"][-1]
        return str(last["content"]) if last["role"] == "assistant" else ""

    def text(self, body: dict[str, Any], draw: int) -> str:
        """By the seed: the same seed says the same."""
        prefix = self.prefix(body)
        opened = OPENED.findall(prefix)
        if not opened:
            return "".join(
                f"<{tag}> {texts[draw % len(texts)]} </{tag}>\n\n"
                for tag, texts in self.script.texts.items()
            )
        texts = self.script.texts[opened[-1]]
        done = prefix.rpartition(f"<{opened[-1]}>")[2].strip()
        whole = texts[draw % len(texts)]
        rest = whole[len(done) :] if whole.startswith(done) else ""
        return f"{rest if done else ' ' + whole} </{opened[-1]}>"

    def whole(self, body: dict[str, Any]) -> None:
        if self.script.broken == "no choice":
            self.reply(200, {"choices": []})
            return
        text = self.text(body, body.get("seed", 0))
        own = {} if self.script.trace is None else {"llavao1": {"trace": self.script.trace}}
        choices = [self.choice(0, text, body)]
        self.reply(200, {"choices": choices, "usage": USAGE, **own})

    def streamed(self, body: dict[str, Any]) -> None:
        script = self.script
        kind = "application/json" if script.broken == "wrong type" else "text/event-stream"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Connection", "close")
        self.end_headers()
        self.send(b": hello\n\n")
        n = body.get("n", 1)
        written = [tokens_of(self.text(body, body.get("seed", 0) + i)) for i in range(n)]
        if script.echoes:
            written = [[self.prefix(body), *tokens] for tokens in written]
        most = body["max_tokens"]
        for at in range(max(map(len, written))):
            for index, tokens in enumerate(written):
                if at < min(len(tokens), most):
                    self.tell(index, tokens[at], body)
            self.break_down(at)
            time.sleep(script.token_s)
        for index, tokens in enumerate(written):
            reason = "length" if len(tokens) > most else "stop"
            if script.broken == "odd reason":
                reason = "content_filter"
            if script.broken != "no reason":
                end = {"index": index, "delta": {}, "finish_reason": reason}
                self.event({"choices": [end]})
        self.event({"choices": [], "usage": USAGE})
        self.send(b"data: [DONE]\n\n")

    def tell(self, index: int, token: str, body: dict[str, Any]) -> None:
        chunk: dict[str, Any] = {"index": index, "delta": {"content": token}}
        if body.get("logprobs") and self.script.logprobs and self.script.streams_logprobs:
            chunk["logprobs"] = self.logprobs([token])
        usage = {"usage": USAGE} if self.script.repeats_usage else {}
        self.event({"choices": [chunk], **usage})

    def break_down(self, at: int) -> None:
        if at != 1:
            return
        many = self.script.fails_from
        broken = self.script.broken
        if many is not None and len(self.script.answers) >= many:
            broken = "cut"
        match broken:
            case "cut":
                self.close_connection = True
                raise BrokenPipeError
            case "error event":
                self.event({"error": {"message": "out of memory"}})
            case "no json":
                self.send(b"data: {oops\n\n")
            case "odd event":
                self.send(b"data: [1, 2]\n\n")
            case "odd choice":
                self.event({"choices": [{"index": 77, "delta": {"content": "x"}}]})
            case "endless":
                self.send(b"data: " + b"x" * (9 << 20) + b"\n\n")
            case "silent":
                time.sleep(3600)

    def event(self, data: dict[str, Any]) -> None:
        self.send(f"data: {json.dumps(data)}\r\n\r\n".encode())

    def send(self, data: bytes) -> None:
        self.wfile.write(data)
        self.wfile.flush()

    def reply(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        self.raw(status, json.dumps(body).encode(), "application/json", headers)

    def raw(
        self, status: int, data: bytes, kind: str, headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.send(data)


@contextmanager
def scripted(script: Script) -> Iterator[str]:
    """The address of a server that follows the script."""
    handler = type("Scripted", (Handler,), {"script": script})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

"""A real server process for tests, and what asks it."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from llavao1_edge.program import command
from tests.patience import PATIENCE_S
from tests.shapes import SAMPLES

PICTURE = SAMPLES[0].picture
QUESTION = SAMPLES[0].question


def data_url(path: Path = PICTURE) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def about_a_picture(question: str = QUESTION, url: str | None = None) -> list[dict[str, Any]]:
    """The messages of a first question."""
    picture = {"type": "image_url", "image_url": {"url": url or data_url()}}
    return [{"role": "user", "content": [picture, {"type": "text", "text": question}]}]


@dataclass
class Running:
    """A server. `http`: a client of its root."""

    process: subprocess.Popen[str]
    address: str
    http: httpx.Client

    @property
    def url(self) -> str:
        return f"{self.address}/v1"

    def chat(self, messages: Any, **more: Any) -> httpx.Response:
        return self.http.post("/v1/chat/completions", json={"messages": messages, **more})

    def metric(self, name: str) -> float:
        found = re.search(rf"^{re.escape(name)} ([\d.e+]+)$", self.http.get("/metrics").text, re.M)
        return float(found[1]) if found else 0.0

    def wait_for(self, name: str, value: float) -> None:
        until = time.monotonic() + PATIENCE_S
        while self.metric(name) != value:
            assert time.monotonic() < until, f"{name} is {self.metric(name)}, not {value}"
            time.sleep(0.05)

    def worker_pid(self) -> int:
        """Of the engine's process."""
        import psutil

        children = psutil.Process(self.process.pid).children()
        return int(next(one.pid for one in children if "worker" in " ".join(one.cmdline())))


@contextmanager
def serving(
    *arguments: str, script: dict[str, Any] | None = None, folder: Path
) -> Iterator[Running]:
    """script: the fields of `testing.Script`; without one the demo model answers."""
    if script is not None:
        (folder / "script.json").write_text(json.dumps(script))
        arguments = (*arguments, "--script", str(folder / "script.json"))
    process = subprocess.Popen(
        [*command("llavao1_edge.cli.main", "serve", "--port", "0", *arguments)],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        said = ""
        for line in process.stderr:
            said += line
            found = re.search(r"listening on (http://\S+)/v1", line)
            if found:
                break
        else:
            raise AssertionError(said)
        with httpx.Client(base_url=found[1], timeout=PATIENCE_S, trust_env=False) as http:
            yield Running(process, found[1], http)
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_S)
        finally:
            process.kill()
            process.stderr.close()


__all__ = ["Running", "about_a_picture", "data_url", "serving"]

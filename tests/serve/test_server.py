"""The server as people run it: real processes, real clients, and what goes wrong."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest

from llavao1_edge import Engine, RuntimeSettings
from llavao1_edge.program import command
from llavao1_edge.serve import wire
from llavao1_edge.serve.metrics import Metrics
from llavao1_edge.serve.pictures import Fetcher, Uploads, is_public, public_address
from llavao1_edge.serve.problem import Problem
from llavao1_edge.serve.process import EngineProcess
from tests.serve.running import PICTURE, QUESTION, Running, about_a_picture, data_url, serving
from tests.shapes import SAMPLES

KEY = "a-key-that-nobody-guesses"
TEXTS = {
    "summary": ["I will look."],
    "caption": ["Three shapes."],
    "reasoning": ["One, two, three."],
    "conclusion": ["3"],
}
LONG = {**TEXTS, "reasoning": ["so on " * 400]}


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The demo model, served."""
    with serving("--seed", "1", folder=tmp_path_factory.mktemp("shapes")) as running:
        yield running


@pytest.fixture(scope="module")
def client(shapes: Running) -> openai.OpenAI:
    return openai.OpenAI(base_url=shapes.url, api_key="none", max_retries=0)


# --- the official client -------------------------------------------------------------------------
def test_the_answer_is_that_of_the_engine(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="llavao1", messages=about_a_picture())
    settings = RuntimeSettings(gpu_layers=0)
    with Engine.open("demo", settings=settings) as engine:
        answer = engine.session(PICTURE).ask(QUESTION, seed=1)
    (choice,) = reply.choices
    assert choice.message.content == answer.conclusion
    assert choice.finish_reason == "stop"
    assert choice.message.reasoning_content.startswith(f"Summary: {answer.stages['summary']}\n\n")
    assert reply.usage is not None
    assert reply.usage.completion_tokens == answer.trace.counters.sampled_tokens
    assert reply.usage.completion_tokens_details.reasoning_tokens > 50


@pytest.mark.parametrize("model", ["llavao1", "llavao1:fast", "llavao1:careful"])
def test_a_stream_is_the_same_answer(client: openai.OpenAI, model: str) -> None:
    asked: dict[str, Any] = {"model": model, "messages": about_a_picture(), "seed": 3}
    whole = client.chat.completions.create(**asked)
    content, thought, reasons, roles, usage = "", "", [], [], None
    stream = client.chat.completions.create(
        **asked, stream=True, stream_options={"include_usage": True}
    )
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            content += choice.delta.content or ""
            thought += getattr(choice.delta, "reasoning_content", None) or ""
            roles += [choice.delta.role] if choice.delta.role else []
            reasons += [choice.finish_reason] if choice.finish_reason else []
    message = whole.choices[0].message
    assert (content, thought) == (message.content, message.reasoning_content)
    assert (roles, reasons) == (["assistant"], ["stop"])
    assert usage is not None
    assert whole.usage is not None
    assert usage.completion_tokens == whole.usage.completion_tokens


def test_the_asynchronous_client(shapes: Running) -> None:
    async def ask() -> list[str | None]:
        async with openai.AsyncOpenAI(base_url=shapes.url, api_key="none") as client:
            asked = [
                client.chat.completions.create(
                    model="llavao1:fast", messages=about_a_picture(), seed=seed
                )
                for seed in range(4)
            ]
            return [reply.choices[0].message.content for reply in await asyncio.gather(*asked)]

    assert len(set(asyncio.run(ask()))) == 1  # greedy, whatever the seed


def test_several_choices_and_their_log_probabilities(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"messages": about_a_picture(), "temperature": 1.5}
    reply = client.chat.completions.create(
        model="llavao1", n=3, seed=7, logprobs=True, top_logprobs=4, **asked
    )
    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    alone = client.chat.completions.create(model="llavao1", seed=8, **asked)
    second = reply.choices[1].message
    assert second.reasoning_content == alone.choices[0].message.reasoning_content
    for choice in reply.choices:
        assert choice.logprobs is not None
        tokens = choice.logprobs.content
        assert tokens
        written = b"".join(bytes(token.bytes or []) for token in tokens).decode()
        assert written.strip().startswith(str(choice.message.content))
        for token in tokens:
            best = [one.logprob for one in token.top_logprobs]
            assert len(best) == 4
            assert best == sorted(best, reverse=True)
            assert token.logprob <= best[0] <= 0


def test_a_schema_is_followed(client: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"count": {"type": "integer", "minimum": 0, "maximum": 99}},
        "required": ["count"],
        "additionalProperties": False,
    }
    reply = client.chat.completions.create(
        model="llavao1",
        messages=about_a_picture(),
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": schema}},
    )
    assert set(json.loads(str(reply.choices[0].message.content))) == {"count"}


def test_a_conversation_goes_on_in_the_cache(client: openai.OpenAI) -> None:
    """What came before the last question is computed once."""
    messages = about_a_picture("How many triangles are there?")
    costs = []
    for question in ("How many shapes are there?", "How many circles are there?", "Sure?", ""):
        reply = client.chat.completions.create(model="llavao1:fast", messages=messages)
        assert reply.usage is not None
        assert reply.usage.prompt_tokens_details is not None
        cached = reply.usage.prompt_tokens_details.cached_tokens or 0
        costs.append((cached, reply.usage.prompt_tokens - cached))
        messages += [
            {"role": "assistant", "content": reply.choices[0].message.content},
            {"role": "user", "content": question},
        ]
    cached_tokens, computed = zip(*costs, strict=True)
    assert list(cached_tokens) == sorted(set(cached_tokens))  # more each time
    assert max(computed[2:]) < 2 * computed[1]
    told = messages[:-1]
    told[0] = about_a_picture("How many blue shapes are there?")[0]  # another beginning
    other = client.chat.completions.create(model="llavao1:fast", messages=told[:-1])
    assert other.usage is not None
    assert other.usage.prompt_tokens_details is not None
    assert not other.usage.prompt_tokens_details.cached_tokens


def test_what_the_model_is(client: openai.OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert names == ["llavao1", "llavao1:fast", "llavao1:careful", "llavao1:thorough"]
    assert client.models.retrieve("llavao1:careful").owned_by == "llavao1-edge"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt")


def test_an_uploaded_picture(client: openai.OpenAI, shapes: Running) -> None:
    made = client.files.create(file=PICTURE, purpose="vision")
    part = {"type": "file", "file": {"file_id": made.id}}
    messages: Any = [{"role": "user", "content": [part, {"type": "text", "text": QUESTION}]}]
    sent = client.chat.completions.create(model="llavao1:fast", messages=messages)
    plain = client.chat.completions.create(model="llavao1:fast", messages=about_a_picture())
    assert sent.choices[0].message.content == plain.choices[0].message.content
    assert client.files.delete(made.id).deleted
    assert shapes.chat(messages).status_code == 404
    assert shapes.http.post("/v1/files", data={"purpose": "vision"}).status_code == 400


def test_stages_and_trace_beside_the_answer(shapes: Running) -> None:
    own = {"strategy": "stage-beam", "candidates": 2, "stages": True, "trace": True}
    reply = shapes.chat(about_a_picture(), llavao1=own, seed=4).json()["llavao1"]
    assert reply["seed"] == 4
    assert list(reply["stages"][0]) == ["summary", "caption", "reasoning", "conclusion"]
    assert len(reply["trace"][0]["candidates"]) == 8


def test_too_little_room_is_told(shapes: Running) -> None:
    reply = shapes.chat(about_a_picture(), max_tokens=5).json()
    assert reply["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("data:image/png;base64,aGVsbG8=", "picture"),
        ("data:image/png;base64," + base64.b64encode(PICTURE.read_bytes()[:500]).decode(), ""),
    ],
)
def test_a_damaged_picture(shapes: Running, url: str, message: str) -> None:
    reply = shapes.chat(about_a_picture(url=url))
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "invalid_image"
    assert message in reply.json()["error"]["message"]


def test_a_second_picture_and_too_long_a_conversation(shapes: Running) -> None:
    two = about_a_picture()
    two[0]["content"].insert(0, about_a_picture(url=data_url(SAMPLES[1].picture))[0]["content"][0])
    assert "takes 1" in shapes.chat(two).json()["error"]["message"]
    reply = shapes.chat(about_a_picture("how many " * 5000))
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "context_length_exceeded"


def test_the_same_request_has_the_same_answer_also_in_a_conversation(shapes: Running) -> None:
    """Whether it is in the cache or not: what counts is what the client tells."""
    messages = [
        *about_a_picture(),
        {"role": "assistant", "content": "3"},
        {"role": "user", "content": "How many shapes are there?"},
    ]
    asked = {"seed": 5, "temperature": 1.5}
    first = shapes.chat(about_a_picture(), seed=1, temperature=0).json()
    messages[1]["content"] = first["choices"][0]["message"]["content"]
    answers = [shapes.chat(messages, **asked).json() for _ in range(3)]
    thoughts = [one["choices"][0]["message"]["reasoning_content"] for one in answers]
    assert len(set(thoughts)) == 1


def test_a_stop_text_stops(shapes: Running) -> None:
    whole = shapes.chat(about_a_picture(), seed=3, temperature=0).json()
    text = whole["choices"][0]["message"]["content"]
    cut = shapes.chat(about_a_picture(), seed=3, temperature=0, stop=text[0]).json()
    assert cut["choices"][0]["message"]["content"] == ""
    assert cut["choices"][0]["finish_reason"] == "stop"
    assert cut["usage"]["completion_tokens"] < whole["usage"]["completion_tokens"]


def test_too_many_pictures_are_refused_before_they_are_opened(shapes: Running) -> None:
    (message,) = about_a_picture(url="data:image/png;base64,aGVsbG8=")
    message["content"] = [message["content"][0]] * 3 + message["content"][1:]
    reply = shapes.chat([message])
    assert reply.status_code == 400
    assert "3 pictures were sent" in reply.json()["error"]["message"]


def test_curl(shapes: Running, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    (tmp_path / "body.json").write_text(json.dumps({"messages": about_a_picture(), "stream": True}))
    said = subprocess.run(
        ["curl", "-sS", "-N", f"{shapes.url}/chat/completions", "-H",
         "Content-Type: application/json", "-d", f"@{tmp_path / 'body.json'}"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    events = [line for line in said.splitlines() if line]
    assert all(line.startswith("data: ") for line in events)
    assert events[-1] == "data: [DONE]"


def test_litellm(shapes: Running) -> None:
    litellm = pytest.importorskip("litellm")
    reply = litellm.completion(
        model="openai/llavao1:fast",
        api_base=shapes.url,
        api_key="none",
        messages=about_a_picture(),
    )
    assert reply.choices[0].message.content
    assert reply.choices[0].message.reasoning_content.startswith("Summary: ")


# --- who may ask ---------------------------------------------------------------------------------
def test_what_a_web_page_could_send_is_refused(shapes: Running) -> None:
    body = json.dumps({"messages": about_a_picture()})
    plain = {"Content-Type": "text/plain"}
    assert shapes.http.post("/v1/chat/completions", content=body, headers=plain).status_code == 415
    page = {"Origin": "https://evil.example"}
    file = {"file": ("a.png", PICTURE.read_bytes())}
    assert shapes.http.post("/v1/files", files=file, headers=page).status_code == 403
    assert shapes.http.get("/v1/models", headers=page).status_code == 403
    renamed = {"Host": "evil.example"}
    assert shapes.http.get("/v1/models", headers=renamed).status_code == 403
    answer = shapes.http.options(
        "/v1/chat/completions",
        headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"},
    )
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v1/chat/completions", 405),
        ("POST", "/v1/completions", 404),
        ("POST", "/v1/embeddings", 404),
        ("DELETE", "/v1/files/file-1", 404),
        ("GET", "/health", 200),
    ],
)
def test_other_routes(shapes: Running, method: str, path: str, status: int) -> None:
    reply = shapes.http.request(method, path)
    assert reply.status_code == status
    assert status == 200 or reply.json()["error"]["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"[1", b"\xff", b"[" * 100_000, b'"\\ud800"', b"NaN"])
def test_what_is_no_json(shapes: Running, body: bytes) -> None:
    reply = shapes.http.post(
        "/v1/chat/completions", content=body, headers={"Content-Type": "application/json"}
    )
    assert reply.status_code == 400
    assert reply.json()["error"]["message"]


def test_a_body_that_is_too_large_is_refused_before_it_is_read(shapes: Running) -> None:
    host, port = shapes.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as raw:
        raw.sendall(
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {1 << 40}\r\n\r\n".encode()
        )
        assert b" 413 " in raw.recv(4096)


def test_a_body_without_a_length_is_counted(shapes: Running) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(70):
            yield b" " * (1 << 20)

    reply = shapes.http.post(
        "/v1/chat/completions", content=chunks(), headers={"Content-Type": "application/json"}
    )
    assert reply.status_code == 413


def test_keys(tmp_path: Path) -> None:
    (tmp_path / "keys.txt").write_text(f"# of the kitchen\n{KEY}\n\n{KEY}-2\n")
    options = ["--api-key-file", str(tmp_path / "keys.txt"), "--cors-origin", "http://page.example"]
    with serving(*options, script={"texts": TEXTS}, folder=tmp_path) as running:
        assert running.http.get("/health").status_code == 200
        for given in (None, "Bearer", "Bearer wrong", f"Basic {KEY}", KEY, f"Bearer {KEY}x"):
            headers = {} if given is None else {"Authorization": given}
            reply = running.http.get("/v1/models", headers=headers)
            assert reply.status_code == 401, given
            assert reply.json()["error"]["code"] == "invalid_api_key"
        for key in (KEY, f"{KEY}-2"):
            headers = {"Authorization": f"Bearer {key}", "Host": "my.server"}
            assert running.http.get("/v1/models", headers=headers).status_code == 200
        allowed = running.http.options(
            "/v1/chat/completions",
            headers={
                "Origin": "http://page.example",
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization,content-type,x-stainless-os",
            },
        )
        assert allowed.headers["access-control-allow-origin"] == "http://page.example"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--host", "0.0.0.0"], "can be reached by others"),
        (["--api-key-file", "none.txt"], "cannot read the keys"),
        (["--api-key-file", "empty.txt"], "holds no key"),
        (["--api-key-file", "short.txt"], "can be guessed"),
        (["--port", "99999"], "--port is '99999'"),
        (["--port", "x"], "--port is 'x'"),
        (["--host", "no.such.host.invalid", "--api-key-file", "good.txt"], "cannot listen"),
        (["--queue", "-1"], "--queue is '-1'"),
        (["--timeout", "0"], "--timeout is '0'"),
        (["--timeout", "nan"], "--timeout is 'nan'"),
        (["--served-model-name", "a:b"], "without a colon"),
        (["--model", "nowhere.gguf"], "nowhere.gguf"),
        (["--strategy", "direct", "--candidates", "3"], "candidates"),
        (["--script", "nowhere.json"], ""),
    ],
)
def test_a_server_that_cannot_be(options: list[str], message: str, tmp_path: Path) -> None:
    for name, text in (("empty", "#\n"), ("short", "abc\n"), ("good", f"{KEY}\n")):
        (tmp_path / f"{name}.txt").write_text(text)
    said = subprocess.run(
        command("llavao1_edge.cli.main", "serve", *options),
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert said.returncode in (1, 2)
    assert message in said.stderr
    assert "Traceback" not in said.stderr or "--script" in options


@pytest.mark.skipif(sys.platform != "linux", reason="only there all of 127.0.0.0/8 is loopback")
def test_another_address_of_this_machine(tmp_path: Path) -> None:
    with serving("--host", "127.0.0.2", script={"texts": TEXTS}, folder=tmp_path) as running:
        assert running.http.get("/v1/models").status_code == 200


def test_a_port_that_is_taken(shapes: Running) -> None:
    port = shapes.address.rpartition(":")[2]
    said = subprocess.run(
        command("llavao1_edge.cli.main", "serve", "--port", port), capture_output=True, text=True
    )
    assert said.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in said.stderr


# --- pictures from elsewhere ---------------------------------------------------------------------
def test_addresses_are_not_fetched_unless_allowed(shapes: Running) -> None:
    reply = shapes.chat(about_a_picture(url="https://example.org/a.png"))
    assert reply.status_code == 403
    assert reply.json()["error"]["code"] == "url_not_allowed"


@pytest.mark.parametrize(
    "url",
    [
        *("https://localhost/a.png", "https://127.0.0.1/a.png", "https://[::1]/a.png"),
        *("https://10.0.0.8/a.png", "https://169.254.169.254/latest", "https://0.0.0.0/a.png"),
        *("http://example.org/a.png", "https://user:word@example.org/a.png", "https://"),
        *("https://example.org.evil.example/", "https://evil.example/?example.org"),
    ],
)
def test_no_way_into_a_private_network(url: str) -> None:
    """Also where the operator allowed a name that leads there."""
    hosts = ["localhost", "127.0.0.1", "::1", "10.0.0.8", "169.254.169.254", "0.0.0.0"]
    fetcher = Fetcher([*hosts, "example.org", "*.example.org"])
    with pytest.raises(Problem) as refused:
        asyncio.run(fetcher.fetch(url))
    assert refused.value.status in (400, 403)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        *(("93.184.215.14", True), ("2606:4700::1111", True), ("::ffff:93.184.215.14", True)),
        *(("127.0.0.1", False), ("::1", False), ("::ffff:127.0.0.1", False)),
        *(("fe80::1%eth0", False), ("fc00::1", False)),
        *(("64:ff9b::7f00:1", False), ("2002:7f00:1::", False), ("::7f00:1", False)),
        *(("::ffff:100.64.0.1", False), ("224.0.0.1", False), ("ff02::1", False)),
    ],
)  # fmt: skip
def test_addresses_of_the_open_internet(address: str, public: bool) -> None:
    assert is_public(address) == public


def test_all_addresses_of_a_name_must_be_public(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(2, 1, 6, "", ("93.184.215.14", 443)), (2, 1, 6, "", ("192.168.1.1", 443))]

    async def look_up() -> str:
        async def addresses(*_: Any, **__: Any) -> Any:
            return found

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", addresses)
        return await public_address("example.org", 443)

    with pytest.raises(Problem, match=r"192\.168\.1\.1"):
        asyncio.run(look_up())
    found.pop()
    assert asyncio.run(look_up()) == "93.184.215.14"


def test_uploads_make_room_for_each_other() -> None:
    uploads = Uploads(most=10)
    first = uploads.add(b"12345", "a", 0)
    second = uploads.add(b"67890", "b", 0)
    uploads.get(first.name)
    uploads.add(b"x", "c", 0)
    assert uploads.get(first.name).data == b"12345"
    with pytest.raises(Problem, match="never sent"):
        uploads.get(second.name)


# --- many at once, and what goes wrong -----------------------------------------------------------
def memory(running: Running) -> int:
    """Bytes of both processes."""
    pids = (running.process.pid, running.worker_pid())
    return sum(psutil.Process(pid).memory_info().rss for pid in pids)


def test_two_hundred_requests_from_sixteen_clients(tmp_path: Path) -> None:
    texts = {**TEXTS, "conclusion": [str(i) for i in range(8)]}
    script = {"texts": texts, "token_s": 0.0005}
    with serving("--queue", "200", "--parallel", "4", script=script, folder=tmp_path) as running:

        def ask(number: int) -> bool:
            seed = number % 8
            with httpx.Client(timeout=300, trust_env=False) as http:
                reply = http.post(
                    f"{running.url}/chat/completions",
                    json={"messages": about_a_picture(), "seed": seed, "stream": number % 2 == 0},
                )
            assert reply.status_code == 200
            if number % 2:
                return bool(reply.json()["choices"][0]["message"]["content"] == str(seed))
            chunks = [json.loads(line[6:]) for line in reply.text.split("\n\n") if "{" in line]
            text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
            return text == str(seed)

        with ThreadPoolExecutor(16) as clients:
            assert all(clients.map(ask, range(40)))
            before = memory(running)
            assert all(clients.map(ask, range(200)))
        assert memory(running) < before + (24 << 20)
        assert running.metric('llavao1_requests_total{status="200"}') == 240
        assert running.metric("llavao1_requests_waiting") == 0


def test_a_full_queue_says_when_to_come_again(tmp_path: Path) -> None:
    script = {"texts": LONG, "token_s": 0.01}
    with serving("--queue", "1", script=script, folder=tmp_path) as running:
        with ThreadPoolExecutor(2) as clients:
            waiting = [clients.submit(running.chat, about_a_picture(), stop="3") for _ in range(2)]
            running.wait_for("llavao1_requests_waiting", 1)
            reply = running.chat(about_a_picture())
            assert reply.status_code == 429
            assert int(reply.headers["Retry-After"]) >= 1
            assert reply.json()["error"]["code"] == "queue_full"
            assert all(one.result().status_code == 200 for one in waiting)


@pytest.mark.parametrize("stream", [True, False])
def test_whoever_hangs_up_stops_the_answer(stream: bool, tmp_path: Path) -> None:
    script = {"texts": TEXTS, "answers": {"long": LONG}, "token_s": 0.05}  # 40 s
    body = json.dumps({"messages": about_a_picture("A long one"), "stream": stream})
    with serving(script=script, folder=tmp_path) as running:
        host, port = running.address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as raw:
            raw.sendall(
                f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: "
                f"application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
            )
            running.wait_for("llavao1_requests_running", 1)
            if stream:
                assert b"data: " in raw.recv(65536) + raw.recv(65536)
        running.wait_for("llavao1_requests_running", 0)
        reply = running.chat(about_a_picture("How many?")).json()
        assert reply["choices"][0]["message"]["content"] == "3"
        # What was stopped never came to its end: its tokens are not counted as an answer's.
        assert running.metric('llavao1_requests_total{status="200"}') == 1


def test_a_client_that_only_listens_further(tmp_path: Path) -> None:
    """Its half of the connection is closed: nothing hangs, others are answered."""
    body = json.dumps({"messages": about_a_picture("x")})
    with serving(script={"texts": TEXTS, "token_s": 0.01}, folder=tmp_path) as running:
        host, port = running.address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as raw:
            raw.sendall(
                f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: "
                f"application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
            )
            raw.shutdown(socket.SHUT_WR)
            raw.settimeout(60)
            raw.recv(65536)
        assert running.chat(about_a_picture()).status_code == 200
        running.wait_for("llavao1_requests_running", 0)


def test_a_slow_reader_holds_nobody_up(tmp_path: Path) -> None:
    script = {"texts": LONG, "answers": {"quick": TEXTS}}
    body = json.dumps({"messages": about_a_picture("slow"), "stream": True})
    with serving(script=script, folder=tmp_path) as running:
        host, port = running.address.removeprefix("http://").split(":")
        slow = []
        for _ in range(4):
            raw = socket.socket()
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            raw.connect((host, int(port)))
            raw.sendall(
                f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: "
                f"application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
            )
            slow.append(raw)
        assert running.chat(about_a_picture("quick")).status_code == 200
        running.wait_for("llavao1_requests_running", 0)
        for raw in slow:  # at last they read, and have all of it
            raw.settimeout(60)
            data = b""
            while b"[DONE]" not in data:
                part = raw.recv(65536)
                assert part
                data += part
            raw.close()


def test_an_engine_that_dies_takes_nobody_else_with_it(tmp_path: Path) -> None:
    script = {"texts": LONG, "answers": {"quick": TEXTS}, "dies": "bad luck", "token_s": 0.05}
    with serving("--parallel", "4", script=script, folder=tmp_path) as running:
        with ThreadPoolExecutor(4) as clients:
            unlucky = clients.submit(running.chat, about_a_picture("bad luck"))
            running.wait_for("llavao1_requests_running", 1)
            others = [clients.submit(running.chat, about_a_picture("quick")) for _ in range(3)]
            reply = unlucky.result()
            assert reply.status_code == 503
            assert reply.json()["error"]["code"] == "engine_died"
            assert [one.result().status_code for one in others] == [200] * 3
        assert running.metric("llavao1_engine_deaths_total") in (1, 2)  # alone, it dies again
        stream = running.chat(about_a_picture("bad luck"), stream=True)
        assert stream.status_code in (200, 503)  # by how far it came within the first seconds
        assert "engine_died" in stream.text
        os.kill(
            running.worker_pid() if running.chat(about_a_picture("quick")) else 0, signal.SIGKILL
        )
        assert running.chat(about_a_picture("quick")).status_code in (200, 503)
        assert running.chat(about_a_picture("quick")).status_code == 200


ASKED = {
    "turns": (),
    "question": "?",
    "strategy": "staged",
    "options": {},
    "seed": 0,
    "sampling": {},
    "budget": {},
}


def test_an_engine_that_dies_as_soon_as_it_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for an answer that nobody writes."""
    ready = wire.encode(wire.Ready({"context": 1}))
    code = f"import sys; sys.stdout.buffer.write({ready!r})"
    monkeypatch.setattr(
        "llavao1_edge.serve.process.command", lambda *_: [sys.executable, "-c", code]
    )

    async def run() -> list[wire.Message]:
        engine = EngineProcess({}, most_waiting=8, timeout=60, metrics=Metrics(), parallel=2)
        await engine.start()
        jobs = [engine.submit(ASKED, ()) for _ in range(3)]
        said = [await asyncio.wait_for(job.replies.get(), 60) for job in jobs]
        await engine.close()
        return said

    assert all(isinstance(one, wire.Failed) for one in asyncio.run(run()))


def test_a_question_given_up_while_the_engine_is_opened_is_not_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would have been answered for nobody, and the engine ended because it does not stop."""

    async def given_up() -> list[object]:
        sent: list[object] = []
        opened = asyncio.Event()

        async def open_slowly(self: EngineProcess) -> None:
            await opened.wait()
            self.is_alive = True

        monkeypatch.setattr(EngineProcess, "_open", open_slowly)
        monkeypatch.setattr(EngineProcess, "_send", lambda _, message: sent.append(message))
        engine = EngineProcess({}, most_waiting=8, timeout=60, metrics=Metrics())
        engine._begin(engine._work())
        job = engine.submit(ASKED, ())
        while engine._waiting:
            await asyncio.sleep(0)
        job.stop()
        opened.set()
        while engine._running:
            await asyncio.sleep(0)
        await engine.close()
        return sent

    assert not any(isinstance(one, wire.Ask) for one in asyncio.run(given_up()))


def test_several_answers_at_once_are_those_that_come_alone(tmp_path: Path) -> None:
    def ask(running: Running, seed: int) -> tuple[str, str]:
        message = running.chat(about_a_picture(), seed=seed).json()["choices"][0]["message"]
        return message["content"], message["reasoning_content"]

    found = []
    for n in ("1", "4"):
        with serving("--threads", "1", "--parallel", n, folder=tmp_path) as running:
            with ThreadPoolExecutor(8) as clients:
                found.append(list(clients.map(lambda seed: ask(running, seed), range(12))))
    assert found[0] == found[1]


def test_an_answer_that_takes_too_long(tmp_path: Path) -> None:
    script = {"texts": LONG, "answers": {"quick": TEXTS}, "token_s": 0.05}
    with serving("--timeout", "5", script=script, folder=tmp_path) as running:
        reply = running.chat(about_a_picture("slow"))
        assert reply.status_code == 504
        assert reply.json()["error"]["code"] == "timeout"
        assert running.chat(about_a_picture("quick")).status_code == 200


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_server_that_is_stopped_takes_its_engine_along(
    sign: signal.Signals, tmp_path: Path
) -> None:
    with serving(script={"texts": LONG, "token_s": 0.05}, folder=tmp_path) as running:
        engine = psutil.Process(running.worker_pid())
        with ThreadPoolExecutor(1) as clients:
            asked = clients.submit(_quietly, running)
            running.wait_for("llavao1_requests_running", 1)
            running.process.send_signal(sign)
            running.process.wait(60)
            asked.result()
        engine.wait(60)
        assert "Traceback" not in (running.process.stderr.read() if running.process.stderr else "")


def _quietly(running: Running) -> None:
    with contextlib.suppress(httpx.HTTPError):
        running.chat(about_a_picture("long"))

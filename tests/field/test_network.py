"""The hub over bad networks: every refusal says what to do, and nothing is asked in vain."""

from __future__ import annotations

import email.utils
import logging
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from llavao1_convert.sources import Request, plan_source
from llavao1_edge.cli.main import main
from llavao1_edge.errors import DownloadError
from llavao1_edge.store import client, fetching, hub
from tests import tiny
from tests.hub import BadDay, Hub

NAME = "Someone/Tiny"
CERTIFICATE = Path(__file__).with_name("localhost.pem")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tiny.save(tiny.Tiny(), tmp_path_factory.mktemp("source") / "Tiny")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def server(
    files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Hub]:
    from huggingface_hub import constants

    monkeypatch.setattr(fetching, "PAUSE", 0.001)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with Hub({NAME: dict(files)}) as made:
        monkeypatch.setattr(constants, "ENDPOINT", made.url)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield made


def plan(tmp_path: Path) -> None:
    plan_source(Request(NAME, tmp_path / "out"))


@pytest.mark.parametrize(
    ("status", "headers", "token", "said", "hint"),
    [
        (401, {}, "hf_wrong", "your token was refused for Someone/Tiny", "HF_TOKEN"),
        (401, {"X-Error-Code": "RepoNotFound"}, "hf_wrong", "your token was refused", "unset it"),
        (401, {"X-Error-Code": "RepoNotFound"}, "", "no repository Someone/Tiny, or it is private", "HF_TOKEN"),
        (403, {"X-Error-Code": "GatedRepo"}, "hf_good", "accepted its licence", "hub's page"),
        (403, {}, "hf_good", "does not give out Someone/Tiny (403)", "pending"),
        (404, {}, "", "no repository Someone/Tiny", "Check the name"),
        (407, {}, "", "the proxy refused the connection", "HTTPS_PROXY"),
        (429, {"Retry-After": "240"}, "", "asks to wait 240 s", "HF_TOKEN"),
        (418, {}, "", "answered 418", "Check"),
    ],
)  # fmt: skip
def test_a_refusal_says_what_to_do_and_is_not_asked_again(
    status: int, headers: dict[str, str], token: str, said: str, hint: str,
    server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    for place in ("", "model.safetensors"):
        server.bad = {place: BadDay(status=status, headers=headers)}
        server.requests.clear()
        with pytest.raises(DownloadError) as caught:
            plan(tmp_path)
        if status != 404 or not place:
            assert said.replace(NAME, "") in caught.value.message.replace(
                f"model.safetensors of {NAME}", ""
            ).replace(NAME, "")
            assert hint in caught.value.hint
        asked = [path for _, path, _ in server.requests if path.endswith(place or NAME)]
        assert len(asked) == 1
        assert token not in str(caught.value) or not token


@pytest.mark.parametrize("token", ["hf_s3cret\x07x", "hf_s3cretÄ", "hf_s3cret한"])
def test_a_token_that_is_none_is_not_shown(
    token: str, server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    server.bad[""] = BadDay(status=401)
    with pytest.raises(DownloadError, match=r"cannot ask for|refused") as caught:
        plan(tmp_path)
    assert "HF_TOKEN" in caught.value.hint
    assert "s3cret" not in str(caught.value)


def test_a_short_wait_is_waited(
    server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if seconds > 1:
            server.bad.clear()

    monkeypatch.setattr(fetching.time, "sleep", sleep)
    server.bad[""] = BadDay(status=429, headers={"Retry-After": "7"})
    hub.open_repository(NAME)
    assert 7.0 in waits


def test_a_date_in_retry_after() -> None:
    at = email.utils.formatdate(time.time() + 500, usegmt=True)
    assert 400 < (client._pause_s(at) or 0) <= 500
    assert client._pause_s("soon") is None
    assert client._pause_s(email.utils.formatdate(0, usegmt=True)) == 0.0


@pytest.mark.parametrize("place", ["", "config.json", "model.safetensors"])
def test_a_web_page_is_a_web_page(place: str, server: Hub, tmp_path: Path) -> None:
    server.bad[place] = BadDay(page=True)
    with pytest.raises(DownloadError, match="sent a web page in place of") as caught:
        plan(tmp_path)
    assert "login" in caught.value.hint


def test_more_bytes_than_were_told(server: Hub, tmp_path: Path) -> None:
    """They were written until the disk was full."""
    server.bad["config.json"] = BadDay(more=5_000_000)
    with pytest.raises(DownloadError, match="sends more than the"):
        plan(tmp_path)
    assert not [p for p in tmp_path.rglob("config.json*") if p.stat().st_size > 1_000_000]


def test_nobody_answers_but_the_cache_is_complete(
    server: Hub, files: dict[str, bytes], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    from huggingface_hub import constants

    root = Path(constants.HF_HUB_CACHE) / "models--Someone--Tiny"
    snapshot = root / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text("abc")
    for name, content in files.items():
        (snapshot / name).write_bytes(content)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with caplog.at_level(logging.WARNING):
        found = plan_source(Request(NAME, tmp_path / "out"))
    assert found.text.path.name.startswith("Tiny")
    assert "the hub's cache" in caplog.text
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    server.bad[""] = BadDay(status=403)  # who refuses is there
    with pytest.raises(DownloadError, match="does not give out"):
        plan(tmp_path)


# --- certificates ---------------------------------------------------------------------------------
@pytest.fixture
def secure(server: Hub, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The same hub behind TLS, with a certificate that no system knows."""
    from huggingface_hub import constants

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    server._server.socket = context.wrap_socket(server._server.socket, server_side=True)
    monkeypatch.setattr(constants, "ENDPOINT", server.url.replace("http:", "https:"))
    for name in client.TRUST:
        monkeypatch.delenv(name, raising=False)
    return server


def test_an_unknown_certificate_is_named_and_not_tried_again(
    secure: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    build = client.trust
    monkeypatch.setattr(client, "trust", lambda: made.append("asked") or build())
    with pytest.raises(DownloadError, match="certificate of the server for Someone/Tiny") as caught:
        plan(tmp_path)
    assert "SSL_CERT_FILE" in caught.value.hint
    assert made == ["asked"]


@pytest.mark.parametrize("variable", client.TRUST)
def test_one_certificate_is_enough_for_the_api_and_the_files(
    variable: str, secure: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files came by another library with certificates of its own: on python.org's macOS Python
    none, so the list worked and the files did not."""
    monkeypatch.setattr(
        ssl,
        "_create_default_https_context",
        lambda *_, **__: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
    )
    monkeypatch.setenv(variable, str(CERTIFICATE))
    plan(tmp_path)
    assert {"config.json", "model.safetensors"} <= {
        p.rpartition("/")[2] for _, p, _ in secure.requests
    }


def test_a_certificate_file_that_is_none(
    secure: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "none.pem").write_text("hello")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    with pytest.raises(DownloadError, match="cannot read the certificates in"):
        plan(tmp_path)


# --- proxies --------------------------------------------------------------------------------------
@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """One that wants a password."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(
                    b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
                )

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def test_a_proxy_that_wants_a_password(
    server: Hub, proxy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    for scheme in ("http", "https"):
        monkeypatch.setenv(f"{scheme.upper()}_PROXY", proxy)
        monkeypatch.setenv(f"{scheme}_proxy", proxy)
        monkeypatch.setattr(constants, "ENDPOINT", f"{scheme}://hub.invalid")
        with pytest.raises(DownloadError, match="the proxy refused the connection") as caught:
            plan(tmp_path)
        assert "HTTPS_PROXY" in caught.value.hint


@pytest.mark.parametrize("address", ["socks9://x", "not an address", "socks5://127.0.0.1:9"])
def test_a_proxy_that_is_none(
    address: str, server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, address)
    assert main(["convert", NAME, "--out", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert "bug" not in said

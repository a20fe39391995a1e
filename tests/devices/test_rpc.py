"""Other computers as devices: servers that are not there, busy, of another version, or lost."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from llavao1_edge.devices import rpc as protocol
from llavao1_edge.errors import BackendError
from tests.devices.conftest import ROOT, Place, Server, free_port
from tests.shapes import SAMPLES

SAMPLE = SAMPLES[0]
ASK = ("ask", str(SAMPLE.picture), SAMPLE.question, "--temperature", "0")


def test_an_answer_over_the_network_is_the_same(rpc: Place) -> None:
    done = rpc.cli(*ASK, "--rpc", rpc.rpc or "", "-v")
    assert (done.returncode, done.stdout) == (0, f"{SAMPLE.answer}\n"), done.stderr
    assert "pictures are read there" in done.stderr


def test_two_servers_share_the_layers(rpc: Place, serve: Callable[[], Server]) -> None:
    servers = f"{rpc.rpc},{serve().address}"
    for more in ([], ["--device", "RPC1,RPC0"], ["--device", "RPC0", "--mmproj-device", "RPC1"]):
        done = rpc.cli(*ASK, "--rpc", servers, *more)
        assert (done.returncode, done.stdout) == (0, f"{SAMPLE.answer}\n"), done.stderr


def test_a_server_that_is_not_there(rpc: Place) -> None:
    done = rpc.cli(*ASK, "--rpc", f"127.0.0.1:{free_port()}")
    assert (done.returncode, done.stdout) == (1, "")
    assert "cannot be reached: Connection refused" in done.stderr


def test_an_address_that_is_taken(rpc: Place) -> None:
    """It is not said to serve before it can."""
    done = rpc.cli("devices", "serve", rpc.rpc or "")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"cannot listen on {rpc.rpc}" in done.stderr


def answering(reply: bytes | None) -> int:
    """The port of a program that answers one connection with these bytes (None: never)."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listening, listening.accept()[0] as connection:
            connection.recv(64)
            if reply is None:
                connection.recv(64)  # until the other side gives up
            else:
                connection.sendall(reply)

    threading.Thread(target=serve, daemon=True).start()
    return int(listening.getsockname()[1])


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (None, "does not answer"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "cannot be reached|speaks version"),
        (b"", "it closed the connection"),
        (struct.pack("<Q4B24s", 28, 6, 1, 0, 0, b""), "speaks version 6.1.0, not 7"),
        (struct.pack("<Q4B", 4, 7, 0, 0, 0) + bytes(24), "speaks version"),
    ],
    ids=["busy", "a web server", "closed", "older", "another size"],
)
def test_a_server_that_is_another_one(
    reply: bytes | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "PATIENCE_S", 0.3)
    with pytest.raises(BackendError, match=said):
        protocol.probe("127.0.0.1", answering(reply))


def test_a_server_of_ours_is_recognised(rpc: Place) -> None:
    host, _, port = (rpc.rpc or "").rpartition(":")
    protocol.probe(host, int(port))
    protocol.probe(host, int(port))  # and is free again


def test_a_server_that_dies_in_the_middle_is_a_note_and_an_answer(
    rpc: Place, serve: Callable[[], Server]
) -> None:
    """It is stopped (not ended) first, so that the answer cannot be over before."""
    server = serve()
    command = [sys.executable, "-m", "llavao1_edge.cli.main", *ASK, "--rpc", server.address]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **rpc.environment},
    )
    assert server.process.stdout is not None
    seen = 0
    for line in server.process.stdout:
        seen += line.startswith("Accepted")
        if seen == 3:  # the question's own connection, after the probe's and the list's
            break
    os.kill(server.process.pid, signal.SIGSTOP)
    time.sleep(0.2)
    os.kill(server.process.pid, signal.SIGKILL)
    out, err = process.communicate()
    assert (process.returncode, out) == (0, f"{SAMPLE.answer}\n"), err
    assert err.startswith("note: the device was lost; asking again on the CPU")
    assert "Traceback" not in err

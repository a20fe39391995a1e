"""Devices that are there without a GPU: llama.cpp's RPC over loopback, Vulkan on a processor."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S

ROOT = Path(__file__).parent.parent.parent
PLUGINS = ROOT / "build" / "plugins"


@dataclass
class Place:
    """A device for tests: its name, and what a process needs to reach it."""

    device: str
    environment: dict[str, str] = field(default_factory=dict)
    rpc: str | None = None

    def run(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """A module or command of Python with the device within reach."""
        return subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, "GGML_NO_BACKTRACE": "1", **self.environment, **more},
        )

    def cli(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return self.run("-m", "llavao1_edge.cli.main", *arguments, **more)


@pytest.fixture(scope="session")
def rpc_plugin() -> Path:
    """Built from the source archive of the installed version, in seconds."""
    command = [sys.executable, "packaging/plugins/build.py", "rpc", "--out", "build/rpc-only"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"the RPC plug-in cannot be built here: {done.stderr.splitlines()[-1]}")
    return Path(done.stdout.strip())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """`devices serve` in a process of its own."""

    process: subprocess.Popen[str]
    address: str


def listens(address: str) -> None:
    """Returns when somebody accepts connections there."""
    host, _, port = address.rpartition(":")
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=PATIENCE_S).close()
            return
        except ConnectionRefusedError:
            assert time.monotonic() < end, f"nobody listens at {address}"
            time.sleep(0.01)


@pytest.fixture
def serve(rpc_plugin: Path) -> Iterator[Callable[[], Server]]:
    """Starts servers, and ends them after the test."""
    with ExitStack() as stack:

        def start() -> Server:
            address = f"127.0.0.1:{free_port()}"
            environment = {"LLAVAO1_PLUGINS": str(rpc_plugin.parent), "PYTHONUNBUFFERED": "1"}
            process = subprocess.Popen(
                [sys.executable, "-m", "llavao1_edge.cli.main", "devices", "serve", address],
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
                env={**os.environ, **environment},
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            assert process.stdout is not None
            for line in process.stdout:
                if "transport" in line:  # the last line before it listens
                    break
            listens(address)
            return Server(process, address)

        yield start


@pytest.fixture
def rpc(rpc_plugin: Path, serve: Callable[[], Server]) -> Place:
    server = serve()
    return Place("RPC0", {"LLAVAO1_PLUGINS": str(rpc_plugin.parent)}, server.address)


@pytest.fixture
def vulkan() -> Place:
    """Vulkan, also on a processor (Mesa's llvmpipe), where its plug-in has been built."""
    if not (PLUGINS / "libggml-vulkan.so").exists():
        pytest.skip("the Vulkan plug-in has not been built: make plugin-vulkan")
    # ggml leaves Vulkan's processors alone unless they are named.
    environment = {"GGML_VK_VISIBLE_DEVICES": os.environ.get("GGML_VK_VISIBLE_DEVICES", "0")}
    place = Place("Vulkan0", {"LLAVAO1_PLUGINS": str(PLUGINS), **environment})
    listed = place.cli("devices")
    if "Vulkan0" not in listed.stdout:
        reason = (listed.stderr.splitlines() or ["Vulkan finds no device"])[0]
        pytest.skip(f"no Vulkan device here: {reason}")
    return place

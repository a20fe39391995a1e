"""llama.cpp's RPC: another computer as a device, and this computer as one.

ggml ends the process when a server does not answer or dies, so a server is asked for its version
over a connection of our own first; who uses one should do it in a process that may end.
The protocol has no password and no encryption: loopback, or a network you trust.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from collections.abc import Callable, Sequence

from llavao1_edge.errors import BackendError, UsageError
from llavao1_edge.ggml import library as c
from llavao1_edge.ggml import plugins
from llavao1_edge.ggml.backend import Device
from llavao1_edge.phrases import Phrase

HELLO = 14  # enum rpc_cmd; ggml asserts that it never changes
CAPABILITIES = 24  # bytes of each side's in a hello
PROTOCOL = 7  # RPC_PROTO_MAJOR_VERSION of ggml 0.25
REPLY = struct.Struct(f"<Q4B{CAPABILITIES}s")
PATIENCE_S = 5.0


def probe(host: str, port: int) -> None:
    """Raises BackendError where no server of our version answers there."""
    where = endpoint(host, port)
    try:
        with socket.create_connection((host, port), timeout=PATIENCE_S) as connection:
            connection.settimeout(PATIENCE_S)
            connection.sendall(struct.pack("<BQ", HELLO, CAPABILITIES) + bytes(CAPABILITIES))
            reply = _read(connection, REPLY.size)
    except TimeoutError:
        raise BackendError(
            Phrase("the RPC server {where} does not answer", where=where),
            hint="It serves one program at a time: is another one using it?",
        ) from None
    except (OSError, UnicodeError) as error:  # UnicodeError: no name of a computer
        raise BackendError(
            Phrase(
                "the RPC server {where} cannot be reached: {reason}",
                where=where,
                reason=getattr(error, "strerror", None) or error,
            ),
            hint="Start it there with `llavao1-edge devices serve`.",
        ) from None
    size, major, minor, patch, *_ = REPLY.unpack(reply)
    if size != REPLY.size - 8 or major != PROTOCOL:
        raise BackendError(
            Phrase(
                "the RPC server {where} speaks version {major}.{minor}.{patch}, not {protocol}",
                where=where,
                major=major,
                minor=minor,
                patch=patch,
                protocol=PROTOCOL,
            ),
            hint="Use the same version of llama-cpp-python on both computers.",
        )


def _read(connection: socket.socket, n: int) -> bytes:
    data = b""
    while len(data) < n:
        piece = connection.recv(n - len(data))
        if not piece:
            raise OSError("it closed the connection; it is not an RPC server of this version")
        data += piece
    return data


def endpoint(host: str, port: int) -> str:
    return f"{host}:{port}"


def shares_memory(device: Device) -> bool:
    """Whether what the device takes is missing from the main memory of this machine."""
    if not device.name.startswith("RPC"):
        return device.shares_memory
    host = device.description.rpartition(":")[0]  # ggml describes the device by its server
    return host in ("localhost", "::1") or host.startswith("127.")


def add_servers(servers: Sequence[tuple[str, int]]) -> None:
    """Their devices are listed from then on. Raises BackendError, PluginError."""
    for host, port in servers:
        if (host, port) in _ADDED:
            continue
        probe(host, port)
        add = c.ADD_SERVER(plugins.procedure(b"RPC", b"ggml_backend_rpc_add_server"))
        registry = add(endpoint(host, port).encode())
        if not registry:
            raise BackendError(
                Phrase("ggml refuses the RPC server {endpoint}", endpoint=endpoint(host, port))
            )
        c.ggml_backend_register(registry)
        _ADDED.add((host, port))


_ADDED: set[tuple[str, int]] = set()


def serve(
    host: str,
    port: int,
    devices: Sequence[Device],
    *,
    n_threads: int,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Serves these devices until the process ends. Raises BackendError, UsageError.

    ready: called when nothing is known any more that could keep it from listening.
    """
    if not devices:
        raise UsageError("there is no device to serve", hint="`llavao1-edge devices` lists them.")
    start = c.START_SERVER(plugins.procedure(b"RPC", b"ggml_backend_rpc_start_server"))
    addresses = (ctypes.c_void_p * len(devices))(*(device.address for device in devices))
    with socket.socket() as free:  # ggml only prints why it cannot listen
        if os.name != "nt":  # there it would allow an address that is taken
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            free.bind((host, port))
        except OSError as error:
            raise BackendError(
                Phrase(
                    "cannot listen on {endpoint}: {reason}",
                    endpoint=endpoint(host, port),
                    reason=error.strerror,
                ),
                hint="Choose another port.",
            ) from None
    ready()
    start(endpoint(host, port).encode(), None, n_threads, len(devices), ctypes.addressof(addresses))
    raise BackendError(Phrase("the RPC server on {endpoint} ended", endpoint=endpoint(host, port)))

"""ggml backends as plug-ins: files that are loaded into the ggml that llama-cpp-python brought.

A plug-in shares structs with that ggml, so it must have been built for exactly this version. Its
builder (packaging/plugins) writes a stamp into the file, which is read before native code sees it.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import mmap
import platform
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from llavao1_edge.errors import BackendError, PluginError
from llavao1_edge.ggml import library as c
from llavao1_edge.phrases import Phrase

STAMP = re.compile(
    rb"llavao1-plugin:plugin=([a-z]{1,20}) llama-cpp-python=([0-9.]{1,20}) "
    rb"ggml=([0-9.]{1,20}) platform=([a-z0-9_-]{1,40})\0"
)


@dataclass(frozen=True)
class Stamp:
    """What a plug-in is and what it fits."""

    plugin: str
    llama_cpp_python: str
    ggml: str
    platform: str

    def __str__(self) -> str:
        return f"llama-cpp-python {self.llama_cpp_python} with ggml {self.ggml} on {self.platform}"


def installed_ggml() -> str:
    """The version of the loaded ggml, such as "0.25.3"."""
    return c.ggml_version().decode()


def installed(plugin: str) -> Stamp:
    """The stamp of a plug-in that would fit here."""
    return Stamp(
        plugin,
        importlib.metadata.version("llama-cpp-python"),
        installed_ggml(),
        f"{sys.platform}-{platform.machine().lower()}",
    )


def read_stamp(path: Path) -> Stamp:
    """The stamp inside the file; loads nothing. Raises PluginError where there is none."""
    try:
        if not path.is_file():
            raise PluginError(
                Phrase("there is no plug-in file {path}", path=path), hint="Check the path."
            )
        with path.open("rb") as file:
            if not path.stat().st_size:
                raise PluginError(Phrase("{path} is empty", path=path), hint="Build it again.")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                found = STAMP.search(data)
                parts = [bytes(part).decode() for part in found.groups()] if found else []
    except OSError as error:
        message = Phrase("cannot read {path}: {reason}", path=path, reason=error.strerror)
        raise PluginError(message, hint="Check the path.") from error
    if not parts:
        raise PluginError(
            Phrase("{path} is not a plug-in made for llavao1-edge", path=path),
            hint="A backend built elsewhere may not fit this ggml and end the process: build it "
            "with `make plugin-vulkan` or `make plugin-rpc`.",
        )
    return Stamp(*parts)


def check(path: Path) -> Stamp:
    """The stamp of a file that fits exactly. Raises PluginError with both versions otherwise."""
    stamp = read_stamp(path)
    here = installed(stamp.plugin)
    if stamp != here:
        raise PluginError(
            Phrase(
                "{path} was built for {stamp}; here is {here}", path=path, stamp=stamp, here=here
            ),
            hint=Phrase("Build it again: `make plugin-{plugin}`.", plugin=stamp.plugin),
        )
    return stamp


def load(path: Path) -> Stamp:
    """Loads a checked plug-in; its devices are listed from then on. Once per process and file.

    Raises PluginError where it does not fit or its driver is missing.
    """
    path = path.resolve()  # a bare name would be looked for among the system's libraries
    stamp = check(path)
    if c.ggml_backend_reg_by_name(_registry(stamp.plugin)):
        return stamp
    try:
        ctypes.CDLL(str(path))  # says what is missing; ggml would only log it
    except OSError as error:
        raise PluginError(
            Phrase(
                "the plug-in {plugin} cannot be loaded: {error}", plugin=stamp.plugin, error=error
            ),
            hint=DRIVERS.get(stamp.plugin, Phrase("Build it again.")),
        ) from error
    if not c.ggml_backend_load(str(path).encode()):
        raise PluginError(
            Phrase("ggml refuses the plug-in {path}", path=path),
            hint=DRIVERS.get(stamp.plugin, Phrase("Build it again.")),
        )
    return stamp


DRIVERS = {
    "vulkan": Phrase(
        "Vulkan needs libvulkan1 and your card's driver (mesa-vulkan-drivers on Debian)."
    ),
}


NAMES = {"rpc": b"RPC", "vulkan": b"Vulkan"}
"""What can be built, and ggml's own names of these backends."""


def _registry(plugin: str) -> bytes:
    return NAMES.get(plugin, plugin.upper().encode())


def procedure(registry: bytes, name: bytes) -> int:
    """The address of a backend's own function. Raises BackendError where it has none."""
    found = c.ggml_backend_reg_by_name(registry)
    address = c.ggml_backend_reg_get_proc_address(found, name) if found else 0
    if not address:
        raise BackendError(
            Phrase("this ggml has no {registry} backend", registry=registry.decode()),
            hint=Phrase(
                "Add the plug-in: `llavao1-edge devices add {registry}`.",
                registry=registry.decode().lower(),
            ),
        )
    return address

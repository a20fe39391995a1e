"""What pip cannot bring: the one list of system packages that everybody who names them reads.

The Makefile runs this file before anything is installed (so: the standard library only), `.ci/run`
and the bare-root check install from it, the window's errors quote it, and a test holds the README
to it. `python3 llavao1_edge/system.py ask window` says what is missing for these purposes.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass

LEAST_PYTHON = (3, 11)


@dataclass(frozen=True)
class Requirement:
    """A Debian package, and what shows that it (or its like on another system) is there.

    kind: `command` on the PATH, `library` that can be loaded, or `module` of Python.
    """

    package: str
    kind: str
    name: str

    @property
    def is_met(self) -> bool:
        if self.kind == "command":
            return shutil.which(self.name) is not None
        if self.kind == "module":
            return importlib.util.find_spec(self.name) is not None
        return _loads(self.name)


# ask: to install and to run the command line. window: what PySide6's wheel expects of a desktop.
# tests: without them the tests that need a display, a Korean font or a bare root are skipped.
# vulkan: to build that plug-in. Packages that these bring along are not listed.
REQUIREMENTS = {
    "ask": (
        Requirement("make", "command", "make"),
        Requirement("g++", "command", "c++"),
        Requirement("python3", "command", "python3"),
        Requirement("python3-venv", "module", "ensurepip"),
    ),
    "window": (
        Requirement("libgl1", "library", "libGL.so.1"),
        Requirement("libegl1", "library", "libEGL.so.1"),
        Requirement("libglib2.0-0", "library", "libgthread-2.0.so.0"),
        Requirement("libdbus-1-3", "library", "libdbus-1.so.3"),
        Requirement("libfontconfig1", "library", "libfontconfig.so.1"),
        Requirement("libxkbcommon-x11-0", "library", "libxkbcommon-x11.so.0"),
        Requirement("libxcb-cursor0", "library", "libxcb-cursor.so.0"),
        Requirement("libxcb-icccm4", "library", "libxcb-icccm.so.4"),
        Requirement("libxcb-keysyms1", "library", "libxcb-keysyms.so.1"),
        Requirement("libxcb-shape0", "library", "libxcb-shape.so.0"),
        Requirement("libx11-xcb1", "library", "libX11-xcb.so.1"),
        Requirement("libwayland-cursor0", "library", "libwayland-cursor.so.0"),
    ),
    "tests": (
        Requirement("xvfb", "command", "Xvfb"),
        Requirement("xdotool", "command", "xdotool"),
        Requirement("dbus", "command", "dbus-run-session"),
        Requirement("at-spi2-core", "command", "/usr/libexec/at-spi-bus-launcher"),
        Requirement("fontconfig", "command", "fc-list"),
        Requirement("fonts-nanum", "command", "fc-list"),
        Requirement("debootstrap", "command", "debootstrap"),
        Requirement("qemu-user-static", "command", "qemu-x86_64-static"),
    ),
    "vulkan": (
        Requirement("libvulkan-dev", "library", "libvulkan.so.1"),
        Requirement("glslc", "command", "glslc"),
        Requirement("spirv-headers", "command", "glslc"),
    ),
}
PURPOSES = {
    "ask": "to install and to ask",
    "window": "for the window",
    "tests": "for the tests of a display",
    "vulkan": "to build the Vulkan plug-in",
}


def packages(purposes: Sequence[str]) -> list[str]:
    """Debian's packages for these purposes."""
    return [requirement.package for name in purposes for requirement in REQUIREMENTS[name]]


def missing(purposes: Sequence[str]) -> list[Requirement]:
    """What this machine lacks. Nothing where the list does not apply (Windows, macOS)."""
    wanted = [requirement for name in purposes for requirement in REQUIREMENTS[name]]
    if not sys.platform.startswith("linux"):
        wanted = [each for each in wanted if each.package in ("make", "g++", "python3")]
    return [requirement for requirement in wanted if not requirement.is_met]


def install_line(names: Sequence[str]) -> str:
    """The line to type for Debian packages, or their names where there is no apt."""
    if sys.platform == "darwin":
        return "xcode-select --install"
    if shutil.which("apt-get"):
        return "sudo apt-get install " + " ".join(names)
    return "With your system's package manager; Debian calls them: " + " ".join(names)


def advice(purposes: Sequence[str]) -> str:
    """What is missing and the line to type; empty where nothing is."""
    lacking = missing(purposes)
    if not lacking:
        return ""
    names = ", ".join(requirement.name for requirement in lacking)
    reasons = " and ".join(PURPOSES[name] for name in purposes)
    line = install_line([requirement.package for requirement in lacking])
    return f"this machine lacks {names} ({reasons})\n  {line}"


def display_problem() -> str:
    """Why Qt would abort for want of a display, as a sentence and what to do; empty if it has one.

    Only what Qt does not say itself: it ends the process, without an error that could be caught.
    """
    platform = os.environ.get("QT_QPA_PLATFORM", "").split(":")[0].split(";")[0]
    if not sys.platform.startswith("linux") or platform not in ("", "xcb"):
        return ""
    if not platform and os.environ.get("WAYLAND_DISPLAY"):
        return ""
    if not os.environ.get("DISPLAY"):
        return (
            "there is no display: neither DISPLAY nor WAYLAND_DISPLAY is set\n"
            "  Start it on a desktop; `llavao1-edge ask` needs none."
        )
    lacking = advice(["window"])
    if lacking:
        return lacking
    x11 = ctypes.CDLL("libX11.so.6")
    x11.XOpenDisplay.restype = ctypes.c_void_p
    connection = x11.XOpenDisplay(None)
    if not connection:
        return (
            f"the display {os.environ['DISPLAY']} cannot be opened\n"
            "  Check DISPLAY and whether this user may use it; `llavao1-edge ask` needs none."
        )
    x11.XCloseDisplay(ctypes.c_void_p(connection))
    return ""


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def main(arguments: Sequence[str]) -> int:
    """`--packages PURPOSE…` prints the packages, `PURPOSE…` says what is missing (exit code 1)."""
    wanted = [word for word in arguments if word != "--packages"]
    unknown = [word for word in wanted if word not in REQUIREMENTS]
    if unknown or not wanted:
        known = ", ".join(REQUIREMENTS)
        print(f"error: {' '.join(unknown) or 'no purpose'}: choose of {known}", file=sys.stderr)
        return 2
    if "--packages" in arguments:
        print(" ".join(packages(wanted)))
        return 0
    found = advice(wanted)
    if sys.version_info < LEAST_PYTHON:
        version = ".".join(map(str, LEAST_PYTHON))
        found = f"{sys.executable} is Python {sys.version.split()[0]}, {version} or newer is needed"
        found += "\n  make PYTHON=python3.12 … takes another one."
    if found:
        print(f"error: {found}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

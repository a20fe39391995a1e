"""Runs a command in a process of its own where native code may end the process.

llama.cpp and ggml abort where a device is lost in the middle of work (an RPC server that went away,
a driver that failed) and on some damaged model files. Nothing can catch that inside the process, so
the command runs in a child, and its parent says what happened. `ask` on a lost device is asked
again on the CPU. The built-in model on the CPU needs none of this.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Sequence

from llavao1_edge import program
from llavao1_edge.errors import BackendError
from llavao1_edge.settings import CPU_DEVICE

MARK = "LLAVAO1_CHILD"
PLACES = ("--rpc", "--device", "--mmproj-device", "--gpu-layers")
# A virtual machine that moved to another processor, a copied environment, pip's cached wheel.
ILLEGAL = (-getattr(signal, "SIGILL", 4), 0xC000001D)
# A number that leads to a division by zero, a file that grew shorter; the last three: Windows.
CRASHES = ("SIGABRT", "SIGSEGV", "SIGFPE", "SIGBUS", "SIGTRAP")
ABORTED = (
    *(-getattr(signal, name) for name in CRASHES if hasattr(signal, name)),
    *(3, 0xC0000409, 0xC0000005),
)
FORWARDED = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


def is_needed(options: argparse.Namespace) -> bool:
    """Whether a command opens a model of others, or may use plug-ins or RPC servers."""
    if os.environ.get(MARK) or not hasattr(options, "rpc"):
        return False
    if getattr(options, "own_process", False):
        return False  # the command has a process for its engine itself
    if getattr(options, "replay", None):
        return True  # what it opens stands in the record
    if options.draft is not None:
        return True
    models = options.model if isinstance(options.model, list) else [options.model]
    return any(model not in (None, "demo") for model in models) or _uses_devices(options)


def _uses_devices(options: argparse.Namespace) -> bool:
    on_cpu = (options.device or "").lower() == CPU_DEVICE or options.gpu_layers == "0"
    reader = (options.mmproj_device or CPU_DEVICE).lower()
    if options.rpc or (on_cpu and reader == CPU_DEVICE):
        return bool(options.rpc)
    from llavao1_edge.devices import kept

    return any("rpc" not in path.name for path in kept.files())


def run(arguments: Sequence[str], options: argparse.Namespace) -> int:
    """The exit code. Raises BackendError where the child was ended by native code."""
    code = _start(arguments)
    if code in ILLEGAL:
        raise BackendError(
            "llama.cpp was compiled for another processor than this one",
            hint="Install it again here: pip install --force-reinstall --no-cache-dir "
            "--no-deps llama-cpp-python",
        )
    if os.name != "nt" and code < 0 and code not in ABORTED:
        if code == -signal.SIGKILL:
            print("error: the process was killed, probably for want of memory", file=sys.stderr)
        return 128 - code
    if code not in ABORTED or (code == 3 and os.name != "nt"):
        return code
    if not _uses_devices(options):
        raise BackendError(
            "llama.cpp ended the process while it worked with this model",
            hint="The file may be damaged: compare its SHA256SUMS, or convert it again. "
            "LLAVAO1_LOG=debug shows llama.cpp's last words.",
        )
    if arguments[0] == "ask" and "-" not in arguments and "--" not in arguments:
        print("note: the device was lost; asking again on the CPU", file=sys.stderr)
        return _start([*without_devices(arguments), "--device", CPU_DEVICE])
    raise BackendError(
        "the device was lost in the middle of the work",
        hint="Check the RPC server or the driver, or continue with --device cpu.",
    )


def _start(arguments: Sequence[str]) -> int:
    environment = {**os.environ, MARK: "1", "GGML_NO_BACKTRACE": "1"}
    command = program.command("llavao1_edge.start", *arguments)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the child by itself
    try:
        listen = None if os.name == "nt" else _listen
        with subprocess.Popen(command, env=environment, preexec_fn=listen) as process:
            for number in FORWARDED:
                signal.signal(number, lambda n, _: process.send_signal(n))
            return process.wait()
    finally:
        signal.signal(signal.SIGINT, before)
        for number in FORWARDED:
            signal.signal(number, signal.SIG_DFL)


def _listen() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def without_devices(arguments: Sequence[str]) -> list[str]:
    """The arguments without those that say where to compute."""
    kept: list[str] = []
    skip = False
    for word in arguments:
        name, separator, _ = word.partition("=")
        if skip or name in PLACES:
            skip = not skip and not separator
            continue
        kept.append(word)
    return kept

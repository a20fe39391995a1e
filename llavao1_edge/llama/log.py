"""Routes llama.cpp's and ggml's messages to Python's logging."""

from __future__ import annotations

import functools
import logging
from typing import Any

from llavao1_edge.ggml import library
from llavao1_edge.ggml.library import handles

LOGGER = logging.getLogger("llavao1_edge.llama")
# enum ggml_log_level; llama.cpp's "info" is chatter for a program that embeds it.
LEVELS = {1: logging.DEBUG, 2: logging.DEBUG, 3: logging.WARNING, 4: logging.ERROR}
CONTINUE = 5
HARMLESS = (
    "using full-size SWA cache",  # as we asked
    # Advice of libmtmd about its own command line.
    "Qwen-VL models require at minimum",
    "--image-min-tokens",
    "llama.cpp/issues/16842",
    # The cells of a context are shared by all sequences, so it may well be longer than any of them.
    "possible training context overflow",
    # Room is short: candidates wait, or the caller gets a ContextFullError that says so better.
    "failed to find a memory slot",
    # An RPC server went away: the process ends, and whoever started it says so.
    "recv failed",
    "send failed",
)


@functools.cache
def route_logs() -> Any:
    """Installs the route once per process; returns the callback, which must stay alive."""
    handles()
    from llama_cpp import llama_cpp

    level = logging.DEBUG

    def receive(number: int, text: bytes, _: object) -> None:
        nonlocal level
        if number != CONTINUE:
            level = LEVELS.get(number, logging.DEBUG)
        message = text.decode("utf-8", "replace").rstrip()
        if any(phrase in message for phrase in HARMLESS):
            level = logging.DEBUG
        if message and LOGGER.isEnabledFor(level):
            LOGGER.log(level, "%s", message)

    callback = llama_cpp.llama_log_callback(receive)
    llama_cpp.llama_log_set(callback, None)
    return callback, _route_aborts()


def _route_aborts() -> Any:
    """ggml ends the process where a device is lost; whoever started it says so in a sentence."""

    def receive(text: bytes) -> None:
        LOGGER.debug("ggml ends the process: %s", text.decode("utf-8", "replace"))

    callback = library.ABORT(receive)
    library.ggml_set_abort_callback(library.address_of_function(callback))
    return callback

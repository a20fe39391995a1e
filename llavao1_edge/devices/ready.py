"""Loads into this process what devices need: the plug-ins that were added, and RPC servers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from llavao1_edge.devices import kept, rpc
from llavao1_edge.errors import PluginError
from llavao1_edge.ggml import plugins
from llavao1_edge.ggml.backend import Device, devices
from llavao1_edge.llama.log import route_logs

LOGGER = logging.getLogger(__name__)
_TOLD: set[Path] = set()


def machine_devices(servers: Sequence[tuple[str, int]] = ()) -> list[Device]:
    """Everything that can be computed on here, the devices of `servers` included.

    A plug-in that does not fit (any more) is left out with a warning: the CPU is there all the
    same. Raises BackendError for a server that cannot be used, since that was asked for.
    """
    route_logs()  # first: loading logs already
    devices()
    for path in kept.files():
        try:
            plugins.load(path)
        except PluginError as error:
            if path not in _TOLD:
                # One that came with the program is not missed where there is no driver for it.
                level = logging.WARNING if path.parent == kept.folder() else logging.INFO
                LOGGER.log(level, "%s\n  %s", error.message, error.hint)
                _TOLD.add(path)
    rpc.add_servers(servers)
    return devices()

"""`llavao1-edge devices`: what can be computed on, the plug-ins, and this computer as a device."""

from __future__ import annotations

import argparse
import json
import signal
from pathlib import Path
from typing import Any

from llavao1_edge.errors import PluginError, UsageError

EXAMPLES = """\
examples:
  llavao1-edge devices
  llavao1-edge devices add libggml-vulkan.so
  llavao1-edge devices serve 127.0.0.1:50052
"""


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "devices",
        help="what can be computed on; add a GPU plug-in",
        description="Lists devices and plug-ins, adds and removes plug-ins, or makes this computer "
        "a device for another one.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=list_devices)
    actions = parser.add_subparsers(metavar="ACTION", title="actions")
    add = actions.add_parser("add", help="take a plug-in that fits this ggml exactly")
    add.add_argument("plugin", metavar="FILE|vulkan|rpc", help="a file, or what `make` has built")
    add.set_defaults(run=add_plugin)
    remove = actions.add_parser("remove", help="delete a plug-in that was added")
    remove.add_argument("plugin", metavar="NAME")
    remove.set_defaults(run=remove_plugin)
    serve = actions.add_parser(
        "serve",
        help="let another computer compute here (llama.cpp's RPC)",
        description="There is no password and no encryption: loopback, or a network you trust.",
    )
    serve.add_argument("address", nargs="?", default="127.0.0.1:50052", metavar="HOST:PORT")
    serve.add_argument("--serve-device", default="cpu", metavar="NAME", help="default: the CPU")
    serve.set_defaults(run=serve_device)


def list_devices(options: argparse.Namespace) -> int:
    from llavao1_edge.devices import kept
    from llavao1_edge.ggml import plugins

    report: dict[str, Any] = {"ggml": plugins.installed_ggml(), "devices": describe()}
    report["plugins"] = [_plugin(path) for path in kept.files()]
    if options.json:
        print(json.dumps(report, ensure_ascii=False, indent=1))
        return 0
    for device in report["devices"]:
        print(f"{device['name']:12} {device['description']}, {memory_text(device)}")
    for plugin in report["plugins"]:
        print(f"{'plug-in':12} {plugin['file']}: {plugin['problem'] or plugin['fits']}")
    return 0


def describe() -> list[dict[str, Any]]:
    """Every device with its memory, for people and programs."""
    from llavao1_edge.devices import machine_devices

    return [
        {
            "name": device.name,
            "description": device.description,
            "gpu": device.is_gpu,
            "memory_free_gb": round(device.memory_free / 1e9, 1),
            "memory_total_gb": round(device.memory_total / 1e9, 1),
        }
        for device in machine_devices()
    ]


def memory_text(device: dict[str, Any]) -> str:
    """For a CPU ggml reports all memory as free, which says nothing."""
    free, total = device["memory_free_gb"], device["memory_total_gb"]
    return f"{free} of {total} GB free" if free < total else f"{total} GB of memory"


def _plugin(path: Path) -> dict[str, str]:
    from llavao1_edge.ggml import plugins

    try:
        return {"file": str(path), "fits": str(plugins.check(path)), "problem": ""}
    except PluginError as error:
        return {"file": str(path), "fits": "", "problem": f"{error.message}. {error.hint}"}


def add_plugin(options: argparse.Namespace) -> int:
    from llavao1_edge.devices import kept
    from llavao1_edge.ggml import plugins

    describe()  # also quiets ggml, before it has something to say
    source = Path(options.plugin)
    if options.plugin in plugins.NAMES:
        source = _built(options.plugin)
    target = kept.add(source)
    print(f"added {target}")
    print(f"devices: {', '.join(device['name'] for device in describe())}")
    return 0


def _built(name: str) -> Path:
    """What `make plugin-NAME` left in the clone that this program runs from."""
    folder = Path(__file__).parent.parent.parent / "build" / "plugins"
    for path in sorted(folder.glob(f"*ggml-{name}.*")):
        return path
    raise PluginError(
        f"no {name} plug-in has been built here",
        hint=f"pip install llavao1-edge-{name}, or `make plugin-{name}` in a clone.",
    )


def remove_plugin(options: argparse.Namespace) -> int:
    from llavao1_edge.devices import kept

    print(f"removed {kept.remove(options.plugin)}")
    return 0


def serve_device(options: argparse.Namespace) -> int:
    from llavao1_edge.devices import choose, machine_devices, rpc
    from llavao1_edge.settings import RuntimeSettings, is_here

    ((host, port),) = _one_address(options.address)
    settings = RuntimeSettings(mmproj_device=options.serve_device)
    found = machine_devices()
    chosen = choose(found, settings)
    assert chosen.pictures is not None
    if not is_here(host):
        print(
            f"warning: anybody who reaches {host}:{port} can compute here, and more: use it only "
            "on a network you trust"
        )
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # ggml waits in C, where Python hears nothing
    serving = f"serving {chosen.pictures.name} on {host}:{port}; Ctrl-C ends it"
    rpc.serve(
        host,
        port,
        [chosen.pictures],
        n_threads=settings.n_threads,
        ready=lambda: print(serving, flush=True),
    )
    return 0


def _one_address(text: str) -> tuple[tuple[str, int]]:
    from llavao1_edge.settings import RuntimeSettings

    servers = RuntimeSettings(rpc=text).servers
    if len(servers) != 1:
        raise UsageError(f"{text!r} is more than one address", hint="Serve on one at a time.")
    return (servers[0],)

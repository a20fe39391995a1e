"""`llavao1-edge models`: what is on this machine, fetching, taking in, removing."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llavao1_edge.cli import options as shared
from llavao1_edge.errors import Cancelled
from llavao1_edge.locate import model_paths

if TYPE_CHECKING:
    from llavao1_edge.store.catalogue import Store

EPILOG = """\
examples:
  llavao1-edge models pull Xkev/Llama-3.2V-11B-cot
  llavao1-edge models import models/LLaVA-CoT-Q4_K_M.gguf
  llavao1-edge ask photo.jpg "What is this?" --model LLaVA-CoT

LLAVAO1_MODELS says where models are kept; HF_TOKEN, HF_HOME, HF_ENDPOINT and
HF_HUB_OFFLINE are honoured.
"""


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "models",
        help="models on this machine: list, pull, show, remove, import",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    listing = actions.add_parser("list", help="names and sizes")
    listing.add_argument("--json", action="store_true", help="print one JSON array")
    pull = actions.add_parser("pull", help="fetch a pair from the hub, or convert one from there")
    pull.add_argument("repo", metavar="owner/name[@revision]")
    pull.add_argument("--quant", metavar="TYPE", help="which quantisation (default Q4_K_M)")
    pull.add_argument("--vision-quant", metavar="TYPE", help="of the vision tower, if converted")
    pull.add_argument("--name", help="under which name (default: the file's)")
    show = actions.add_parser("show", help="architecture, quantisation, memory it needs")
    show.add_argument("name", metavar="NAME|FILE")
    show.add_argument("--json", action="store_true", help="print one JSON object")
    show.add_argument("--check", action="store_true", help="compare the files with their digests")
    remove = actions.add_parser("remove", help="remove a model and free its space")
    remove.add_argument("name")
    take = actions.add_parser("import", help="import model files")
    take.add_argument("text", type=Path, metavar="TEXT.gguf")
    take.add_argument("--mmproj", type=Path, metavar="FILE", help="default: the one beside it")
    take.add_argument("--name", help="under which name (default: the file's)")
    take.add_argument("--move", action="store_true", help="the files leave their place")
    parser.set_defaults(run=run, json=False)


def run(options: argparse.Namespace) -> int:
    from llavao1_edge.store.catalogue import Store

    actions = {"pull": _pull, "show": _show, "remove": _remove, "import": _import}
    actions.get(options.action, _list)(Store(), options)
    return 0


def _list(store: Store, options: argparse.Namespace) -> None:
    entries = store.entries()
    for problem in store.problems():
        print(f"left out: {problem}", file=sys.stderr)
    if options.json:
        print(json.dumps([asdict(entry) for entry in entries], indent=1))
        return
    print(f"{'demo':40}  {shared.size(demo_bytes()):>9}  embedded")
    for entry in entries:
        print(f"{entry.name:40}  {shared.size(entry.n_bytes):>9}  {entry.source}")


def demo_bytes() -> int:
    from llavao1_edge import demo

    return sum(path.stat().st_size for path in (demo.text_path(), demo.mmproj_path()))


def _pull(store: Store, options: argparse.Namespace) -> None:
    from llavao1_convert.taking import PullOptions, pull
    from llavao1_edge.cli.convert import ProgressLine
    from llavao1_edge.engine.machine import room_for_a_model
    from llavao1_edge.store.catalogue import check_name

    if options.name is not None:
        check_name(options.name)  # before anything is fetched
    line = ProgressLine()

    def report(what: str, done: int, total: int) -> None:
        if total:
            line.show(done, total, what)
        else:
            line.downloading(done)

    def converting() -> None:
        print(f"{options.repo} holds a checkpoint: converting it", file=sys.stderr)

    wish = PullOptions(
        options.repo, options.quant, options.vision_quant, options.name, room_for_a_model()
    )
    try:
        taken = pull(store, wish, report=report, converting=converting)
    except KeyboardInterrupt:
        raise Cancelled("stopped; the same command resumes") from None
    finally:
        line.clear()
    print(taken.entry.name)


def _show(store: Store, options: argparse.Namespace) -> None:
    from llavao1_edge.engine.memory import describe

    text, mmproj = model_paths(options.name, None)
    stored = options.name != "demo" and not options.name.endswith(".gguf")
    entry = store.find(options.name) if stored else None
    if entry is not None and options.check:
        store.check(entry)
    found = describe(text, mmproj)
    if options.json:
        print(json.dumps({**({} if entry is None else asdict(entry)), **found}, indent=1))
        return
    if entry is not None:
        print(f"{entry.name}  from {entry.source}")
        print(f"files         {text}\n              {mmproj}")
    for key, value in found.items():
        if key != "memory":
            print(f"{key:13} {value}")
    print("\nmemory on a CPU in GB, by context and candidates side by side")
    rows = found["memory"]
    counts = sorted({row["candidates"] for row in rows})
    print("context   " + "".join(f"N={n:<6}" for n in counts))
    for context in sorted({row["context"] for row in rows}):
        sizes = {row["candidates"]: row["gb"] for row in rows if row["context"] == context}
        print(f"{context:<10}" + "".join(f"{sizes[n]:<8.2f}" for n in counts))


def _remove(store: Store, options: argparse.Namespace) -> None:
    entry, freed = store.remove(options.name)
    print(f"removed {entry.name}, {shared.size(freed)} freed")


def _import(store: Store, options: argparse.Namespace) -> None:
    from llavao1_edge.engine import resolve_pair

    text, mmproj = resolve_pair(None, text=options.text, mmproj=options.mmproj)
    movable = (text, mmproj) if options.move else ()
    entry = store.add(text, mmproj, source=str(text.resolve()), name=options.name, movable=movable)
    print(entry.name)

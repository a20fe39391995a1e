"""`llavao1-edge convert`: a checkpoint, a repository or an old file to the GGUF pair."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llavao1_edge.cli import options as shared
from llavao1_edge.cli.streams import rewrite
from llavao1_edge.errors import Cancelled, UsageError
from llavao1_edge.files import expanded

if TYPE_CHECKING:
    from llavao1_convert.plan import Conversion

EPILOG = """\
examples:
  llavao1-edge convert ~/Llama-3.2V-11B-cot --out models
  llavao1-edge convert Xkev/Llama-3.2V-11B-cot --out models --low-disk
  llavao1-edge convert meta-llama/Llama-3.2-11B-Vision-Instruct --adapter my-lora --out models
  llavao1-edge convert ollama:llama3.2-vision --out models
  llavao1-edge convert old-text.gguf --projector old-mmproj.gguf --out models

Writes NAME-QUANT.gguf and mmproj-NAME-QUANT.gguf, both or neither, in one pass. Stopped or killed,
the same command resumes where it stopped. Needs no torch. See docs/converting.md.
"""
YES_NO = {"auto": None, "yes": True, "no": False}


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "convert",
        help="make a GGUF pair from a checkpoint, a hub repository or an old file",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="a checkpoint folder, owner/name[@revision] on the hub, an old .gguf, or ollama:NAME",
    )
    parser.add_argument("--out", type=Path, default=Path(), help="where to write (default: here)")
    parser.add_argument(
        "--quant",
        metavar="TYPE",
        help="text and cross-attention: Q4_K_M (default), Q4_K_S, Q5_K_M, Q5_K_S, Q6_K, Q8_0, "
        "Q4_0, IQ4_NL, IQ4_XS, F16, BF16, F32; old files keep their types without it",
    )
    parser.add_argument(
        "--vision-quant", metavar="TYPE", help="vision tower: Q8_0 (default) or any of these"
    )
    parser.add_argument("--name", help="base name of the files (default: the source's name)")
    parser.add_argument(
        "--imatrix", type=Path, metavar="FILE", help="importance matrix by llama-imatrix"
    )
    parser.add_argument(
        "--adapter",
        metavar="FOLDER",
        help="a LoRA adapter (PEFT) to merge into the checkpoint: a folder, or owner/name",
    )
    parser.add_argument("--threads", type=int, metavar="N", help="default: all cores")
    parser.add_argument(
        "--low-disk", action="store_true", help="delete each downloaded shard once it was read"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be written, and write nothing"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files of that name")
    parser.add_argument(
        "--verify",
        action="store_true",
        help="compare the pair with the checkpoint (where torch is installed), or try it out; "
        "a pair that is there already is not converted again",
    )
    parser.add_argument(
        "--picture", type=Path, action="append", metavar="FILE", help="to verify with; repeatable"
    )
    old = parser.add_argument_group("old files", "what they do not tell themselves")
    old.add_argument("--projector", type=Path, metavar="FILE", help="the file with the vision half")
    for name, text in (
        ("cross-permuted", "whether rows of cross-attention queries and keys were moved"),
        ("raw-gates", "whether gates of the global vision layers are raw"),
        ("system-block", "whether turns without a picture start with a system block"),
    ):
        old.add_argument(f"--{name}", choices=tuple(YES_NO), default="auto", help=text)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from llavao1_convert.conversion import check_free
    from llavao1_convert.sources import Choices, Request, plan_source

    if options.threads is not None and options.threads < 1:
        raise UsageError(f"--threads is {options.threads}", hint="It must be at least 1.")
    request = Request(
        source=options.source,
        out=options.out,
        quant=options.quant,
        vision_quant=options.vision_quant,
        name=options.name,
        imatrix=options.imatrix,
        projector=options.projector,
        choices=Choices(
            cross_permuted=YES_NO[options.cross_permuted],
            raw_gates=YES_NO[options.raw_gates],
            system_block=YES_NO[options.system_block],
        ),
        low_disk=options.low_disk,
        adapter=options.adapter,
    )
    if options.picture:
        from llavao1_edge.images import open_picture

        for path in options.picture:
            open_picture(path)  # a wrong one is named before the work, not after it
    plan = plan_source(request)
    for note in plan.notes:
        print(f"note: {note}", file=sys.stderr)
    if options.dry_run:
        show_plan(plan)
        _forget(plan)
        return 0
    there = plan.text.path.is_file() and plan.mmproj.path.is_file()
    if not (options.verify and there):
        if not options.overwrite:
            try:
                check_free(plan)
            except UsageError:
                _forget(plan)
                raise
        convert(plan, n_threads=options.threads)
    print(plan.text.path)
    print(plan.mmproj.path)
    if options.verify:
        adapter = None if options.adapter is None else expanded(options.adapter)
        verify(plan, expanded(options.source), options.picture, adapter)
    return 0


def _forget(plan: Conversion) -> None:
    """What was fetched to plan it."""
    if plan.staging is not None:
        shutil.rmtree(plan.staging, ignore_errors=True)


def show_plan(plan: Conversion) -> None:
    from llavao1_convert.card import types

    for output in plan.files:
        print(f"{shared.size(output.n_bytes):>10}  {output.path}  ({types(output)})")
    print(f"{shared.size(plan.source_bytes):>10}  to be read from {plan.origin}")


def convert(plan: Conversion, *, n_threads: int | None = None) -> None:
    """Runs a plan with a progress line on a terminal."""
    from llavao1_convert.conversion import run as run_plan

    line = ProgressLine()
    try:
        for step in run_plan(plan, n_threads=n_threads, report=line.downloading):
            line.show(step.done, step.total, step.tensor)
    except KeyboardInterrupt:
        raise Cancelled("stopped; the same command resumes") from None
    finally:
        line.clear()


class ProgressLine:
    """Share, speed, time left, and what is being done; nothing where nobody watches."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()
        self._started = time.monotonic()
        self._first: int | None = None
        self._last, self._what = 0.0, ""

    def show(self, done: int, total: int, what: str) -> None:
        self._what = what
        if self._first is None:
            self._first = done  # what an earlier run had done took this one no time
        now = time.monotonic()
        if now - self._last < 0.1 and done < total:
            return
        self._last = now
        seconds = max(1e-3, now - self._started)
        speed = (done - self._first) / seconds
        left = f"{(total - done) / speed:.0f} s left" if speed > 0 else ""
        self._print(f"{done / max(1, total):4.0%}  {speed / 1e6:.0f} MB/s  {left}  {what}")

    def downloading(self, done: int) -> None:
        self._print(f"{self._what}  {done / 1e6:.0f} MB")

    def _print(self, text: str) -> None:
        if self._shown:
            rewrite(text)

    def clear(self) -> None:
        self._print("")


def verify(
    plan: Conversion, source: Path, pictures: list[Path] | None, adapter: Path | None = None
) -> None:
    """Raises LlavaError where the pair is not what it should be."""
    from llavao1_convert import verify as verification
    from llavao1_edge import demo

    chosen = pictures or [sample.picture for sample in demo.samples()[:3]]
    text, mmproj = plan.text.path, plan.mmproj.path
    problem = verification.reference_problem(with_adapter=adapter is not None)
    if not problem and not (source / "config.json").is_file():
        problem = "the source is not a checkpoint folder"
    if not problem and adapter is not None and not adapter.is_dir():
        problem = "the adapter is not a folder"
    if problem:
        print(f"not compared with the checkpoint: {problem}", file=sys.stderr)
        said = verification.self_check(text, mmproj, chosen)
        print(f"structure and pairing are right; it says: {said[:200]!r}")
        return
    print("| picture | tokens | same likeliest token | mean KL (nats) | largest difference |")
    print("|---|---|---|---|---|")
    for found in verification.compare(text, mmproj, source, chosen, adapter=adapter):
        print(
            f"| {found.picture} | {found.n_tokens} | {found.top1:.1%} | {found.mean_kl:.2e} "
            f"| {found.largest:.2e} |",
            flush=True,
        )

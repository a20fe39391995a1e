"""`llavao1-edge convert`: a Hugging Face checkpoint folder to the GGUF pair."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

EPILOG = """\
example:
  llavao1-edge convert ~/Llama-3.2V-11B-cot --out models --quant Q8_0 --vision-quant F16

Reads config.json, tokenizer.json, preprocessor_config.json and *.safetensors of the folder. Writes
NAME-QUANT.gguf and mmproj-NAME-QUANT.gguf, both or neither. Needs no torch.
"""


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "convert",
        help="convert a checkpoint folder to GGUF",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="FOLDER", type=Path, help="the checkpoint's folder")
    parser.add_argument("--out", type=Path, default=Path(), help="where to write (default: here)")
    parser.add_argument("--quant", default="Q8_0", help="F32, F16, BF16 or Q8_0 (default)")
    parser.add_argument("--vision-quant", default="Q8_0", help="the same for the mmproj file")
    parser.add_argument("--name", help="base name of the files (default: the folder's name)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from llavao1_convert import conversion
    from llavao1_convert.planning import plan_conversion

    plan = plan_conversion(
        options.source,
        options.out,
        text_quantisation=options.quant,
        vision_quantisation=options.vision_quant,
        name=options.name,
    )
    shown = sys.stderr.isatty()
    started = time.monotonic()
    for step in conversion.run(plan):
        if shown:
            seconds = max(1e-3, time.monotonic() - started)
            left = seconds * (step.total - step.done) / max(1, step.done)
            print(
                f"\r\x1b[K{step.done / step.total:4.0%}  {step.done / 1e6 / seconds:.0f} MB/s  "
                f"{left:.0f} s left  {step.tensor}",
                end="",
                file=sys.stderr,
                flush=True,
            )
    if shown:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    print(plan.text.path)
    print(plan.mmproj.path)
    return 0

"""What lies beside the files: SHA256SUMS and a model card for each pair."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from llavao1_convert.plan import Conversion, OutputFile
from llavao1_edge import __version__
from llavao1_edge.files import size_text, write_whole

SUMS = "SHA256SUMS"
LICENCE = """\
The weights are a derivative of Llama 3.2. Llama 3.2 is licensed under the Llama 3.2 Community
License, Copyright © Meta Platforms, Inc. All Rights Reserved. Built with Llama. Using or passing on
these files is bound to that licence and to its Acceptable Use Policy; a fine-tuned source may add
terms of its own.
"""


def write_notes(plan: Conversion, sums: Sequence[str]) -> None:
    """Beside the files, which are in place already."""
    named = dict(zip((output.path.name for output in plan.files), sums, strict=True))
    _add_sums(plan.text.path.parent / SUMS, named)
    write_whole(plan.text.path.with_suffix(".md"), card(plan, named))


def _add_sums(path: Path, new: dict[str, str]) -> None:
    """Keeps the lines of other files as they are."""
    old = path.read_bytes().splitlines() if path.is_file() else []
    names = {name.encode() for name in new}
    kept = [line for line in old if re.split(rb" [ *]", line, maxsplit=1)[-1] not in names]
    lines = [*kept, *(f"{digest}  {name}".encode() for name, digest in new.items())]
    write_whole(path, b"".join(line + b"\n" for line in lines))


def card(plan: Conversion, sums: dict[str, str]) -> str:
    """Markdown."""
    rows = [
        f"| `{output.path.name}` | {size_text(output.n_bytes)} | {types(output)} |"
        for output in plan.files
    ]
    digests = [f"- `{name}`: sha256 `{digest}`" for name, digest in sums.items()]
    origin = Path(plan.origin)  # a folder of this machine is nobody else's business
    source = origin.name if origin.is_absolute() else plan.origin
    source += f", revision `{plan.revision}`" if plan.revision else ""
    notes = [f"- {note}" for note in plan.notes]
    return "\n".join(
        [
            f"# {plan.text.path.stem}",
            "",
            f"Made by llavao1-edge {__version__} from {source}.",
            "",
            f"Quantisation: text and cross-attention {plan.text_quantisation}, vision "
            f"{plan.vision_quantisation}. The two files belong together:",
            "",
            "| file | size | weights |",
            "|---|---|---|",
            *rows,
            "",
            *digests,
            *(["", "Decided while converting:", "", *notes] if notes else []),
            "",
            "```sh",
            f'llavao1-edge ask photo.jpg "What is this?" --model {plan.text.path.name}',
            "```",
            "",
            "## Licence",
            "",
            LICENCE,
        ]
    )


def types(output: OutputFile) -> str:
    """How many bytes are stored in which type, the largest share first."""
    found: Counter[str] = Counter()
    for job in output.jobs:
        found[job.planned.kind.name] += job.planned.n_bytes
    return ", ".join(f"{name} {n / sum(found.values()):.0%}" for name, n in found.most_common(4))

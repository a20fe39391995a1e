"""Fine-tunes a Llama-3.2-Vision on four-stage answers.

    python -m train.finetune --base CHECKPOINT --data train.jsonl --out FOLDER --method lora
    accelerate launch --num_processes 8 -m train.finetune … --method full --fsdp

The same command goes on after an interruption. `--plan` says what it needs, and stops.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llavao1_edge.errors import UsageError
from llavao1_edge.files import lock_folder, write_whole
from train import command
from train.finetune.archive import Pictures
from train.finetune.examples import Examples, read_examples, split
from train.finetune.plan import Load, Method, lines, need, read_base

if TYPE_CHECKING:
    from train.finetune.learning import Settings

RUN, MOST_HELD_OUT = "run.json", 200
# What a run cannot change on its way; the data's hash besides.
LASTING = (
    *("base", "method", "epochs", "steps", "lr", "batch", "accumulate", "max_length", "rank"),
    *("embeddings", "freeze_vision", "pure_bf16", "any_form", "limit", "held_out", "seed", "fsdp"),
)
LESS = {  # what needs less memory
    Method.FULL: "--method lora, more cards with --fsdp",
    Method.LORA: "--method qlora",
    Method.QLORA: "a smaller --batch",
}
RATES = {Method.FULL: 1e-5, Method.LORA: 1e-4, Method.QLORA: 1e-4}


def main(given: Sequence[str] | None = None) -> int:
    return command.main(
        lambda: run(_parser().parse_args(given)),
        stopped="stopped; the same command goes on from the last checkpoint",
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m train.finetune",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--base", type=Path, required=True, metavar="FOLDER", help="a checkpoint to begin with")
    add("--data", type=Path, required=True, metavar="FILE", help="in LLaVA-CoT-100k's format")
    add(
        "--images",
        type=Path,
        metavar="WHERE",
        help="a folder, a zip file, or the folder of its parts; default: the folder of the data",
    )
    add("--out", type=Path, required=True, metavar="FOLDER")
    add("--method", type=Method, choices=list(Method), default=Method.LORA)
    add("--epochs", type=float, default=3.0)
    add("--steps", type=int, metavar="N", help="instead of epochs")
    add("--lr", type=float, help="learning rate; default 1e-5 in full, 1e-4 by LoRA")
    add("--batch", type=int, default=1, metavar="N", help="examples on each card at a time")
    add("--accumulate", type=int, default=8, metavar="N", help="batches in a step")
    add(
        "--max-length", type=int, default=4096, metavar="N", help="tokens; longer ones are left out"
    )
    add("--rank", type=int, default=16, help="of LoRA")
    add("--embeddings", action="store_true", help="put LoRA on the embedding and the head, too")
    add("--freeze-vision", action="store_true", help="in full fine-tuning")
    add(
        "--pure-bf16",
        action="store_true",
        help="in full: no float32 beside the weights; half the memory, but at a rate of 1e-5 "
        "most steps of most weights are lost to rounding",
    )
    add("--no-checkpointing", action="store_true", help="faster, and much more memory")
    add("--any-form", action="store_true", help="learn from answers without the four stages, too")
    add("--limit", type=int, metavar="N", help="the first N examples")
    add(
        "--held-out",
        type=int,
        metavar="N",
        help=f"examples that are not learnt; default: a tenth, at most {MOST_HELD_OUT}",
    )
    add("--save-every", type=int, default=200, metavar="N", help="steps; the loss is taken there")
    add("--ask-every", type=int, default=0, metavar="N", help="steps; held-out questions are asked")
    add("--asked", type=int, default=50, metavar="N", help="how many of them")
    add("--answer-tokens", type=int, default=1024, metavar="N", help="of such an answer")
    add("--workers", type=int, default=2, metavar="N", help="processes that open pictures")
    add("--seed", type=int, default=0)
    add("--fsdp", action="store_true", help="in full fine-tuning: divide weights over the cards")
    add("--cpu", action="store_true", help="leave the cards alone")
    add("--plan", action="store_true", help="say what it needs, and stop")
    add("--memory-check", choices=("on", "off"), default="on")
    return parser


def run(options: argparse.Namespace) -> int:
    _check(options)
    base = read_base(options.base)
    images = options.images or options.data.parent
    found = read_examples(
        options.data, has=Pictures(images).has, any_form=options.any_form, limit=options.limit
    )
    try:
        import peft  # noqa: F401
        import torch

        from train.finetune import learning
    except ImportError as error:
        raise UsageError(
            f"fine-tuning needs the package {error.name}",
            hint="pip install torch==2.13.0, then pip install 'llavao1-edge[train]'",
        ) from None
    on_card = torch.cuda.is_available() and not options.cpu
    if options.fsdp and options.method is not Method.FULL:
        raise UsageError(
            f"--fsdp divides what --method full trains, not --method {options.method.value}",
            hint="Leave --fsdp out: each card then holds all weights, and learns from its own "
            "examples.",
        )
    if options.fsdp and options.ask_every:
        raise UsageError(
            "with --fsdp no process has the whole model to ask",
            hint="Leave --ask-every out; the loss on held-out examples is told.",
        )
    if options.fsdp and not on_card:
        raise UsageError(
            "FSDP divides weights over cards, and none is used here",
            hint="Leave --fsdp out: several processes then each hold all weights.",
        )
    load = _load(options, not options.cpu, learning.n_processes())
    card = float(torch.cuda.get_device_properties(0).total_memory) if on_card else None
    first = learning.is_first_process()
    if first:
        _tell(found, lines(base, load, card))
        if card is None and not options.cpu:
            print("that is on a card; none is here")
    if options.plan:
        return 0
    needed = need(base, load).total
    if options.memory_check == "on" and card is not None and needed > card:
        raise UsageError(
            f"a card here has {card / 1e9:.1f} GB, {needed / 1e9:.1f} GB are needed",
            hint=f"{LESS[options.method]}, a smaller --max-length, or --memory-check off.",
        )
    n_held_out = options.held_out
    if n_held_out is None:
        n_held_out = min(MOST_HELD_OUT, len(found.kept) // 10)
    learnt, held_out = split(found.kept, n_held_out)
    if not learnt:
        raise UsageError(
            f"all {len(found.kept)} examples would be held out", hint="Use a smaller --held-out."
        )
    with contextlib.ExitStack() as stack:
        if first:
            options.out.mkdir(parents=True, exist_ok=True)
            stack.enter_context(lock_folder(options.out / "lock"))
            _same_run(options)
        result = learning.finetune(_settings(options, images), learnt, held_out)
    if first:
        told = f"llavao1-edge convert {result} --out models"
        if options.method is not Method.FULL:
            told = f"llavao1-edge convert {options.base} --adapter {result} --out models"
        print(f"written to {result}\nnext: {told}")
    return 0


def _check(options: argparse.Namespace) -> None:
    counts = ("steps", "batch", "accumulate", "max_length", "rank", "limit", "save_every", "asked")
    command.check_counts(options, *counts, "answer_tokens")
    if not 0 <= options.seed < 1 << 32:
        raise UsageError(f"--seed is {options.seed}", hint="It must be from 0 to 4294967295.")
    for name in ("held_out", "ask_every", "workers"):
        if (getattr(options, name) or 0) < 0:
            raise UsageError(f"{command.flag(name)} cannot be negative", hint="")
    for name in ("epochs", "lr"):
        value = getattr(options, name)
        if value is not None and not 0 < value < 1e6:
            raise UsageError(f"--{name} is {value}", hint="It must be above 0.")


def _same_run(options: argparse.Namespace) -> None:
    """Raises UsageError where the folder holds a run with other options: it would be gone on with,
    or mixed with this one. One that did not come to its first checkpoint is none."""
    from train.finetune.learning import has_begun

    now = {name: str(getattr(options, name)) for name in LASTING}
    with options.data.open("rb") as file:
        now["data"] = hashlib.file_digest(file, "sha256").hexdigest()
    path: Path = options.out / RUN
    if path.exists() and has_begun(options.out):
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            before = {}
        other = [name for name in now if str(before.get(name)) != now[name]]
        if other:
            name = other[0]
            told = "other data" if name == "data" else f"{command.flag(name)} {before.get(name)}"
            raise UsageError(
                f"{options.out} holds a run with {told}",
                hint="Go on with the same options, or choose another --out.",
            )
        return
    write_whole(path, json.dumps(now, indent=1) + "\n")


def _load(options: argparse.Namespace, on_card: bool, processes: int) -> Load:
    full = options.method is Method.FULL
    return Load(
        method=options.method,
        cards=processes if options.fsdp else 1,
        batch=options.batch,
        length=options.max_length,
        rank=options.rank,
        bf16=on_card and (not full or options.pure_bf16),
        checkpointing=not options.no_checkpointing,
        vision=full and not options.freeze_vision,
    )


def _tell(found: Examples, plan: Sequence[str]) -> None:
    print(f"{len(found.kept)} examples to learn from")
    for fault, n in found.left_out.most_common():
        print(f"{n} left out: {fault.value}")
    for line in plan:
        print(line, flush=True)


def _settings(options: argparse.Namespace, images: Path) -> Settings:
    from train.finetune import learning

    return learning.Settings(
        base=options.base,
        out=options.out,
        images=images,
        method=options.method,
        epochs=options.epochs,
        steps=options.steps,
        rate=options.lr if options.lr is not None else RATES[options.method],
        batch=options.batch,
        accumulate=options.accumulate,
        length=options.max_length,
        rank=options.rank,
        embeddings=options.embeddings,
        vision=not options.freeze_vision,
        pure_bf16=options.pure_bf16,
        checkpointing=not options.no_checkpointing,
        seed=options.seed,
        save_every=options.save_every,
        ask_every=options.ask_every,
        asked=options.asked,
        answer_tokens=options.answer_tokens,
        workers=options.workers,
        fsdp=options.fsdp,
        cpu=options.cpu,
    )


if __name__ == "__main__":
    sys.exit(main())

"""The training: transformers' Trainer on our data. Launched alone, or by `accelerate launch`."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    MllamaForConditionalGeneration,
    MllamaImageProcessor,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from llavao1_edge.errors import OutOfMemory, UsageError
from train.finetune.asking import ask
from train.finetune.examples import Example
from train.finetune.inputs import Collator, Encoder, Encodings
from train.finetune.plan import Method, is_vision

DDP_TIMEOUT_S = 7200  # while held-out questions are asked, some processes wait for others
FULL_BYTES = 16 << 20  # a disk with less left is full
STATE, CHECKPOINT, ADAPTER = "state", "checkpoint", "adapter"
# What a checkpoint needs besides its weights, to be converted and used.
BESIDE = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "preprocessor_config.json",
    "chat_template.json",
    "chat_template.jinja",
)
WRAPPED = (  # what FSDP divides and gathers as a whole
    "MllamaSelfAttentionDecoderLayer",
    "MllamaCrossAttentionDecoderLayer",
    "MllamaVisionEncoderLayer",
)
ADAPTED = r".*language_model.*\.(q|k|v|o|gate|up|down)_proj"
WITH_EMBEDDINGS = rf"({ADAPTED}|.*embed_tokens|.*lm_head)"


@dataclass(frozen=True)
class Settings:
    """As the command line says. embeddings: whether LoRA is put on the embedding and the head, too;
    vision: whether the tower is trained, in full fine-tuning."""

    base: Path
    out: Path
    images: Path
    method: Method = Method.FULL
    epochs: float = 3.0
    steps: int | None = None
    rate: float = 1e-5
    batch: int = 1
    accumulate: int = 1
    length: int = 4096
    rank: int = 16
    embeddings: bool = False
    vision: bool = True
    pure_bf16: bool = False
    checkpointing: bool = True
    seed: int = 0
    save_every: int = 200
    ask_every: int = 0
    asked: int = 50
    answer_tokens: int = 1024
    workers: int = 2
    fsdp: bool = False
    cpu: bool = False


def finetune(settings: Settings, learnt: Sequence[Example], held_out: Sequence[Example]) -> Path:
    """The folder of the result: a checkpoint, or an adapter. Raises UsageError, CheckpointError."""
    encoder = Encoder(settings.base)
    learnt, held_out = (_fitting(part, encoder, settings.length) for part in (learnt, held_out))
    if not learnt:
        raise UsageError("no example is short enough", hint="Use a larger --max-length.")
    processor = MllamaImageProcessor.from_pretrained(settings.base)
    _check_mixture(learnt, settings)
    # First: transformers finds out in it which card is this process's, and whether FSDP is used.
    arguments = _arguments(settings, evaluates=bool(held_out))
    last = last_checkpoint(settings.out / STATE)
    if last is not None and (result := _result(settings)).is_dir() and _is_done(last):
        return result
    model = _model(settings, last)
    pad = _pad(model, encoder)
    collate = Collator(pad, encoder.image_token, settings.length)
    data, held = (
        Encodings(part, encoder, settings.images, processor) for part in (learnt, held_out)
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        data_collator=collate,
        train_dataset=data,
        eval_dataset=held if len(held) else None,
    )
    if len(held) and settings.ask_every:
        trainer.add_callback(_Asking(trainer, held, encoder, collate, settings))
    with _told_plainly(settings):
        if last is not None and _is_done(last):  # killed before the result was written
            trainer._load_from_checkpoint(last)
        else:
            trainer.train(resume_from_checkpoint=last)
        return _save(trainer, settings)


@contextlib.contextmanager
def _told_plainly(settings: Settings) -> Iterator[None]:
    """What people can mend. safetensors and torch have errors of their own for a full disk.

    Raises OutOfMemory, OSError."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OutOfMemory(
            f"the card's memory is used up: {str(error).splitlines()[0]}",
            hint="--plan says what is needed; a smaller --max-length or --batch needs less.",
        ) from error
    except (SafetensorError, RuntimeError) as error:
        if shutil.disk_usage(settings.out).free > FULL_BYTES:
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(settings.out)) from error


def has_begun(out: Path) -> bool:
    """Whether a folder holds anything that a run would go on from, or its result."""
    made = any((out / name).is_dir() for name in (CHECKPOINT, ADAPTER))
    return made or last_checkpoint(out / STATE) is not None


def _check_mixture(learnt: Sequence[Example], settings: Settings) -> None:
    """Raises UsageError where examples with and without a picture meet that cannot."""
    if len({bool(one.picture) for one in learnt}) < 2:
        return
    if n_processes() > 1:
        raise UsageError(
            "examples with and without a picture cannot be learnt by several processes together",
            hint="Leave one kind out: each process would wait for weights that another one lacks.",
        )
    if settings.batch > 1:
        raise UsageError(
            "examples with and without a picture cannot share a batch",
            hint="Use --batch 1 with a larger --accumulate.",
        )


def _fitting(examples: Sequence[Example], encoder: Encoder, most: int) -> list[Example]:
    """Those of at most so many tokens: half an answer would teach not to end."""
    found = [one for one in examples if len(encoder.encode(one).ids) <= most]
    if len(found) < len(examples) and is_first_process():
        n = len(examples) - len(found)
        print(f"{n} left out: longer than {most} tokens", flush=True)
    return found


def last_checkpoint(state: Path) -> str | None:
    """The newest one that is complete. A kill, or a full disk, may leave half of one: that is
    removed."""
    found = [path for path in state.glob("checkpoint-*") if path.name[11:].isdigit()]
    for path in sorted(found, key=lambda path: int(path.name[11:]), reverse=True):
        if _steps(path) is not None:  # this file is written last
            return str(path)
        if is_first_process():
            shutil.rmtree(path, ignore_errors=True)
    return None


def _steps(checkpoint: Path) -> tuple[int, int] | None:
    """(steps done, steps in all); None where that cannot be read."""
    try:
        told = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
        return int(told["global_step"]), int(told["max_steps"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_done(checkpoint: str) -> bool:
    steps = _steps(Path(checkpoint))
    return steps is not None and steps[0] >= steps[1]


def _model(settings: Settings, last: str | None) -> Any:
    """last: the checkpoint that is gone on from.

    Its weights are read here. The Trainer would not find them: transformers 4.54 saves an Mllama
    under its old names and loads by the new ones, without strictness, so it would go on from the
    base with the optimiser of the interrupted run.
    """
    on_card = torch.cuda.is_available() and not settings.cpu
    full = settings.method is Method.FULL
    dtype = torch.bfloat16 if on_card and (not full or settings.pure_bf16) else torch.float32
    more: dict[str, Any] = {}
    if settings.method is Method.QLORA:
        more["quantization_config"] = _four_bits(on_card)
        more["device_map"] = {"": int(os.environ.get("LOCAL_RANK", "0"))}
    source = last if full and last is not None and not settings.fsdp else settings.base
    model = MllamaForConditionalGeneration.from_pretrained(source, torch_dtype=dtype, **more)
    model.config.use_cache = False
    if full:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(settings.vision or not is_vision(name))
        return model
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(settings.seed)
    adapted = WITH_EMBEDDINGS if settings.embeddings else ADAPTED
    chosen = LoraConfig(
        r=settings.rank,
        lora_alpha=2 * settings.rank,
        target_modules=adapted,
        task_type="CAUSAL_LM",
        base_model_name_or_path=str(settings.base),
    )
    found = get_peft_model(model, chosen)
    found.enable_input_require_grads()  # for checkpoints of layers whose own weights are frozen
    return found


def _four_bits(on_card: bool) -> Any:
    if not on_card:
        raise UsageError("QLoRA needs an NVIDIA card", hint="Use --method lora.")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UsageError("QLoRA needs the package bitsandbytes", hint="pip install bitsandbytes")
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
        llm_int8_skip_modules=[
            *("model.vision_model", "model.multi_modal_projector", "lm_head"),
            *("vision_model", "multi_modal_projector"),
        ],
    )


def _pad(model: Any, encoder: Encoder) -> int:
    stated = model.config.get_text_config().pad_token_id
    return int(stated) if stated is not None else encoder.end


def _arguments(settings: Settings, *, evaluates: bool) -> TrainingArguments:
    on_card = torch.cuda.is_available() and not settings.cpu
    more: dict[str, Any] = {}
    if settings.fsdp:
        more["fsdp"] = "full_shard auto_wrap"
        more["fsdp_config"] = {
            "transformer_layer_cls_to_wrap": list(WRAPPED),
            "use_orig_params": True,
            "cpu_ram_efficient_loading": True,
        }
    return TrainingArguments(
        output_dir=str(settings.out / STATE),
        num_train_epochs=settings.epochs,
        max_steps=settings.steps or -1,
        learning_rate=settings.rate,
        lr_scheduler_type="cosine",
        warmup_ratio=0.03,
        weight_decay=0.0,
        max_grad_norm=1.0,
        per_device_train_batch_size=settings.batch,
        per_device_eval_batch_size=1,
        gradient_accumulation_steps=settings.accumulate,
        gradient_checkpointing=settings.checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        bf16=on_card and torch.cuda.is_bf16_supported(),
        fp16=on_card and not torch.cuda.is_bf16_supported(),
        ddp_timeout=DDP_TIMEOUT_S,
        use_cpu=not on_card,
        save_strategy="steps",
        save_steps=settings.save_every,
        save_total_limit=2,
        eval_strategy="steps" if evaluates else "no",
        eval_steps=settings.save_every,
        logging_steps=max(1, min(10, settings.save_every // 4)),
        logging_dir=str(settings.out / "tensorboard"),
        report_to=["tensorboard"] if importlib.util.find_spec("tensorboard") else [],
        seed=settings.seed,
        data_seed=settings.seed,
        dataloader_num_workers=settings.workers,
        remove_unused_columns=False,
        label_names=["labels"],
        **more,
    )


class _Asking(TrainerCallback):
    """Asks held-out questions every so many steps, and logs how many are right. Not with FSDP: no
    process has the whole model then."""

    def __init__(
        self,
        trainer: Trainer,
        held: Encodings,
        encoder: Encoder,
        collate: Collator,
        settings: Settings,
    ) -> None:
        self._trainer, self._held, self._settings = trainer, held, settings
        self._encoder, self._collate = encoder, collate

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        settings = self._settings
        if state.global_step % settings.ask_every:
            return
        accelerator = self._trainer.accelerator
        # Divided over the processes: they wait for each other, and not for ever.
        n = min(settings.asked, len(self._held))
        score = ask(
            accelerator.unwrap_model(self._trainer.model),
            self._held,
            self._encoder,
            self._collate,
            chosen=range(accelerator.process_index, n, accelerator.num_processes),
            most_tokens=settings.answer_tokens,
        )
        counted = torch.tensor([score.n, score.right, score.staged], device=accelerator.device)
        n, right, staged = accelerator.reduce(counted, "sum").tolist()
        if n:
            self._trainer.log({"asked": n, "right": right / n, "staged": staged / n})


def _save(trainer: Trainer, settings: Settings) -> Path:
    """By all processes: some methods gather the weights from all of them. The folder of the result
    appears when it is whole."""
    adapted, folder = settings.method is not Method.FULL, _result(settings)
    partial = folder.with_name(f"{folder.name}.part")
    if settings.fsdp:
        trainer.accelerator.state.fsdp_plugin.set_state_dict_type("FULL_STATE_DICT")
    first = trainer.is_world_process_zero()
    if first and partial.exists():
        shutil.rmtree(partial)
    trainer.accelerator.wait_for_everyone()
    trainer.save_model(str(partial))
    if first:
        (partial / "training_args.bin").unlink(missing_ok=True)  # a pickle, and nobody needs it
        for name in () if adapted else BESIDE:
            if (settings.base / name).is_file():
                shutil.copy(settings.base / name, partial / name)
        if folder.exists():  # of an older run that was gone on with
            shutil.rmtree(folder)
        partial.rename(folder)
    trainer.accelerator.wait_for_everyone()
    return folder


def _result(settings: Settings) -> Path:
    return settings.out / (CHECKPOINT if settings.method is Method.FULL else ADAPTER)


def is_first_process() -> bool:
    """Of those that `accelerate launch` or torchrun started."""
    return int(os.environ.get("RANK", "0")) == 0


def n_processes() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))

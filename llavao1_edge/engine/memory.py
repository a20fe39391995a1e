"""What a pair needs in memory, known before anything is loaded: from headers and settings alone.

`Sizes` says what each part takes, `fit` chooses a plan for a machine: layers on the GPU, where the
picture is read, how many tokens and candidates. Comparison with measured peaks: benchmarks/memory.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llavao1_edge.contract import keys
from llavao1_edge.contract.gguf import GgufHeader
from llavao1_edge.contract.native import family_of
from llavao1_edge.contract.pair import Kind, identity, kind_of, read_pair
from llavao1_edge.engine.machine import Machine
from llavao1_edge.engine.sizes import Part, Sizes, sizes
from llavao1_edge.errors import BackendError
from llavao1_edge.files import size_text
from llavao1_edge.mllama.shape import read_shape
from llavao1_edge.phrases import Phrase
from llavao1_edge.settings import RuntimeSettings

DEFAULT_CONTEXT = 4096
SMALLEST_CONTEXT, CONTEXT_STEP = 1024, 256
CPU_PICTURE_TOKENS, GPU_PICTURE_TOKENS = 1024, 2048  # where pictures stand in the context
CANDIDATE_TOKENS = 640  # of a whole answer, as the model writes them; longer ones go in waves
MARGIN = 0.04  # of what is free, at least 200 MB: other programs breathe, estimates err
LEAST_MARGIN = 200 << 20
DEVICE_RESERVE = 160 << 20  # a driver's own, besides llama.cpp's compute buffer
SMALLER = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "IQ4_XS")
BITS = {"F32": 32, "F16": 16, "BF16": 16, "Q8_0": 8.5, "Q6_K": 6.6, "Q5_K_M": 5.7, "Q5_K_S": 5.5,
        "Q4_K_M": 4.9, "Q4_K_S": 4.6, "Q4_0": 4.6, "IQ4_NL": 4.6, "IQ4_XS": 4.3}  # fmt: skip
TEXT_CHOICES = (1, 4, 8, 16)
CONTEXTS = (2048, 4096, 8192)


@dataclass(frozen=True)
class MemoryPlan:
    """What will be loaded where. `parts`: bytes on the CPU's side; `gpu`: on the device.

    width: candidates side by side that the context has room for; given_up: what a larger machine
    would have had, for people.
    """

    n_ctx: int
    width: int
    gpu_layers: int
    vision_on_gpu: bool
    parts: Mapping[Part, int]
    gpu: int
    mapped: int
    free: int
    draft_on_gpu: bool = False
    given_up: tuple[str, ...] = ()

    @property
    def uses_gpu(self) -> bool:
        return bool(self.gpu_layers) or self.vision_on_gpu

    @property
    def needed(self) -> int:
        """Bytes of main memory that must be there at once."""
        return sum(self.parts.values())

    @property
    def resident(self) -> int:
        """What the system will show at most: also mapped pages that were needed only once."""
        return self.needed + self.mapped

    def lines(self) -> list[str]:
        """For people."""
        shown = [
            Phrase("{part}: {size}", part=name, size=size_text(n))
            for name, n in self.parts.items()
            if n >= 1e5
        ]
        shown.append(
            Phrase(
                "together {needed} of {free} free",
                needed=size_text(self.needed),
                free=size_text(self.free),
            )
        )
        if self.mapped > 10e6:
            shown.append(
                Phrase(
                    "mapped besides, needed only while loading: {mapped:.2f} GB",
                    mapped=self.mapped / 1e9,
                )
            )
        if self.gpu:
            shown.append(
                Phrase(
                    "on the GPU: {n_layers} layers, {gpu:.2f} GB; pictures are read there"
                    if self.vision_on_gpu
                    else "on the GPU: {n_layers} layers, {gpu:.2f} GB; pictures are not read there",
                    n_layers=self.gpu_layers,
                    gpu=self.gpu / 1e9,
                )
            )
        shown.append(
            Phrase(
                "context {n_ctx} tokens, {width} candidates side by side",
                n_ctx=self.n_ctx,
                width=self.width,
            )
        )
        return [*shown, *(Phrase("given up: {what}", what=what) for what in self.given_up)]


def fit(
    found: Sizes, machine: Machine, settings: RuntimeSettings, *, width: int, quantisation: str = ""
) -> MemoryPlan:
    """The largest plan that fits. width: candidates that are wished for.

    Raises BackendError with the shortfall where even the smallest does not, unless the settings
    say that memory is not to be checked.
    """
    n_ctx = settings.context or _context(found, width)
    usable = machine.free - max(LEAST_MARGIN, int(MARGIN * machine.free))
    plan = _with_gpu(found, machine, settings, n_ctx, width)
    if machine.gpu_shared and plan.needed + plan.gpu > usable and settings.gpu_layers is None:
        machine = replace(machine, gpu_free=None)  # the copy would not fit beside the rest
        plan = _with_gpu(found, machine, settings, n_ctx, width)
    if plan.needed <= usable or settings.memory_check == "off":
        return plan
    given_up = list(plan.given_up)
    smaller, n = plan, width
    while smaller.needed > usable and n > 1 and not settings.context:
        n -= 1
        n_ctx = settings.context or _context(found, n)
        smaller = _with_gpu(found, machine, settings, n_ctx, n)
    if n < width:
        given_up.append(
            Phrase(
                "{n} of {width} candidates side by side; the rest wait their turn", n=n, width=width
            )
        )
    while smaller.needed > usable and not settings.context and n_ctx > SMALLEST_CONTEXT:
        n_ctx = max(SMALLEST_CONTEXT, n_ctx - CONTEXT_STEP)
        smaller = _with_gpu(found, machine, settings, n_ctx, n)
    if not settings.context and n_ctx < min(DEFAULT_CONTEXT, found.context_length):
        given_up.append(
            Phrase(
                "a context of {n_ctx} tokens instead of {context}",
                n_ctx=n_ctx,
                context=_context(found, 1),
            )
        )
    if smaller.needed > usable:
        raise _too_little(smaller, usable, found, quantisation)
    return replace(smaller, given_up=tuple(given_up))


def _context(found: Sizes, width: int) -> int:
    """Cells for the conversation and for what a search holds at once."""
    cells = DEFAULT_CONTEXT + found.picture_cells
    return min(cells, found.context_length) + (width - 1) * CANDIDATE_TOKENS


def _with_gpu(
    found: Sizes, machine: Machine, settings: RuntimeSettings, n_ctx: int, width: int
) -> MemoryPlan:
    """Pictures are read on the GPU first, the longest work there is; then layers, from the last."""
    parts = found.host(n_ctx, width)
    layers, on_gpu, gpu = settings.gpu_layers, False, 0
    drafted, drafting = False, found.draft.on_gpu(n_ctx) if found.draft else 0
    given_up: list[str] = []
    if machine.gpu_free is None or (layers == 0 and settings.mmproj_device is None):
        layers = 0
    else:
        ours = found.mmproj + found.picture + found.vision
        if machine.room_to_read is not None:
            on_gpu = ours <= _room(machine.room_to_read, found, 1)
            if not on_gpu:
                given_up.append(
                    Phrase("the GPU has no room to read pictures: that is done on the CPU")
                )
        gpu += ours if on_gpu else 0
        moving = found.per_cell * n_ctx + found.states(width)
        layer = found.per_layer + moving // max(1, found.n_layers)
        if layers is None:
            room = _room(machine.gpu_free, found, machine.n_gpus) - found.head
            room -= 0 if machine.reader_apart else gpu
            drafted = 0 < drafting <= room - layer  # it runs most often, and is small
            room -= drafting if drafted else 0
            layers = max(0, min(found.n_layers, room // max(1, layer)))
            if layers < found.n_layers:
                given_up.append(
                    Phrase(
                        "{layers} of {n_layers} layers are on the GPU",
                        layers=layers,
                        n_layers=found.n_layers,
                    )
                )
            else:
                layers += 1  # the head counts as one
            if layers and drafting and not drafted:
                given_up.append(Phrase("the GPU has no room for the draft model: it is on the CPU"))
        else:
            drafted = bool(layers and drafting)
        if drafted:
            gpu += drafting
            parts[Part.DRAFT] = 0
        offloaded = min(layers, found.n_layers)
        gpu += offloaded * layer + (found.head if layers > found.n_layers else 0)
        parts = _without(parts, found, offloaded, layers, on_gpu=on_gpu)
    share = 1 - min(layers, found.n_layers) / max(1, found.n_layers)
    return MemoryPlan(
        n_ctx=n_ctx,
        width=width,
        gpu_layers=layers,
        vision_on_gpu=on_gpu,
        parts=parts,
        gpu=gpu,
        mapped=_mapped(found, share, drafted=drafted),
        free=machine.free,
        draft_on_gpu=drafted,
        given_up=tuple(given_up),
    )


def _mapped(found: Sizes, share: float, *, drafted: bool) -> int:
    """Bytes of the files that are read once. share: of the layers that are on the CPU."""
    draft = found.draft.reordered if found.draft and not drafted else 0
    return int(found.reordered * share) + draft


def _room(free: int, found: Sizes, n_gpus: int) -> int:
    """Bytes for weights on devices with so much free memory together."""
    reserve = n_gpus * (DEVICE_RESERVE + found.compute)
    return free - reserve - max(LEAST_MARGIN, int(MARGIN * free))


def _without(
    parts: dict[Part, int], found: Sizes, offloaded: int, layers: int, *, on_gpu: bool
) -> dict[Part, int]:
    """What stays on the CPU's side."""
    share = 1 - offloaded / max(1, found.n_layers)
    head = found.head if layers > found.n_layers else 0
    left = dict(parts)
    left[Part.TEXT] -= offloaded * found.per_layer + head
    for part in (Part.CELLS, Part.STATES):
        left[part] = int(left[part] * share)
    if on_gpu:
        left[Part.MMPROJ] = 0
        left[Part.PICTURE] = 0
        left[Part.WORK] = found.decoding
    return left


def _too_little(plan: MemoryPlan, usable: int, found: Sizes, quantisation: str) -> BackendError:
    short = plan.needed - usable
    hint: str = "Close other programs; --memory-check off tries it all the same."
    bits = BITS.get(quantisation)
    for name in SMALLER:
        if bits is not None and BITS[name] < bits:
            saved = (found.text + found.mmproj * 0.6) * (1 - BITS[name] / bits)
            if saved >= short:
                hint = Phrase(
                    "Convert with --quant {name} ({saved:.1f} GB less), or close other programs; "
                    "--memory-check off tries it all the same.",
                    name=name,
                    saved=saved / 1e9,
                )
                break
    if plan.parts.get(Part.DRAFT, 0) >= short:
        saved = plan.parts[Part.DRAFT] / 1e9
        hint = Phrase("Leave --draft out ({saved:.1f} GB less).", saved=saved)
    return BackendError(
        Phrase(
            "this model needs {needed:.2f} GB of memory, {usable:.2f} GB can be used "
            "({short:.2f} GB short)",
            needed=plan.needed / 1e9,
            usable=usable / 1e9,
            short=short / 1e9,
        ),
        hint=hint,
    )


def quantisation_name(header: GgufHeader) -> str:
    """What most weights of a file are stored in, as files are called."""
    number = header.metadata.get(keys.FILE_TYPE)
    known = {0: "F32", 1: "F16", 2: "Q4_0", 7: "Q8_0", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S",
             17: "Q5_K_M", 18: "Q6_K", 25: "IQ4_NL", 30: "IQ4_XS", 32: "BF16"}  # fmt: skip
    return known.get(number, "mixed") if isinstance(number, int) else "mixed"


def describe(text_path: Path, mmproj_path: Path) -> dict[str, Any]:
    """A pair for people and programs: what it is, and what it needs on a CPU."""
    text, mmproj = read_pair(text_path, mmproj_path)
    quantisation = quantisation_name(text)
    found = sizes(text, mmproj, f32_cache=quantisation == "F32", picture_tokens=CPU_PICTURE_TOKENS)
    weights = sum(math.prod(i.shape) for h in (text, mmproj) for i in h.tensors.values())
    rows = [
        {
            "context": context,
            "candidates": n,
            "gb": round(sum(found.host(context + (n - 1) * CANDIDATE_TOKENS, n).values()) / 1e9, 2),
        }
        for context in CONTEXTS
        if context <= max(found.context_length, CONTEXTS[0])
        for n in TEXT_CHOICES
    ]
    return {
        "architecture": _architecture(text, mmproj),
        "weights": Phrase("{weights:.2f} billion weights", weights=weights / 1e9)
        if weights >= 1e8
        else Phrase("{weights:.1f} million weights", weights=weights / 1e6),
        "quantisation": Phrase(
            "text {text}, vision {vision}",
            text=quantisation,
            vision=quantisation_name(mmproj),
        ),
        "sizes": Phrase(
            "text {text}, mmproj {mmproj}",
            text=size_text(text.n_bytes),
            mmproj=size_text(mmproj.n_bytes),
        ),
        "pair": identity(text, mmproj),
        "context": found.context_length,
        "memory": rows,
    }


def _architecture(text: GgufHeader, mmproj: GgufHeader) -> str:
    if kind_of(text, mmproj) is Kind.NATIVE:
        name = text.text(keys.ARCHITECTURE)
        vision = mmproj.metadata.get(keys.VISION_LAYERS, "?")
        return Phrase(
            "{family}: {name} of {n_layers} layers, vision of {vision} layers; llama.cpp runs it "
            "itself",
            family=family_of(mmproj).name,
            name=name,
            n_layers=text.integer(f"{name}.block_count"),
            vision=vision,
        )
    shape = read_shape(mmproj)
    return Phrase(
        "mllama: {n_layers} self-attention and {cross_layers} cross-attention layers, "
        "vision of {local_layers} + {global_layers} layers",
        n_layers=text.integer("llama.block_count"),
        cross_layers=shape.tensors.cross_layers,
        local_layers=shape.tensors.local_layers,
        global_layers=shape.tensors.global_layers,
    )

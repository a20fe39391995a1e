"""The phases of an answer, each alone: what it takes, what it must handle, its distance to the
limit of the machine."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from llavao1_edge.bench.limits import measure_limits
from llavao1_edge.bench.timing import Phase, in_turn, timed
from llavao1_edge.contract.gguf import GgufHeader
from llavao1_edge.engine import Engine
from llavao1_edge.ggml.types import PLAIN
from llavao1_edge.images import Picture, open_picture, tile_picture
from llavao1_edge.llama.context import Row
from llavao1_edge.llama.sampler import BatchSampler, Grammar, Sampler, Sampling
from llavao1_edge.mllama.model import MllamaModel
from llavao1_edge.search import StageBeam, Token
from llavao1_edge.settings import BudgetSettings, RuntimeSettings, SamplingSettings
from llavao1_edge.stages import REASONING, stage_grammar
from llavao1_edge.vision import Place, VisionModel

PROMPT = 64
COUNTS = (1, 2, 4, 8)
LOADS = 3


def run_phases(
    text: Path, mmproj: Path, picture: Path, settings: RuntimeSettings, *, rounds: int
) -> tuple[list[Phase], dict[str, float]]:
    """All phases, and the machine's limits. rounds: of each phase."""
    settings = replace(settings, picture_cache=0.0)  # every picture is to be read
    loads = []
    for _ in range(LOADS):
        started = time.perf_counter()
        Engine.open(text=text, mmproj=mmproj, settings=settings).close()
        loads.append(time.perf_counter() - started)
    first = first_token(text, mmproj, picture, settings)
    search = StageBeam(candidates=max(COUNTS))
    with Engine.open(text=text, mmproj=mmproj, settings=settings, search=search) as engine:
        bench = Bench(engine, open_picture(picture), picture)
        phases = [timed("load (files in the cache)", loads)]
        phases.append(timed("start to the first token", [first]))
        phases += bench.reading(max(1, min(rounds, 5)))
        phases += bench.decoding(rounds)
        phases += bench.drawing(rounds)
        phases += bench.judging()
        return phases, vars(bench.limits)


def first_token(text: Path, mmproj: Path, picture: Path, settings: RuntimeSettings) -> float:
    """Seconds that somebody waits who has just started the program: loading, the picture, the
    prompt."""
    started = time.perf_counter()
    with Engine.open(text=text, mmproj=mmproj, settings=settings) as engine:
        asked = engine.session(picture).stream("What is in this picture?", seed=0)
        with closing(asked):
            for event in asked:
                if isinstance(event, Token):
                    break
        return time.perf_counter() - started


class Bench:
    """One open pair."""

    def __init__(self, engine: Engine, picture: Picture, path: Path) -> None:
        self.engine, self.runtime = engine, engine.runtime
        self.picture, self.path = picture, path
        self.limits = measure_limits(engine)

    def reading(self, rounds: int) -> list[Phase]:
        """From the file to what decoding needs of the picture."""
        if not isinstance(self.runtime.vision, MllamaModel):
            return self._reading_native(self.runtime.vision, rounds)
        return self._reading_mllama(self.runtime.vision, rounds)

    def _reading_native(self, vision: VisionModel, rounds: int) -> list[Phase]:
        def see() -> None:
            vision.forget_pictures()
            vision.see(self.picture)

        opened, seen = in_turn([lambda: open_picture(self.path), see], rounds)
        n = vision.preview(self.picture).n_cells
        return [timed("open the picture", opened), timed(f"read it as {n} tokens", seen)]

    def _reading_mllama(self, seeing: MllamaModel, rounds: int) -> list[Phase]:
        runtime, limits = self.runtime, self.limits
        rules = seeing.shape.tiling
        tiled = tile_picture(self.picture.image, rules=rules)
        vision = seeing.encoder.tower.encode(tiled)
        try:
            opened, cut, encoded, stated = in_turn(
                [
                    lambda: open_picture(self.path),
                    lambda: tile_picture(self.picture.image, rules=rules),
                    lambda: seeing.encoder.tower.encode(tiled).close(),
                    lambda: seeing.encoder.layers.states(
                        vision, n_tiles=tiled.n_tiles, f32=runtime.f32_cache
                    ).close(),
                ],
                rounds,
            )
        finally:
            vision.close()
        quantised = self._quantised("v.blk.0.ffn_up.weight")
        return [
            timed("open the picture", opened),
            timed("cut into tiles", cut),
            timed(
                f"vision tower and projector, {tiled.n_tiles} of "
                f"{seeing.shape.tensors.max_tiles} tiles",
                encoded, limits=limits, n_bytes=self._bytes("v.") + self._bytes("mm."),
                n_operations=vision_operations(seeing), integer=quantised,
            ),
            timed(
                "cross keys and values", stated, limits=limits,
                n_bytes=self._bytes(".attn_k.") + self._bytes(".attn_v."),
                n_operations=cross_operations(seeing),
                integer=self._quantised("cross.blk.0.attn_k.weight"),
            ),
        ]  # fmt: skip

    def decoding(self, rounds: int) -> list[Phase]:
        """A prompt, and a step of N candidates side by side, with the picture."""
        runtime = self.runtime
        sight, _ = runtime.vision.see(self.picture)
        begun, place, picture = runtime.take_sequence(), Place(), 0.0
        if isinstance(runtime.vision, MllamaModel):
            states = runtime.vision.states(self.picture)
            picture = states.n_bytes * states.n_valid / states.n_tokens
        else:
            place = runtime.vision.place(sight, begun, (), stop=lambda: False)
        root, start = runtime.take_sequence(), place.position
        prompt = [Row(5 + i, start + i, root, output=i == PROMPT - 1) for i in range(PROMPT)]

        def prefill() -> None:
            runtime.context.forget(root)
            runtime.context.fork(begun, root)
            runtime.decode(prompt, sight, stop=lambda: False)

        (filled,) = in_turn([prefill], max(3, rounds // 3))
        weights = weight_bytes(runtime.text_header) + self._cross_bytes()
        operations = self._operations_per_token()
        phases = [
            timed(
                f"prefill of {PROMPT} tokens", filled, limits=self.limits,
                n_bytes=weights + picture, n_operations=PROMPT * operations,
                integer=self._quantised(None),
            )
        ]  # fmt: skip
        branches: list[int] = []
        for n in COUNTS:
            while len(branches) < n:
                branches.append(runtime.take_sequence())
                runtime.context.fork(root, branches[-1])

            def step(n: int = n) -> None:
                for branch in branches[:n]:
                    if not runtime.rewind(branch, start + PROMPT):
                        runtime.context.forget(branch)
                        runtime.context.fork(root, branch)
                rows = [Row(7, start + PROMPT, branch, output=True) for branch in branches[:n]]
                runtime.decode(rows, sight, stop=lambda: False)

            (stepped,) = in_turn([step], rounds)
            phases.append(
                timed(
                    f"decode a token for N = {n}", stepped, limits=self.limits,
                    n_bytes=weights + picture, n_operations=n * operations,
                    integer=self._quantised(None),
                )
            )  # fmt: skip
        for sequence in (*branches, root, begun):
            runtime.release(sequence)
        return phases

    def drawing(self, rounds: int) -> list[Phase]:
        """A token for each of the largest N, with the stages' grammar and without."""
        runtime, n = self.runtime, max(COUNTS)
        logits = np.random.default_rng(0).normal(size=(n, runtime.model.n_vocab)).astype(np.float32)
        draws = BatchSampler(Sampling(temperature=1.0), runtime.banned)
        gbnf = stage_grammar(REASONING)
        bare = [Sampler(seed=i) for i in range(n)]
        bound = [Sampler(seed=i, grammars=[Grammar(runtime.model, gbnf)]) for i in range(n)]
        try:
            free, ruled = in_turn(
                [lambda: draws.draw(bare, logits.copy()), lambda: draws.draw(bound, logits.copy())],
                rounds,
            )
        finally:
            for sampler in bound:
                sampler.close()
        n_bytes = 4.0 * logits.nbytes
        extra = [max(0.0, b - a) for a, b in zip(free, ruled, strict=True)]
        return [
            timed(f"draw a token for N = {n}", free, limits=self.limits, n_bytes=n_bytes),
            timed(f"the grammar's part at N = {n}", extra),
        ]

    def judging(self) -> list[Phase]:
        """A comparison of two candidates by the model, in both orders."""
        search = StageBeam(candidates=4, scorer="judge")
        seconds = []
        for seed in range(3):
            with self.engine.session(self.picture) as session:
                answer = session.ask(
                    "What is shown?",
                    search=search,
                    seed=seed,
                    sampling=SamplingSettings(temperature=1.5, top_p=1.0),
                    budget=BudgetSettings(stage_tokens=24),
                )
            n = len(answer.trace.comparisons)
            if n:
                seconds.append(answer.trace.counters.judge_ms / 1000 / n)
        return [timed("judge two candidates", seconds)] if seconds else []

    # --- what must be handled -----------------------------------------------------------------
    def _bytes(self, part: str) -> float:
        tensors = self.runtime.mmproj_header.tensors
        return float(sum(i.n_bytes for n, i in tensors.items() if part in n and "embd" not in n))

    def _cross_bytes(self) -> float:
        """Of the cross layers' weights that every token reads."""
        return self._bytes("cross.") - self._bytes(".attn_k.weight") - self._bytes(".attn_v.weight")

    def _operations_per_token(self) -> float:
        """Two for every weight of a matrix."""
        headers = (self.runtime.text_header, self.runtime.mmproj_header)
        return 2.0 * sum(
            info.shape[0] * info.shape[1]
            for header in headers
            for name, info in header.tensors.items()
            if len(info.shape) == 2
            and name != "token_embd.weight"
            and (header is headers[0] or name.startswith("cross."))
        )

    def _quantised(self, name: str | None) -> bool:
        """Whether a tensor of the mmproj file (None: the text's layers) is quantised."""
        if name is None:
            layers = self.runtime.text_header.tensors.items()
            return any(i.kind not in PLAIN for n, i in layers if n.startswith("blk."))
        return self.runtime.mmproj_header.tensors[name].kind not in PLAIN


def weight_bytes(header: GgufHeader) -> int:
    """Bytes of weights that one token reads: everything but the embedding table, unless that is the
    head as well."""
    table = "token_embd.weight" if "output.weight" in header.tensors else None
    return sum(i.n_bytes for n, i in header.tensors.items() if n != table)


def vision_operations(model: MllamaModel) -> float:
    """Multiplications and additions of the tower and the projector, all tile slots."""
    shape, sizes = model.shape, model.shape.tensors
    rows = shape.n_tokens + shape.n_padding
    linear = 4 * sizes.width**2 + 2 * sizes.width * sizes.ffn
    layers = sizes.local_layers + sizes.global_layers
    attention = 2 * rows * sizes.width
    project = shape.n_tokens * sizes.width * (1 + sizes.n_intermediate) * sizes.text_width
    return 2.0 * (layers * rows * (linear + attention) + project)


def cross_operations(model: MllamaModel) -> float:
    shape, sizes = model.shape, model.shape.tensors
    width = sizes.cross_kv_heads * sizes.head_width
    return 2.0 * sizes.cross_layers * shape.n_tokens * sizes.text_width * 2 * width

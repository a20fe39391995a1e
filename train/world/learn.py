"""From nothing to the shipped files, in one command that may be killed at any moment.

    python -m train.world.learn --out runs/world

Phases, each a number of steps: `eye` (the tower from dense labels), `answers` (the text model, the
tower as it is), `joint` (everything), `judge` (everything, and comparisons of the model's own
candidates, which are drawn when it begins). State is saved every five minutes and when the process
is told to stop; the same command goes on where it was. What a step sees follows from the seed, the
phase and the number of the step alone, so an interrupted run is the same run.

A phase is made of legs of 500 steps. Each begins from weights in half precision and with fresh
optimisers, so that its beginning is all a run needs to go on elsewhere: 10 MB (`leg.safetensors`),
in the last phase with what was drawn for it (`pairs.jsonl.gz`).
"""

from __future__ import annotations

import argparse
import copy
import json
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from train.answers import (
    RATES,
    SEEING_RATE,
    Optimisers,
    descend,
    logits_of,
    loss_of,
    optimise,
    stage_spans,
)
from train.data import AnswerBatch, Turn, Writer, collate
from train.export import export_checkpoint
from train.model import is_tower
from train.pairs import convert
from train.tower import see
from train.world.batches import Batches
from train.world.eye import Heads
from train.world.families import FAMILIES
from train.world.judge import Pair, draw_pairs, read_pairs
from train.world.material import PHOTOGRAPHS
from train.world.model import TILE_SIZE, begin, compile_model, world_tokenizer
from train.world.pool import Pool
from train.world.ship import ship

PHASES = {"eye": 3000, "answers": 2000, "joint": 1000, "judge": 4800}
FALLING = {"eye": 0.4, "judge": 0.9}  # the last share of the phase, in which rates go to zero
DENSE = 0.3  # weight of the labels of patches while all learn together
VERDICTS = 0.15  # weight of the verdicts
SEED, PICTURES, HELD_OUT = 41, 32_000, 1024
LEG, WARM_UP, REWARM = 500, 100, 20  # steps
EYES_AT_ONCE, ANSWERS_AT_ONCE, TEXTS_AT_ONCE = 48, 24, 48
BESIDE_VERDICTS, VERDICTS_AT_ONCE = 24, 8  # in phase `judge`
ASKED_FOR_PAIRS = 2500  # questions whose candidates become pairs
SAVE_EVERY, LOOK_EVERY = 300.0, 500  # seconds, steps
LOOKED_AT = 384  # held-out pictures


class Learner:
    """The model, its optimisers and where the run is."""

    def __init__(self, folder: Path, *, seed: int) -> None:
        self.folder, self.seed = folder, seed
        self.tokenizer = self._tokenizer()
        self.writer = Writer(self.tokenizer)
        special = self.writer.special
        self.model = begin(special, seed=seed)
        self.heads = Heads()
        self.optimisers = self._fresh()
        self.phase, self.step, self.spent = "eye", 0, 0.0
        self._load()

    def _tokenizer(self) -> Tokenizer:
        path = self.folder / "tokenizer.json"
        if not path.exists():
            world_tokenizer().save(str(path))
        return Tokenizer.from_file(str(path))

    def _parts(self) -> tuple[list[tuple[str, nn.Parameter]], list[tuple[str, nn.Parameter]]]:
        seeing, telling = [], []
        for name, parameter in self.model.named_parameters():
            (seeing if is_tower(name) else telling).append((name, parameter))
        return seeing, telling

    def _fresh(self) -> dict[str, Optimisers]:
        seeing, telling = self._parts()
        return {
            "seeing": optimise(seeing, decay=0.05, more=self.heads.parameters()),
            "telling": optimise(telling),
        }

    @property
    def _modules(self) -> dict[str, nn.Module]:
        return {"model": self.model, "heads": self.heads}

    def begin_leg(self) -> None:
        """Half precision, fresh optimisers; what is needed to go on from here is on the disk."""
        weights = {
            f"{part}.{name}": value.half()
            for part, module in self._modules.items()
            for name, value in module.state_dict().items()
        }
        about = {"phase": self.phase, "step": str(self.step), "spent": str(self.spent)}
        save_file(weights, self.folder / "leg.tmp", metadata=about)
        (self.folder / "leg.tmp").replace(self.folder / "leg.safetensors")
        self._take(weights)

    def _take(self, weights: dict[str, Tensor]) -> None:
        for part, module in self._modules.items():
            own = {name: weights[f"{part}.{name}"].float() for name in module.state_dict()}
            module.load_state_dict(own)
        self.optimisers = self._fresh()

    def save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "heads": self.heads.state_dict(),
            "optimisers": {
                name: [one.state_dict() for one in some] for name, some in self.optimisers.items()
            },
            "phase": self.phase,
            "step": self.step,
            "spent": self.spent,
        }
        torch.save(state, self.folder / "state.tmp")
        (self.folder / "state.tmp").replace(self.folder / "state.pt")

    def _load(self) -> None:
        path = self.folder / "state.pt"
        if not path.exists():
            self._load_leg()
            return
        state = torch.load(path)
        self.model.load_state_dict(state["model"])
        self.heads.load_state_dict(state["heads"])
        for name, saved in state["optimisers"].items():
            for one, held in zip(self.optimisers[name], saved, strict=True):
                one.load_state_dict(held)
        self.phase, self.step, self.spent = state["phase"], state["step"], state["spent"]

    def _load_leg(self) -> None:
        path = self.folder / "leg.safetensors"
        if path.exists():
            with safe_open(path, "pt") as file:
                self._take({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
                about = file.metadata()
            self.phase, self.step = about["phase"], int(about["step"])
            self.spent = float(about["spent"])

    def log(self, **about: object) -> None:
        line = {"phase": self.phase, "step": self.step, "minutes": round(self.spent / 60, 1)}
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line | about) + "\n")


def rate(phase: str, step: int, steps: int) -> float:
    """Share of the full rate: a short warm-up, shorter in later legs; to zero as `FALLING` says."""
    leg, at = divmod(step, LEG)
    factor = min(1.0, (at + 1) / (REWARM if leg else WARM_UP))
    if phase in FALLING:
        factor *= min(1.0, max(0.01, (1 - step / steps) / FALLING[phase]))
    return factor


def set_rates(optimisers: Optimisers, factor: float) -> None:
    for one, full in zip(optimisers, RATES, strict=True):
        for group in one.param_groups:
            group["lr"] = full * factor


# --- steps --------------------------------------------------------------------------------------


def eye_step(learner: Learner, pool: Pool) -> dict[str, float]:
    generator = torch.Generator().manual_seed(learner.seed * 1_000_003 + learner.step)
    rows = torch.randint(len(pool), (EYES_AT_ONCE,), generator=generator)
    pictures = pool.pictures(rows)
    loss, _ = learner.heads.loss(see(learner.model, pictures), pictures)
    descend(learner.model, loss, learner.optimisers["seeing"])
    return {"loss": loss.item()}


def _logits(learner: Learner, batch: AnswerBatch, states: Tensor | None, pool: Pool) -> Tensor:
    """states: (n, tiles, tokens, hidden), None without pictures."""
    if states is None:
        return logits_of(learner.model, batch)
    return logits_of(learner.model, batch, states.flatten(1, 2), pool.n_tiles[batch.pictures])


def answer_step(
    learner: Learner,
    pool: Pool,
    batch: AnswerBatch,
    *,
    picture: bool,
    verdicts: AnswerBatch | None = None,
) -> dict[str, float]:
    """The tower learns too where there are pictures, except in phase `answers`."""
    states, dense, judged = None, torch.zeros(()), torch.zeros(())
    joint = learner.phase != "answers"
    if picture:
        pictures = pool.pictures(batch.pictures)
        with torch.set_grad_enabled(joint):
            states = see(learner.model, pictures)
        if joint:
            dense, _ = learner.heads.loss(states, pictures)
    told = loss_of(_logits(learner, batch, states, pool), batch.targets)
    if verdicts is not None:
        with torch.no_grad():
            seen = see(learner.model, pool.pictures(verdicts.pictures))
        judged = loss_of(_logits(learner, verdicts, seen, pool), verdicts.targets)
    optimisers = learner.optimisers["telling"]
    if joint and picture:
        optimisers = (*optimisers, *learner.optimisers["seeing"])
    descend(learner.model, told + DENSE * dense + VERDICTS * judged, optimisers)
    return {"loss": told.item(), "dense": dense.item(), "verdicts": judged.item()}


@torch.no_grad()
def look(learner: Learner, held_out: Pool) -> dict[str, float]:
    """Labels right on held-out pictures; and answers right token by token after the true prefix."""
    shares: Counter[str] = Counter()
    parts = torch.arange(LOOKED_AT).split(64)
    for rows in parts:
        pictures = held_out.pictures(rows)
        _, found = learner.heads.loss(see(learner.model, pictures), pictures)
        shares.update({f"sees {name}": share / len(parts) for name, share in found.items()})
    scores = dict(shares)
    if learner.phase != "eye":
        scores |= _teacher_forced(learner, held_out, LOOKED_AT)
    return {name: round(score, 4) for name, score in scores.items()}


def _teacher_forced(learner: Learner, held_out: Pool, n: int) -> dict[str, float]:
    right: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    for start in range(0, n, 24):
        items = [
            (index, learner.writer.conversation([Turn(held_out.tasks(index)[0])], picture=1))
            for index in range(start, min(n, start + 24))
        ]
        batch = collate(items, pad=learner.writer.special["<|finetune_right_pad_id|>"])
        states = see(learner.model, held_out.pictures(batch.pictures))
        guess = _logits(learner, batch, states, held_out)[:, :-1].argmax(-1)
        wrong = (guess != batch.targets[:, 1:]) & (batch.targets[:, 1:] != -100)
        for row, (index, item) in enumerate(items):
            family = list(FAMILIES)[int(held_out.family[index])]
            for name, (low, high) in stage_spans(learner.writer, item).items():
                right[name] += not bool(wrong[row, low - 1 : high - 1].any())
                asked[name] += 1
            right[family] += not bool(wrong[row].any())
            asked[family] += 1
    return {name: right[name] / asked[name] for name in asked}


# --- the run ------------------------------------------------------------------------------------


def own_pairs(learner: Learner, pool: Pool, told: Callable[[], bool]) -> list[Pair] | None:
    """Comparisons of candidates that the model draws as it is, drawn once; None where `told` ended
    it before."""
    path = learner.folder / "pairs.jsonl.gz"
    if not path.exists():
        if learner.step:
            raise SystemExit(f"{path} is missing: this phase cannot go on without it")
        checkpoint, files = learner.folder / "so-far", learner.folder / "so-far-gguf"
        model = copy.deepcopy(learner.model)  # what is exported becomes half precision
        export_checkpoint(model, learner.tokenizer, checkpoint, tile_size=TILE_SIZE)
        text, _ = convert(checkpoint, files, name="so-far")
        n = min(len(pool), ASKED_FOR_PAIRS)
        questions = [(index, pool.tasks(index)[0]) for index in range(n)]
        if not draw_pairs(text, path, seed=learner.seed, questions=questions, told=told):
            return None
    return read_pairs(path)


def _step(
    learner: Learner, pool: Pool, batches: Batches, pairs: Sequence[Pair]
) -> dict[str, float]:
    phase, step = learner.phase, learner.step
    if phase == "eye":
        return eye_step(learner, pool)
    # Looking up and reckoning need no picture, and cost half without.
    if step % 2:
        batch = batches.answers(phase, step, picture=False, size=TEXTS_AT_ONCE)
        return answer_step(learner, pool, batch, picture=False)
    if not pairs:
        batch = batches.answers(phase, step, picture=True, size=ANSWERS_AT_ONCE)
        return answer_step(learner, pool, batch, picture=True)
    verdicts = batches.verdicts(phase, step, pairs, size=VERDICTS_AT_ONCE)
    batch = batches.answers(phase, step, picture=True, size=BESIDE_VERDICTS)
    return answer_step(learner, pool, batch, picture=True, verdicts=verdicts)


def run(
    learner: Learner,
    pool: Pool,
    held_out: Pool,
    phases: dict[str, int],
    *,
    told: Sequence[int] = (),
    at_most: int | None = None,
) -> bool:
    """Learn until the last phase is done (True), or until something is in `told` or `at_most` steps
    were made (False); the state is saved then."""
    names = list(phases)
    batches = Batches(learner.writer, pool, seed=learner.seed)
    pairs: list[Pair] | None = []
    saved, made = learner.spent, 0
    latest: dict[str, float] = {}
    while True:
        started = time.monotonic()
        steps = phases[learner.phase]
        if learner.step >= steps:
            learner.save()
            at = names.index(learner.phase) + 1
            if at == len(names):
                return True
            learner.phase, learner.step = names[at], 0
            continue
        if learner.step % LEG == 0:
            learner.begin_leg()
        if learner.phase == "judge" and not pairs:
            pairs = own_pairs(learner, pool, lambda: bool(told))
            if pairs is None:
                learner.save()
                return False
        factor = rate(learner.phase, learner.step, steps)
        set_rates(learner.optimisers["telling"], factor)
        seeing = factor * (1.0 if learner.phase == "eye" else SEEING_RATE)
        set_rates(learner.optimisers["seeing"], seeing)
        with torch.autocast("cpu", torch.bfloat16):  # a fifth less time than float32, measured
            scores = _step(learner, pool, batches, pairs)
        latest |= {name: value for name, value in scores.items() if value}  # steps differ
        learner.step, made = learner.step + 1, made + 1
        learner.spent += time.monotonic() - started
        if learner.step % LOOK_EVERY == 0:
            learner.log(**latest, **look(learner, held_out))
        stopped = bool(told) or made == at_most
        if stopped or learner.spent - saved > SAVE_EVERY:
            learner.save()
            saved = learner.spent
        if stopped:
            return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=PICTURES)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--begin", type=Path, help="folder with the last leg of a run to go on with"
    )
    parser.add_argument("--shorter", type=float, default=1.0, help="share of the steps; to try it")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if not any(PHOTOGRAPHS.glob("*.jpg")):
        raise SystemExit(f"{PHOTOGRAPHS} is empty: run python -m train.world.material first")
    options.out.mkdir(parents=True, exist_ok=True)
    if options.begin is not None and not (options.out / "leg.safetensors").exists():
        for name in ("leg.safetensors", "pairs.jsonl.gz", "log.jsonl"):
            if (options.begin / name).exists():
                shutil.copyfile(options.begin / name, options.out / name)
    learner = Learner(options.out, seed=options.seed)
    compile_model(learner.model)
    held_out = Pool(options.out / "held-out", seed=options.seed + 1, n=HELD_OUT)
    pool = Pool(options.out / "pictures", seed=options.seed, n=options.pictures)
    phases = {name: max(1, round(steps * options.shorter)) for name, steps in PHASES.items()}
    learner.log(parameters=sum(p.numel() for p in learner.model.parameters()), **phases)
    told: list[int] = []
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda number, _: told.append(number))
    if run(learner, pool, held_out, phases, told=told):
        checkpoint = options.out / "checkpoint"
        export_checkpoint(learner.model, learner.tokenizer, checkpoint, tile_size=TILE_SIZE)
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, signal.SIG_DFL)  # nothing is lost: the same command ships again
        ship(checkpoint, options.out / "shipped")


if __name__ == "__main__":
    main()

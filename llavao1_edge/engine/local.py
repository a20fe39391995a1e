"""The model on this machine as a backend: prompts, pictures and branches in llama.cpp's cache."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from llavao1_edge.backend import Attempt, ModelInfo, Request, Stop
from llavao1_edge.engine.branches import BranchCache, BranchState
from llavao1_edge.engine.diagnosis import PromptLogits, prompt_logits
from llavao1_edge.engine.drafter import BatchDrafter
from llavao1_edge.engine.formats import compiled
from llavao1_edge.engine.guessing import Guesser
from llavao1_edge.engine.judging import LocalJudge
from llavao1_edge.engine.kept_prompts import KeptConversation, KeptPrompts
from llavao1_edge.engine.lookup import Lookup
from llavao1_edge.engine.memory import CANDIDATE_TOKENS
from llavao1_edge.engine.model_guesses import ModelGuesses
from llavao1_edge.engine.runtime import Runtime
from llavao1_edge.engine.slots import Root, Slots
from llavao1_edge.engine.step_costs import draft_costs, step_costs
from llavao1_edge.errors import Cancelled, ContextFullError
from llavao1_edge.images import Picture
from llavao1_edge.llama.context import Row
from llavao1_edge.llama.sampler import Sampling
from llavao1_edge.mllama.model import MllamaModel
from llavao1_edge.search import Branch, Budget, Drafter, PictureReady, Work
from llavao1_edge.search.answer import Counters
from llavao1_edge.stages import GAP, STAGES
from llavao1_edge.vision import Preview

TOLD = 8  # tokens; fewer are what the last answer left pending
RESERVE = 64  # tokens an answer must at least have room for


class LocalBackend:
    """Owns the runtime, and the slots of its conversations. See `backend.Backend`."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.slots = Slots(runtime)
        self.kept = None if runtime.kept is None else KeptPrompts(runtime.kept, runtime)

    def interrupt(self) -> None:
        """A step takes no long time, and whoever reads the stream closes it."""

    def close(self) -> None:
        self.runtime.close()

    def conversation(self) -> LocalConversation:
        return LocalConversation(self)

    @property
    def about(self) -> ModelInfo:
        runtime, vision = self.runtime, self.runtime.vision
        tiling = vision.shape.tiling if isinstance(vision, MllamaModel) else None
        return ModelInfo(
            identity=runtime.identity,
            kind=runtime.kind.value,
            device=vision.device.name,
            context=runtime.context.n_ctx,
            n_threads=runtime.n_threads,
            memory=tuple(runtime.plan.lines()),
            hooks=len(vision.shape.cross_after) if isinstance(vision, MllamaModel) else 0,
            tile_size=tiling.tile_size if tiling else 0,
            max_tiles=tiling.max_tiles if tiling else 0,
            max_pictures=vision.max_pictures,
            chat_format=runtime.words.chat.name,
        )

    def prompt_logits(self, picture: Picture | None, question: str | Sequence[int]) -> PromptLogits:
        """See `Engine.prompt_logits`."""
        return prompt_logits(self.runtime, self.slots, picture, question)


class LocalConversation:
    """Its tokens, and its slot in the cache. See `backend.Conversation`."""

    def __init__(self, backend: LocalBackend) -> None:
        self.runtime = backend.runtime
        self.pictures: tuple[Picture, ...] = ()
        self.slot = backend.slots.add(self)
        self.resumable = False
        self.kept = KeptConversation(backend.kept)

    def close(self) -> None:
        self.slot.abandoned = True

    @property
    def begun(self) -> bool:
        return bool(self.slot.history)

    @property
    def history(self) -> list[int]:
        """All tokens so far, those before the picture and its own included."""
        root = self.slot.root
        return [*(root.tokens if root and self.slot.history else ()), *self.slot.history]

    @property
    def n_cached(self) -> int:
        """How many tokens of the history are in the cache."""
        root = self.slot.root
        return self.slot.n_cached + (len(root.tokens) if root and root.sequence is not None else 0)

    def recall(self, question: str, stages: Mapping[str, str]) -> None:
        """Computed with the next question."""
        said = GAP.join(
            f"{stage.opening}{stages[stage.name]}{stage.closing}"
            for stage in STAGES
            if stage.name in stages
        )
        prompt = self._prompt(question)
        self.slot.history = [*self.slot.history, *prompt, *self.runtime.encode([said])]
        self.kept.told(question, stages)

    def attempt(self, request: Request, *, budget: Budget, stop: Stop) -> Attempt:
        return LocalAttempt(self, self._prompt(request.question), request, budget, stop)

    def _prompt(self, question: str) -> list[int]:
        """The tokens of a user's turn."""
        runtime, slot = self.runtime, self.slot
        words = runtime.words
        if self.pictures and not slot.history:
            if slot.root is None:
                slot.root = Root(runtime.encode(words.chat.opening(system=words.stage_prompt)))
            return runtime.encode(words.chat.question(question))
        if slot.history:
            return runtime.encode([*words.chat.close, *words.chat.turn(question, first=False)])
        return runtime.encode(words.chat.turn(question, system=words.system + words.stage_prompt))


class LocalAttempt:
    """See `backend.Attempt`. prompt: the tokens of the question's turn."""

    def __init__(
        self,
        conversation: LocalConversation,
        prompt: list[int],
        request: Request,
        budget: Budget,
        stop: Stop,
    ) -> None:
        # Not the conversation itself: it is given up when nobody else holds it any more.
        self._kept = conversation.kept if conversation.resumable else None
        self.runtime, self.slot = conversation.runtime, conversation.slot
        self.pictures, self.prompt = conversation.pictures, prompt
        self.request, self.budget, self.stop = request, budget, stop
        self._form = compiled(request.form) if request.form is not None else ""
        self.counters = Counters()
        self._sight: Any = None
        self._judge: LocalJudge | None = None
        self._drafter: BatchDrafter | None = None

    @property
    def drafter(self) -> Drafter:
        assert self._drafter is not None
        return self._drafter

    @property
    def remarks(self) -> Sequence[str]:
        return self._drafter.remarks if self._drafter is not None else ()

    def close(self) -> None:
        for part in (self._judge, self._drafter):
            if part is not None:
                part.close()
        self.slot.in_use = False

    def see(self) -> PictureReady | None:
        n_cells = self._n_cells()
        answer = self.request.width * min(self.request.sampling.max_tokens, CANDIDATE_TOKENS)
        turns, n_ctx = self.runtime.turns, self.runtime.context.n_ctx
        turns.reserve(len(self.slot.history) + n_cells + answer, of=n_ctx, stop=self.stop)
        self.slot.in_use = True
        self.slot.make_room(n_cells)  # before the picture, which costs more
        if self._kept is not None:
            self._kept.resume(self.slot, self._picture_keys)
        if not self.pictures:
            return None
        vision = self.runtime.vision

        def checkpoint(share: float) -> None:
            if self.stop():
                raise Cancelled("stopped")
            self.request.told(Work.PICTURE, share)

        before, milliseconds = vision.n_seen, 0.0
        if not (vision.in_context and self._is_placed):
            self._sight, milliseconds = vision.see(*self.pictures, checkpoint=checkpoint)
        self.counters.vision_passes = vision.n_seen - before
        self.counters.picture_ms = milliseconds
        seen = self._preview
        return PictureReady(
            seen.rows,
            seen.columns,
            seen.width,
            seen.height,
            vision.n_seen == before,
            milliseconds,
            seen.n_cells,
            seen.looks,
            len(self.pictures),
        )

    @property
    def _is_placed(self) -> bool:
        """Whether what stands before the questions is in the cache, with these pictures."""
        root = self.slot.root
        if root is None or root.sequence is None:
            return False
        return root.pictures == self._picture_keys

    @property
    def _picture_keys(self) -> tuple[str, ...]:
        return tuple(picture.key for picture in self.pictures)

    @functools.cached_property
    def _preview(self) -> Preview:
        return self.runtime.vision.preview(*self.pictures)

    def _n_cells(self) -> int:
        """Of the question, the picture and the beginning of an answer."""
        n_cells = len(self.prompt) + RESERVE
        if self.slot.root is not None and self.pictures:
            n_cells += len(self.slot.root.tokens) + self._preview.n_cells
        return n_cells

    def begin(self) -> Branch:
        cache = BranchCache(
            self.runtime,
            sight=self._sight,
            stop=self.stop,
            counters=self.counters,
            restart=lambda: self._forked(cache)[0],
            told=self.request.told,
        )
        drafter = self._open_drafter(cache)
        cache.reserves += [
            self.slot.evict_another,
            lambda: self.runtime.turns.wait_for_another(self.stop),
        ]
        self._place(cache)
        self._catch_up(cache)
        sequence, n_cached = self._forked(cache)
        pending = self.slot.history[n_cached:] + self.prompt
        self.counters.prefill_tokens += len(pending)
        self.counters.cached_tokens += n_cached
        start = self.slot.start + n_cached
        root = drafter.root(BranchState(sequence, start, pending))
        drafter.guesser = self._guesser(cache, sequence, start)
        return root

    def _open_drafter(self, cache: BranchCache) -> BatchDrafter:
        request = self.request
        sampling = self._sampling()
        self._judge = LocalJudge(
            cache,
            question=request.question,
            sight=self._sight,
            root=self.slot.root,
            sampling=sampling,
            seed=request.seed,
            budget=self.budget,
            stop=self.stop,
        )
        self._drafter = BatchDrafter(
            cache,
            sampling=sampling,
            max_tokens=request.sampling.max_tokens,
            stage_tokens=request.budget.stage_tokens,
            seed=request.seed,
            budget=self.budget,
            stop=self.stop,
            judge=self._judge,
            form=self._form,
            top_logprobs=request.top_logprobs,
        )
        return self._drafter

    def _guesser(self, cache: BranchCache, sequence: int, start: int) -> Guesser:
        """One that never guesses where cells cannot be forgotten."""
        runtime, most = self.runtime, self.runtime.settings.draft_max
        if not runtime.vision.can_rewind or most == 0:
            return Lookup(most=0)
        began = self.budget.clock()
        costs = drafting = None
        if most is None:
            costs = step_costs(cache, sequence, start)
            costs = costs if costs is not None and costs.are_high else None
            if runtime.draft is not None and costs is not None:
                drafting = draft_costs(runtime, runtime.draft, stop=self.stop)
        self.budget.started += self.budget.clock() - began  # measured once: not this answer's time
        guesser: Guesser
        if runtime.draft is None:
            guesser = Lookup(most=most, costs=costs)
        else:
            guesser = ModelGuesses(
                runtime.draft,
                most=most,
                costs=costs,
                draft_costs=drafting,
                n_vocab=runtime.model.n_vocab,
                stop=self.stop,
            )
        before = self.slot.root.tokens if self.slot.root is not None else []
        guesser.read([*before, *self.slot.history, *self.prompt])
        return guesser

    def _sampling(self) -> Sampling:
        names = ("temperature", "top_p", "top_k", "min_p", "repeat_penalty")
        given = {name: getattr(self.request.sampling, name) for name in names}
        stated = {name: value for name, value in given.items() if value is not None}
        return replace(self.runtime.default_sampling(), **stated)

    def _forked(self, cache: BranchCache) -> tuple[int, int]:
        """A sequence that continues the history, and how many of its tokens are cached."""
        sequence = cache.take_sequence()
        return sequence, self.slot.fork(sequence)

    def _catch_up(self, cache: BranchCache) -> None:
        """Turns that were told, not answered here, are computed once, for all that comes after."""
        slot = self.slot
        pending = slot.history[slot.n_cached :]
        if len(pending) < TOLD or self.runtime.n_free_sequences < 2:
            return
        sequence, n_cached = self._forked(cache)
        start = slot.start + n_cached
        try:
            cache.decode([Row(token, start + i, sequence) for i, token in enumerate(pending)])
        except BaseException as error:
            self.runtime.release(sequence)
            if isinstance(error, ContextFullError):
                return  # the question makes its room itself
            raise
        self.counters.prefill_tokens += len(pending)
        self.counters.cached_tokens -= len(pending)  # it will be found there, but cost its time
        slot.keep(sequence, history=slot.history, n_cached=len(slot.history))

    def _place(self, cache: BranchCache) -> None:
        """Computes what stands before the questions, unless it is in the cache already."""
        root = self.slot.root
        if root is None:
            return
        if self._is_placed:
            self.counters.cached_tokens += root.place.cells
            return
        if root.sequence is not None:
            self.runtime.release(root.sequence)  # another picture came after a question that failed
            root.sequence = None
        root.sequence = cache.with_room(lambda: self._placed(root, cache))
        root.pictures = self._picture_keys

    def _placed(self, root: Root, cache: BranchCache) -> int:
        sequence = cache.take_sequence()
        try:
            place = self.runtime.vision.place(self._sight, sequence, root.tokens, stop=self.stop)
        except BaseException:
            self.runtime.release(sequence)
            raise
        self.counters.decode_steps += 1
        self.counters.prefill_tokens += place.cells
        root.place = place
        return sequence

    def keep(self, branch: Branch) -> None:
        """Adds the turn to the conversation; its last token is decoded with the next turn."""
        assert self._drafter is not None
        cache, slot = self._drafter.cache, self.slot
        whole = slot.history + self.prompt + cache[branch.key].tokens
        if whole[-1] in self.runtime.stop_tokens:
            whole.pop()  # the next turn begins with the end of this one
        try:
            state = cache.take(branch.key)
        except (ContextFullError, Cancelled):  # it was parked, and stays so: the answer counts
            slot.keep(None, history=whole, n_cached=0)
        else:
            slot.keep(state.held, history=whole, n_cached=state.n_past - slot.start)
        if self._kept is not None:
            stages = {stage.name: text for stage, text in branch.stages}
            spent = (self.counters.prefill_ms + self.counters.decode_ms) / 1000
            question, keys = self.request.question, self._picture_keys
            self._kept.answered(slot, question, stages, keys, seconds=spent)

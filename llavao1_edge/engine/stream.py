"""A candidate while it is written: its tokens, its text, and when it stops."""

from __future__ import annotations

import codecs
from dataclasses import dataclass, field, replace

from llavao1_edge.engine.branches import BranchState
from llavao1_edge.llama.sampler import Drawn, Sampler
from llavao1_edge.scoring import Part
from llavao1_edge.search import Branch, Ending, TokenLogprob, Unit
from llavao1_edge.stages import Stage, before_tag, ends_sentence
from llavao1_edge.stages.stage import GAP


@dataclass
class CandidateStream:
    """One candidate. number: over all branches of the draft; draw: counted for its branch.

    base: the branch after the forced opening. n_decoded: how many of `tokens` are in the cache of
    `sequence` (None: it has none at the moment). guess: tokens that were decoded behind the last
    one because they may come next (`guessing`); `n_right` of them came.
    """

    number: int
    draw: int
    branch: Branch
    base: BranchState
    stage: Stage | None
    unit: Unit
    sampler: Sampler
    sequence: int | None = None
    tokens: list[int] = field(default_factory=list)
    told: list[TokenLogprob] = field(default_factory=list)
    n_decoded: int = 0
    guess: list[int] = field(default_factory=list)
    sureness: list[int] = field(default_factory=list)
    n_right: int = 0
    text: str = ""
    shown: int = 0
    logprob: float = 0.0
    min_logprob: float = 0.0
    ending: Ending | None = None
    decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace")
    )

    def __post_init__(self) -> None:
        self.text = self.base.open_text
        self.shown = len(self.text)
        if self.stage is not None:  # the stage may have been left in the middle of its closing tag
            self.shown = before_tag(self.text, self.stage.closing, 0)
        self.decoder.setstate(self.base.decoder_state)

    @property
    def n_past(self) -> int:
        return self.base.n_past + self.n_decoded

    @property
    def held(self) -> int:
        """Its sequence, which it must have."""
        assert self.sequence is not None
        return self.sequence

    def goes_on(self, depth: int) -> bool:
        """Whether a token can be drawn behind its first `depth` guesses."""
        return self.ending is None and self.n_right == depth

    def add(
        self,
        drawn: Drawn,
        piece: bytes,
        *,
        last: bool,
        top: tuple[tuple[bytes, float], ...] = (),
    ) -> str:
        """Takes a token; returns text that may be shown. `last`: it ends the turn. top: see
        `TokenLogprob`."""
        self.tokens.append(drawn.token)
        if self.n_right < len(self.guess) and self.guess[self.n_right] == drawn.token:
            self.n_right += 1
        self.told.append(TokenLogprob(piece, drawn.logprob, top))
        self.logprob += drawn.logprob
        self.min_logprob = min(self.min_logprob, drawn.logprob)
        self.text += self.decoder.decode(piece, final=last)
        if last or (self.stage is not None and self.stage.closing in self.text[self.shown :]):
            self.ending = Ending.CLOSED
        elif self.unit is Unit.SENTENCE and ends_sentence(self.text, len(self.base.open_text)):
            self.ending = Ending.SENTENCE
        return self.ready()

    def ready(self) -> str:
        """New text, except for what can still become the closing tag."""
        end = len(self.text)
        if self.stage is not None:
            end = before_tag(self.text, self.stage.closing, self.shown)
        text, self.shown = self.text[self.shown : end], max(self.shown, end)
        return text

    @property
    def stage_text(self) -> str:
        """What stands in the stage, without its tags."""
        if self.stage is None:
            return self.text.strip()
        return self.text[: before_tag(self.text, self.stage.closing, 0)].strip()

    @property
    def own_text(self) -> str:
        """What this candidate wrote of it."""
        if self.stage is None:
            return self.text.strip()
        end = before_tag(self.text, self.stage.closing, 0)
        return self.text[min(end, len(self.base.open_text)) : end].strip()

    @property
    def still_open(self) -> bool:
        """Whether its stage can be gone on with."""
        return self.stage is not None and self.ending in (
            Ending.SENTENCE,
            Ending.BUDGET,
            Ending.CANCELLED,
        )

    def parts(self) -> tuple[Part, ...]:
        """The branch's parts with this candidate's: one more, or the open one grown."""
        before = self.branch.parts
        if self.stage is None:
            return before
        part = Part(
            self.stage,
            self.stage_text,
            len(self.tokens),
            self.logprob,
            self.min_logprob,
            finished=self.ending in (Ending.CLOSED, Ending.SENTENCE),
        )
        if not self.branch.open:
            return (*before, part)
        last = before[-1]
        grown = replace(
            part,
            n_tokens=last.n_tokens + part.n_tokens,
            logprob=last.logprob + part.logprob,
            min_logprob=min(last.min_logprob, part.min_logprob),
        )
        return (*before[:-1], grown)

    def reached(self) -> BranchState:
        """The state after this candidate; it owns the stream's sequence from now on."""
        state = BranchState(
            sequence=self.sequence,
            n_past=self.base.n_past + len(self.tokens) - 1,
            pending=self.tokens[-1:],
            tokens=self.base.tokens + self.tokens,
            n_sampled=self.base.n_sampled + len(self.tokens),
        )
        self.sequence = None
        if self.still_open:
            state.open_text, state.n_open = self.text, self.base.n_open + len(self.tokens)
            state.decoder_state = self.decoder.getstate()
        else:
            state.owed = self._owed()
        return state

    def _owed(self) -> str:
        """What must stand between this stage and the next opening tag."""
        if self.stage is None:
            return ""
        if self.ending is not Ending.CLOSED:
            return f" {self.stage.closing}{GAP}"
        after = self.text.partition(self.stage.closing)[2]
        return GAP[len(after) - len(after.lstrip("\n")) :]

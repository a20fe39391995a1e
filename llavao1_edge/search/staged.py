"""One candidate per stage, the four stages in order: how the model was trained to answer."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from llavao1_edge.search.events import CandidateFinished, Event, StageKept, StageStarted
from llavao1_edge.search.seam import Branch, Candidate, Drafter
from llavao1_edge.stages import STAGES, Stage


@dataclass(frozen=True)
class Staged:
    """The `staged` strategy."""

    name: str = "staged"

    def run(self, root: Branch, drafter: Drafter) -> Generator[Event, None, Branch]:
        return (yield from follow(root, drafter, STAGES))


def follow(
    root: Branch, drafter: Drafter, stages: tuple[Stage | None, ...]
) -> Generator[Event, None, Branch]:
    """One candidate for each of `stages`; a branch is dropped once it was extended."""
    branch = root
    for stage in stages:
        yield StageStarted(stage, candidates=1)
        kept: Candidate | None = None
        for event in drafter.draft(branch, stage, n=1):
            yield event
            if isinstance(event, CandidateFinished):
                kept = event.candidate
        assert kept is not None, "a drafter finishes every candidate"
        yield StageKept(stage, 0, kept)
        drafter.drop(branch)
        branch = kept.branch
    return branch

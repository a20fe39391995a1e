"""Questions on their way, and the part of a picture that a question is about."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from llavao1_gui.state import messages as m
from llavao1_gui.state.history import Conversation, Exchange
from llavao1_gui.state.live import LiveAnswer
from llavao1_gui.widgets.picture_view import Part


class Same(Enum):
    """Stands for what is chosen now."""

    PART = "part"


@dataclass
class Job:
    """A question on its way: one is answered at a time, the others wait their turn."""

    owner: Conversation
    exchange: Exchange
    message: m.Ask
    live: LiveAnswer = field(init=False)

    def __post_init__(self) -> None:
        self.live = LiveAnswer(self.message.number)


def part_of(exchange: Exchange) -> Part | None:
    """What a question is about; None for all of its picture."""
    crop = exchange.request.get("crop")
    if not isinstance(crop, list | tuple) or len(crop) != 4:
        return None
    left, top, right, bottom = (int(edge) for edge in crop)
    return left, top, right, bottom

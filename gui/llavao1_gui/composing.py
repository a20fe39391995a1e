"""What is sent to the engine for a question, and what history keeps of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from llavao1_edge.search.presets import preset
from llavao1_gui.pictures import Pictures
from llavao1_gui.state import messages as m
from llavao1_gui.state.history import Exchange, History
from llavao1_gui.state.preferences import Preferences

NOT_SENT = ("preset", "turn", "reused", "more", "crop")  # of what history keeps of a request


class Composer:
    """Makes requests from the settings of now, and messages from requests."""

    def __init__(
        self, pictures: Pictures, history: History, preferences: Callable[[], Preferences]
    ) -> None:
        self._pictures, self._history, self._preferences = pictures, history, preferences
        self._number = 0

    def request(self, *, seed: int = 0, form: tuple[str, str] | None = None) -> dict[str, Any]:
        """Everything that decides the answer, as history keeps it."""
        chosen = self._preferences()
        known = preset(chosen.preset)
        options = dict(known.options) if known else chosen.expert_options()
        sampling = chosen.group("sampling")
        if known and known.temperature is not None and not seed:
            sampling = {"temperature": known.temperature} | sampling
        return {
            "preset": chosen.preset,
            "strategy": known.strategy if known else chosen.strategy,
            "options": options,
            "seed": seed,
            "form": form,
            "model": chosen.model,
            "sampling": sampling,
            "budget": chosen.group("budget"),
            "runtime": chosen.group("runtime"),
        }

    def settings(self, request: dict[str, Any] | None = None) -> m.Ask:
        """How to answer, as chosen now or as in `request`; without a question."""
        chosen = self.request() if request is None else request
        return m.Ask(0, "", **{name: chosen[name] for name in chosen if name not in NOT_SENT})

    def message(
        self, question: str, path: str, request: dict[str, Any], said: Sequence[Exchange]
    ) -> m.Ask:
        """said: the exchanges of the conversation so far."""
        self._number += 1
        crop = request.get("crop")
        return replace(
            self.settings(request),
            number=self._number,
            question=question,
            picture=path,
            crop=tuple(crop) if crop else None,
            more=tuple(str(self._history.picture_path(digest)) for digest in request["more"]),
            earlier=self._earlier(said, request["turn"]),
        )

    def more(self, said: Sequence[Exchange]) -> list[str]:
        """Digests of the further pictures of a conversation, which its first question chose.
        Raises HistoryError, where one cannot be kept."""
        if said:
            kept = said[0].request.get("more")
            return [str(digest) for digest in kept] if isinstance(kept, list) else []
        return [self._pictures.file_of(picture).name for picture in self._pictures.others]

    def _earlier(
        self, said: Sequence[Exchange], turn: int
    ) -> tuple[tuple[str, dict[str, str]], ...]:
        """What was said before a turn: the last answer to each question."""
        if not self._preferences().remember:
            return ()
        found = {
            turn_of(exchange): (exchange.question, exchange.stages)
            for exchange in said
            if exchange.status == "answered" and exchange.stages
        }
        return tuple(found[at] for at in sorted(found) if at < turn)


def turn_of(exchange: Exchange) -> int:
    """Which question of its conversation it is; answers to the same one share it."""
    return int(exchange.request.get("turn", exchange.id))

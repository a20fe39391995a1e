"""What searching strategies have in common, and making a strategy from settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from llavao1_edge.errors import UsageError
from llavao1_edge.phrases import Phrase
from llavao1_edge.scoring import SCORERS
from llavao1_edge.search.strategy import Strategy
from llavao1_edge.settings import SearchSettings, check_setting

FACTS = ("name", "width", "forces_tags", "weighs_stages")  # of a strategy that nobody can choose


@dataclass(frozen=True)
class Searching:
    """Options of strategies that weigh candidates. Raises UsageError for values out of range."""

    candidates: int = 4
    scorer: str = "combined"

    def __post_init__(self) -> None:
        for field in fields(self):
            check_setting(SearchSettings, field.name, getattr(self, field.name))
        if self.scorer not in SCORERS:
            raise UsageError(
                Phrase("scorer is {scorer}", scorer=repr(self.scorer)),
                hint=Phrase("Choose one of {scorers}.", scorers=", ".join(SCORERS)),
            )

    @property
    def width(self) -> int:
        return self.candidates

    @property
    def forces_tags(self) -> bool:
        return True

    @property
    def weighs_stages(self) -> bool:
        return self.candidates > 1


def make(kinds: Mapping[str, Callable[..., Strategy]], name: str, given: Any) -> Strategy:
    """The strategy `name` with options. Raises UsageError for options it does not have."""
    if name not in kinds:
        raise UsageError(
            Phrase("the strategy is {name}", name=repr(name)),
            hint=Phrase("Choose one of {kinds}.", kinds=", ".join(sorted(kinds))),
        )
    known = options_of(kinds[name]())
    for option in given:
        if option not in known:
            able = [other for other in kinds if option in options_of(kinds[other]())]
            raise UsageError(
                Phrase("the strategy {name} has no option {option}", name=name, option=option),
                hint=Phrase("Leave it out, or choose {able}.", able=" or ".join(able))
                if able
                else "Leave it out.",
            )
    return kinds[name](**given)


def options_of(strategy: object) -> dict[str, Any]:
    """The strategy's options, as they can be given to it again."""
    assert hasattr(strategy, "__dataclass_fields__")
    names = (field.name for field in fields(strategy))  # type: ignore[arg-type]
    return {name: getattr(strategy, name) for name in names if name not in FACTS}

"""Settings are validated where they are made, and name what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from llavao1_edge.errors import UsageError
from llavao1_edge.settings import (
    RuntimeSettings,
    SamplingSettings,
    default_threads,
    is_here,
    ranges,
)


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (SamplingSettings, "temperature", -0.1),
        (SamplingSettings, "temperature", float("nan")),
        (SamplingSettings, "top_p", 0),
        (SamplingSettings, "min_p", 1.5),
        (SamplingSettings, "max_tokens", 0),
        (RuntimeSettings, "threads", 0),
        (RuntimeSettings, "context", 10),
        (RuntimeSettings, "cache", "f64"),
    ],
)
def test_a_bad_value_is_named(kind: Any, name: str, value: object) -> None:
    with pytest.raises(UsageError, match=name):
        kind(**{name: value})


def test_defaults_are_valid_and_every_setting_has_help() -> None:
    for kind in (RuntimeSettings, SamplingSettings):
        kind()
        assert all(limits.help for _, limits in ranges(kind))
    assert RuntimeSettings().n_threads == default_threads() >= 1


@pytest.mark.parametrize(
    ("host", "here"),
    [
        *((name, True) for name in ("localhost", "LOCALHOST", "127.0.0.1", "::1", "[::1]")),
        *((name, False) for name in ("0.0.0.0", "::", "example.org", "192.168.0.4", "")),
    ],
)
def test_what_reaches_this_machine_alone(host: str, here: bool) -> None:
    assert is_here(host) is here

"""Sentences that are data."""

from __future__ import annotations

import copy
import json
import pickle
from enum import StrEnum

import numpy as np
import pytest

from llavao1_edge.errors import PictureError
from llavao1_edge.phrases import Phrase, packed, unpacked


class Kind(StrEnum):
    ROUND = "round"


def test_a_phrase_is_its_english_sentence() -> None:
    found = Phrase("{n:,} of {total:.1f}", n=np.int64(1200), total=np.float32(2.25))
    assert found == "1,200 of 2.2"
    assert str(PictureError(found, hint=Phrase("Look."))) == "1,200 of 2.2\n  Look."
    assert Phrase("as it is: {2,5}") == "as it is: {2,5}"
    assert Phrase.of(found) is found


@pytest.mark.parametrize("again", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_is_a_phrase_too(again: object) -> None:
    found = Phrase("{kind} {name}", kind=Kind.ROUND, name=Phrase("thing"))
    copied = again(found)  # type: ignore[operator]
    assert (copied, copied.pattern) == ("round thing", "{kind} {name}")
    assert isinstance(copied.values["kind"], Phrase)  # a word of ours, to be translated


def test_phrases_cross_as_json() -> None:
    inner = Phrase("{n} files", n=3)
    sent = {"notes": [Phrase("found {what}", what=inner), "plain"], "n": 1, "none": None}
    found = unpacked(json.loads(json.dumps(packed(sent))))
    assert found == sent
    assert found["notes"][0].values["what"].values == {"n": 3}
    assert type(found["notes"][1]) is str


@pytest.mark.parametrize(
    "pattern", ["{b}", "{a:>9999999999}", "{a:c}", "{a.real}", "{a!r}", "{", "{a", "{}", "{0}"]
)
def test_a_pattern_that_is_none_of_ours_is_refused(pattern: str) -> None:
    """A changed byte in a history must not ask for gigabytes."""
    with pytest.raises((LookupError, ValueError)):
        unpacked({"pattern": pattern, "values": {"a": 1}})
    with pytest.raises(UnicodeEncodeError):
        unpacked({"pattern": "\ud800 {a}", "values": {"a": 1}})

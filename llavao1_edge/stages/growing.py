"""Text that is still being written: where it may be shown, and where a sentence ends."""

from __future__ import annotations

import re

# A full stop after a digit may be a decimal point or a list's number, so it ends no sentence.
_SENTENCE = re.compile(r"(?:[^\d\s][.!?][\"')\]]*|\n)\s*$")
SHORTEST_SENTENCE = 8


def before_tag(text: str, tag: str, start: int) -> int:
    """Where text that is certainly not part of `tag` ends."""
    at = text.find(tag, start)
    if at >= 0:
        return at
    at = text.rfind("<", max(start, len(text) - len(tag)))
    return at if at >= 0 and tag.startswith(text[at:]) else len(text)


def ends_sentence(text: str, start: int) -> bool:
    """Whether what was written from `start` on ends with a sentence."""
    written = text[start:].strip()
    return len(written) >= SHORTEST_SENTENCE and _SENTENCE.search(text[-16:]) is not None

"""Tooltips from foreign text: a file's name or a model's words are never markup."""

from __future__ import annotations

import html


def tip(text: str) -> str:
    """Qt takes a tooltip that looks like HTML for HTML, pictures included."""
    return f"<p style='white-space:pre-wrap'>{html.escape(text)}</p>" if text else ""

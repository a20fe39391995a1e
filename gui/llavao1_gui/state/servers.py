"""A model on a server, as the window names it: an address, and after # the model's name there."""

from __future__ import annotations

from urllib.parse import urlsplit


def is_server(model: str) -> bool:
    """Whether a model's name leads to a server, not to a file."""
    return model.lower().startswith(("http://", "https://"))


def host(model: str) -> str:
    """Where pictures go, for people."""
    try:
        return urlsplit(model).netloc.rpartition("@")[2] or model
    except ValueError:  # no address at all: whoever connects says so
        return model


def parts(model: str) -> tuple[str, str | None]:
    """(address, the model's name there; None for the only one)."""
    address, _, name = model.partition("#")
    return address, name or None

"""Finds out what a server can, with a few short requests: safer than a table of versions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llavao1_edge.errors import ServerError, UsageError
from llavao1_edge.files import is_text
from llavao1_edge.phrases import Phrase
from llavao1_edge.remote.client import Client
from llavao1_edge.remote.dialect import OURS, Dialect, dialect_of, grammar_fields

PATH = "/chat/completions"
WORD = "certainly"  # what a grammar makes a server say
REFUSED = (400, 404, 422, 501)


@dataclass(frozen=True)
class Server:
    """What is known of one. continues, grammar, logprobs: whether it does that; context: tokens, 0
    where it is not told; slots: draws that one request may ask for; missing: what it cannot, for
    people."""

    dialect: Dialect
    model: str
    continues: bool = False
    grammar: bool = False
    logprobs: bool = False
    context: int = 0
    slots: int = 1
    missing: tuple[str, ...] = ()


def probe(client: Client, model: str | None, stop: Callable[[], bool]) -> Server:
    """model: None for the only one there is. Raises ServerError, UsageError, Cancelled."""
    entry = choose(client, listed(client, stop), model, option="--server-model")
    name, dialect = str(entry["id"]), dialect_of(str(entry.get("owned_by", "")))
    meta = entry.get("meta")
    length = entry.get("max_model_len") or (
        meta.get("n_ctx_train") if isinstance(meta, dict) else 0
    )
    context = length if type(length) is int else 0
    if dialect is OURS:
        return Server(dialect, name, logprobs=True, context=context)
    slots = _slots(client, stop) if dialect.choices else 1
    continues = dialect.continues is not None and _continues(client, dialect, name, stop)
    grammar = continues and _follows(client, dialect, name, stop)
    logprobs = _tells(client, name, stop)
    missing = []
    if not continues:
        missing.append(
            f"{client.name} cannot go on in an answer: whole answers only "
            "(staged, best-of-n, direct, free)"
        )
    elif not grammar:
        missing.append(f"{client.name} follows no grammar: a stage may end without its tag")
    if not logprobs:
        missing.append(f"{client.name} tells no log-probabilities: candidates score alike")
    return Server(dialect, name, continues, grammar, logprobs, context, slots, tuple(missing))


def listed(client: Client, stop: Callable[[], bool] = lambda: False) -> list[dict[str, Any]]:
    """What a server says of its models. Raises ServerError, Cancelled."""
    found = client.get("/models", stop=stop).get("data")
    return [
        one
        for one in (found if isinstance(found, list) else [])
        if isinstance(one, dict) and isinstance(one.get("id"), str) and is_text(one["id"])
    ]


def is_ours(entries: Sequence[Mapping[str, Any]]) -> bool:
    """Whether our own `serve` lists them: all are one model, with other searches."""
    return bool(entries) and dialect_of(str(entries[0].get("owned_by"))) is OURS


def choose(
    client: Client, entries: Sequence[dict[str, Any]], model: str | None, *, option: str
) -> dict[str, Any]:
    """The entry of a model; None: the only one. option: with which one chooses. Raises ServerError,
    UsageError."""
    names = [one["id"] for one in entries]
    if not names:
        raise ServerError(
            Phrase("{name} names no model", name=client.name), hint="Check the address."
        )
    if model is None and len(names) > 1 and not is_ours(entries):
        raise UsageError(
            Phrase(
                "{name} has {n_names} models: {names}",
                name=client.name,
                n_names=len(names),
                names=", ".join(names[:8]),
            ),
            hint=Phrase("Choose one with {option} NAME.", option=option),
        )
    if model is not None and model not in names:
        raise UsageError(
            Phrase("{name} has no model {model}", name=client.name, model=repr(model)),
            hint=Phrase("It has {names}.", names=", ".join(names[:8])),
        )
    return entries[0] if model is None else entries[names.index(model)]


def _slots(client: Client, stop: Callable[[], bool]) -> int:
    """llama.cpp's server takes as many draws in one request as it has slots."""
    try:
        props = client.get("//props", stop=stop)
    except ServerError:
        return 16
    slots = props.get("total_slots")
    return slots if type(slots) is int and slots > 0 else 1


def _asked(client: Client, body: dict[str, Any], stop: Callable[[], bool]) -> dict[str, Any] | None:
    """The reply; None where the server does not take such a request."""
    try:
        return client.post(PATH, body, stop=stop)
    except ServerError as error:
        if error.status in REFUSED:
            return None
        raise


def _body(model: str, opening: str | None, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "Say one word."}]
    if opening is not None:
        messages.append({"role": "assistant", "content": opening})
    return {"model": model, "messages": messages, "max_tokens": 1, "temperature": 0, **more}


def _continues(client: Client, dialect: Dialect, model: str, stop: Callable[[], bool]) -> bool:
    body = _body(model, "The word is", **(dialect.continues or {}))
    return _asked(client, body, stop) is not None


def _follows(client: Client, dialect: Dialect, model: str, stop: Callable[[], bool]) -> bool:
    fields = {
        **(dialect.continues or {}),
        **grammar_fields(dialect.grammar, f'root ::= " {WORD}"'),
        "max_tokens": 16,
    }
    if not grammar_fields(dialect.grammar, ""):
        return False
    reply = _asked(client, {**_body(model, "The word is"), **fields}, stop)
    return reply is not None and WORD in _content(reply)


def _tells(client: Client, model: str, stop: Callable[[], bool]) -> bool:
    reply = _asked(client, _body(model, None, logprobs=True, top_logprobs=1), stop)
    choice = choice_of(reply)
    told = choice.get("logprobs")
    return isinstance(told, dict) and bool(told.get("content"))


def choice_of(reply: Mapping[str, Any] | None) -> dict[str, Any]:
    """The first choice of a reply, empty where there is none."""
    choices = (reply or {}).get("choices")
    first = choices[0] if isinstance(choices, list) and choices else {}
    return first if isinstance(first, dict) else {}


def _content(reply: dict[str, Any]) -> str:
    message = choice_of(reply).get("message")
    return str(message.get("content")) if isinstance(message, dict) else ""

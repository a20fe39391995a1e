"""Reads a chat completion request: OpenAI's fields, and the search in `llavao1`.

Everything is checked here, before anything waits for the engine. What would change an answer and is
not supported is refused; what does not matter here (`user`, `metadata`, …) is ignored.
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from llavao1_edge.engine.formats import check_fits, compiled, schema_format
from llavao1_edge.errors import UsageError
from llavao1_edge.search import Strategy, make_strategy, options_of
from llavao1_edge.search.presets import PRESETS, preset
from llavao1_edge.serve.problem import Problem, checked_text, wrong
from llavao1_edge.settings import BudgetSettings, SamplingSettings, SearchSettings, ranges

MOST_CHOICES, MOST_STOPS, MOST_TOP = 8, 4, 20
MOST_PICTURES, MOST_MESSAGES, MOST_PARTS = 16, 200, 200
MOST_SCHEMA = 1 << 18  # letters: compiling takes a second for every thousand properties
SEEDS = 1 << 31
OUTSIDE = ("temperature", "top_p", "top_k", "min_p", "repeat_penalty")
OWN = {"strategy", "scorer", "stages", "trace"}
# Field → the values that ask for nothing.
REFUSED: dict[str, tuple[Any, ...]] = {
    "tools": (None, []),
    "functions": (None, []),
    "tool_choice": (None, "none", "auto"),
    "function_call": (None, "none"),
    "audio": (None,),
    "modalities": (None, ["text"]),
    "frequency_penalty": (None, 0),
    "presence_penalty": (None, 0),
    "logit_bias": (None, {}),
    "prediction": (None,),
    "web_search_options": (None,),
}
SEPARATOR = "\n\n"


@dataclass(frozen=True)
class Remote:
    """A picture that must be fetched."""

    url: str


@dataclass(frozen=True)
class Uploaded:
    """A picture that was sent to `/v1/files`."""

    name: str


Source = bytes | Remote | Uploaded


@dataclass(frozen=True)
class Defaults:
    """What a request leaves out. names: of the model; strategy: of the plain name; seed: None for
    another one each time."""

    names: tuple[str, ...]
    strategy: Strategy
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    budget: BudgetSettings = field(default_factory=BudgetSettings)
    seed: int | None = None

    def models(self) -> Iterator[str]:
        """All names that a request may use."""
        for name in self.names:
            yield name
            yield from (f"{name}:{one.name}" for one in PRESETS)


@dataclass(frozen=True)
class ChatRequest:
    """A checked request. See `wire.Ask`; wants_stages, wants_trace: told beside the answer."""

    model: str
    pictures: tuple[Source, ...]
    turns: tuple[tuple[str, str], ...]
    question: str
    strategy: Strategy
    seed: int
    sampling: SamplingSettings
    budget: BudgetSettings
    schema: str
    stop: tuple[str, ...]
    n: int
    logprobs: bool
    top_logprobs: int
    stream: bool
    include_usage: bool
    wants_stages: bool
    wants_trace: bool

    def ask(self) -> dict[str, Any]:
        """The fields of `wire.Ask`, without number and pictures."""
        return {
            "turns": self.turns,
            "question": self.question,
            "strategy": self.strategy.name,
            "options": options_of(self.strategy),
            "seed": self.seed,
            "sampling": asdict(self.sampling),
            "budget": asdict(self.budget),
            "schema": self.schema,
            "stop": self.stop,
            "n": self.n,
            "logprobs": self.logprobs,
            "top_logprobs": self.top_logprobs,
            "stream": self.stream,
        }


def chat_request(body: Any, defaults: Defaults) -> ChatRequest:
    """Raises Problem."""
    if not isinstance(body, dict):
        raise Problem(400, "the body must be a JSON object")
    for name, nothing in REFUSED.items():
        if name in body and body[name] not in nothing:
            raise wrong(name, f"{name} is not supported: this model only answers questions")
    own = _mapping(body, "llavao1")
    known = OWN | {one.name for kind in (SearchSettings, BudgetSettings) for one in fields(kind)}
    known |= set(OUTSIDE)
    for name in own:
        if name not in known:
            raise wrong(f"llavao1.{name}", f"llavao1 has no {name}: {', '.join(sorted(known))}")
    model = body.get("model", defaults.names[0])
    strategy, temperature = _strategy(model, own, defaults)
    sampling = _sampling(body, own, defaults, temperature)
    schema = _schema(body, strategy)
    stream = _flag(body, "stream")
    logprobs = _flag(body, "logprobs")
    top = _whole(body, "top_logprobs", 0, low=0, high=MOST_TOP)
    if top and not logprobs:
        raise wrong("top_logprobs", "top_logprobs needs logprobs")
    seed = body.get("seed")
    if seed is None:
        seed = secrets.randbelow(SEEDS) if defaults.seed is None else defaults.seed
    elif type(seed) is not int or abs(seed) >= 1 << 63:
        raise wrong("seed", f"seed is {_shown(seed)}, it must be a whole number of 64 bits")
    pictures, turns, question = conversation(body.get("messages"))
    return ChatRequest(
        model=model,
        pictures=pictures,
        turns=turns,
        question=question,
        strategy=strategy,
        seed=seed,
        sampling=sampling,
        budget=_settings(own, BudgetSettings, defaults.budget),
        schema=schema,
        stop=_stops(body),
        n=_whole(body, "n", 1, low=1, high=MOST_CHOICES),
        logprobs=logprobs,
        top_logprobs=top,
        stream=stream,
        include_usage=_flag(_mapping(body, "stream_options"), "include_usage"),
        wants_stages=_flag(own, "stages"),
        wants_trace=_flag(own, "trace"),
    )


# --- the search ----------------------------------------------------------------------------------
def _strategy(
    model: Any, own: Mapping[str, Any], defaults: Defaults
) -> tuple[Strategy, float | None]:
    """The search, and the temperature that its preset wants."""
    names = tuple(defaults.models())
    if model not in names:
        raise Problem(
            404,
            f"there is no model {_shown(model)}; there are {', '.join(names)}",
            code="model_not_found",
            param="model",
        )
    chosen = preset(model.removeprefix(max(filter(model.startswith, defaults.names), key=len))[1:])
    name, options, temperature = defaults.strategy.name, options_of(defaults.strategy), None
    if chosen is not None:
        name, options, temperature = chosen.strategy, dict(chosen.options), chosen.temperature
    given = {one: own[one] for one, _ in ranges(SearchSettings) if own.get(one) is not None}
    if own.get("scorer") is not None:
        if not isinstance(own["scorer"], str):
            raise wrong("llavao1.scorer", f"scorer is {_shown(own['scorer'])}, it must be a text")
        given["scorer"] = own["scorer"]
    if own.get("strategy") not in (None, name):
        name, options = own["strategy"], {}
    if not isinstance(name, str):
        raise wrong("llavao1.strategy", f"strategy is {_shown(name)}")
    try:
        return make_strategy(name, {**options, **given}), temperature
    except (UsageError, TypeError) as error:
        raise wrong("llavao1", _sentence(error)) from None


def _sampling(
    body: Mapping[str, Any], own: Mapping[str, Any], defaults: Defaults, temperature: float | None
) -> SamplingSettings:
    given = {
        name: values[name]
        for values in (body, own)
        for name in OUTSIDE
        if values.get(name) is not None
    }
    for name in ("max_tokens", "max_completion_tokens"):
        if body.get(name) is not None:
            given["max_tokens"] = body[name]
    if temperature is not None:
        given.setdefault("temperature", temperature)
    made: SamplingSettings = _settings(given, SamplingSettings, defaults.sampling)
    return made


def _settings(given: Mapping[str, Any], kind: Any, default: Any) -> Any:
    values = {name: given[name] for name, _ in ranges(kind) if given.get(name) is not None}
    try:
        return kind(**{**asdict(default), **values})
    except UsageError as error:
        name = next((name for name in values if error.message.startswith(name)), None)
        raise Problem(400, _sentence(error), param=name) from None


def _schema(body: Mapping[str, Any], strategy: Strategy) -> str:
    wanted = _mapping(body, "response_format")
    kind = wanted.get("type", "text")
    if kind == "text":
        return ""
    if kind == "json_object":
        text = '{"type": "object"}'
    elif kind == "json_schema":
        schema = _mapping(wanted, "json_schema")
        if not isinstance(schema.get("schema"), dict):
            raise wrong("response_format", "json_schema has no schema")
        text = json.dumps(schema["schema"])
        if len(text) > MOST_SCHEMA:
            raise wrong("response_format", f"the schema has more than {MOST_SCHEMA} letters")
    else:
        raise wrong(
            "response_format",
            f"type is {_shown(kind)}: text, json_object, json_schema are known",
        )
    try:
        form = schema_format(text, name="response_format")
        check_fits(strategy, form)
        compiled(form)
    except UsageError as error:
        raise wrong("response_format", _sentence(error)) from None
    return text


def _stops(body: Mapping[str, Any]) -> tuple[str, ...]:
    stop = body.get("stop")
    found = [stop] if isinstance(stop, str) else stop or []
    usable = isinstance(found, list) and all(isinstance(one, str) and one for one in found)
    if not usable or len(found) > MOST_STOPS:
        raise wrong("stop", f"stop must be a text, or a list of up to {MOST_STOPS}")
    return tuple(found)


# --- messages ------------------------------------------------------------------------------------
@dataclass
class _Turn:
    role: str
    text: str
    pictures: tuple[Source, ...]
    where: str


def conversation(
    messages: Any,
) -> tuple[tuple[Source, ...], tuple[tuple[str, str], ...], str]:
    """(pictures, turns, question). Messages of one role in a row are one; what the system says
    stands before the first question. Raises Problem."""
    if not isinstance(messages, list) or not messages:
        raise wrong("messages", "messages must be a list with at least one message")
    if len(messages) > MOST_MESSAGES:
        raise wrong("messages", f"{len(messages)} messages are more than {MOST_MESSAGES}")
    system, turns = "", list[_Turn]()
    for i, message in enumerate(messages):
        read = _message(message, f"messages[{i}]")
        if read.role == "system":
            system = _joined(system, read.text)
        elif turns and turns[-1].role == read.role:
            turns[-1].text = _joined(turns[-1].text, read.text)
            turns[-1].pictures += read.pictures
        else:
            turns.append(read)
    if not turns or turns[0].role != "user" or turns[-1].role != "user":
        raise wrong("messages", "a conversation begins and ends with a message of the user")
    for turn in turns:
        if turn.role == "user" and not turn.text.strip():
            raise wrong(turn.where, "the question is empty")
        if turn.pictures and turn is not turns[0]:
            raise wrong(
                turn.where,
                "pictures belong to the first question: start a new conversation for another one",
            )
    if len(turns[0].pictures) > MOST_PICTURES:
        raise wrong("messages", f"{len(turns[0].pictures)} pictures are more than {MOST_PICTURES}")
    turns[0].text = _joined(system, turns[0].text)
    pairs = zip(turns[::2], turns[1::2], strict=False)
    said = tuple((asked.text, answered.text) for asked, answered in pairs)
    return turns[0].pictures, said, turns[-1].text


def _joined(*texts: str) -> str:
    return SEPARATOR.join(text for text in texts if text)


def _message(message: Any, where: str) -> _Turn:
    if not isinstance(message, dict):
        raise wrong(where, f"a message is an object, not {_shown(message)}")
    role = message.get("role")
    if role not in ("system", "developer", "user", "assistant"):
        raise wrong(f"{where}.role", f"role is {_shown(role)}: system, user, assistant are known")
    role = "system" if role == "developer" else role
    content = message.get("content")
    if role == "assistant" and message.get("tool_calls"):
        raise wrong(f"{where}.tool_calls", "tools are not supported")
    if content is None and role == "assistant":
        content = ""
    if isinstance(content, str):
        return _Turn(role, checked_text(content, f"{where}.content"), (), where)
    if not isinstance(content, list):
        raise wrong(f"{where}.content", "content must be a text or a list of parts")
    if len(content) > MOST_PARTS:
        raise wrong(f"{where}.content", f"{len(content)} parts are more than {MOST_PARTS}")
    texts, pictures = list[str](), list[Source]()
    for i, part in enumerate(content):
        at = f"{where}.content[{i}]"
        if not isinstance(part, dict):
            raise wrong(at, f"a part is an object, not {_shown(part)}")
        if part.get("type") == "text":
            if not isinstance(part.get("text"), str):
                raise wrong(f"{at}.text", "text must be a text")
            texts.append(checked_text(part["text"], f"{at}.text"))
        elif role == "user":
            pictures.append(_picture(part, at))
        else:
            raise wrong(at, f"a message of the {role} holds text only")
    return _Turn(role, _joined(*texts), tuple(pictures), where)


def _picture(part: Mapping[str, Any], where: str) -> Source:
    kind = part.get("type")
    if kind == "image_url":
        given = part.get("image_url")
        url = given.get("url") if isinstance(given, dict) else given
        if not isinstance(url, str):
            raise wrong(f"{where}.image_url", "url must be a text")
        return from_url(url, f"{where}.image_url.url")
    if kind == "file" and isinstance(part.get("file"), dict):
        file = part["file"]
        if isinstance(file.get("file_id"), str):
            return Uploaded(file["file_id"])
        if isinstance(file.get("file_data"), str):
            return from_url(file["file_data"], f"{where}.file.file_data")
    raise wrong(where, f"type is {_shown(kind)}: text, image_url and file are known")


def from_url(url: str, where: str) -> Source:
    """A data URL's bytes, or where a picture lies. Raises Problem."""
    if url[:5].lower() != "data:":
        if url[:8].lower() == "https://" or url[:7].lower() == "http://":
            return Remote(url)
        raise wrong(where, f"{_shown(url)} is neither a data URL nor https://")
    head, comma, data = url.partition(",")
    if not comma or not head.lower().endswith(";base64"):
        raise wrong(where, "a data URL must be data:image/…;base64,…")
    try:
        return base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError):
        raise wrong(where, "the data URL is not base64") from None


# --- fields --------------------------------------------------------------------------------------
def _mapping(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = body.get(name)
    if found is not None and not isinstance(found, dict):
        raise wrong(name, f"{name} is {_shown(found)}, it must be an object")
    return found or {}


def _flag(body: Mapping[str, Any], name: str) -> bool:
    found = body.get(name)
    if found is not None and type(found) is not bool:
        raise wrong(name, f"{name} is {_shown(found)}, it must be true or false")
    return bool(found)


def _whole(body: Mapping[str, Any], name: str, default: int, *, low: int, high: int) -> int:
    found = body.get(name)
    if found is None:
        return default
    if type(found) is not int or not low <= found <= high:
        raise wrong(name, f"{name} is {_shown(found)}, it must be from {low} to {high}")
    return found


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _sentence(error: Exception) -> str:
    hint = getattr(error, "hint", "")
    return f"{getattr(error, 'message', error)}. {hint}".rstrip(". ") + "."

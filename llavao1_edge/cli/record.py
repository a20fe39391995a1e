"""The record of an answer: what `ask --json` prints, and `ask --replay` reads and compares."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llavao1_edge import __version__
from llavao1_edge.backend import ModelInfo
from llavao1_edge.cli import options as shared
from llavao1_edge.cli.job import Job, given
from llavao1_edge.errors import UsageError
from llavao1_edge.search import make_strategy
from llavao1_edge.search.answer import Answer
from llavao1_edge.settings import BudgetSettings, RuntimeSettings, SamplingSettings
from llavao1_edge.stages import AnswerFormat

if TYPE_CHECKING:
    from llavao1_edge.engine import Engine

FORMAT = 1
MAX_BYTES = 64 << 20


def as_json(answer: Answer, job: Job, engine: Engine) -> dict[str, Any]:
    """What `--json` prints and `--replay` reads."""
    about = engine.about
    form = job.answer_format
    return {
        "format": FORMAT,
        "version": __version__,
        "conclusion": answer.conclusion,
        "stages": answer.in_order(),
        "notes": list(answer.notes),
        "cancelled": answer.cancelled,
        "request": {
            "picture": job.picture_name,
            "picture_key": job.keys[0] if job.keys else None,
            "more_pictures": list(job.more_names),
            "more_keys": job.keys[1:],
            "question": job.question,
            "sampling": asdict(job.sampling),
            "budget": asdict(job.budget),
            "answer_format": None
            if form is None
            else {"name": form.name, "grammar": form.grammar, "schema": form.schema},
            "model": job.model_name,
            "mmproj": job.mmproj_name,
            "server": job.server,
            "server_model": job.server_model,
            "pair_id": about.identity,
            "runtime": asdict(job.settings) | (_here(about) if job.server is None else {}),
        },
        "trace": answer.trace.as_dict(),
    }


def _here(about: ModelInfo) -> dict[str, Any]:
    """What was chosen by this machine."""
    return {"context": about.context, "threads": about.n_threads}


def from_record(path: Path, options: argparse.Namespace) -> Job:
    """The job of an earlier answer; a picture and a model given now replace the recorded ones.

    Raises UsageError for a file that `ask --json` did not write.
    """
    settings = shared.given_names(options)
    if settings:
        raise UsageError(
            f"--{settings[0].replace('_', '-')} was given together with --replay",
            hint="A replay takes everything from the record but a picture, a question and a model.",
        )
    record = _read(path)
    try:
        request, trace = record["request"], record["trace"]
        form = request["answer_format"]
        _check_compared(record)
        names, question = _asked(request, options)
        model, mmproj = request["model"], request["mmproj"]
        server, server_model = request.get("server"), request.get("server_model")
        if options.model != "demo":
            model, mmproj, server = options.model, options.mmproj, None
        if options.server is not None:
            server, server_model = shared.server(options), options.server_model
        return Job(
            picture_name=names[0],
            more_names=tuple(names[1:]),
            question=question,
            strategy=make_strategy(trace["strategy"], trace["options"]),
            seed=int(trace["seed"]),
            sampling=SamplingSettings(**_known(request["sampling"], SamplingSettings)),
            budget=BudgetSettings(**_known(request["budget"], BudgetSettings)),
            answer_format=None if form is None else _form(form),
            settings=_settings(request["runtime"]),
            model_name=model,
            mmproj_name=mmproj,
            server=server,
            server_model=server_model,
            expected=record,
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise UsageError(
            f"{path} is not a record of an answer ({type(error).__name__}: {error})",
            hint="Give a file that `ask --json` wrote.",
        ) from None


def _settings(runtime: dict[str, Any]) -> RuntimeSettings:
    """Without the draft model: guesses change no token, and its file may be gone."""
    return RuntimeSettings(**_known({**runtime, "draft": None}, RuntimeSettings))


def _asked(request: dict[str, Any], options: argparse.Namespace) -> tuple[list[str], str]:
    """Pictures given now replace all those of the record, a question given now replaces its own."""
    names, question = given(options)
    if not names:
        names = [request["picture"], *request.get("more_pictures", [])]
        if not all(isinstance(name, str) for name in names):
            raise TypeError("the name of a picture is missing")
        if "-" in names:
            raise UsageError(
                "a picture of this answer came from standard input",
                hint="Give the path of each picture: ask PICTURE --replay FILE.",
            )
    return names, request["question"] if question is None else question


def _check_compared(record: dict[str, Any]) -> None:
    """What a replay is compared with must be there before anything is computed."""
    request = record["request"]
    texts = [*record["stages"].items()]
    texts += [(made["stage"], made["text"]) for made in record["trace"]["candidates"]]
    names = (request["picture"], request["question"], request["model"])
    if not all(isinstance(name, str) for name in names) or not texts:
        raise TypeError("a name or a text is missing")
    for name in ("server", "server_model", "mmproj"):
        if not isinstance(request.get(name), str | None):
            raise TypeError(f"{name} is no text")
    if not isinstance(request.get("more_pictures", []), list):
        raise TypeError("more_pictures is no list")
    _ = request["picture_key"], request["pair_id"]


def _known(values: dict[str, Any], kind: Any) -> dict[str, Any]:
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in values.items() if name in names}


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(f"{path} is larger than 64 MB", hint="Give a record of one answer.")
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint="Check the path.") from None
    except (ValueError, RecursionError) as error:  # no UTF-8, no JSON, a number without end
        raise UsageError(
            f"{path} is not JSON: {error}", hint="Give a file that `ask --json` wrote."
        ) from None
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise UsageError(
            f"{path} is not a record of an answer that this version can replay",
            hint="Give a file that `ask --json` wrote.",
        )
    return record


def _form(form: dict[str, Any]) -> AnswerFormat:
    """The form of a record, checked like one that a user gives."""
    from llavao1_edge.engine.formats import compiled, schema_format

    name = str(form["name"])
    if form.get("schema"):
        made = schema_format(str(form["schema"]), name=name)
    else:
        made = AnswerFormat(str(form["grammar"]), name)
    compiled(made)
    return made


def differences(record: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """What a replay did not reproduce; empty where it is the same."""
    found = []
    for name in ("picture_key", "more_keys", "pair_id"):
        if record["request"][name] != expected["request"].get(name, []):
            what = "model" if name == "pair_id" else "picture"
            found.append(f"the {what} is another one")
    for name, text in expected["stages"].items():
        if record["stages"].get(name) != text:
            found.append(f"the {name} is {record['stages'].get(name)!r}, it was {text!r}")
    texts, before = (
        # They are told as they finish, and that depends on what could be guessed, and on its price.
        sorted((str(made["stage"]), str(made["text"])) for made in which["trace"]["candidates"])
        for which in (record, expected)
    )
    if texts != before and not found:
        found.append(f"other candidates: {len(texts)} instead of {len(before)}, or other texts")
    return found

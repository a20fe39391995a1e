"""Words that several widgets use, translated where they are shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import QCoreApplication

from llavao1_edge.errors import LlavaError
from llavao1_edge.phrases import Phrase

ENGINE = "engine"  # the catalogues' context of sentences that are not the window's own


def said(text: str) -> str:
    """A sentence of the engine in the window's language; what is none stays as it is."""
    if not isinstance(text, Phrase) or not text.values:
        return _translated(text)
    values = {
        name: said(value) if isinstance(value, Phrase) else value
        for name, value in text.values.items()
    }
    return _translated(text.pattern).format(**values)


def _translated(text: str) -> str:
    """Names of files may hold bytes that are no text, which Qt does not take."""
    whole = text.encode("utf-8", "replace").decode() == text if text else False
    return QCoreApplication.translate(ENGINE, text) if whole else str(text)


def told(error: LlavaError) -> str:
    """What is wrong, and in a line of its own what to do."""
    return f"{said(error.message)}\n{said(error.hint)}".strip()


def stage_name(stage: str | None) -> str:
    """A stage's name for people; the model's own word for one that is not known."""
    translate = QCoreApplication.translate
    names = {
        "summary": translate("Stages", "Summary"),
        "caption": translate("Stages", "Caption"),
        "reasoning": translate("Stages", "Reasoning"),
        "conclusion": translate("Stages", "Conclusion"),
    }
    return names.get(stage or "", stage or translate("Stages", "Answer"))


def preset_name(name: str) -> str:
    translate = QCoreApplication.translate
    names = {
        "fast": translate("Presets", "Fast"),
        "careful": translate("Presets", "Careful"),
        "thorough": translate("Presets", "Thorough"),
        "expert": translate("Presets", "Expert"),
    }
    return names.get(name, name)


def preset_help(name: str) -> str:
    translate = QCoreApplication.translate
    helps = {
        "fast": translate("Presets", "One answer in four stages"),
        "careful": translate("Presets", "Four candidates at every stage, the best goes on"),
        "thorough": translate("Presets", "Eight candidates at every stage, the best goes on"),
        "expert": translate("Presets", "Strategy and scorer as chosen in the settings"),
    }
    return helps.get(name, "")


def size_text(n_bytes: float) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= factor:
            return f"{n_bytes / factor:.1f} {unit}"
    return f"{n_bytes:.0f} B"


def duration_text(seconds: float) -> str:
    """Rounded as an estimate is: `40 s`, `3 min`, `2 h`."""
    if seconds < 60:
        step = 5 if seconds >= 10 else 1
        rounded = max(1, step * round(seconds / step))
        return QCoreApplication.translate("Texts", "{0} s").format(rounded)
    if seconds < 90 * 60:
        return QCoreApplication.translate("Texts", "{0} min").format(round(seconds / 60))
    return QCoreApplication.translate("Texts", "{0} h").format(round(seconds / 3600))


def score_text(score: float) -> str:
    """Three decimals; what rounds to nothing is 0, not -0.000."""
    text = f"{score:.3f}"
    return "0" if float(text) == 0 else text


def scorer_name(name: str) -> str:
    """A scorer in words of people; its own name for one that is not known."""
    translate = QCoreApplication.translate
    return {
        "logprob": translate("Scorers", "likelihood"),
        "min-logprob": translate("Scorers", "weakest token"),
        "agreement": translate("Scorers", "agreement"),
        "combined": translate("Scorers", "agreement and likelihood"),
        "judge": translate("Scorers", "the model compares"),
        "judge-reference": translate("Scorers", "the model compares once"),
    }.get(name, name)


def search_text(strategy: str, options: Mapping[str, Any]) -> str:
    """How was searched: `best of 4 at each stage, by agreement`."""
    translate = QCoreApplication.translate
    known = {
        "staged": translate("Searches", "one answer in four stages"),
        "direct": translate("Searches", "the conclusion alone"),
        "free": translate("Searches", "one answer in its own words"),
        "stage-beam": translate("Searches", "best of {0} at each stage"),
        "best-of-n": translate("Searches", "best of {0} whole answers"),
        "sentence-beam": translate("Searches", "best of {0} at each sentence"),
        "retrace": translate("Searches", "best of {0}, going back where unsure"),
    }
    said = known.get(strategy, strategy).format(options.get("candidates", ""))
    if options.get("keep", 1) != 1:
        said += translate("Searches", ", {0} of them kept").format(options["keep"])
    scorer = options.get("scorer")
    if not scorer:
        return said
    if str(scorer).startswith("judge"):
        return translate("Searches", "{0}, compared by the model").format(said)
    return translate("Searches", "{0}, by {1}").format(said, scorer_name(str(scorer)))

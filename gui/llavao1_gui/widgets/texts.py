"""Words that several widgets use, translated where they are shown."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication


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
        "thorough": translate(
            "Presets", "Eight candidates at every stage, compared by the model itself"
        ),
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

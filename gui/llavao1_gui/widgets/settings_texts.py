"""Names and help of every setting, where translators find them. A test compares with the table."""

from __future__ import annotations

from PySide6.QtCore import QT_TRANSLATE_NOOP, QCoreApplication

NAMES: dict[str, object] = {
    "candidates": QT_TRANSLATE_NOOP("Settings", "Candidates"),
    "enough": QT_TRANSLATE_NOOP("Settings", "First candidate is enough"),
    "keep": QT_TRANSLATE_NOOP("Settings", "Branches kept"),
    "returns": QT_TRANSLATE_NOOP("Settings", "Returns"),
    "threshold": QT_TRANSLATE_NOOP("Settings", "Threshold"),
    "temperature": QT_TRANSLATE_NOOP("Settings", "Temperature"),
    "top_p": QT_TRANSLATE_NOOP("Settings", "Top-p"),
    "top_k": QT_TRANSLATE_NOOP("Settings", "Top-k"),
    "min_p": QT_TRANSLATE_NOOP("Settings", "Min-p"),
    "repeat_penalty": QT_TRANSLATE_NOOP("Settings", "Repeat penalty"),
    "max_tokens": QT_TRANSLATE_NOOP("Settings", "Tokens of an answer"),
    "stage_tokens": QT_TRANSLATE_NOOP("Settings", "Tokens of a stage"),
    "token_budget": QT_TRANSLATE_NOOP("Settings", "Token budget"),
    "time_budget": QT_TRANSLATE_NOOP("Settings", "Time budget"),
    "gpu_layers": QT_TRANSLATE_NOOP("Settings", "Layers on the GPU"),
    "device": QT_TRANSLATE_NOOP("Settings", "Devices"),
    "mmproj_device": QT_TRANSLATE_NOOP("Settings", "Device for pictures"),
    "rpc": QT_TRANSLATE_NOOP("Settings", "Other computers"),
    "threads": QT_TRANSLATE_NOOP("Settings", "Threads"),
    "context": QT_TRANSLATE_NOOP("Settings", "Context"),
    "batch": QT_TRANSLATE_NOOP("Settings", "Batch"),
    "picture_tokens": QT_TRANSLATE_NOOP("Settings", "Tokens of a picture"),
    "picture_cache": QT_TRANSLATE_NOOP("Settings", "Pictures and conversations on disk"),
    "draft_max": QT_TRANSLATE_NOOP("Settings", "Tokens guessed ahead"),
    "draft": QT_TRANSLATE_NOOP("Settings", "Draft model"),
    "chat_format": QT_TRANSLATE_NOOP("Settings", "Chat format"),
    "stage_prompt": QT_TRANSLATE_NOOP("Settings", "Ask for stages"),
    "memory_check": QT_TRANSLATE_NOOP("Settings", "Memory check"),
    "cache": QT_TRANSLATE_NOOP("Settings", "Cache"),
}
HELP = (
    QT_TRANSLATE_NOOP("Settings", "candidates side by side"),
    QT_TRANSLATE_NOOP("Settings", "branches kept at each stage (stage-beam)"),
    QT_TRANSLATE_NOOP(
        "Settings",
        "draw no more candidates of a stage where the first has this probability; with 0.5 none "
        "can be likelier, 0 draws all at once (stage-beam)",
    ),
    QT_TRANSLATE_NOOP("Settings", "most returns to the caption (retrace)"),
    QT_TRANSLATE_NOOP(
        "Settings", "go back while the second-best reasoning is not likelier than this (retrace)"
    ),
    QT_TRANSLATE_NOOP("Settings", "0 takes the likeliest token; default: the model's own"),
    QT_TRANSLATE_NOOP("Settings", "draw from the likeliest tokens of this total probability"),
    QT_TRANSLATE_NOOP("Settings", "draw from this many likeliest tokens, 0 for all"),
    QT_TRANSLATE_NOOP("Settings", "leave out tokens below this share of the best"),
    QT_TRANSLATE_NOOP("Settings", "above 1 discourages repetition"),
    QT_TRANSLATE_NOOP("Settings", "most tokens an answer may have"),
    QT_TRANSLATE_NOOP("Settings", "most tokens a candidate has for a stage"),
    QT_TRANSLATE_NOOP(
        "Settings",
        "tokens all candidates may sample; then the best so far is finished greedily",
    ),
    QT_TRANSLATE_NOOP("Settings", "seconds to search; then the best so far is finished greedily"),
    QT_TRANSLATE_NOOP("Settings", "layers on the GPU: auto, or a number"),
    QT_TRANSLATE_NOOP("Settings", "devices to compute on, as `devices` names them; cpu for none"),
    QT_TRANSLATE_NOOP(
        "Settings", "the device that reads pictures, or cpu; default: by the room there is"
    ),
    QT_TRANSLATE_NOOP("Settings", "computers that run `devices serve`, on a network you trust"),
    QT_TRANSLATE_NOOP("Settings", "CPU threads; default: this machine's cores"),
    QT_TRANSLATE_NOOP("Settings", "tokens a conversation can hold"),
    QT_TRANSLATE_NOOP("Settings", "most tokens computed at a time"),
    QT_TRANSLATE_NOOP(
        "Settings", "most tokens a picture may take, for models whose pictures stand in the text"
    ),
    QT_TRANSLATE_NOOP(
        "Settings",
        "gigabytes of pictures and conversations as the model has them, kept on disk so that none"
        " is read twice; 0 for none",
    ),
    QT_TRANSLATE_NOOP("Settings", "most tokens guessed ahead, 0 for none; default: what pays"),
    QT_TRANSLATE_NOOP(
        "Settings",
        "a smaller text model (GGUF) of the same vocabulary, which guesses what this one says",
    ),
    QT_TRANSLATE_NOOP(
        "Settings", "how a conversation is written; default: as the model's family does"
    ),
    QT_TRANSLATE_NOOP(
        "Settings",
        "ask for the four stages in words; auto: of models that llama.cpp runs itself",
    ),
    QT_TRANSLATE_NOOP("Settings", "off loads a model even where it does not seem to fit"),
    QT_TRANSLATE_NOOP("Settings", "precision of keys and values"),
)


def setting_name(name: str) -> str:
    return QCoreApplication.translate("Settings", str(NAMES.get(name, name)))


def setting_help(text: str) -> str:
    """As a sentence begins, and without the marks of code that the command line's help has."""
    found = QCoreApplication.translate("Settings", text).replace("`", "")
    return found[:1].upper() + found[1:]

"""Which option, and yes or no: what an answer states counts before what it mentions.

"Option A is wrong. The correct answer is C." is C; "A or B" is neither. Letters may touch Hangul,
kana or Han ("정답은 B입니다", "答案是B"), which have no blanks between words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

from llavao1_edge.scoring.text import normalise, normalise_answer

_LETTER = r"[\[(*\"'“‘{]*(?<![A-Za-z0-9])(?P<letter>[A-Za-z])(?![A-Za-z0-9'’])"
_ANSWER = r"(?:final |correct |right |best )*(?:answer|option|choice|result)"
# What states an answer; the letter follows. The last one that is not taken back counts.
_STATED = re.compile(
    rf"(?:\\boxed\s*\{{\s*(?:\\text\s*\{{\s*)?"
    rf"|\b{_ANSWER}\b(?:\s+(?:is|would be|must be|should be|has to be))?\s*[:=]?\s*"
    rf"(?:{_ANSWER}\s*)?(?:therefore\s*)?"
    r"|\b(?:correct|therefore|thus|hence|so)\b\s*[:,]\s*(?:it is\s+|the answer is\s+)?"
    r"|\b(?:i )?(?:choose|select|pick)\b\s*(?:option\s*)?"
    r"|(?:정답|답|답변)\s*(?:은|는|이|:)?\s*|(?:答案|正确答案|正確答案)\s*(?:是|为|為|:|:)?\s*|(?:选|選|选择|選擇)\s*"
    rf"|(?:答え|正解|回答)\s*(?:は|:|:)?\s*){_LETTER}",
    re.IGNORECASE,
)
_SAID_AFTER = re.compile(
    rf"{_LETTER}[\])*\"'”’}}]*\s*(?:\)\s*)?(?:is|was)\s+(?:the\s+)?"
    r"(?:correct|right|true|the answer|answer|best)\b",
    re.IGNORECASE,
)
_BOLD = re.compile(rf"\*\*\s*{_LETTER}\s*[.)]?\s*\*\*")
_LETTER_FIRST = re.compile(r"^\W*(?P<letter>[A-Z])\s*(?:[.:)\]]|$)")
_MENTION = re.compile(r"(?<![A-Za-z0-9'’])(?P<letter>[A-Z])(?![A-Za-z0-9'’])")
_DENIED_BEFORE = re.compile(
    r"\b(?:not|n't|never|neither|nor|rather than|instead of|except|exclude[sd]?|unlike)"
    r"\s*(?:option|choice|answer|the|be|is)?\s*[\[(*\"'“]*$",
    re.IGNORECASE,
)
_DENIED_AFTER = re.compile(
    r"^[\])*\"'”.]*\s*(?:is|was|are|can|could|would|seems|cannot|does|:)?\s*"
    r"(?:n't|not|in\s?correct|wrong|false|impossible|excluded|ruled out|be excluded|cannot)\b",
    re.IGNORECASE,
)
_ALTERNATIVE = re.compile(
    r"^[\])*\"'”]*\s*(?:,\s*)?(?:or|and|/|또는|혹은|或|または)\s*[\[(*\"'“]*"
    r"(?:option\s+)?(?P<other>[A-Z])(?![A-Za-z0-9'’])"
)

YES = (
    *("yes", "yeah", "yep", "true", "correct", "ja", "jawohl", "oui", "sí"),
    *(
        "예",
        "네",
        "그렇습니다",
        "맞습니다",
        "있습니다",
        "是",
        "是的",
        "对",
        "對",
        "有",
        "はい",
        "ええ",
    ),
)
NO = (
    *("no", "nope", "false", "nein", "non", "아니요", "아니오", "아뇨", "아닙니다", "없습니다"),
    *("否", "不是", "不", "没有", "沒有", "いいえ", "いや"),
)


def choice(text: str, options: Mapping[str, str]) -> str | None:
    """The letter that a text chooses: as a letter, or in the words of one option only."""
    text = unicodedata.normalize("NFKC", text).strip()
    bare = normalise_answer(text).upper()
    if bare in options:
        return bare
    exact = [letter for letter, words in options.items() if normalise(words) == normalise(text)]
    if len(exact) == 1:
        return exact[0]
    stated, unclear = _stated(text, options)
    if stated or unclear:
        return stated
    found = _LETTER_FIRST.match(text)
    if found and found["letter"] in options and not _taken_back(text, found):
        return found["letter"]
    words = _in_words(text, options)
    return words if words is not None else _alone(text, options)


def _stated(text: str, options: Mapping[str, str]) -> tuple[str | None, bool]:
    """(the letter of the last statement, whether a last statement names two)."""
    found = [*_STATED.finditer(text), *_SAID_AFTER.finditer(text), *_BOLD.finditer(text)]
    letters = [each for each in found if _is_option(each, options)]
    letters = [each for each in letters if not _taken_back(text, each)]
    if not letters:
        return None, False
    last = max(letters, key=lambda each: each.start("letter"))
    other = _ALTERNATIVE.match(text[last.end("letter") :])
    if other and other["other"] in options and other["other"] != last["letter"].upper():
        return None, True
    return last["letter"].upper(), False


def _is_option(found: re.Match[str], options: Mapping[str, str]) -> bool:
    """A small letter is one only if nothing else can be meant: "answer is a cat" names none."""
    letter = found["letter"]
    if letter.upper() not in options:
        return False
    after = found.string[found.end("letter") :]
    if letter.islower():
        return re.match(r"\s*[\])*.}]|\s*$", after) is not None
    return (
        letter != "A"
        or re.match(r"\s[a-z]+(?!\S*\s*(?:is|was|or|and)\b)", after) is None
        or (re.match(r"\s(?:is|was|or|and|because|since)\b", after) is not None)
    )


def _taken_back(text: str, found: re.Match[str]) -> bool:
    """Whether a letter is denied right before or after it."""
    before, after = text[: found.start("letter")], text[found.end("letter") :]
    return bool(_DENIED_BEFORE.search(before[-40:]) or _DENIED_AFTER.match(after[:40]))


def _in_words(text: str, options: Mapping[str, str]) -> str | None:
    """The only option whose words are said and not denied."""
    said = [letter for letter, words in options.items() if _holds(text, words)]
    # "red circle" holds "circle" too: an option inside another one that was said does not count.
    said = [
        letter
        for letter in said
        if not any(other != letter and _holds(options[other], options[letter]) for other in said)
    ]
    return said[0] if len(said) == 1 else None


def _holds(text: str, words: str) -> bool:
    """Whether a text says some words, as words, somewhere without taking them back."""
    inner, whole = normalise(words), normalise(text)
    if not inner:
        return False
    edge = r"[A-Za-z0-9]" if not inner.isascii() else r"\w"
    for found in re.finditer(rf"(?<!{edge}){re.escape(inner)}(?!{edge})", whole):
        before, after = whole[: found.start()], whole[found.end() :]
        if not _DENIED_BEFORE.search(re.sub(r"\b(?:a|an|the)\s+$", "", before[-50:])) and not (
            _DENIED_AFTER.match(after[:40])
        ):
            return True
    return False


def _alone(text: str, options: Mapping[str, str]) -> str | None:
    """The only letter that is mentioned at all."""
    found = [each for each in _MENTION.finditer(text) if each["letter"] in options]
    letters = {each["letter"] for each in found if not _taken_back(text, each)}
    letters.discard("I")
    if len(letters) != 1 or (letters == {"A"} and re.search(r"\bA [a-z]", text)):
        return None
    return letters.pop()


def yes_no(text: str) -> str | None:
    """The first of the two words that stands in a text, unless both do. English, German, French,
    Spanish, Korean, Chinese, Japanese."""
    whole = normalise(text)
    if not whole:
        return None
    first = re.split(r"[\s,.;:!?、。,!()]+", whole, maxsplit=1)[0]
    for words, said in ((YES, "yes"), (NO, "no")):
        if first in words:
            return said
    for words, said in ((NO, "no"), (YES, "yes")):  # "不是" begins with "不", "아니요" with no yes
        if any(not word.isascii() and len(word) > 1 and whole.startswith(word) for word in words):
            return said
    found = set()
    for words, said in ((YES, "yes"), (NO, "no")):
        latin = "|".join(word for word in words if word in ("yes", "no", "true", "false"))
        if re.search(rf"\b(?:{latin})\b", whole):
            found.add(said)
    return found.pop() if len(found) == 1 else None

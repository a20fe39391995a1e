"""Numbers in answers, as people and models write them: units, LaTeX, fractions, words.

A parser of our own: math-verify and latex2sympy2_extended bring sympy and antlr, and answer another
question (are two formulas equal?); pint knows units, not prose (docs/evaluation.md).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction

SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
SCALES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12,
          "만": 10**4, "억": 10**8, "万": 10**4, "億": 10**8, "亿": 10**8}  # fmt: skip
WORDS = {"percent": "%", "degree": "°", "degrees": "°", "dollar": "$", "dollars": "$", "euros": "€"}
MINUS = r"\-−–"  # inside a character class
LONGEST = 1000  # characters of a number; a model that repeats a digit does not count
BLANK = "[ \u00a0\u2009\u202f]"  # also those that do not break, and thin ones
_LATEX = (
    (re.compile(r"\\(?:left|right|displaystyle|,|;|!|:|quad|qquad)(?![a-zA-Z])|\\\s"), " "),
    (re.compile(r"\\(?:text|mathrm|mathbf|textbf|boxed|operatorname)\s*\{([^{}]*)\}"), r"\1"),
    (re.compile(r"\\[dtc]?frac\s*\{\s*([^{}]+?)\s*\}\s*\{\s*([^{}]+?)\s*\}"), r" \1/\2 "),
    (re.compile(r"\\[dtc]?frac\s*(\d)\s*(\d)"), r" \1/\2 "),
    (re.compile(r"\\(?:times|cdot|ast)(?![a-zA-Z])"), "×"),
    (re.compile(r"\\(?:approx|simeq|sim|equiv)(?![a-zA-Z])"), "="),
    (re.compile(r"\^\s*\{?\s*\\circ\s*\}?"), "°"),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\\%"), "%"),
    (re.compile(r"\\[()\[\]]|\$(?!\s?\d)"), " "),
    (re.compile(r"\^\s*\{\s*([-+]?\d+)\s*\}"), r"^\1"),
)
_NUMBER = re.compile(
    rf"(?P<sign>[+{MINUS}]{BLANK}?)?(?P<money>[$€£¥₩]{BLANK}?)?"
    rf"(?:(?P<whole>\d+){BLANK}+(?=\d+\s*/\s*\d))?"
    r"(?P<number>\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\d)|\d{1,3}(?:\.\d{3})+,\d+(?!\d)"
    rf"|\d{{1,3}}(?:{BLANK}\d{{3}})+(?!\d)(?:[.,]\d+)?|\d+,\d{{1,2}}(?![\d,])|\d+(?:\.\d+)?|\.\d+)"
    r"(?:[eE](?P<power>[-+]?\d{1,2})(?!\d))?(?:\s*/\s*(?P<under>\d+))?"
    rf"(?:\s*[×x*·]\s*10\s*\^?\s*(?P<ten>(?<=\^)[+{MINUS}]?\d{{1,2}}|(?<=10)[-+]\d{{1,2}}))?"
    rf"(?:{BLANK}?(?P<scale>{'|'.join(SCALES)})s?(?![A-Za-z]))?"
    r"\s*(?P<unit>%|°\s?[CF]?|[A-Za-zµμ]+(?:\^-?\d+|[23](?![\d.]))?)?"
)
_ASIDE = re.compile(r"\([^()]*\)")
_OUT_OF = re.compile(r"\bout\s+of\b\D{0,20}\d+|(?<=\d)\s+of\s+(?:the\s+)?\d+", re.IGNORECASE)


@dataclass(frozen=True)
class Quantity:
    """A number and the unit behind it, if any."""

    value: Fraction
    unit: str


def plain(text: str) -> str:
    """The text with LaTeX, superscripts and one-character fractions as ASCII writes them."""
    text = re.sub(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺]+", lambda found: f"^{found[0].translate(SUPERSCRIPTS)}", text)
    text = re.sub(r"(?<=\d)(?=[¼-¾⅐-⅞])", " ", text)
    text = unicodedata.normalize("NFKC", text.replace("\u2009", " ")).replace("⁄", "/")
    for pattern, written in _LATEX:
        text = pattern.sub(written, text)
    return text


def quantities(text: str) -> list[Quantity]:
    """All numbers of a text: thousands separators, signs, percent, fractions, powers of ten."""
    text = plain(text)
    found = [one for one in _NUMBER.finditer(text) if len(one[0]) <= LONGEST]
    return [_quantity(one, text) for one in found]


def main_quantities(text: str) -> list[Quantity]:
    """The same without asides: "7 (3 red + 4 blue)" is 7, "2 out of 5" is 2."""
    text = plain(text)
    without = _OUT_OF.sub("", _ASIDE.sub(" ", text))
    return quantities(without) or quantities(text)


def _quantity(found: re.Match[str], text: str) -> Quantity:
    value = _value(found["number"])
    if found["power"]:
        value *= Fraction(10) ** int(found["power"])
    if found["under"] and int(found["under"]):
        value /= int(found["under"])
    if found["whole"]:
        value += int(found["whole"])
    if found["ten"]:
        ten = re.sub(f"[{MINUS}]", "-", found["ten"])
        value *= Fraction(10) ** int(ten)
    if found["scale"]:
        value *= SCALES[found["scale"]]
    sign, before = found["sign"] or "", text[: found.start()]
    if len(sign) > 1:  # "- 3" is a minus where no number stands before, as in "5 - 3"
        before = before.rstrip(" ")
        before = before[-1:] if before[-1:].isdigit() or before[-1:] in (")", "]") else ""
    if sign.strip() not in ("", "+") and not (before[-1:].isalnum() or before[-1:] in (")", "]")):
        value = -value  # "A-3" and "5-3" are no minus
    unit = (found["unit"] or (found["money"] or "").strip()).casefold().replace("μ", "µ")
    unit = re.sub(r"(?<=[a-zµ])([23])$", r"^\1", unit.replace(" ", ""))
    return Quantity(value, WORDS.get(unit, unit))


def _value(written: str) -> Fraction:
    """Digits with whatever separates thousands and decimals."""
    bare = re.sub(BLANK, "", written)
    if re.fullmatch(r"\d{1,3}(?:\.\d{3})+,\d+", bare):  # 1.234,5
        bare = bare.replace(".", "").replace(",", ".")
    elif re.fullmatch(r"\d+,\d{1,2}", bare):  # 3,5
        bare = bare.replace(",", ".")
    return Fraction(bare.replace(",", ""))

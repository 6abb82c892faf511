"""The numbers in the verdict of a judge, in whatever form a language model writes them.

A verdict is a JSON object, alone, in a code fence or in other text; or lines such as
``**Helpfulness**: 4/4``. Names may have other capitals and separators, and numbers may be text:
``"3"``, ``"7.5 of 10"``, ``"7,5/10"``, ``"75 %"``, ``"four"``. What is ambiguous is refused: two
objects that disagree, a range, or a name with two numbers.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from promptmill.inference.http.errors import NotFinite, Unreadable
from promptmill.inference.reasoning import KNOWN

MAX_OBJECTS: Final = 32
"""How many places of a text are tried as the beginning of a JSON value."""

MAX_DEPTH: Final = 8
"""How deep the scores may be nested."""

_OPENING: Final = "|".join(re.escape(opening) for opening, _ in (*KNOWN, ("<reason>", "")))
_CLOSING: Final = "|".join(re.escape(closing) for _, closing in (*KNOWN, ("", "</reason>")))
_REASONING: Final = re.compile(rf"^.*(?:{_CLOSING})", re.DOTALL | re.IGNORECASE)
_UNFINISHED: Final = re.compile(rf"\s*(?:{_OPENING})", re.IGNORECASE)
_PLAIN_SIGNS: Final = str.maketrans(
    {
        **dict.fromkeys("\u00a0\u202f\u2007\u3000", " "),
        **dict.fromkeys("“”„«»", '"'),
        **dict.fromkeys("‘’", "'"),
        "\uff1a": ":",
        "\uff0f": "/",
    }
)
"""Signs that models write in place of those of JSON."""

_NUMBER: Final = r"[+-]?\d+(?:[.,]\d+)?"
_QUANTITY: Final = rf"({_NUMBER})(?:\s*(?:/|out\s+of|of)\s*({_NUMBER})|\s*(%))?"
_TEXT: Final = re.compile(
    rf"\s*(?:(?:score|rating|grade)\b)?[\s:=*\"'~(]*{_QUANTITY}(?![\w.,]*\d)\D*", re.IGNORECASE
)
_GAP: Final = r"(?:[ \t\"'*_`|:=~>]|[-–—](?=[ \t]))"
_NO_RANGE: Final = r"(?![\w%])(?!\.\d)(?!\s*[-–—]\s*\d)(?!\s*(?:to|or|/|of)\s+\d)"
_IN_LINE: Final = (
    rf"(?:\s*[(\[][^()\[\]\n]{{0,40}}[)\]])?(?:{_GAP}{{0,12}}\n?{_GAP}{{0,12}}(?:score|rating|grade)\b)?"
    rf"{_GAP}{{0,12}}(?:(?:is|as|at|a|an)[ \t]+){{0,2}}{_QUANTITY}{_NO_RANGE}"
)
_WORDS: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_LABELS: Final = ("attribute", "name", "criterion", "dimension", "aspect", "category")
_VALUES: Final = ("score", "rating", "grade", "value")
_MAXIMA: Final = ("outof", "max", "maximum", "maxscore", "scale")
_SHOWN: Final = 120
_HUGE: Final = 1 << 64


@dataclass(frozen=True, slots=True)
class Scale:
    """The lowest and the highest number that a judge may give."""

    low: float
    high: float

    def share(self, number: float) -> float:
        """Where a number lies on the scale, from 0 to 1."""
        return (number - self.low) / (self.high - self.low)


class _Object(list[tuple[str, Any]]):
    """A JSON object with all of its pairs, so that a repeated name is seen."""


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_Object)


def read_numbers(text: str, wanted: Mapping[str, Scale]) -> dict[str, float]:
    """Find one number for each name in a verdict.

    Args:
        text: the judge's answer. Reasoning between tags before the verdict is ignored.
        wanted: the scale of the number by name, such as ``helpfulness`` or ``score_1``.

    Returns:
        The numbers by name, each on its scale.

    Raises:
        Unreadable: a name has no number, several, or one outside its scale.
        NotFinite: a number is NaN or infinite.
    """
    verdict = _without_reasoning(text)
    names = {_plain(name): name for name in wanted}
    plain = verdict.translate(_PLAIN_SIGNS)
    whole: list[dict[str, list[Any]]] = []
    for version in (verdict, plain):  # a text in the object may have such signs rightly
        found_here = map(_by_name(names), _values(version))
        whole = whole or [found for found in found_here if found.keys() == wanted.keys()]
    found = _merged(whole) if whole else _in_lines(plain, wanted)
    if not found:
        raise Unreadable(f"the judge's verdict is not a JSON object: {text[:_SHOWN]!r}")
    return {name: _one(name, found.get(name, []), scale) for name, scale in wanted.items()}


def _without_reasoning(text: str) -> str:
    rest = _REASONING.sub("", text)
    return "" if _UNFINISHED.match(rest) else rest


def _values(text: str) -> Iterator[Any]:
    """The JSON objects and arrays in a text, the outermost only."""
    at = 0
    for _ in range(MAX_OBJECTS):
        starts = [start for start in (text.find("{", at), text.find("[", at)) if start >= 0]
        if not starts:
            return
        at = min(starts)
        try:
            value, at = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            at += 1
        else:
            yield value


def _plain(name: str) -> str:
    """A name without capitals, separators, numbering and a word such as ``score`` at its end."""
    letters = re.sub(r"[\W_]+", "", name.casefold())
    unnumbered = letters.lstrip("0123456789") or letters
    for word in _VALUES:
        if unnumbered.endswith(word) and unnumbered != word:
            return unnumbered.removesuffix(word)
    return unnumbered


def _by_name(names: Mapping[str, str]) -> Any:
    def named(value: Any) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {}
        for key, number in _pairs(value, MAX_DEPTH, None):
            if name := names.get(_plain(key)):
                found.setdefault(name, []).append(number)
        return found

    return named


def _pairs(value: Any, depth: int, maximum: Any) -> Iterator[tuple[str, Any]]:
    """All names with their values in a JSON value, at any depth.

    A maximum in an object, such as ``"out_of": 10``, concerns all numbers in it.
    """
    if not depth or not isinstance(value, list):
        return
    if not isinstance(value, _Object):
        for item in value:
            yield from _pairs(item, depth - 1, maximum)
        return
    maximum = _field(value, _MAXIMA) or maximum
    label, number = _field(value, _LABELS), _field(value, _VALUES)
    if isinstance(label, str) and number is not None:
        yield label, _with_maximum(number, maximum)
    for key, inner in value:
        graded = _field(inner, _VALUES) if isinstance(inner, _Object) else None
        if graded is not None:
            yield key, _with_maximum(graded, _field(inner, _MAXIMA) or maximum)
        elif isinstance(inner, list):
            yield from _pairs(inner, depth - 1, maximum)
        else:
            yield key, _with_maximum(inner, maximum)


def _field(fields: _Object, names: Iterable[str]) -> Any:
    values = {re.sub(r"[\W_]+", "", key.casefold()): value for key, value in fields}
    return next((values[name] for name in names if name in values), None)


def _with_maximum(number: Any, maximum: Any) -> Any:
    """The number with its maximum as text; a text may have its own."""
    plain = isinstance(number, int | float) and not isinstance(number, bool)
    known = isinstance(maximum, int | float) and not isinstance(maximum, bool)
    return f"{number} of {maximum}" if plain and known else number


def _merged(objects: Iterable[Mapping[str, list[Any]]]) -> dict[str, list[Any]]:
    merged: dict[str, list[Any]] = {}
    for found in objects:
        for name, numbers in found.items():
            merged.setdefault(name, []).extend(numbers)
    return merged


def _in_lines(text: str, wanted: Iterable[str]) -> dict[str, list[Any]]:
    """The numbers that follow the names in a text that is no complete JSON."""
    found: dict[str, list[Any]] = {}
    for name in wanted:
        words = r"[ _-]?".join(re.findall(r"[^\W\d_]+|\d+", name))
        pattern = rf"(?<![^\W_])(?:{words})(?![^\W_]){_IN_LINE}"
        for match in re.finditer(pattern, text, re.IGNORECASE):
            found.setdefault(name, []).append("".join(_quantity(match)))
    return found


def _quantity(match: re.Match[str]) -> Iterator[str]:
    number, maximum, percent = match.groups()
    yield number
    yield f" of {maximum}" if maximum else percent or ""


def _one(name: str, values: list[Any], scale: Scale) -> float:
    if not values:
        raise Unreadable(f"the judge's verdict has no {name}")
    numbers = {_on_scale(name, value, scale) for value in values}
    if len(numbers) > 1:
        raise Unreadable(f"the judge's {name} is {sorted(numbers)}: it must be one number")
    return numbers.pop()


def _on_scale(name: str, value: Any, scale: Scale) -> float:
    number = _number(value, scale)
    if number is None:
        raise Unreadable(f"the judge's {name} is {str(value)[:_SHOWN]!r}: it must be a number")
    if not math.isfinite(number):
        raise NotFinite(f"the judge's {name} is {number}: it must be a finite number")
    if not scale.low <= number <= scale.high:
        raise Unreadable(
            f"the judge's {name} is {number:g}: it must lie between {scale.low:g} and "
            f"{scale.high:g}"
        )
    return number


def _number(value: Any, scale: Scale) -> float | None:
    """A JSON number or a number in text; ``None`` if the value is neither."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value if isinstance(value, float) else float(min(value, _HUGE))
    if not isinstance(value, str) or len(value) > _SHOWN:
        return None
    if (word := value.strip(" .\"'*").lower()) in _WORDS:
        return float(_WORDS.index(word))
    match = _TEXT.fullmatch(value)
    return None if match is None else _share_of(match, scale)


def _share_of(match: re.Match[str], scale: Scale) -> float | None:
    number, maximum, percent = match.groups()
    value = float(number.replace(",", "."))
    if not maximum and not percent:
        return value
    whole = float(maximum.replace(",", ".")) if maximum else 100.0
    if whole <= 0:
        return None
    return value if whole == scale.high else value / whole * scale.high

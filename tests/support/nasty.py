"""Messages that are wrong in many ways, the same ones for a seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import orjson

GOLDEN = Path(__file__).resolve().parents[1] / "schemas" / "golden" / "v1"
LARGE_EVERY = 1_000
"""One message in so many is a megabyte."""

NASTY: Sequence[Any] = (
    None, True, False, 0, -1, 1, 2**31, 2**63 - 1, 2**63, -(2**63), 1.5, 1e300, "", "x", "\x00",
    "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "2026-01-01T00:00:00Z", "x" * 5000,
    [], {}, [1] * 300, [{}] * 50, [None], {"": None}, {"a": {"b": [1, 2]}}, [[]], "🎈" * 100,
)  # fmt: skip
RAW: Sequence[bytes] = (
    b"NaN", b"Infinity", b"-1e999", b"9" * 30, b"9" * 5000, b'"\\ud800"', b'"\\u0000"', b'"\xff"',
    b"[" * 200 + b"]" * 200, b'{"a":' * 1000 + b"1" + b"}" * 1000, b"[" * 1500, b'{"a":1,"a":2}',
    b"[" + b"1," * 2000 + b"1]", b"nul", b"'x'",
)  # fmt: skip
MARK = "MARK OF THE TEST"


def goldens(kind: str) -> list[Any]:
    """The golden messages of a contract, by the beginning of their file names."""
    return [orjson.loads(path.read_bytes()) for path in sorted(GOLDEN.glob(f"{kind}-*.json"))]


def nasty_messages(kind: str, count: int, seed: int) -> Iterator[tuple[bytes | None, bytes | None]]:
    """Keys and values."""
    rng, whole = Random(seed), goldens(kind)
    for number in range(1, count + 1):
        key = rng.choice((None, b"", b"\xff\xfe", rng.randbytes(16), b"k" * 300))
        if number % LARGE_EVERY == 0:
            yield key, _large(rng, rng.choice(whole))
        else:
            yield key, rng.choice(_MUTATIONS)(rng, rng.choice(whole))


def _large(rng: Random, message: Any) -> bytes:
    name = rng.choice(list(message))
    parts = (b"[" + b"1," * 400_000 + b"1]", b"[" + b"{}," * 90_000 + b"{}]", b"[" * 900_000)
    raw = orjson.dumps({**message, name: MARK})
    return raw.replace(orjson.dumps(MARK), rng.choice(parts))


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container inside with each of its keys or indexes."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        yield value, key
        if isinstance(item, dict | list):
            yield from _places(item)


def _copy(message: Any) -> Any:
    return orjson.loads(orjson.dumps(message))


def _put(rng: Random, message: Any, value: Any) -> Any:
    changed = _copy(message)
    place, key = rng.choice(list(_places(changed)))
    place[key] = value
    return changed


def _wrong_value(rng: Random, message: Any) -> bytes:
    value = rng.choice(NASTY)
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        value = str(value)
    return orjson.dumps(_put(rng, message, value))


def _wrong_text(rng: Random, message: Any) -> bytes:
    raw = orjson.dumps(_put(rng, message, MARK))
    return raw.replace(orjson.dumps(MARK), rng.choice(RAW))


def _removed(rng: Random, message: Any) -> bytes:
    changed = _copy(message)
    place, key = rng.choice(list(_places(changed)))
    del place[key]
    return orjson.dumps(changed)


def _unknown(rng: Random, message: Any) -> bytes:
    changed = _copy(message)
    places = [place for place, _ in _places(changed) if isinstance(place, dict)]
    rng.choice(places).update({f"u{i}": i for i in range(rng.choice((1, 64, 65, 3000)))})
    return orjson.dumps(changed)


def _cut(rng: Random, message: Any) -> bytes:
    raw = orjson.dumps(message)
    return raw[: rng.randrange(len(raw))]


def _flipped(rng: Random, message: Any) -> bytes:
    raw = bytearray(orjson.dumps(message))
    for _ in range(rng.randint(1, 8)):
        raw[rng.randrange(len(raw))] = rng.randrange(256)
    return bytes(raw)


def _alone(rng: Random, _message: Any) -> bytes | None:
    bare = (None, b"", b"null", b"[]", b"{}", b"7", b"\x00", rng.randbytes(rng.randint(1, 400)))
    return rng.choice((*bare, *RAW))


_MUTATIONS: Sequence[Callable[[Random, Any], bytes | None]] = (
    _wrong_value, _wrong_value, _wrong_text, _removed, _unknown, _cut, _flipped, _alone,
)  # fmt: skip

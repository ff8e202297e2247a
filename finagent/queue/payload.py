"""Payloads as JSON text and back: what JSON can say comes back exactly, what it cannot say is refused."""

import json

import orjson

_STRICT = (
    orjson.OPT_SORT_KEYS
    | orjson.OPT_PASSTHROUGH_SUBCLASS
    | orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
)
_ENCODER = json.JSONEncoder(separators=(",", ":"), sort_keys=True, allow_nan=False)


def _no_json(constant: str) -> object:
    raise ValueError(f"{constant} is no JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_json)
_SLOW = " "
MAX_DEPTH = 250
"""Lists and objects within each other; orjson writes four more, and every decoder reads as many."""


def dumps(value: object) -> str:
    """Compact JSON with sorted keys; raises TypeError, ValueError or RecursionError for what is no JSON.

    orjson writes most of it, six times faster. What it refuses (integers beyond 64 bits, half characters) the
    standard library writes or refuses as well; such a text begins with a space, so that `loads` knows. A
    `null` may have been a NaN, so the standard library has the last word on those too.

    Three things pass that come back as something else: a tuple as a list, an enum's member as its value, a UUID
    as its text.
    """
    try:
        fast = orjson.dumps(value, option=_STRICT)
    except orjson.JSONEncodeError:
        _refuse_quiet_changes(value, 0)
        return _SLOW + _ENCODER.encode(value)
    return _ENCODER.encode(value) if b"null" in fast else fast.decode()


def _refuse_quiet_changes(value: object, depth: int) -> None:
    """The standard library turns keys that are no text into text, and takes what is too deep to be read again."""
    if depth > MAX_DEPTH:
        raise ValueError(f"it is nested deeper than {MAX_DEPTH}")
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise TypeError(f"the key {key!r} is no text")
            _refuse_quiet_changes(inner, depth + 1)
    elif isinstance(value, list | tuple):
        for inner in value:
            _refuse_quiet_changes(inner, depth + 1)


def loads(text: str) -> object:
    """The value behind a text of `dumps`; raises ValueError for what is no JSON."""
    if not text.startswith(_SLOW):
        return orjson.loads(text)
    try:
        return _DECODER.decode(text.strip())
    except RecursionError:
        raise ValueError("it is nested too deeply") from None

"""Payloads as JSON text and back: every value comes back exactly, or is refused before it is stored."""

import json

import orjson

_STRICT = (
    orjson.OPT_SORT_KEYS
    | orjson.OPT_PASSTHROUGH_SUBCLASS
    | orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
)
_ENCODER = json.JSONEncoder(separators=(",", ":"), sort_keys=True, allow_nan=False)
_DECODER = json.JSONDecoder()
_SLOW = " "


def dumps(value: object) -> str:
    """Compact JSON with sorted keys; raises TypeError, ValueError or RecursionError for what is no JSON.

    orjson writes most of it, six times faster. What it refuses (integers beyond 64 bits, deep nesting) the
    standard library writes or refuses as well; such a text begins with a space, so that `loads` knows. A
    `null` may have been a NaN, so the standard library has the last word on those too.
    """
    try:
        fast = orjson.dumps(value, option=_STRICT)
    except orjson.JSONEncodeError:
        return _SLOW + _ENCODER.encode(value)
    return _ENCODER.encode(value) if b"null" in fast else fast.decode()


def loads(text: str) -> object:
    """The value behind a text of `dumps`; raises ValueError for what is no JSON."""
    if text.startswith(_SLOW):
        return _DECODER.decode(text.strip())
    return orjson.loads(text)

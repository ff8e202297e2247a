"""Domain values as JSON text and back, exactly: pydantic at the edge, frozen dataclasses inside; texts packed."""

import zlib
from typing import Any, TypeVar

from pydantic import TypeAdapter

T = TypeVar("T")


_adapters: dict[type, TypeAdapter[Any]] = {}


def _adapter(kind: type[T]) -> TypeAdapter[T]:
    """Building one compiles a schema, so each is kept."""
    found = _adapters.get(kind)
    if found is None:
        found = _adapters[kind] = TypeAdapter(kind)
    return found


def encode(value: object) -> str:
    """JSON text of a frozen dataclass of the domain."""
    return _adapter(type(value)).dump_json(value).decode()


def decode(kind: type[T], text: object) -> T:
    """The domain value behind a stored text."""
    return _adapter(kind).validate_json(str(text))


PACK_LEVEL = 1
MAX_TEXT_BYTES = 64 << 20


def pack(text: str) -> bytes:
    """An ASCII text, compressed."""
    return zlib.compress(text.encode("ascii"), PACK_LEVEL)


def unpack(body: bytes) -> str:
    """The text behind packed bytes; ValueError where they were damaged or are too long to be ours."""
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(body, MAX_TEXT_BYTES)
    except zlib.error as error:
        raise ValueError(f"a stored text cannot be read: {error}") from error
    if not inflater.eof or inflater.unused_data:
        raise ValueError("a stored text was cut or lengthened")
    return text.decode("ascii")

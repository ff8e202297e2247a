"""Domain values as JSON text and back, exactly: pydantic at the edge, frozen dataclasses inside."""

from functools import cache
from typing import TypeVar

from pydantic import TypeAdapter

T = TypeVar("T")


@cache
def _adapter(kind: type[T]) -> TypeAdapter[T]:
    return TypeAdapter(kind)


def encode(value: object) -> str:
    """JSON text of a frozen dataclass of the domain."""
    return _adapter(type(value)).dump_json(value).decode()


def decode(kind: type[T], text: object) -> T:
    """The domain value behind a stored text."""
    return _adapter(kind).validate_json(str(text))

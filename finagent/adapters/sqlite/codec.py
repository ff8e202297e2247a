"""Domain values as JSON text and back, exactly: pydantic at the edge, frozen dataclasses inside."""

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

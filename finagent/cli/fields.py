"""Reading JSON documents without trusting their shape: what is missing reads as unknown."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

from finagent.context import Document, Json

Fields = Mapping[str, Json]


def section(document: Fields, key: str) -> Document:
    """The mapping under a key, empty where there is none."""
    value = document.get(key)
    return value if isinstance(value, dict) else {}


def rows(document: Fields, key: str) -> list[Document]:
    """The list of mappings under a key, empty where there is none."""
    value = document.get(key)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def words(document: Fields, key: str) -> list[str]:
    """The list under a key as texts."""
    value = document.get(key)
    if isinstance(value, str):
        return [clean(value)]
    return [clean(item) for item in value] if isinstance(value, list) else []


def first(document: Fields, *keys: str) -> Json:
    """The first known value among the keys."""
    return next((document[key] for key in keys if document.get(key) is not None), None)


def clean(value: object) -> str:
    """A value as one printable line."""
    line = value if isinstance(value, str) else str(value)
    return line if line.isprintable() else "".join(c if c.isprintable() else " " for c in line)


def counts(document: Fields, key: str) -> str:
    """A mapping of names to numbers as ``12 done, 1 dead``."""
    return ", ".join(f"{clean(count)} {clean(name)}" for name, count in section(document, key).items())


def text(document: Fields, *keys: str) -> str:
    """The first known value among the keys as one line of text, empty when unknown.

    Control characters become spaces: a headline or a broker's message never moves the cursor.
    """
    value = first(document, *keys)
    if value is None:
        return ""
    return clean(value)


def number(document: Fields, *keys: str) -> Decimal | None:
    """The first known value among the keys as an exact number, None when unknown or no number."""
    value = first(document, *keys)
    if value is None or isinstance(value, bool):
        return None
    try:
        result = Decimal(str(value))
    except InvalidOperation:
        return None
    return result if result.is_finite() else None


def flag(document: Fields, *keys: str) -> bool:
    """Whether any of the keys is true."""
    return any(document.get(key) is True for key in keys)

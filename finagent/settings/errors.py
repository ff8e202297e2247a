"""What is wrong with a setting, in one line with its place, the value seen and the mend."""

import difflib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

PREFIX = "FINAGENT__"


class SettingsError(Exception):
    """A setting is wrong: what, where, the value seen, and the mend."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


def explained(error: ValidationError, path: Path, *, root: type[BaseModel]) -> SettingsError:
    errors = error.errors(include_url=False)
    unknown = [one for one in errors if one["type"] == "extra_forbidden"]
    first = (unknown or errors)[0]
    location = first["loc"]
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)[1:]
    source = _source(location, path)
    if first["type"] == "extra_forbidden":
        return SettingsError(f"unknown setting {place} in {source}", _where_it_belongs(location, root))
    seen = first["input"]
    shown = f" = {seen!r}" if isinstance(seen, str | int | float | bool | type(None)) else ""
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    reason = first["msg"].removeprefix("Value error, ")
    return SettingsError(f"setting {place}{shown}: {reason}{more}", f"mend it in {source}")


def misfit(error: ValidationError, section: str, *, root: type[BaseModel]) -> SettingsError:
    """What is wrong with values that a question lays over a section: they stand in no file."""
    errors = error.errors(include_url=False)
    unknown = [one for one in errors if one["type"] == "extra_forbidden"]
    first = (unknown or errors)[0]
    location = (section, *first["loc"])
    place = ".".join(map(str, location))
    if unknown:
        return SettingsError(f"unknown setting {place}", _where_it_belongs(location, root))
    return SettingsError(
        f"{place}: {first['msg'].removeprefix('Value error, ')}", "settings.yaml has its bounds"
    )


def _source(location: tuple[int | str, ...], path: Path) -> str:
    """The environment variable that gave a value, else the file."""
    given = {name.upper(): name for name in os.environ}
    for length in range(len(location), 0, -1):
        name = PREFIX + "__".join(str(part) for part in location[:length]).upper()
        if name in given:
            return f"the environment variable {given[name]}"
    return str(path)


def _where_it_belongs(location: tuple[int | str, ...], root: type[BaseModel]) -> str:
    word = str(location[-1])
    known = _keys_beside(location, root)
    elsewhere = [name for name, keys in _keys_by_section(root) if word in keys]
    if elsewhere and not difflib.get_close_matches(word, known, n=1, cutoff=0.8):
        return f"{word} is a key of section {elsewhere[0]}"
    return nearest(word, known)


def _keys_by_section(root: type[BaseModel]) -> Iterator[tuple[str, list[str]]]:
    for name, field in root.model_fields.items():
        yield name, list(getattr(field.annotation, "model_fields", {}))


def _keys_beside(location: tuple[int | str, ...], root: type[BaseModel]) -> list[str]:
    model: Any = root
    for part in location[:-1]:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        of_items = get_args(annotation)
        model = of_items[0] if of_items else annotation
        if not isinstance(model, type) or not issubclass(model, BaseModel):
            return []
    return list(model.model_fields)


def nearest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else f"known here: {', '.join(known) or 'nothing'}"

"""What the fields of a service are: ports to the world, values decided with, functions, parts of these."""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from functools import cache
from typing import Protocol, cast, get_args, get_origin, get_type_hints

from finagent.domain.errors import PlainDataError
from finagent.domain.journal import JsonData
from finagent.domain.plain import Decoder, decoder
from finagent.queue.port import JobQueue


class FieldKind(StrEnum):
    """What stands in a field of a service."""

    PORT = "port"
    FUNCTION = "function"
    PART = "part"
    VALUE = "value"
    MACHINERY = "machinery"


@dataclass(frozen=True, slots=True)
class Question:
    """A method of a port whose answers are evidence, and how an answer is read back."""

    name: str
    is_async: bool
    is_property: bool
    answer: Decoder


@cache
def fields_of(service: type) -> dict[str, tuple[FieldKind, object]]:
    """The fields of a service's dataclass with their kind and type hint; TypeError for any other class."""
    if not is_dataclass(service):
        raise TypeError(f"{service.__name__} is no dataclass: its inputs cannot be told apart")
    hints = get_type_hints(service)
    return {
        field.name: (_kind(hints[field.name]), hints[field.name]) for field in fields(service) if field.init
    }


def _kind(hint: object) -> FieldKind:
    if get_origin(hint) is Callable:
        return FieldKind.FUNCTION
    if isinstance(hint, type) and hint.__module__.startswith("asyncio"):
        return FieldKind.MACHINERY
    if isinstance(hint, type) and _is_protocol(hint):
        return FieldKind.PORT
    if isinstance(hint, type) and is_dataclass(hint) and _has_world(hint):
        return FieldKind.PART
    return FieldKind.VALUE


def _has_world(kind: type) -> bool:
    return any(found in (FieldKind.PORT, FieldKind.FUNCTION) for found, _ in fields_of(kind).values())


def _is_protocol(kind: type) -> bool:
    return Protocol in kind.__bases__


@cache
def questions(port: type) -> dict[str, Question]:
    """The methods of a port whose answers have a plain form; the queue is asked for the version of a row alone."""
    found: dict[str, Question] = {}
    for name, member in vars(port).items():
        if name.startswith("_") or (port is JobQueue and name != "row_version"):
            continue
        function = member.fget if isinstance(member, property) else member
        if not inspect.isfunction(function):
            continue
        try:
            answer = decoder(get_type_hints(function)["return"])
        except PlainDataError:
            continue
        found[name] = Question(
            name, inspect.iscoroutinefunction(function), isinstance(member, property), answer
        )
    return found


@cache
def function_answer(hint: object) -> Question:
    """How the answer of a function field is read back."""
    result = get_args(hint)[1]
    is_async = get_origin(result) is Awaitable
    return Question("", is_async, False, decoder(get_args(result)[0] if is_async else result))


def path_of(kind: type) -> str:
    """The name under which a class is found again."""
    return f"{kind.__module__}:{kind.__qualname__}"


def port_name(port: type, method: str) -> str:
    """The name under which a question is written down."""
    return f"{port.__name__}.{method}"


def as_object(data: JsonData) -> dict[str, JsonData]:
    """Plain data that must be an object; PlainDataError where they are not."""
    if not isinstance(data, dict):
        raise PlainDataError(f"{data!r} is no object")
    return cast("dict[str, JsonData]", data)

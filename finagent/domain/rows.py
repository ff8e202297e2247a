"""Rows that are made and copied quickly: frozen dataclasses of which there are very many.

A frozen dataclass sets each of its fields through ``object.__setattr__``, which takes most of the time of making one.
Here a new row is of an open twin class with the same slots while its fields are set, and of its own class from then on:
what it is, compares with and refuses is that of any frozen dataclass. Where there are most, ``maker`` gives a function
to call in the place of the class: Python hands arguments on to a class by way of a mapping, which takes as long as all
the rest.
"""

import dataclasses
from collections.abc import Callable
from functools import update_wrapper
from typing import TYPE_CHECKING, ParamSpec, TypeVar, cast

T = TypeVar("T")
P = ParamSpec("P")
_COPIERS: dict[type, Callable[[object], object]] = {}
"""By class how an open copy of its row is made."""
_MAKERS: dict[object, Callable[..., object]] = {}
"""By class how its row is made by a plain function."""


def quick(row_class: type[T]) -> type[T]:
    """Decorate a dataclass with ``frozen=True, slots=True``, without a base and without ``__post_init__``."""
    fields = dataclasses.fields(row_class)  # type: ignore[arg-type]  # a dataclass, as the docstring says
    names = [field.name for field in fields]
    if row_class.__bases__ != (object,) or hasattr(row_class, "__post_init__"):
        raise TypeError(f"{row_class.__name__} has a base or __post_init__: leave @quick out")
    twin = type(f"Open{row_class.__name__}", (), {"__slots__": tuple(names)})
    known: dict[str, object] = {"_twin": twin, "_set": object.__setattr__}
    in_place: list[str] = []
    by_name: list[str] = []
    made: list[str] = []
    for field in fields:
        default = ""
        if field.default is not dataclasses.MISSING:
            known[f"_default_{field.name}"] = field.default
            default = f"=_default_{field.name}"
        elif field.default_factory is not dataclasses.MISSING:
            known[f"_default_{field.name}"], known[f"_make_{field.name}"] = object(), field.default_factory
            default = f"=_default_{field.name}"
            made.append(f"if {field.name} is _default_{field.name}: {field.name} = _make_{field.name}()")
        (by_name if field.kw_only else in_place).append(field.name + default)
    arguments = [*in_place, *(["*", *by_name] if by_name else [])]
    # A default is found faster by place than by name; that such a row is made by name is for the type checker to see.
    any_way = arguments if in_place else sorted(by_name, key=lambda argument: "=" in argument)
    setting = [*made, *(f"self.{name} = {name}" for name in names)]
    beginning = [
        f"def __init__({', '.join(['self', *arguments])}):",
        "_class = self.__class__",
        "_set(self, '__class__', _twin)",
        *setting,
        "self.__class__ = _class",
    ]
    making = [f"def make({', '.join(any_way)}):", "self = _twin()", *setting]
    copying = ["def copy(row):", "copied = _twin()", *(f"copied.{name} = row.{name}" for name in names)]
    functions = (beginning, [*making, "self.__class__ = _class", "return self"], [*copying, "return copied"])
    known["_class"] = row_class
    exec("\n".join(map("\n ".join, functions)), known)  # names of fields alone, as dataclasses itself does
    made_quickly = update_wrapper(cast("Callable[..., None]", known["__init__"]), row_class.__init__)
    row_class.__init__ = made_quickly  # type: ignore[method-assign]  # in the place of the dataclass's own
    _COPIERS[row_class] = cast("Callable[[object], object]", known["copy"])
    _MAKERS[row_class] = cast("Callable[..., object]", known["make"])
    return row_class


def maker(row_class: Callable[P, T]) -> Callable[P, T]:
    """A function with the parameters of a quick row's class, which gives its row in half the time."""
    return cast("Callable[P, T]", _MAKERS[row_class])


if TYPE_CHECKING:
    from dataclasses import replace as replace
else:

    def replace(row: T, /, **changes: object) -> T:
        """A copy with other values in some fields: ``dataclasses.replace``, quickly for rows that are."""
        row_class = row.__class__
        copy = _COPIERS.get(row_class)
        if copy is None:
            return dataclasses.replace(row, **changes)
        copied = copy(row)
        for name, value in changes.items():
            setattr(copied, name, value)
        copied.__class__ = row_class
        return copied

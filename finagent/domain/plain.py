"""Domain values as plain JSON data and back, exactly: what the journal keeps of the inputs of a decision.

A dataclass with named fields becomes an object, one with places (``Bar``, ``DailyBar``: there are thousands) and a
named tuple an array in the order of its fields. Whole numbers, text and truth values only.
"""

import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from operator import attrgetter
from typing import TypeVar, Union, cast, get_args, get_origin, get_type_hints

from finagent.domain.errors import PlainDataError
from finagent.domain.journal import JsonData

T = TypeVar("T")
Apart = Callable[[list[JsonData]], JsonData]
Encoder = Callable[[object, Apart], JsonData]
Decoder = Callable[[JsonData], object]
LONG = 32
"""From so many on, a run of things that are written as arrays may be kept apart."""
_SCALARS: tuple[type, ...] = (int, str, bool, type(None))


def _together(items: list[JsonData]) -> JsonData:
    return items


def plain(value: object, *, apart: Apart = _together) -> JsonData:
    """The JSON data of a value; PlainDataError for a float, bytes, a set or a key that is no text.

    A frozen set of texts is written in order. ``apart`` is given each long run of bars and gives what stands for it.
    """
    return _plain(value, apart)


def _plain(value: object, apart: Apart) -> JsonData:
    kind = type(value)
    encoder = _ENCODERS.get(kind)
    if encoder is None:
        encoder = _ENCODERS[kind] = _encoder(kind)
    return encoder(value, apart)


def typed(hint: type[T], data: JsonData) -> T:
    """The value of a type behind its JSON data; PlainDataError where the data do not fit the type.

    A sequence comes back as a list, a mapping as a dict. Fields that the data lack take their defaults.
    """
    return cast("T", decoder(hint)(data))


def decoder(hint: object) -> Decoder:
    """What makes values of a type hint of their JSON data; PlainDataError for a hint that has no one meaning."""
    found = _DECODERS.get(hint)
    if found is None:
        found = _DECODERS[hint] = _decoder(hint)
    return found


def _same(value: object, _: Apart) -> JsonData:
    return cast("JsonData", value)


def _listed(value: object, apart: Apart) -> JsonData:
    items = cast("Sequence[object]", value)
    found = [_plain(each, apart) for each in items]
    if len(found) >= LONG and is_dataclass(items[0]) and has_places(type(items[0])):
        return apart(found)
    return found


def _mapped(value: object, apart: Apart) -> JsonData:
    found: dict[str, JsonData] = {}
    for key, each in cast("Mapping[object, object]", value).items():
        if not isinstance(key, str):
            raise PlainDataError(f"a mapping has the key {key!r} ({type(key).__name__}): use text keys")
        found[str(key)] = _plain(each, apart)
    return found


def _ordered(value: object, _: Apart) -> JsonData:
    texts = cast("frozenset[object]", value)
    if not all(type(each) is str for each in texts):
        raise PlainDataError("a frozen set holds other things than text: use a list")
    return sorted(cast("frozenset[str]", texts))


def _encoder(kind: type) -> Encoder:
    if issubclass(kind, Enum):
        return lambda value, apart: _plain(cast("Enum", value).value, apart)
    if is_dataclass(kind):
        return _dataclass_encoder(kind)
    if issubclass(kind, list | tuple):
        return _listed
    if issubclass(kind, Mapping):
        return _mapped
    if issubclass(kind, frozenset):
        return _ordered
    raise PlainDataError(f"a {kind.__name__} has no plain form: use whole numbers, text, lists and mappings")


def _dataclass_encoder(kind: type) -> Encoder:
    names, hints = [field.name for field in fields(kind)], get_type_hints(kind)
    places = [place for place, name in enumerate(names) if not _is_scalar(hints[name])]
    get = _getter(names)
    if not places:
        if has_places(kind):
            return lambda value, _: cast("JsonData", get(value))
        return lambda value, _: dict(zip(names, get(value), strict=True))

    def encode(value: object, apart: Apart) -> JsonData:
        values = list(get(value))
        for place in places:
            values[place] = _plain(values[place], apart)
        return values if is_placed else dict(zip(names, values, strict=True))

    is_placed = has_places(kind)
    return encode


def _getter(names: Sequence[str]) -> Callable[[object], tuple[JsonData, ...]]:
    get = attrgetter(*names) if names else lambda _: ()
    return get if len(names) != 1 else lambda value: (get(value),)


def has_places(kind: type) -> bool:
    """Whether a dataclass is written as an array: its fields have places, not only names."""
    found = fields(kind)
    return bool(found) and not any(field.kw_only for field in found)


def _is_scalar(hint: object) -> bool:
    """Whether every value of a hint is written as it is; an enumeration of text is text."""
    if isinstance(hint, types.UnionType) or get_origin(hint) is Union:
        return all(_is_scalar(each) for each in get_args(hint))
    return hint in _SCALARS or (isinstance(hint, type) and issubclass(hint, str) and issubclass(hint, Enum))


def _decoder(hint: object) -> Decoder:
    origin, arguments = get_origin(hint), get_args(hint)
    if isinstance(hint, types.UnionType) or origin is Union:
        return _union_decoder(arguments)
    if origin is tuple:
        return _tuple_decoder(arguments)
    if origin is frozenset and arguments == (str,):
        text = decoder(str)
        return lambda data: frozenset(text(each) for each in _items(data))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping_decoder(decoder(arguments[1]))
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return _sequence_decoder(decoder(arguments[0]))
    if isinstance(hint, type):
        return _class_decoder(hint)
    raise PlainDataError(f"{hint} has no one meaning as plain data")


def _class_decoder(kind: type) -> Decoder:
    if issubclass(kind, Enum):
        return _enum_decoder(kind)
    if kind in _SCALARS:
        return lambda data: _checked(kind, data)
    if is_dataclass(kind):
        return _dataclass_decoder(kind)
    raise PlainDataError(f"{kind.__name__} has no one meaning as plain data")


def _enum_decoder(kind: type[Enum]) -> Decoder:
    members = {each.value: each for each in kind}

    def decode(data: JsonData) -> object:
        if not isinstance(data, str | int) or data not in members:
            raise PlainDataError(f"{data!r} is no {kind.__name__} of this program")
        return members[data]

    return decode


def _checked(kind: type, data: JsonData) -> object:
    if type(data) is not kind:
        raise PlainDataError(f"{data!r} is a {type(data).__name__}, not a {kind.__name__}")
    return data


def _union_decoder(arguments: tuple[object, ...]) -> Decoder:
    """Nothing or one thing, or a choice of scalars, which say themselves what they are."""
    some = [each for each in arguments if each is not type(None)]
    if len(some) == 1:
        one = decoder(some[0])
        return lambda data: None if data is None else one(data)
    if all(each in _SCALARS for each in some):
        return lambda data: data
    raise PlainDataError(f"{' | '.join(map(str, arguments))} has no one meaning as plain data")


def _tuple_decoder(arguments: tuple[object, ...]) -> Decoder:
    if arguments[-1] is Ellipsis:
        every = decoder(arguments[0])
        return lambda data: tuple(every(each) for each in _items(data))
    each_own = [decoder(each) for each in arguments]
    return lambda data: tuple(one(each) for one, each in zip(each_own, _items(data), strict=True))


def _sequence_decoder(every: Decoder) -> Decoder:
    return lambda data: [every(each) for each in _items(data)]


def _mapping_decoder(every: Decoder) -> Decoder:
    return lambda data: {key: every(each) for key, each in _entries(data).items()}


def _dataclass_decoder(kind: type) -> Decoder:
    hints, names = get_type_hints(kind), [field.name for field in fields(kind)]
    decoders = {name: decoder(hints[name]) for name in names}

    def decode(data: JsonData) -> object:
        given = dict(zip(names, _items(data), strict=False)) if is_placed else _entries(data)
        try:
            return kind(**{name: decoders[name](each) for name, each in given.items()})
        except (TypeError, KeyError) as error:
            raise PlainDataError(f"this is no {kind.__name__} of this program: {error}") from error

    is_placed = has_places(kind)
    return decode


def _items(data: JsonData) -> Sequence[JsonData]:
    if not isinstance(data, list | tuple):
        raise PlainDataError(f"{data!r} is a {type(data).__name__}, not a list")
    return data


def _entries(data: JsonData) -> Mapping[str, JsonData]:
    if not isinstance(data, Mapping):
        raise PlainDataError(f"{data!r} is a {type(data).__name__}, not an object")
    return data


_ENCODERS: dict[type, Encoder] = dict.fromkeys(_SCALARS, _same)
_DECODERS: dict[object, Decoder] = {}

"""What a search varies: settings with their values in order, as `section.key=low:high[:step]` or `section.key=a,b`."""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from math import prod

from finagent.backtest.errors import BacktestError

Values = Mapping[str, str]
"""By setting the value as it is written in settings.yaml."""
SetKey = tuple[tuple[str, str], ...]
"""A set by which it is found again: of one space, in its order."""
Read = Callable[[str, str], object]
"""The value of a setting as it is typed; raises where the name or the value is none."""
FINE = 1_000
"""A range without a step is divided at least so finely, where the setting's decimals allow."""
MOST_PLACES = 6
FORM = "write section.key=low:high, section.key=low:high:step or section.key=a,b,c"


@dataclass(frozen=True, slots=True)
class Dimension:
    """A setting and its values in order; ``is_fine`` where nobody named a step."""

    name: str
    texts: tuple[str, ...]
    is_ordered: bool
    """A range of numbers, not a list of choices."""
    is_fine: bool = False


def dimension(spec: str, read: Read) -> Dimension:
    """A dimension as it is written on a command line; BacktestError names what is wrong with it.

    ``read`` judges name and bounds, and its own errors pass.
    """
    name, equals, rest = (part.strip() for part in spec.partition("="))
    if not equals or not name or not rest:
        raise BacktestError(f"--param {spec}: no name and values", hint=FORM, code="param")
    if ":" not in rest:
        return _choices(spec, name, [each.strip() for each in rest.split(",")], read)
    return _range(spec, name, [each.strip() for each in rest.split(":")], read)


def _choices(spec: str, name: str, texts: Sequence[str], read: Read) -> Dimension:
    values = [read(name, text) for text in texts]
    if len(set(map(str, values))) < len(values):
        raise BacktestError(
            f"--param {spec}: a value stands there twice", hint="name each once", code="param"
        )
    return Dimension(name, tuple(texts), False)


def _range(spec: str, name: str, parts: Sequence[str], read: Read) -> Dimension:
    numbers = [_number(spec, part) for part in parts]
    if len(parts) not in (2, 3):
        raise BacktestError(f"--param {spec}: {len(parts)} numbers", hint=FORM, code="param")
    low, high = numbers[:2]
    kinds = [read(name, parts[0]), read(name, parts[1])]
    if not all(isinstance(kind, int | Decimal) and not isinstance(kind, bool) for kind in kinds):
        raise BacktestError(f"--param {spec}: {name} is no number", hint=f"list its values: {name}=a,b")
    if low >= high:
        raise BacktestError(
            f"--param {spec}: {parts[0]} is not below {parts[1]}", hint="put the lower first", code="param"
        )
    is_fine = len(parts) == 2 and not isinstance(kinds[0], int)
    step = numbers[2] if len(parts) == 3 else _resolution(name, low, high, read) if is_fine else Decimal(1)
    if not 0 < step <= high - low:
        raise BacktestError(
            f"--param {spec}: a step of {step} within {low} to {high}",
            hint="give a smaller one",
            code="param",
        )
    if (high - low) / step > 10**6:
        raise BacktestError(f"--param {spec}: over a million values", hint="give a larger step", code="param")
    texts = tuple(_text(low + number * step) for number in range(int((high - low) / step) + 1))
    for text in texts[:2]:  # the step's own decimals
        read(name, text)
    return Dimension(name, texts, True, is_fine)


def _number(spec: str, text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite():
        raise BacktestError(f"--param {spec}: {text or 'nothing'} is no number", hint=FORM, code="param")
    return value


def _resolution(name: str, low: Decimal, high: Decimal, read: Read) -> Decimal:
    """The power of ten that divides the range finely, as far as the setting's decimals go."""
    places = 0
    while places < MOST_PLACES and (high - low) * 10**places < FINE:
        finer = Decimal(1).scaleb(-(places + 1))
        try:
            read(name, _text(low + finer))
        except Exception:  # whatever the setting says of so many decimals
            break
        places += 1
    return min(Decimal(1).scaleb(-places), high - low)


def _text(value: Decimal) -> str:
    return f"{value.normalize():f}"


def grid_size(space: Sequence[Dimension]) -> int:
    """How many sets a grid has; BacktestError for a range without a step."""
    fine = next((each for each in space if each.is_fine), None)
    if fine is not None:
        raise BacktestError(
            f"{fine.name} is a range without a step: a grid needs one",
            hint=f"--param {fine.name}={fine.texts[0]}:{fine.texts[-1]}:STEP, or another --method",
            code="param",
        )
    return space_size(space)


def space_size(space: Sequence[Dimension]) -> int:
    """How many different sets there are."""
    return prod(len(each.texts) for each in space)


def set_key(values: Values) -> SetKey:
    """By which two sets of one space are the same."""
    return tuple(values.items())


def unseen(space: Sequence[Dimension], seen: Container[SetKey], start: int) -> Values:
    """The first set at or after a number of the grid that was not seen; there has to be one."""
    size = space_size(space)
    numbers = ((start + step) % size for step in range(size))
    return next(values for number in numbers if set_key(values := grid_values(space, number)) not in seen)


def grid_values(space: Sequence[Dimension], number: int) -> Values:
    """The set of a grid with this number; the last setting changes first."""
    places = []
    for each in reversed(space):
        number, place = divmod(number, len(each.texts))
        places.append(place)
    return {each.name: each.texts[place] for each, place in zip(space, reversed(places), strict=True)}

"""Numbers and times as Alpaca writes them, into exact integers; what cannot be one is refused."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal, InvalidOperation

from finagent.domain.money import MAX_INT64

Fields = Mapping[str, object]
LONGEST = 40


class BadAnswerError(Exception):
    """An answer that cannot be what Alpaca documents; the message names the field and the value seen."""


def price_e4(fields: Fields, name: str) -> int:
    """A positive price in 1e-4, rounded half to even: an execution may have more decimals."""
    value = _scaled(_decimal(fields, name), 4, ROUND_HALF_EVEN, name)
    if value <= 0:
        raise BadAnswerError(f"{name} is {fields.get(name)!r}, no price above 0")
    return value


def maybe_price_e4(fields: Fields, name: str) -> int | None:
    """The same, None where there is none."""
    return None if fields.get(name) in (None, "") else price_e4(fields, name)


def quantity_e4(fields: Fields, name: str) -> int:
    """A quantity of at least 0 in 1e-4 shares, cut to what fits."""
    value = _scaled(_decimal(fields, name), 4, ROUND_DOWN, name)
    if value < 0:
        raise BadAnswerError(f"{name} is {fields.get(name)!r}, below 0")
    return value


def span_e4(fields: Fields, cumulative: str, part: str) -> tuple[int, int]:
    """A cumulative quantity before and after a part was added to it, each cut to 1e-4: such spans have no gaps."""
    after, added = _decimal(fields, cumulative), _decimal(fields, part)
    if not 0 < added <= after:
        raise BadAnswerError(f"{part} is {fields.get(part)!r} of {cumulative} {fields.get(cumulative)!r}")
    return (
        _scaled(after - added, 4, ROUND_DOWN, cumulative),
        _scaled(after, 4, ROUND_DOWN, cumulative),
    )


def signed_quantity_e4(fields: Fields, name: str) -> int:
    """A signed quantity in 1e-4 shares, cut towards 0; a crumb smaller than that is still something."""
    exact = _decimal(fields, name)
    value = _scaled(exact, 4, ROUND_DOWN, name)
    if value == 0 and exact != 0:
        return 1 if exact > 0 else -1
    return value


def money_e8(fields: Fields, name: str) -> int:
    """A signed amount in 1e-8."""
    return _scaled(_decimal(fields, name), 8, ROUND_HALF_EVEN, name)


def maybe_money_e8(fields: Fields, name: str) -> int | None:
    """The same, None where there is none."""
    return None if fields.get(name) in (None, "") else money_e8(fields, name)


def words(fields: Fields, name: str) -> str:
    """A text that must be there."""
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise BadAnswerError(f"{name} is {value!r}, no text")
    return value


def at_ms(fields: Fields, name: str) -> int:
    """An instant in ms UTC; digits beyond the millisecond are cut off."""
    return instant_ms(words(fields, name), name)


def instant_ms(text: str, name: str = "timestamp") -> int:
    """The same from a text: RFC 3339 with any number of fractional digits and a zone."""
    plain = text[:-1] + "+00:00" if text.endswith(("Z", "z")) else text
    head, dot, rest = plain.partition(".")
    if dot:
        digits = len(rest) - len(rest.lstrip("0123456789"))
        plain = f"{head}.{rest[:digits][:6]:0<6}{rest[digits:]}"
    try:
        at = datetime.fromisoformat(plain)
    except ValueError:
        raise BadAnswerError(f"{name} is {text[:LONGEST]!r}, no instant") from None
    if at.tzinfo is None:
        raise BadAnswerError(f"{name} is {text[:LONGEST]!r}, an instant without a zone")
    since = at - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000


def instant_text(ms: int) -> str:
    """An instant as the query parameters want it."""
    second, rest = divmod(ms, 1000)
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03d}Z"


def decimal_text(value: int, digits: int = 4) -> str:
    """A scaled integer as the shortest decimal text: one value, one text."""
    whole, rest = divmod(abs(value), 10**digits)
    fraction = f"{rest:0{digits}d}".rstrip("0")
    return f"{'-' if value < 0 else ''}{whole}{'.' + fraction if fraction else ''}"


def _decimal(fields: Fields, name: str) -> Decimal:
    given = fields.get(name)
    if isinstance(given, bool) or not isinstance(given, str | int):
        raise BadAnswerError(f"{name} is {given!r}, no number")
    text = str(given)
    try:
        value = Decimal(text) if len(text) <= LONGEST else Decimal("NaN")
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite():
        raise BadAnswerError(f"{name} is {text[:LONGEST]!r}, no number")
    return value


def _scaled(value: Decimal, digits: int, rounding: str, name: str) -> int:
    if value and value.adjusted() + digits > 18:
        raise BadAnswerError(f"{name} is {value}, too large to be true")
    scaled = int(value.scaleb(digits).to_integral_value(rounding=rounding))
    if abs(scaled) > MAX_INT64:
        raise BadAnswerError(f"{name} is {value}, too large to be true")
    return scaled

"""How stored integers read in a document: decimal texts, numbers, ISO instants, null for unknown."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from finagent.domain.money import RATIO_SCALE, div_half_even, money_text, price_text

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
Document = dict[str, Json]

MAX_ROWS = 1000
OF_SESSION = "session BETWEEN coalesce(?1, '') AND coalesce(?1, '~')"
"""SQL for one session or all, as a range that an index answers."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class UnknownRecordError(Exception):
    """There is no such record, or more than one fits; ``hint`` is the mend."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def instant(at_ms: int) -> str:
    """ISO 8601 UTC, with milliseconds only where there are any: ``2018-02-20T14:31:00Z``."""
    moment = (_EPOCH + timedelta(milliseconds=at_ms)).isoformat(
        timespec="milliseconds" if at_ms % 1000 else "seconds"
    )
    return moment.replace("+00:00", "Z")


def maybe_instant(at_ms: int | None) -> str | None:
    """The same, null for unknown."""
    return None if at_ms is None else instant(at_ms)


def maybe_price(price_e4: int | None) -> str | None:
    """A price as decimal text, null for unknown."""
    return None if price_e4 is None else price_text(price_e4)


def maybe_money(money_e8: int | None) -> str | None:
    """An amount as decimal text, null for unknown."""
    return None if money_e8 is None else money_text(money_e8)


def ratio(ratio_e6: int | None) -> float | None:
    """A 1e-6 ratio as a number."""
    return None if ratio_e6 is None else ratio_e6 / RATIO_SCALE


def percent(ratio_e6: int | None) -> float | None:
    """A 1e-6 ratio as a number in percent: 42_000 is 4.2."""
    return None if ratio_e6 is None else ratio_e6 / 10_000


def basis_points(ratio_e6: int | None) -> float | None:
    """A 1e-6 ratio as a number in basis points: 3_000 is 30."""
    return None if ratio_e6 is None else ratio_e6 / 100


def quotient(numerator: int, denominator: int) -> float | None:
    """A ratio of two integers as a number with six digits; null where the denominator is 0."""
    if denominator == 0:
        return None
    sign = 1 if denominator > 0 else -1
    return div_half_even(sign * numerator * RATIO_SCALE, sign * denominator) / RATIO_SCALE


def plain(value: Mapping[str, Json]) -> Document:
    """A mapping as a document of its own."""
    return dict(value)


def listed(values: Iterable[Document]) -> list[Json]:
    """Documents as a JSON list."""
    return [*values]


def texts(values: Iterable[str]) -> list[Json]:
    """Texts as a JSON list."""
    return [*values]


def loads(text: object) -> Json:
    """The JSON behind a stored text."""
    value: Json = json.loads(str(text))
    return value


def bounded(limit: int) -> int:
    """How many rows a document holds at most."""
    return max(1, min(limit, MAX_ROWS))

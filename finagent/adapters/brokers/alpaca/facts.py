"""What Alpaca says of the exchange's time, its sessions and its stocks."""

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote
from zoneinfo import ZoneInfo

from finagent.adapters.brokers.alpaca.account import blocks
from finagent.adapters.brokers.alpaca.answers import asked, reading, rows_of
from finagent.adapters.brokers.alpaca.http import AlpacaHttp
from finagent.adapters.brokers.alpaca.numbers import BadAnswerError, Fields, at_ms, words

ZONE = ZoneInfo("America/New_York")
EASY = ("easy_to_borrow", "etb")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeClock:
    """Alpaca's time and what comes next, in ms UTC."""

    now_ms: int
    is_open: bool
    next_open_ms: int
    next_close_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeDay:
    """A session of Alpaca's calendar: regular hours in ms UTC."""

    date: str
    open_ms: int
    close_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StockFacts:
    """What may be done with a stock now; None where Alpaca does not say."""

    symbol: str
    is_tradable: bool
    is_shortable: bool | None
    is_easy_to_borrow: bool | None
    is_fractionable: bool | None


class AlpacaFacts:
    """Reads beside the orders; errors as the broker port's reads."""

    def __init__(self, http: AlpacaHttp) -> None:
        self._http = http

    async def clock(self) -> ExchangeClock:
        """Time and market state."""
        answer = await asked(self._http, "clock", "/v2/clock")
        with reading("a clock"):
            return ExchangeClock(
                now_ms=at_ms(answer.body, "timestamp"),
                is_open=answer.body.get("is_open") is True,
                next_open_ms=at_ms(answer.body, "next_open"),
                next_close_ms=at_ms(answer.body, "next_close"),
            )

    async def calendar(self, first: str, last: str) -> list[ExchangeDay]:
        """The sessions from one date to another."""
        query = {"start": first, "end": last}
        answer = await asked(self._http, "calendar", "/v2/calendar", query)
        with reading("a calendar"):
            return [_day(row) for row in rows_of(answer, "/v2/calendar")]

    async def stock(self, symbol: str) -> StockFacts | None:
        """One stock, None when Alpaca does not know it."""
        answer = await self._http.read("assets", f"/v2/assets/{quote(symbol, safe='')}")
        if answer.status == 404:
            return None
        with reading("an asset"):
            return StockFacts(
                symbol=words(answer.body, "symbol"),
                is_tradable=answer.body.get("tradable") is True and answer.body.get("status") == "active",
                is_shortable=_flag(answer.body, "shortable"),
                is_easy_to_borrow=_easy(answer.body),
                is_fractionable=_flag(answer.body, "fractionable"),
            )

    async def easy_to_borrow(self, symbol: str) -> bool | None:
        """Whether shares are there to be sold short now; None where Alpaca knows no such stock or does not say."""
        found = await self.stock(symbol)
        answers = (None,) if found is None else (found.is_shortable, found.is_easy_to_borrow)
        return False if False in answers else None if None in answers else True

    async def blocks(self) -> tuple[str, ...]:
        """Why the account may not trade, in Alpaca's words; empty when it may."""
        return blocks((await asked(self._http, "account", "/v2/account")).body)


def _day(fields: Fields) -> ExchangeDay:
    date = words(fields, "date")
    return ExchangeDay(
        date=date,
        open_ms=_local_ms(date, words(fields, "open")),
        close_ms=_local_ms(date, words(fields, "close")),
    )


def _local_ms(date: str, time: str) -> int:
    try:
        return int(datetime.fromisoformat(f"{date}T{time}").replace(tzinfo=ZONE).timestamp()) * 1000
    except ValueError:
        raise BadAnswerError(f"{date!r} {time!r} is no instant") from None


def _easy(fields: Fields) -> bool | None:
    """``borrow_status`` took the place of ``easy_to_borrow`` in 2026; either counts."""
    status = fields.get("borrow_status")
    if isinstance(status, str) and status:
        return status.lower() in EASY
    return _flag(fields, "easy_to_borrow")


def _flag(fields: Fields, name: str) -> bool | None:
    value = fields.get(name)
    return value if isinstance(value, bool) else None

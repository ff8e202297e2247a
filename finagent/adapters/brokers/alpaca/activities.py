"""Executions and cash flows from Alpaca's account activities, and the one key that an execution has on every way.

The stream names an execution by ``execution_id``, the activities by ``<local time>::<uuid>``; that the two uuids are
the same is documented nowhere. Both ways tell the order and its cumulative filled quantity right after the execution,
which only grows: that pair is our execution id. It also makes the quantities of an order's fills add up to its
``filled_qty`` exactly, for each fill is the difference of two such sums.
"""

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from finagent.adapters.brokers.alpaca.numbers import (
    BadAnswerError,
    Fields,
    at_ms,
    decimal_text,
    money_e8,
    price_e4,
    span_e4,
    words,
)
from finagent.adapters.brokers.alpaca.orders import side_of
from finagent.domain.orders import BrokerCashFlow, BrokerFill

ZONE = ZoneInfo("America/New_York")
KINDS = {"CSD": "deposit", "CSW": "withdrawal"}
PREFIXES = (("DIV", "dividend"), ("INT", "interest"))
FEES = ("FEE", "CFEE", "REG", "TAF", "PTC", "DIVFEE")
STAMP_DIGITS = 17


@dataclass(frozen=True, slots=True)
class Execution:
    """One execution before its order's client id is known; ``order_id`` is Alpaca's, quantities in 1e-4."""

    order_id: str
    fields: Fields
    before_e4: int
    after_e4: int

    def fill(self, client_order_id: str) -> BrokerFill:
        """The execution as the port tells it."""
        is_activity = "transaction_time" in self.fields
        return BrokerFill(
            execution_id=execution_id(self.order_id, self.after_e4),
            client_order_id=client_order_id,
            symbol=words(self.fields, "symbol"),
            side=side_of(self.fields),
            quantity_e4=self.after_e4 - self.before_e4,
            price_e4=price_e4(self.fields, "price"),
            at_ms=at_ms(self.fields, "transaction_time" if is_activity else "timestamp"),
        )


def execution_id(order_id: str, after_e4: int) -> str:
    """The key of an execution: Alpaca's order id, and what the order has filled with it."""
    return f"{order_id}/{decimal_text(after_e4)}"


def execution_from(fields: Fields, *, cumulative: str) -> Execution:
    """An execution of an activity or an event; ``cumulative`` names the field with the order's filled quantity."""
    before_e4, after_e4 = span_e4(fields, cumulative, "qty")
    return Execution(words(fields, "order_id"), fields, before_e4, after_e4)


def cash_flow_from(fields: Fields) -> BrokerCashFlow:
    """Money without a trade; its instant is the one its id begins with, which is exchange time."""
    kind = words(fields, "activity_type")
    symbol = fields.get("symbol")
    return BrokerCashFlow(
        flow_id=words(fields, "id"),
        at_ms=_booked_ms(fields),
        kind=_kind(kind),
        amount_e8=money_e8(fields, "net_amount"),
        symbol=symbol if isinstance(symbol, str) and symbol else None,
    )


def _kind(kind: str) -> str:
    if kind in FEES:
        return "fee"
    return KINDS.get(kind) or next((name for prefix, name in PREFIXES if kind.startswith(prefix)), "other")


def _booked_ms(fields: Fields) -> int:
    digits = words(fields, "id").partition("::")[0]
    try:
        if len(digits) == STAMP_DIGITS and digits.isdigit():
            at = datetime.strptime(digits[:14], "%Y%m%d%H%M%S").replace(tzinfo=ZONE)
            return int(at.timestamp()) * 1000 + int(digits[14:])
        return int(datetime.fromisoformat(words(fields, "date")[:10]).replace(tzinfo=ZONE).timestamp()) * 1000
    except ValueError:
        raise BadAnswerError(f"id is {digits!r} and date is {fields.get('date')!r}, no instant") from None

"""The account and its positions from Alpaca's documents."""

from finagent.adapters.brokers.alpaca.numbers import (
    BadAnswerError,
    Fields,
    maybe_money_e8,
    maybe_price_e4,
    money_e8,
    signed_quantity_e4,
    words,
)
from finagent.domain.orders import BrokerAccount, BrokerPosition

FLAGS = ("trading_blocked", "account_blocked", "trade_suspended_by_user")


def account_from(fields: Fields) -> BrokerAccount:
    """The account; what the end of the day-trading rule took away is not missed, other fields are.

    Blocked is an account that is not ACTIVE, or one for which Alpaca or its owner has stopped trading.
    """
    flags = {name: fields.get(name, False) for name in FLAGS}
    odd = [name for name, value in flags.items() if not isinstance(value, bool)]
    if odd:
        raise BadAnswerError(f"{odd[0]} is {flags[odd[0]]!r}, neither true nor false")
    return BrokerAccount(
        currency=words(fields, "currency"),
        cash_e8=money_e8(fields, "cash"),
        equity_e8=money_e8(fields, "equity"),
        buying_power_e8=money_e8(fields, "buying_power"),
        account_id=words(fields, "account_number"),
        last_equity_e8=maybe_money_e8(fields, "last_equity"),
        is_blocked=words(fields, "status") != "ACTIVE" or any(flags.values()),
    )


def blocks(fields: Fields) -> tuple[str, ...]:
    """Why an account is blocked, in Alpaca's own words."""
    status = fields.get("status")
    found = [] if status == "ACTIVE" else [f"status {status}"]
    return (*found, *(name for name in FLAGS if fields.get(name) is True))


def position_from(fields: Fields) -> BrokerPosition:
    """A position; a short one is negative whether its quantity says so or only its side does."""
    quantity = signed_quantity_e4(fields, "qty")
    side = words(fields, "side")
    if side not in ("long", "short"):
        raise BadAnswerError(f"side is {side!r}, neither long nor short")
    if side == "long" and quantity < 0:
        raise BadAnswerError(f"qty is {fields.get('qty')!r} on the long side")
    return BrokerPosition(
        symbol=words(fields, "symbol"),
        quantity_e4=-abs(quantity) if side == "short" else quantity,
        mark_e4=maybe_price_e4(fields, "current_price"),
    )

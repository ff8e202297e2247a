"""Alpaca's refusals in the words of the port: one word as the reason, the broker's own text as the detail."""

from collections.abc import Mapping

from finagent.ports import (
    BrokerAccessError,
    DuplicateClientOrderIdError,
    OrderRejectedError,
    OutcomeUnknownError,
)

KEYS_MEND = (
    "make new keys in Alpaca's dashboard, for paper or live as broker.endpoint says, and set them again"
)
REASONS: tuple[tuple[str, str], ...] = (
    ("insufficient qty", "insufficient_quantity"),
    ("insufficient buying power", "insufficient_buying_power"),
    ("insufficient day trading buying power", "insufficient_buying_power"),
    ("insufficient balance", "insufficient_buying_power"),
    ("sub-penny", "off_tick"),
    ("minimum pricing criteria", "off_tick"),
    ("wash trade", "wash_trade"),
    ("while a short sell order is open", "wash_trade"),
    ("while a long buy order is open", "wash_trade"),
    ("sold short", "not_shortable"),
    ("not allowed to short", "not_shortable"),
    ("cannot be shorted", "not_shortable"),
    ("hard to borrow", "not_shortable"),
    ("stop price must be", "stop_beyond_price"),
    ("market is closed", "market_closed"),
    ("market hours", "market_closed"),
    ("opg order", "market_closed"),
    ("opening auction", "market_closed"),
    ("not fractionable", "no_fractions"),
    ("fractional order", "no_fractions"),
    ("parameters are not changed", "unchanged"),
    ("already in", "not_open"),
    ("not open", "not_open"),
    ("isn't sent to exchange yet", "not_open"),
    ("order not found", "unknown_order"),
    ("trading is blocked", "account_blocked"),
    ("restricted", "account_blocked"),
    ("not allowed for account", "account_blocked"),
    ("rejected by user request", "account_blocked"),
    ("not tradable", "not_tradable"),
    ("is not active", "not_tradable"),
)
"""What the message says, as the journal and the metrics name it; the first that fits counts."""


def is_access(status: int, body: Mapping[str, object]) -> bool:
    """Whether the keys were refused: 401, or a 403 of the gateway, which has no code and says ``forbidden``."""
    return status == 401 or (
        status == 403 and body.get("code") is None and "forbidden" in _message(body).lower()
    )


def access_error(status: int, body: Mapping[str, object]) -> BrokerAccessError:
    """Keys that are wrong or expired, or of the other endpoint."""
    said = _message(body) or "no reason given"
    return BrokerAccessError(f"Alpaca refuses the keys: HTTP {status}, {said}", KEYS_MEND)


def refusal(status: int, body: Mapping[str, object]) -> Exception:
    """The error of an order that was answered with 4xx; OutcomeUnknownError where the answer does not settle it."""
    message = _message(body)
    if is_access(status, body):
        return access_error(status, body)
    if "client_order_id must be unique" in message:
        return DuplicateClientOrderIdError(message)
    if status not in (400, 403, 422) and not (status == 404 and "order not found" in message):
        return OutcomeUnknownError(f"Alpaca answers HTTP {status}: {message or 'nothing'}")
    if body.get("code") is None and not message:
        return OutcomeUnknownError(f"Alpaca answers HTTP {status} without a reason")
    return OrderRejectedError(reason_of(message), _detail(message, body))


def reason_of(message: str) -> str:
    """One word for a message; ``rejected`` for one that is not known."""
    text = message.lower()
    if "not find" in text or ("asset" in text and "not found" in text):
        return "unknown_symbol"
    return next((reason for words, reason in REASONS if words in text), "rejected")


def _detail(message: str, body: Mapping[str, object]) -> str:
    more = body.get("reject_reason")
    code = body.get("code")
    said = f"{message}, {more}" if isinstance(more, str) and more else message
    return f"{said} (code {code})" if code is not None else said


def _message(body: Mapping[str, object]) -> str:
    message = body.get("message")
    return " ".join(message.split())[:300] if isinstance(message, str) else ""

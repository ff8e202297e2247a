"""The JSON documents of Alpaca's API, in the shapes its reference shows: numbers as strings, times in RFC 3339."""

import hashlib
import uuid
from decimal import Decimal

from finagent.simulation.alpaca.book import Account, Asset, Book, CashActivity, Fill, Holding, Order
from finagent.simulation.alpaca.hours import Day, stamp

Document = dict[str, object]


def text(value: Decimal | None) -> str | None:
    """A number without needless zeros."""
    if value is None:
        return None
    plain = f"{value:f}"
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def asset_id(symbol: str) -> str:
    """The id of a stock."""
    return str(uuid.UUID(bytes=hashlib.sha256(symbol.encode()).digest()[:16], version=4))


def order_document(order: Order) -> Document:
    """An order as REST and stream show it."""
    average = order.filled_value / order.filled_qty if order.filled_qty else None
    return {
        "id": order.id,
        "client_order_id": order.client_order_id,
        "created_at": stamp(order.submitted_ms),
        "updated_at": stamp(order.updated_ms),
        "submitted_at": stamp(order.submitted_ms),
        "filled_at": _at(order.filled_ms),
        "expired_at": _at(order.expired_ms),
        "canceled_at": _at(order.canceled_ms),
        "failed_at": _at(order.failed_ms),
        "replaced_at": _at(order.replaced_ms),
        "replaced_by": order.replaced_by,
        "replaces": order.replaces,
        "asset_id": asset_id(order.symbol),
        "symbol": order.symbol,
        "asset_class": "us_equity",
        "notional": None,
        "qty": text(order.qty),
        "filled_qty": text(order.filled_qty),
        "filled_avg_price": None if average is None else text(average.quantize(Decimal("0.000000001"))),
        "order_class": "",
        "order_type": order.type,
        "type": order.type,
        "side": order.side,
        "time_in_force": order.time_in_force,
        "limit_price": text(order.limit_price),
        "stop_price": text(order.stop_price),
        "status": order.status,
        "extended_hours": order.extended_hours,
        "legs": None,
        "trail_percent": None,
        "trail_price": None,
        "hwm": None,
        "subtag": None,
        "source": None,
        "expires_at": _at(order.expires_ms),
    }


def position_document(holding: Holding, asset: Asset, available: Decimal) -> Document:
    """An open position."""
    value = holding.qty * asset.price
    basis = holding.qty * holding.avg_entry_price
    return {
        "asset_id": asset_id(holding.symbol),
        "symbol": holding.symbol,
        "exchange": "NASDAQ",
        "asset_class": "us_equity",
        "asset_marginable": True,
        "avg_entry_price": text(holding.avg_entry_price),
        "qty": text(holding.qty),
        "qty_available": text(available),
        "side": "long" if holding.qty > 0 else "short",
        "market_value": text(value),
        "cost_basis": text(basis),
        "unrealized_pl": text(value - basis),
        "current_price": text(asset.price),
        "lastday_price": text(asset.price),
    }


def account_document(book: Book) -> Document:
    """The account; without the fields of the day-trading rule, which Alpaca removed in July 2026."""
    account: Account = book.account
    longs = sum(
        (h.qty * book.assets[h.symbol].price for h in book.holdings.values() if h.qty > 0), Decimal(0)
    )
    shorts = sum(
        (h.qty * book.assets[h.symbol].price for h in book.holdings.values() if h.qty < 0), Decimal(0)
    )
    return {
        "id": account.id,
        "account_number": account.account_number,
        "status": account.status,
        "crypto_status": "INACTIVE",
        "currency": account.currency,
        "buying_power": text(book.buying_power()),
        "regt_buying_power": text(book.buying_power()),
        "cash": text(account.cash),
        "portfolio_value": text(book.equity),
        "equity": text(book.equity),
        "last_equity": text(account.last_equity),
        "long_market_value": text(longs),
        "short_market_value": text(shorts),
        "multiplier": str(account.multiplier),
        "shorting_enabled": account.shorting_enabled,
        "trading_blocked": account.trading_blocked,
        "transfers_blocked": False,
        "account_blocked": account.account_blocked,
        "trade_suspended_by_user": account.trade_suspended_by_user,
        "created_at": "2024-01-02T15:00:00.000000Z",
        "initial_margin": "0",
        "maintenance_margin": "0",
        "sma": "0",
    }


def asset_document(asset: Asset) -> Document:
    """A stock; with the borrow status that took the place of ``easy_to_borrow``."""
    status = "easy_to_borrow" if asset.easy_to_borrow else "hard_to_borrow"
    return {
        "id": asset_id(asset.symbol),
        "class": "us_equity",
        "exchange": "NASDAQ",
        "symbol": asset.symbol,
        "name": f"{asset.symbol} Inc. Common Stock",
        "status": "active" if asset.tradable else "inactive",
        "tradable": asset.tradable,
        "marginable": True,
        "shortable": asset.shortable,
        "borrow_status": status if asset.shortable else "not_borrowable",
        "fractionable": asset.fractionable,
        "attributes": [],
    }


def fill_document(fill: Fill) -> Document:
    """An execution among the account's activities."""
    return {
        "id": fill.activity,
        "activity_type": "FILL",
        "transaction_time": stamp(fill.at_ms),
        "type": "fill" if fill.leaves_qty == 0 else "partial_fill",
        "price": text(fill.price),
        "qty": text(fill.qty),
        "side": fill.side,
        "symbol": fill.symbol,
        "leaves_qty": text(fill.leaves_qty),
        "order_id": fill.order_id,
        "cum_qty": text(fill.cum_qty),
        "order_status": "filled" if fill.leaves_qty == 0 else "partially_filled",
    }


def cash_document(activity: CashActivity) -> Document:
    """A non-trade activity."""
    found: Document = {
        "id": activity.activity,
        "activity_type": activity.activity_type,
        "date": activity.date,
        "net_amount": text(activity.net_amount),
        "description": activity.description,
        "status": "executed",
        "currency": "USD",
    }
    return found if activity.symbol is None else {**found, "symbol": activity.symbol}


def day_document(day: Day) -> Document:
    """A session of the calendar."""
    return {
        "date": day.date,
        "open": day.open,
        "close": day.close,
        "session_open": "0400",
        "session_close": "2000",
        "settlement_date": day.date,
    }


def _at(at_ms: int | None) -> str | None:
    return None if at_ms is None else stamp(at_ms)

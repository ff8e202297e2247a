"""The control door: what tests and drills tell the simulated broker to do, under a token of its own."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from decimal import Decimal

from finagent.runtime.clock import PacedClock
from finagent.simulation.alpaca.book import Asset, Order
from finagent.simulation.alpaca.documents import asset_document, fill_document, order_document, text
from finagent.simulation.alpaca.faults import STREAM_ACTIONS, BadOrderError, Faults
from finagent.simulation.alpaca.hours import Day, stamp
from finagent.simulation.alpaca.rest import Rest
from finagent.simulation.alpaca.stream import Streams
from finagent.simulation.alpaca.venue import Venue

Command = Mapping[str, object]


class Control:
    """Commands by name; each takes and gives a document."""

    def __init__(
        self, venue: Venue, rest: Rest, streams: Streams, faults: Faults, arrive: Callable[[], int]
    ) -> None:
        self._venue, self._rest, self._streams, self._faults = venue, rest, streams, faults
        self._arrive = arrive
        self.keys: dict[str, str] = {}
        self._commands: dict[str, Callable[[Command], object]] = {
            "asset": self._asset,
            "trade": self._trade,
            "market": self._market,
            "fill": self._fill,
            "end": self._end,
            "hold": self._hold,
            "cash": self._cash,
            "account": self._account,
            "clock": self._clock,
            "day": self._day,
            "mode": self._mode,
            "fault": self._fault,
            "clear": self._clear,
            "arrive": lambda order: {"orders": self._arrive()},
            "stream": self._stream,
            "order": self._order,
            "keys": self._keys,
            "look": self._look,
        }

    def run(self, name: str, order: Command) -> object:
        """Carry a command out; BadOrderError when it cannot be understood."""
        command = self._commands.get(name)
        if command is None:
            raise BadOrderError(f"no command {name!r}: known are {', '.join(self._commands)}")
        try:
            return command(order)
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:
            raise BadOrderError(f"{name}: {type(error).__name__} {error}") from None

    def _asset(self, order: Command) -> object:
        """``{symbol, price, tradable, shortable, easy_to_borrow, fractionable, is_halted}``."""
        symbol = str(order["symbol"])
        asset = self._venue.book.assets.get(symbol) or Asset(
            symbol=symbol, price=Decimal(str(order["price"]))
        )
        _set(asset, order)
        self._venue.book.assets[symbol] = asset
        self._venue.on_change("asset", asset)
        return asset_document(asset)

    def _trade(self, order: Command) -> object:
        """``{symbol, price, volume}``: the market trades there."""
        volume = order.get("volume")
        before = len(self._venue.book.fills)
        self._venue.trade(
            str(order["symbol"]),
            Decimal(str(order["price"])),
            volume=None if volume is None else Decimal(str(volume)),
        )
        return {"fills": [fill_document(f) for f in self._venue.book.fills[before:]]}

    def _market(self, order: Command) -> object:
        """``{prices: {symbol: price}}``: each trades there, those that are new as well."""
        prices = order["prices"]
        if not isinstance(prices, Mapping):
            raise TypeError("prices is no mapping of symbols to prices")
        for symbol, price in prices.items():
            self._venue.trade(str(symbol), Decimal(str(price)))
        return {"symbols": len(prices)}

    def _fill(self, order: Command) -> object:
        """``{client_order_id, qty, price}``: so much of an order, whatever its terms (an overfill too)."""
        found = self._found(order)
        return fill_document(
            self._venue.fill(found, Decimal(str(order["qty"])), Decimal(str(order["price"])))
        )

    def _end(self, order: Command) -> object:
        """``{client_order_id, status, event}``: canceled, expired, rejected, done_for_day, suspended ..."""
        found = self._found(order)
        event = order.get("event")
        self._venue.end(found, str(order["status"]), event=None if event is None else str(event))
        return order_document(found)

    def _hold(self, order: Command) -> object:
        """``{symbol, qty, price}``: a position that came from elsewhere."""
        self._venue.hold(str(order["symbol"]), Decimal(str(order["qty"])), Decimal(str(order["price"])))
        return {}

    def _cash(self, order: Command) -> object:
        """``{type, amount, symbol, date}``: a deposit, fee, dividend ..."""
        symbol, day = order.get("symbol"), order.get("date")
        self._venue.move_cash(
            str(order["type"]),
            Decimal(str(order["amount"])),
            symbol=None if symbol is None else str(symbol),
            day=None if day is None else str(day),
        )
        return {}

    def _account(self, order: Command) -> object:
        """Any field of the account: ``{currency, trading_blocked, cash, account_number, status ...}``."""
        _set(self._venue.book.account, order)
        self._venue.on_change("account", self._venue.book.account)
        return {}

    def _clock(self, order: Command) -> object:
        """``{at_ms}`` stands still there; ``{skew_ms}`` runs with real time; ``{at_ms, since_ms, pace}`` at a pace."""
        if "pace" in order:
            numbers = {name: int(str(order[name])) for name in ("at_ms", "since_ms", "pace")}
            self._venue.clock.follow(PacedClock(**numbers))
        elif "at_ms" in order:
            self._venue.clock.stand_at(int(str(order["at_ms"])))
        else:
            self._venue.clock.run(skew_ms=int(str(order.get("skew_ms", 0))))
        self._venue.pass_time()
        return {"now": stamp(self._venue.clock.now_ms())}

    def _day(self, order: Command) -> object:
        """``{date, open, close}`` sets a session's hours, ``{date, holiday: true}`` takes it away."""
        name = str(order["date"])
        day = None if order.get("holiday") else Day(**{k: str(v) for k, v in order.items()})
        self._venue.hours.days = {**self._venue.hours.days, name: day}
        return {}

    def _mode(self, order: Command) -> object:
        """``{immediate: bool, pending_cancel_ms: int, positions_empty: bool}``."""
        if "immediate" in order:
            self._venue.is_immediate = bool(order["immediate"])
        if "pending_cancel_ms" in order:
            self._venue.pending_cancel_ms = int(str(order["pending_cancel_ms"]))
        if "positions_empty" in order:
            self._rest.is_positions_empty = bool(order["positions_empty"])
        return {}

    def _fault(self, order: Command) -> object:
        """A ``Fault`` as a document."""
        self._faults.add(order)
        return {}

    def _clear(self, order: Command) -> object:
        """No request misbehaves any more, held events go out."""
        self._faults.clear()
        self._streams.release()
        return {}

    def _stream(self, order: Command) -> object:
        """``{action, count}``: duplicate, shuffle, replay, mute, deaf, close, garbage, refuse."""
        action = str(order["action"])
        if action not in (*STREAM_ACTIONS, "replay"):
            raise BadOrderError(f"no stream action {action!r}: known are {', '.join(STREAM_ACTIONS)}, replay")
        self._streams.misbehave(action, int(str(order.get("count", 1))))
        return {}

    def _order(self, order: Command) -> object:
        """An order that did not come from the client: placed in the broker's own app, or an old one."""
        return order_document(self._venue.submit(order))

    def _keys(self, order: Command) -> object:
        """``{key, secret}``: the only keys that are let in."""
        self.keys = {str(order["key"]): str(order["secret"])}
        return {}

    def _look(self, order: Command) -> object:
        """Everything there is, for a judge."""
        book = self._venue.book
        return {
            "now_ms": self._venue.clock.now_ms(),
            "orders": [{**order_document(o), "hidden": o.is_hidden} for o in book.orders.values()],
            "fills": [fill_document(f) for f in book.fills],
            "positions": {symbol: text(h.qty) for symbol, h in sorted(book.holdings.items())},
            "cash": text(book.account.cash),
            "equity": text(book.equity),
            "streams": self._streams.listening,
            "fired": dict(sorted(self._faults.fired.items())),
        }

    def _found(self, order: Command) -> Order:
        found = self._venue.book.by_client_id(str(order["client_order_id"]))
        if found is None:
            raise BadOrderError(f"no order {order['client_order_id']}")
        return found


def _set(target: object, values: Command) -> None:
    known = {each.name: each for each in fields(target)}  # type: ignore[arg-type]
    for name, value in values.items():
        if name not in known:
            raise BadOrderError(f"{type(target).__name__} has no {name}")
        is_amount = isinstance(getattr(target, name), Decimal)
        setattr(target, name, Decimal(str(value)) if is_amount else value)

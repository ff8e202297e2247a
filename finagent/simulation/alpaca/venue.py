"""The simulated broker itself: takes, replaces and cancels orders, fills them, closes its day, and tells each event."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal

from finagent.simulation.alpaca import rules
from finagent.simulation.alpaca.book import ZERO, Asset, Book, CashActivity, Fill, Holding, Order
from finagent.simulation.alpaca.documents import Document, order_document, text
from finagent.simulation.alpaca.hours import Hours, VenueClock, digits, local_date, stamp
from finagent.simulation.alpaca.rules import RefusedError, number

Listener = Callable[[Document], None]
OPENING_LASTS_MS = 60_000


class Venue:
    """Alpaca's side of an account; every change goes to ``on_event`` (the stream) and ``on_change`` (what is kept).

    With ``is_immediate`` a marketable order fills as soon as it is taken; else it waits for the next trade.
    """

    def __init__(self, book: Book, clock: VenueClock, hours: Hours) -> None:
        self.book, self.clock, self.hours = book, clock, hours
        self.is_immediate = False
        self.pending_cancel_ms = 0
        self.on_event: Listener = _ignore
        self.on_change: Callable[[str, object], None] = _ignore_change
        self.on_accepted: Callable[[Order], None] = _ignore_order

    # ------------------------------------------------------------ orders in

    def submit(self, body: Mapping[str, object], *, is_hidden: bool = False) -> Order:
        """Take an order; RefusedError where a rule stands against it."""
        client_id = str(body.get("client_order_id") or self.book.new_id("client"))
        if len(client_id) > rules.MOST_CLIENT_ID:
            raise RefusedError(422, rules.MALFORMED, "client_order_id must be no more than 128 characters")
        if self.book.by_client_id(client_id) is not None:
            raise RefusedError(422, rules.MALFORMED, "client_order_id must be unique")
        rules.check_account(self.book)
        order_class = str(body.get("order_class") or "simple")
        asset = rules.asset_of(self.book, body.get("symbol"))
        order = self._order(body, client_id)
        if order_class != "simple":
            self._check_class(order, order_class)
        self._check(order, asset)
        order.is_hidden = is_hidden
        self.book.orders[order.id] = order
        self.on_accepted(order)
        self.on_change("order", order)
        self._tell(order, "new")
        if self.is_immediate:
            self._match(order, asset)
        return order

    def change(self, order_id: str, body: Mapping[str, object]) -> Order:
        """Replace an open order by another of its own id; the new one begins without fills."""
        old = self._open(order_id)
        client_id = str(body.get("client_order_id") or self.book.new_id("client"))
        if self.book.by_client_id(client_id) is not None:
            raise RefusedError(422, rules.MALFORMED, "client_order_id must be unique")
        new = replace(
            old,
            id=self.book.new_id("order"),
            client_order_id=client_id,
            qty=number(body, "qty") or old.qty,
            limit_price=number(body, "limit_price") or old.limit_price,
            stop_price=number(body, "stop_price") or old.stop_price,
            time_in_force=str(body.get("time_in_force") or old.time_in_force),
            filled_qty=ZERO,
            filled_value=ZERO,
            replaces=old.id,
            submitted_ms=self.clock.now_ms(),
            updated_ms=self.clock.now_ms(),
        )
        same = (old.qty, old.limit_price, old.stop_price, old.time_in_force)
        if (new.qty, new.limit_price, new.stop_price, new.time_in_force) == same:
            raise RefusedError(403, rules.FORBIDDEN, "order parameters are not changed")
        asset = rules.asset_of(self.book, old.symbol)
        self._check(new, asset, but=old.id)
        new.status = self._first_status(new)
        old.status, old.replaced_by, old.replaced_ms = "replaced", new.id, self.clock.now_ms()
        self.book.orders[new.id] = new
        self.on_accepted(new)
        self._changed(old)
        self._changed(new)
        self._tell(old, "replaced", timestamp=stamp(self.clock.now_ms()))
        self._tell(new, "new")
        if self.is_immediate:
            self._match(new, asset)
        return new

    def cancel(self, order_id: str) -> None:
        """Ask for the end of an open order; it may take ``pending_cancel_ms``."""
        order = self._open(order_id)
        if self.pending_cancel_ms:
            order.status = "pending_cancel"
            self._changed(order)
            self._tell(order, "pending_cancel")
        else:
            self.end(order, "canceled")

    def end(self, order: Order, status: str, *, event: str | None = None) -> None:
        """An order is over: canceled, expired, rejected, done_for_day."""
        now_ms = self.clock.now_ms()
        order.status = status
        if status == "canceled":
            order.canceled_ms = now_ms
        elif status == "expired":
            order.expired_ms = now_ms
        elif status == "rejected":
            order.failed_ms = now_ms
        self._changed(order)
        self._tell(order, event or status, timestamp=stamp(now_ms))

    def _order(self, body: Mapping[str, object], client_id: str) -> Order:
        side, kind, force = str(body.get("side")), str(body.get("type")), str(body.get("time_in_force"))
        if body.get("notional") is not None:
            raise RefusedError(422, rules.MALFORMED, "notional orders are not simulated")
        qty = number(body, "qty")
        if qty is None:
            raise RefusedError(422, rules.MALFORMED, "qty or notional is required")
        for name, value, known in (
            ("side", side, ("buy", "sell")),
            ("type", kind, rules.TYPES),
            ("time_in_force", force, ("day", "gtc", "opg", "cls", "ioc", "fok")),
        ):
            if value not in known:
                raise RefusedError(422, rules.MALFORMED, f"invalid {name}")
        now_ms = self.clock.now_ms()
        order = Order(
            id=self.book.new_id("order"),
            client_order_id=client_id,
            symbol=str(body.get("symbol")),
            side=side,
            type=kind,
            time_in_force=force,
            qty=qty,
            limit_price=number(body, "limit_price"),
            stop_price=number(body, "stop_price"),
            extended_hours=body.get("extended_hours") is True,
            submitted_ms=now_ms,
            updated_ms=now_ms,
            expires_ms=self.hours.working_day(now_ms).close_ms,
        )
        order.status = self._first_status(order)
        return order

    def _first_status(self, order: Order) -> str:
        is_working = self.hours.is_open(self.clock.now_ms()) and order.time_in_force != "opg"
        return "new" if is_working else "accepted"

    def _check(self, order: Order, asset: Asset, *, but: str | None = None) -> None:
        rules.check_prices(order, asset)
        rules.check_terms(order, asset, self.clock.now_ms())
        rules.check_wash_trade(self.book, order, but=but)
        rules.check_quantity(self.book, order, asset, but=but)

    def _check_class(self, order: Order, order_class: str) -> None:
        """Brackets exist at Alpaca, but not for what this agent would need them for; none is simulated."""
        if order.qty != order.qty.to_integral_value():
            raise RefusedError(422, rules.UNPROCESSABLE, "fractional orders must be simple orders")
        if order.type not in ("market", "limit"):
            raise RefusedError(
                422, rules.UNPROCESSABLE, f"{order_class} orders must be entry market or limit orders"
            )
        raise RefusedError(422, rules.UNPROCESSABLE, f"order_class {order_class} is not simulated")

    def _open(self, order_id: str) -> Order:
        order = self.book.orders.get(order_id)
        if order is None or order.is_hidden:
            raise RefusedError(404, rules.NOT_FOUND, f"order not found for {order_id}")
        if not order.is_live:
            raise RefusedError(422, rules.UNPROCESSABLE, f'order is already in "{order.status}" state')
        if order.status in ("pending_cancel", "pending_replace"):
            raise RefusedError(422, rules.UNPROCESSABLE, f'order is in "{order.status}" state')
        return order

    # ------------------------------------------------------------ market

    def trade(self, symbol: str, price: Decimal, *, volume: Decimal | None = None) -> None:
        """The stock trades at a price: open orders that it reaches fill, at most ``volume`` shares of them."""
        asset = self.book.assets.setdefault(symbol, Asset(symbol=symbol, price=price))
        asset.price = price
        self.on_change("asset", asset)
        left = volume
        for order in self.book.live(symbol):
            left = self._match(order, asset, left)

    def fill(self, order: Order, qty: Decimal, price: Decimal) -> Fill:
        """So many shares of an order are traded, whatever the market says; more than its rest is an overfill."""
        now_ms = self.clock.now_ms()
        order.filled_qty += qty
        order.filled_value += qty * price
        leaves = max(ZERO, order.qty - order.filled_qty)
        if order.is_live:
            order.status = "filled" if leaves == 0 else "partially_filled"
        order.filled_ms = now_ms
        holding = self._settle(order, qty, price)
        fill = Fill(
            execution_id=self.book.new_id("execution"),
            activity=f"{digits(now_ms)}::{self.book.new_id('activity')}",
            order_id=order.id,
            symbol=order.symbol,
            side=order.side,
            qty=qty,
            price=price,
            cum_qty=order.filled_qty,
            leaves_qty=leaves,
            at_ms=now_ms,
        )
        self.book.fills.append(fill)
        self.on_change("fill", fill)
        self.on_change("holding", holding)
        self.on_change("account", self.book.account)
        self._changed(order)
        self._tell(
            order,
            "fill" if leaves == 0 else "partial_fill",
            execution_id=fill.execution_id,
            price=text(price),
            qty=text(qty),
            position_qty=text(holding.qty),
            timestamp=stamp(now_ms),
        )
        return fill

    def _match(self, order: Order, asset: Asset, volume: Decimal | None = None) -> Decimal | None:
        """Fill an order as far as the market reaches it; gives the volume that is left."""
        now_ms = self.clock.now_ms()
        is_working = order.is_live and order.submitted_ms <= now_ms and not asset.is_halted
        if not is_working or order.is_hidden or not self.hours.is_open(now_ms):
            return volume
        if order.status == "accepted":
            order.status = "new"
        price = asset.price
        if order.stop_price is not None and not order.is_triggered:
            is_reached = price <= order.stop_price if order.side == "sell" else price >= order.stop_price
            if not is_reached:
                return volume
            order.is_triggered = True
        if order.limit_price is not None:
            is_marketable = price <= order.limit_price if order.side == "buy" else price >= order.limit_price
            if not is_marketable:
                return volume
        qty = order.rest if volume is None else min(order.rest, volume)
        if qty > 0:
            self.fill(order, qty, price)
        return None if volume is None else volume - qty

    def _settle(self, order: Order, qty: Decimal, price: Decimal) -> Holding:
        """Move cash and position; the average entry price changes only with what opens."""
        holding = self.book.holdings.setdefault(order.symbol, Holding(symbol=order.symbol))
        signed = qty if order.side == "buy" else -qty
        after = holding.qty + signed
        if holding.qty * signed >= 0:
            value = abs(holding.qty) * holding.avg_entry_price + qty * price
            holding.avg_entry_price = value / abs(after) if after else ZERO
        elif after * holding.qty < 0:
            holding.avg_entry_price = price
        holding.qty = after
        if after == 0:
            del self.book.holdings[order.symbol]
        self.book.account.cash -= signed * price
        return holding

    # ------------------------------------------------------------ time

    def pass_time(self) -> None:
        """What is due by now: opening orders end after the auction, DAY orders at the close, asked cancels in time."""
        for order in self.book.live():
            status = None if order.is_hidden else self._due(order, self.clock.now_ms())
            if status is not None:
                self.end(order, status)

    def _due(self, order: Order, now_ms: int) -> str | None:
        if order.status == "pending_cancel" and now_ms >= order.updated_ms + self.pending_cancel_ms:
            return "canceled"
        if order.expires_ms is None or order.time_in_force not in ("day", "opg"):
            return None
        if now_ms >= order.expires_ms:
            return "expired"
        day = self.hours.day(local_date(order.expires_ms))
        is_over = day is not None and now_ms >= day.open_ms + OPENING_LASTS_MS
        return "canceled" if order.time_in_force == "opg" and is_over else None

    def move_cash(
        self, kind: str, amount: Decimal, *, symbol: str | None = None, day: str | None = None
    ) -> None:
        """A deposit, dividend, fee or the like."""
        now_ms = self.clock.now_ms()
        activity = CashActivity(
            activity=f"{digits(now_ms)}::{self.book.new_id('cash')}",
            activity_type=kind,
            net_amount=amount,
            at_ms=now_ms,
            date=day or local_date(now_ms),
            symbol=symbol,
        )
        self.book.account.cash += amount
        self.book.cash_activities.append(activity)
        self.on_change("cash", activity)
        self.on_change("account", self.book.account)

    def hold(self, symbol: str, qty: Decimal, price: Decimal) -> None:
        """A position that nobody ordered here: bought elsewhere, or sold in the broker's own app."""
        self.book.assets.setdefault(symbol, Asset(symbol=symbol, price=price))
        holding = Holding(symbol=symbol, qty=qty, avg_entry_price=price)
        if qty:
            self.book.holdings[symbol] = holding
        else:
            self.book.holdings.pop(symbol, None)
        self.on_change("holding", holding)

    def show(self, order: Order) -> None:
        """A late order becomes visible."""
        order.is_hidden = False
        self._changed(order)
        self._tell(order, "new")
        if self.is_immediate:
            self._match(order, self.book.assets[order.symbol])

    def _changed(self, order: Order) -> None:
        order.updated_ms = self.clock.now_ms()
        self.on_change("order", order)

    def _tell(self, order: Order, event: str, **more: object) -> None:
        if not order.is_hidden:
            data: Document = {"event": event, "order": order_document(order), **more}
            data.setdefault("execution_id", self.book.new_id("execution"))
            data["at"] = stamp(self.clock.now_ms())
            self.on_event(data)


def _ignore(event: Document) -> None:
    pass


def _ignore_change(kind: str, row: object) -> None:
    pass


def _ignore_order(order: Order) -> None:
    pass

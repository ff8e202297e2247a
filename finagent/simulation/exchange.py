"""The broker's own truth: orders, executions, holdings and cash, matched against the tape; it outlives the agent."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from finagent.domain.market import Session, Side
from finagent.domain.orders import (
    BrokerCashFlow,
    BrokerFill,
    BrokerOrder,
    BrokerUpdate,
    OrderIntent,
    OrderState,
    OrderType,
)
from finagent.simulation.calendar import SimulatedCalendar
from finagent.simulation.faults import Faults
from finagent.simulation.loop import Outside
from finagent.simulation.orders import as_order, words
from finagent.simulation.tape import Tape

POINT_MS = 20_000
SHARE_E4 = 10_000
RACES = 0.6
"""How often a cancel is raced where that is on."""
FEE_E8 = 35_000_000
"""Of each execution: 0.35."""
WORKING = (OrderState.ACCEPTED, OrderState.PARTIALLY_FILLED)


@dataclass(slots=True)
class Resting:
    """An order at the broker."""

    order: BrokerOrder
    session: str
    number: int
    is_exit: bool
    is_triggered: bool = False
    is_cancelling: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it can still fill."""
        return self.order.state in WORKING

    @property
    def left_e4(self) -> int:
        """What is not filled."""
        return max(0, self.order.quantity_e4 - self.order.filled_e4)


@dataclass(slots=True)
class Books:
    """What the broker would answer for under oath."""

    orders: dict[str, Resting] = field(default_factory=dict)
    fills: list[tuple[str, BrokerFill]] = field(default_factory=list)
    held_e4: dict[str, int] = field(default_factory=dict)
    cash_e8: int = 0
    flows: list[tuple[str, BrokerCashFlow]] = field(default_factory=list)
    arrivals: list[tuple[int, str, str]] = field(default_factory=list)
    """Every order that arrived, and how it was taken: (instant, id, accepted or why not)."""


class Refused(Exception):
    """The broker does not take the order."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


class Exchange:
    """Takes orders, matches them at four points of each minute, and tells whoever listens.

    ``has_attached_exits``: the exits of an entry arm with its fills and cancel each other, else every order stands
    alone and exits may only sell what no other open exit holds.
    """

    def __init__(
        self,
        outside: Outside,
        calendar: SimulatedCalendar,
        tape: Tape,
        faults: Faults,
        rng: random.Random,
        race: random.Random,
        *,
        has_attached_exits: bool,
        cash_e8: int,
    ) -> None:
        self.books = Books(cash_e8=cash_e8)
        self.has_attached_exits = has_attached_exits
        self.listeners: list[Callable[[BrokerUpdate], None]] = []
        self.say: Callable[[str], None] = lambda text: None
        self.executed: Callable[[BrokerFill], None] = lambda fill: None
        self.overfilled: Callable[[str, int], None] = lambda order_id, more_e4: None
        self.external_e4: Counter[str] = Counter()
        self._outside, self._calendar, self._tape = outside, calendar, tape
        self._faults, self._rng, self._race = faults, rng, race
        self._is_ticking = False
        self._count = 0
        self._working: dict[str, Resting] = {}
        self._doomed: dict[str, int] = {}

    # ------------------------------------------------------------ orders
    def accept(self, intents: Sequence[OrderIntent]) -> BrokerOrder:
        """Take an order with its attached legs, all or none; Refused, or KeyError(id) for an id that exists."""
        head, now_ms = intents[0], self._outside.now_ms
        for intent in intents:
            if intent.client_order_id in self.books.orders:
                self.books.arrivals.append((now_ms, intent.client_order_id, "duplicate"))
                raise KeyError(intent.client_order_id)
        try:
            self._check(intents)
        except Refused as refused:
            self.books.arrivals.append((now_ms, head.client_order_id, refused.reason))
            self.say(f"refuses {head.client_order_id}: {refused.reason} {refused.detail}")
            raise
        session = self._calendar.session_at(now_ms)
        if now_ms >= session.close_ms:
            session = self._calendar.after(session.date)
        for intent in intents:
            self._count += 1
            order = as_order(intent, now_ms)
            self._put(Resting(order, session.date, self._count, is_exit=intent.leg != "entry"))
            self.books.arrivals.append((now_ms, intent.client_order_id, "accepted"))
            self.say(f"accepts {words(order)}")
        self._outside.at(now_ms + self._rng.randrange(30, 400), lambda: self._match(head.symbol))
        self._tick()
        return self.books.orders[head.client_order_id].order

    def cancel(self, order_id: str, *, reason: str = "cancelled") -> bool:
        """Ask for the end of an order; it comes a moment later, and a fill may come before it."""
        found = self.books.orders.get(order_id)
        if found is None or not found.is_open:
            return False
        if not found.is_cancelling:
            found.is_cancelling = True
            wait_ms = self._rng.randrange(5, 200)
            if self._faults.strikes("cancel_race"):
                wait_ms = self._rng.randrange(2_000, 8_000)
            self._outside.at(self._outside.now_ms + wait_ms, lambda: self._cancelled(order_id, reason))
            if self._faults.is_on("cancel_race") and self._race.random() < RACES:
                self._outside.at(self._outside.now_ms + wait_ms // 2, lambda: self._touch(found))
        return True

    def change(self, order_id: str, new: OrderIntent) -> BrokerOrder:
        """Put an order in the place of an open one in one step; Refused or KeyError(id)."""
        old = self.books.orders.get(order_id)
        if new.client_order_id in self.books.orders:
            raise KeyError(new.client_order_id)
        if old is None or not old.is_open or old.is_cancelling or old.is_triggered:
            self.books.arrivals.append((self._outside.now_ms, new.client_order_id, "not_open"))
            raise Refused("not_open", order_id)
        self._check([new], without=old)
        now_ms = self._outside.now_ms
        self._count += 1
        fresh = Resting(as_order(new, now_ms), old.session, self._count, is_exit=old.is_exit)
        self._put(fresh)
        self.books.arrivals.append((now_ms, new.client_order_id, "accepted"))
        self._end(old, OrderState.CANCELLED, "replaced", replaced_by=new.client_order_id)
        self.say(f"replaces {order_id} by {words(fresh.order)}")
        return fresh.order

    def free_e4(self, symbol: str, *, without: Resting | None = None) -> int:
        """Shares held that no open exit is waiting to sell."""
        taken_e4 = 0
        armed_e4: dict[str, int] = {}
        for each in self._open(symbol):
            parent_id = each.order.parent_id
            if each.order.side is not Side.SELL or each is without:
                continue
            if parent_id is None:
                taken_e4 += each.left_e4
            else:
                armed_e4[parent_id] = max(armed_e4.get(parent_id, 0), self._fillable_e4(each))
        return self.books.held_e4.get(symbol, 0) - taken_e4 - sum(armed_e4.values())

    def trade_by_hand(self, symbol: str, quantity_e4: int, *, order_id: str) -> bool:
        """A person buys (or, below 0, sells) at the market in the broker's own app; False when it cannot be."""
        now_ms = self._outside.now_ms
        session = self._calendar.session_at(now_ms)
        is_open = session.open_ms <= now_ms < session.close_ms and not self._tape.is_halted(symbol, now_ms)
        if not is_open or -quantity_e4 > self.free_e4(symbol):
            return False
        found = self._by_hand(symbol, quantity_e4, order_id, session)
        if quantity_e4 > 0:
            self.external_e4[symbol] += quantity_e4
        else:  # nobody can tell by whose shares were sold: what is not the agent's goes first, as its books say
            self.external_e4[symbol] -= min(max(self.external_e4[symbol], 0), -quantity_e4)
        self._fill(found, abs(quantity_e4), self.price_e4(symbol, session, now_ms))
        return True

    def plant(self, intent: OrderIntent) -> None:
        """An order that nobody of this world sent."""
        self._count += 1
        now_ms = self._outside.now_ms
        session = self._calendar.session_at(now_ms).date
        self._put(Resting(as_order(intent, now_ms), session, self._count, is_exit=False))
        self.say(f"has {intent.client_order_id} from nowhere")

    def flows(self, flow: BrokerCashFlow) -> None:
        """Money comes or goes."""
        self.books.cash_e8 += flow.amount_e8
        self.books.flows.append((self._calendar.session_at(flow.at_ms).date, flow))
        self.say(f"{flow.kind} {flow.amount_e8 // 100_000_000}")

    def open_orders(self, symbol: str | None = None) -> list[Resting]:
        """Orders that can still fill, in the order they came."""
        return self._open(symbol)

    def _by_hand(self, symbol: str, quantity_e4: int, order_id: str, session: Session) -> Resting:
        self._count += 1
        side = Side.BUY if quantity_e4 > 0 else Side.SELL
        order = BrokerOrder(
            client_order_id=order_id,
            symbol=symbol,
            side=side,
            type=OrderType.MARKET,
            quantity_e4=abs(quantity_e4),
            filled_e4=0,
            state=OrderState.ACCEPTED,
            accepted_at_ms=self._outside.now_ms,
        )
        found = Resting(order, session.date, self._count, is_exit=side is Side.SELL)
        self._put(found)
        return found

    def covered_e4(self, symbol: str) -> int:
        """Shares of a symbol that open exits would sell."""
        alone_e4, attached = 0, dict[str, int]()
        for each in self._open(symbol):
            parent_id = each.order.parent_id
            if each.order.side is not Side.SELL:
                continue
            if parent_id is None:
                alone_e4 += each.left_e4
            else:
                attached[parent_id] = max(attached.get(parent_id, 0), self._fillable_e4(each))
        return alone_e4 + sum(attached.values())

    def ours_e4(self) -> dict[str, int]:
        """Shares that are here through the agent, by symbol: what is held less what came from elsewhere."""
        held = {s: e4 - self.external_e4[s] for s, e4 in sorted(self.books.held_e4.items())}
        return {symbol: e4 for symbol, e4 in held.items() if e4}

    def equity_e8(self) -> int:
        """Cash and holdings at the tape's prices."""
        now_ms = self._outside.now_ms
        session = self._calendar.session_at(now_ms)
        return self.books.cash_e8 + sum(
            quantity_e4 * self.price_e4(symbol, session, now_ms)
            for symbol, quantity_e4 in self.books.held_e4.items()
            if quantity_e4
        )

    def price_e4(self, symbol: str, session: Session, at_ms: int) -> int:
        """The tape's price; what is not on the tape is worth 10."""
        if (session.date, symbol) not in self._tape.minutes:
            return 10 * SHARE_E4
        return self._tape.price_e4(session, symbol, at_ms)

    def is_doomed(self, order_id: str, *, is_entry: bool) -> bool:
        """Whether every request with this id is lost on the way: an entry's for good, an exit's for a minute."""
        now_ms = self._outside.now_ms
        until_ms = self._doomed.get(order_id)
        if until_ms is None:
            until_ms = 0
            if self._faults.strikes("never_arrived"):
                until_ms = now_ms + (
                    self._rng.randrange(300_000, 900_000) if is_entry else self._rng.randrange(60_000)
                )
            self._doomed[order_id] = until_ms
        return now_ms < until_ms and not self._faults.is_calm

    # ------------------------------------------------------------ matching
    def _tick(self) -> None:
        """Look at the tape four times a minute while anything is open in a session."""
        if self._is_ticking:
            return
        now_ms = self._outside.now_ms
        session = self._calendar.session_at(now_ms)
        if now_ms >= session.close_ms:
            session = self._calendar.after(session.date)
        begin_ms = max(now_ms, session.open_ms)
        self._is_ticking = True
        self._outside.at(begin_ms - begin_ms % POINT_MS + POINT_MS, self._tock)

    def _tock(self) -> None:
        self._is_ticking = False
        now_ms = self._outside.now_ms
        session = self._calendar.session_at(now_ms)
        for symbol in sorted({each.order.symbol for each in self._open()}):
            self._match(symbol)
        if now_ms >= session.close_ms:
            for each in self._open():
                if each.session <= session.date:
                    self._end(each, OrderState.EXPIRED, "day over")
        if self._working:
            self._tick()

    def _match(self, symbol: str) -> None:
        session = self._calendar.session_at(self._outside.now_ms)
        if not self._trades(symbol, session):
            return
        price_e4 = self._tape.price_e4(session, symbol, self._outside.now_ms)
        for each in sorted(self._open(symbol), key=lambda r: (r.order.type is not OrderType.STOP, r.number)):
            if each.is_open and each.session <= session.date:
                self._try(each, price_e4)

    def _trades(self, symbol: str, session: Session) -> bool:
        now_ms = self._outside.now_ms
        is_open = session.open_ms <= now_ms < session.close_ms and not self._tape.is_halted(symbol, now_ms)
        return is_open and (session.date, symbol) in self._tape.minutes

    def _touch(self, resting: Resting) -> None:
        """The price comes to an order in the middle of its cancel, between two points of the tape."""
        order, session = resting.order, self._calendar.session_at(self._outside.now_ms)
        whole = self._fillable_e4(resting) // SHARE_E4
        if resting.is_open and resting.is_cancelling and whole > 0 and self._trades(order.symbol, session):
            resting.is_triggered = order.type is OrderType.STOP
            price_e4 = (
                order.limit_e4 or order.stop_e4 or self.price_e4(order.symbol, session, self._outside.now_ms)
            )
            self._faults.happened("cancel_race")
            self._fill(resting, self._race.randint(1, whole) * SHARE_E4, price_e4)

    def _try(self, resting: Resting, price_e4: int) -> None:
        order = resting.order
        sign = order.side.sign
        if order.type is OrderType.LIMIT:
            limit_e4 = order.limit_e4 or 0
            if sign * (price_e4 - limit_e4) > 0:
                return
        elif order.type is OrderType.STOP and not resting.is_triggered:
            if sign * (price_e4 - (order.stop_e4 or 0)) < 0:
                return
            resting.is_triggered = True
        quantity_e4 = self._fillable_e4(resting)
        if quantity_e4 <= 0:
            return
        if self._faults.strikes("partial_fill") and quantity_e4 > SHARE_E4:
            whole = quantity_e4 // SHARE_E4
            quantity_e4 = self._rng.randrange(1, max(2, whole)) * SHARE_E4
            self._faults.happened("partial_fill")
        elif not resting.is_exit and quantity_e4 == resting.left_e4 and self._faults.strikes("overfill"):
            more_e4 = self._rng.randrange(1, 4) * SHARE_E4
            quantity_e4 += more_e4
            self.overfilled(order.client_order_id, more_e4)
            self._faults.happened("overfill")
        if resting.is_cancelling:
            self._faults.happened("cancel_race")
        self._fill(resting, quantity_e4, price_e4)

    def _fillable_e4(self, resting: Resting) -> int:
        """All that is left; of an attached exit what its entry has armed and no other exit took."""
        parent_id = resting.order.parent_id
        if parent_id is None:
            return resting.left_e4
        parent = self.books.orders[parent_id]
        taken_e4 = sum(each.order.filled_e4 for each in self._legs(parent_id))
        return min(resting.left_e4, parent.order.filled_e4 - taken_e4)

    def _fill(self, resting: Resting, quantity_e4: int, price_e4: int) -> None:
        order, now_ms, books = resting.order, self._outside.now_ms, self.books
        fill = BrokerFill(
            execution_id=f"x{len(books.fills) + 1}",
            client_order_id=order.client_order_id,
            symbol=order.symbol,
            side=order.side,
            quantity_e4=quantity_e4,
            price_e4=price_e4,
            at_ms=now_ms,
            fees_e8=FEE_E8,
        )
        filled_e4 = order.filled_e4 + quantity_e4
        state = OrderState.FILLED if filled_e4 >= order.quantity_e4 else OrderState.PARTIALLY_FILLED
        resting.order = replace(order, filled_e4=filled_e4, state=state)
        if state is OrderState.FILLED:
            self._working.pop(order.client_order_id, None)
        books.fills.append((self._calendar.session_at(now_ms).date, fill))
        books.held_e4[order.symbol] = books.held_e4.get(order.symbol, 0) + order.side.sign * quantity_e4
        books.cash_e8 -= order.side.sign * quantity_e4 * price_e4 + FEE_E8
        self.say(
            f"fills {order.client_order_id} {order.side} {quantity_e4 // SHARE_E4} at {price_e4 / 10_000:.2f}"
        )
        self.executed(fill)
        self._tell(
            BrokerUpdate(
                client_order_id=order.client_order_id,
                symbol=order.symbol,
                state=state,
                at_ms=now_ms,
                fill=fill,
            )
        )
        self._settle_legs(resting)

    def _settle_legs(self, filled: Resting) -> None:
        """Attached exits end once nothing is left for them to close."""
        parent_id = filled.order.parent_id
        if parent_id is None:
            return
        parent = self.books.orders[parent_id]
        legs = self._legs(parent_id)
        taken_e4 = sum(each.order.filled_e4 for each in legs)
        if not parent.is_open and taken_e4 >= parent.order.filled_e4:
            for each in legs:
                if each.is_open:
                    self._end(each, OrderState.CANCELLED, "the other exit filled")

    def _cancelled(self, order_id: str, reason: str) -> None:
        found = self.books.orders[order_id]
        found.is_cancelling = False
        if found.is_open:
            self._end(found, OrderState.CANCELLED, reason)

    def _end(
        self, resting: Resting, state: OrderState, reason: str, *, replaced_by: str | None = None
    ) -> None:
        resting.order = order = replace(resting.order, state=state, reason=reason, replaced_by=replaced_by)
        self._working.pop(order.client_order_id, None)
        self.say(f"ends {order.client_order_id}: {state} {reason}")
        self._tell(
            BrokerUpdate(
                client_order_id=order.client_order_id,
                symbol=order.symbol,
                state=state,
                at_ms=self._outside.now_ms,
                reason=reason,
                filled_e4=order.filled_e4,
                replaced_by=replaced_by,
            )
        )
        if not resting.is_exit:
            for each in self._legs(order.client_order_id):
                if each.is_open and self._fillable_e4(each) <= 0:
                    self._end(each, OrderState.CANCELLED, "its entry is over")

    # ------------------------------------------------------------ rules
    def _check(self, intents: Sequence[OrderIntent], *, without: Resting | None = None) -> None:
        head = intents[0]
        for intent in intents:
            if intent.quantity_e4 <= 0 or intent.quantity_e4 % SHARE_E4:
                raise Refused("bad_quantity", str(intent.quantity_e4))
            for price_e4 in (intent.limit_e4, intent.stop_e4):
                if price_e4 is not None and (price_e4 <= 0 or (price_e4 >= SHARE_E4 and price_e4 % 100)):
                    raise Refused("off_tick", str(price_e4))
        if (intents[1:] or head.parent_id is not None) and not self.has_attached_exits:
            raise Refused("attached_exits_not_supported")
        if head.symbol not in self._tape.symbols:
            raise Refused("unknown_symbol", head.symbol)
        if head.side is Side.SELL and head.parent_id is None:
            free_e4 = self.free_e4(head.symbol, without=without)
            if head.quantity_e4 > free_e4:
                raise Refused("insufficient_quantity", f"{head.quantity_e4} of {free_e4} free")
        if head.side is Side.BUY:
            session = self._calendar.session_at(self._outside.now_ms)
            cost_e8 = head.quantity_e4 * self.price_e4(head.symbol, session, self._outside.now_ms)
            if cost_e8 > self._buying_power_e8():
                raise Refused("insufficient_buying_power", str(cost_e8))
        kind = "rejected_exit" if head.leg != "entry" else "rejected_entry"
        if self._faults.strikes(kind):
            self._faults.happened(kind)
            raise Refused(self._rng.choice(("not_tradable", "price_band", "account_restricted")), "for now")

    def _buying_power_e8(self) -> int:
        now_ms = self._outside.now_ms
        session = self._calendar.session_at(now_ms)
        held = self.books.held_e4.items()
        return 2 * self.equity_e8() - sum(abs(e4) * self.price_e4(name, session, now_ms) for name, e4 in held)

    # ------------------------------------------------------------ inside
    def _put(self, resting: Resting) -> None:
        self.books.orders[resting.order.client_order_id] = self._working[resting.order.client_order_id] = (
            resting
        )

    def _open(self, symbol: str | None = None) -> list[Resting]:
        return [each for each in self._working.values() if symbol in (None, each.order.symbol)]

    def _legs(self, parent_id: str) -> list[Resting]:
        return [each for each in self.books.orders.values() if each.order.parent_id == parent_id]

    def _tell(self, update: BrokerUpdate) -> None:
        for listener in list(self.listeners):
            listener(update)

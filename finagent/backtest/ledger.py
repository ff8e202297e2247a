"""The ledger of one run: plans, orders, fills, positions, reservations, trades and decisions, all in memory."""

from bisect import bisect_right, insort_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from finagent.domain.book import Book, Control, OpenPosition, Reservation, new_book, new_open_position
from finagent.domain.fills import ModelFill
from finagent.domain.journal import JsonData
from finagent.domain.market import Direction
from finagent.domain.orders import (
    ENTRY_LEG,
    BrokerFill,
    OrderIntent,
    OrderState,
    OwnOrder,
    next_order_state,
)
from finagent.domain.plan import Plan, PlanState, next_plan_state
from finagent.domain.positions import ExitReason, LegFill, Position, Trade, new_leg_fill
from finagent.domain.risk import RiskDecision
from finagent.domain.rows import maker, quick, replace

ENTERED = (
    PlanState.PENDING,
    PlanState.APPROVED,
    PlanState.ARMED,
    PlanState.ENTERING,
    PlanState.OPEN,
    PlanState.CLOSED,
)
RECENT_MS = 60_000
_ACCEPTED, _PARTIALLY_FILLED = OrderState.ACCEPTED, OrderState.PARTIALLY_FILLED
_FILLED, _REJECTED = OrderState.FILLED, OrderState.REJECTED
_ARMED = PlanState.ARMED
_created_at_ms = attrgetter("created_at_ms")


@quick
@dataclass(frozen=True, slots=True)
class Entry:
    """One decision or event: when, what kind, which plan, order or session, and what it rested on."""

    at_ms: int
    kind: str
    ref: str
    data: dict[str, JsonData]


_entry = maker(Entry)


@dataclass(slots=True, eq=False)
class PlanRow:
    """A plan and what became of it."""

    plan: Plan
    state: PlanState
    reason: str = ""
    approved: bool = False
    decision: RiskDecision | None = None


@dataclass(slots=True, eq=False)
class OrderRow:
    """An order and what became of it."""

    intent: OrderIntent
    session: str
    created_at_ms: int
    state: OrderState = OrderState.INTENT
    filled_e4: int = 0
    accepted_at_ms: int | None = None
    ended_at_ms: int | None = None
    reason: str = ""

    @property
    def is_live(self) -> bool:
        """Whether it can still change."""
        return not self.state.is_terminal

    @property
    def own(self) -> OwnOrder:
        """As the domain's rules on generations see it."""
        return OwnOrder(intent=self.intent, state=self.state, filled_e4=self.filled_e4)


@quick
@dataclass(frozen=True, slots=True)
class FillRow:
    """A fill as it was booked, with its plan, leg, reason and what the model knew of it."""

    fill: BrokerFill
    plan_id: str
    session: str
    leg: str
    reason: ExitReason | None
    model: ModelFill


new_fill_row = maker(FillRow)


@dataclass(frozen=True, slots=True)
class DayRow:
    """A session's end."""

    session: str
    is_flat: bool
    held_over: tuple[str, ...]
    candidates: int
    skipped: tuple[str, ...]
    has_minutes: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What an engine that keeps no plans and no orders counted in a session; ``shorts`` are plans to sell."""

    plans: int
    approved: int
    orders: int
    shorts: int


@dataclass(slots=True, eq=False)
class Ledger:
    """Everything a run decided and did; ``start_equity_e8`` is what the account held before its first session."""

    start_equity_e8: int
    plans: dict[str, PlanRow] = field(default_factory=dict)
    orders: dict[str, OrderRow] = field(default_factory=dict)
    fills: list[FillRow] = field(default_factory=list)
    held: dict[str, OpenPosition] = field(default_factory=dict)
    """Positions that are not flat, by plan."""
    trades: list[Trade] = field(default_factory=list)
    exit_sessions: list[str] = field(default_factory=list)
    """By trade the session in which it ended."""
    days: list[DayRow] = field(default_factory=list)
    journal: list[Entry] = field(default_factory=list)
    control: Control = field(default_factory=Control)
    tallies: dict[str, Tally] = field(default_factory=dict)
    """By session what the kernel counted: of these sessions there are fills and trades, no plans, orders, decisions."""
    _reservations: dict[str, Reservation] = field(default_factory=dict)
    _flat: dict[str, Position] = field(default_factory=dict)
    """Flat, and their trade not booked yet."""
    _orders_of: dict[str, list[OrderRow]] = field(default_factory=dict)
    _fills_of: dict[str, list[FillRow]] = field(default_factory=dict)
    _of_session: dict[str, list[PlanRow]] = field(default_factory=dict)
    _dealt: dict[str, dict[str, Position]] = field(default_factory=dict)
    """By session the newest position of each of its plans."""
    _pnl: dict[str, int] = field(default_factory=dict)
    _day_start: dict[str, int] = field(default_factory=dict)
    _entries: dict[str, list[OrderRow]] = field(default_factory=dict)
    """By session its entry orders, as they were made."""
    _ended_in: dict[str, list[Trade]] = field(default_factory=dict)
    _live: dict[str, OrderRow] = field(default_factory=dict)
    _armed: dict[str, PlanRow] = field(default_factory=dict)
    _entered: dict[str, dict[str, PlanRow]] = field(default_factory=dict)
    """By session its plans that reserved and did not end without a fill."""
    _refused: set[str] = field(default_factory=set)
    """Sessions with an entry that the venue refused."""
    changes: int = 0
    """Counts all that an account can see, but for the rate of entries: between two equal counts it is the same."""
    # What a book is made of, as it was last asked for; None where it has changed since.
    _in_order: tuple[OpenPosition, ...] | None = None
    _reserved: tuple[Reservation, ...] | None = None
    _symbols: tuple[str, tuple[str, ...]] | None = None
    _money: tuple[str, str, int, int] | None = None
    _book: tuple[tuple[int, str, str | None, int], Book] | None = None

    # ---------------------------------------------------------------- plans
    def add_plan(self, plan: Plan) -> None:
        """A new plan, ``planned``; one that is there already stays as it is."""
        if plan.plan_id not in self.plans:
            row = self.plans[plan.plan_id] = PlanRow(plan, PlanState.PLANNED)
            self._of_session.setdefault(plan.session, []).append(row)

    def move_plan(self, row: PlanRow, state: PlanState, reason: str = "") -> None:
        """The plan's next state; InvalidTransitionError where there is no such step."""
        row.state, row.reason = next_plan_state(row.state, state), reason
        entered = self._entered.setdefault(row.plan.session, {})
        if (state in ENTERED) is not (row.plan.plan_id in entered):
            self._symbols = None
            self.changes += 1
            if state in ENTERED:
                entered[row.plan.plan_id] = row
            else:
                del entered[row.plan.plan_id]
        if state is _ARMED:
            self._armed[row.plan.plan_id] = row
        else:
            self._armed.pop(row.plan.plan_id, None)

    def plans_of(self, session: str, states: Sequence[PlanState] = ()) -> list[PlanRow]:
        """Plans of a session (in some states) as they came."""
        return [row for row in self._of_session.get(session, ()) if not states or row.state in states]

    def armed(self) -> list[PlanRow]:
        """Armed plans by symbol."""
        return sorted(self._armed.values(), key=lambda row: (row.plan.symbol, row.plan.plan_id))

    def reserve(self, plan: Plan, decision: RiskDecision) -> None:
        """Take what an approved decision takes from the limits."""
        self._reserved = None
        self.changes += 1
        self._reservations[plan.plan_id] = Reservation(
            plan_id=plan.plan_id,
            symbol=plan.symbol,
            notional_e8=decision.notional_e8,
            worst_case_e8=decision.worst_case_e8,
            sector=plan.sector,
        )

    def reduce(self, plan_id: str, *, notional_e8: int, worst_case_e8: int) -> None:
        """Take no more than this from now on."""
        held = self._reservations.get(plan_id)
        if held is not None and (notional_e8 < held.notional_e8 or worst_case_e8 < held.worst_case_e8):
            self._reserved = None
            self.changes += 1
            self._reservations[plan_id] = replace(
                held,
                notional_e8=min(held.notional_e8, notional_e8),
                worst_case_e8=min(held.worst_case_e8, worst_case_e8),
            )

    def release(self, plan_id: str) -> None:
        """Take nothing any more."""
        if self._reservations.pop(plan_id, None) is not None:
            self._reserved = None
            self.changes += 1

    # ---------------------------------------------------------------- orders
    def add_order(self, intent: OrderIntent, session: str, *, now_ms: int) -> None:
        """The committed will to send one order."""
        row = OrderRow(intent, session, now_ms)
        self.orders[intent.client_order_id] = self._live[intent.client_order_id] = row
        own = self._orders_of.setdefault(intent.plan_id, [])
        if not own or _place(own[-1]) < _place(row):
            own.append(row)
        else:
            insort_right(own, row, key=_place)
        if intent.leg == ENTRY_LEG:
            self._entries.setdefault(session, []).append(row)

    def move_order(
        self, row: OrderRow, state: OrderState, *, now_ms: int, reason: str = "", accepted: bool = False
    ) -> None:
        """The order's next state; what has ended stays ended."""
        if row.state.is_terminal or row.state is state:
            return
        if state is _ACCEPTED and row.state is _PARTIALLY_FILLED:
            return
        row.state, row.reason = next_order_state(row.state, state), reason
        if state is _REJECTED and row.intent.leg == ENTRY_LEG:
            self._refused.add(row.session)
        if accepted and row.accepted_at_ms is None:
            row.accepted_at_ms = now_ms
        if state.is_terminal:
            self._end(row, now_ms)
        if self._refused:
            self.changes += 1

    def fill_order(self, row: OrderRow, quantity_e4: int, *, at_ms: int, now_ms: int) -> None:
        """Add an execution to its order."""
        row.filled_e4 += quantity_e4
        if row.accepted_at_ms is None:
            row.accepted_at_ms = at_ms
        if row.filled_e4 >= row.intent.quantity_e4:
            row.state = _FILLED
        elif row.state in (OrderState.INTENT, _ACCEPTED):
            row.state = _PARTIALLY_FILLED
        if row.state.is_terminal:
            self._end(row, now_ms)
        if self._refused:
            self.changes += 1

    def orders_of(self, plan_id: str) -> list[OrderRow]:
        """A plan's orders by creation, leg and generation."""
        return self._orders_of.get(plan_id, [])[:]

    def is_entering(self, plan_id: str) -> bool:
        """Whether a plan's entry can still fill."""
        rows = self._orders_of.get(plan_id, ())
        return any(row.intent.leg == ENTRY_LEG and row.is_live for row in rows)

    def live_orders(self) -> list[OrderRow]:
        """Orders that are not terminal, by creation and id."""
        return sorted(self._live.values(), key=lambda row: (row.created_at_ms, row.intent.client_order_id))

    def _end(self, row: OrderRow, now_ms: int) -> None:
        row.ended_at_ms = now_ms
        self._live.pop(row.intent.client_order_id, None)

    # ---------------------------------------------------------------- positions
    def add_fill(self, row: FillRow) -> int:
        """Book a fill; gives how many its plan has now."""
        self.fills.append(row)
        own = self._fills_of.setdefault(row.plan_id, [])
        own.append(row)
        return len(own)

    def leg_fills(self, plan_id: str) -> list[LegFill]:
        """A plan's fills in the order in which they were booked."""
        return [
            new_leg_fill(leg=row.leg, fill=row.fill, reason=row.reason) for row in self._fills_of[plan_id]
        ]

    def fills_of(self, plan_id: str) -> Sequence[FillRow]:
        """A plan's fills with what the model knew of them."""
        return self._fills_of.get(plan_id, ())

    def put_position(self, plan: Plan, position: Position, stop_e4: int) -> None:
        """A position as folded from its fills."""
        self._dealt.setdefault(position.session, {})[plan.plan_id] = position
        self._in_order = self._money = None
        self.changes += 1
        if position.quantity_e4:
            self.held[plan.plan_id] = new_open_position(position=position, plan=plan, stop_e4=stop_e4)
            self._flat.pop(plan.plan_id, None)
        else:
            self.held.pop(plan.plan_id, None)
            self._flat[plan.plan_id] = position

    def position(self, plan_id: str) -> Position | None:
        """A plan's newest position, flat or not; None before its first fill."""
        return self._dealt.get(self.plans[plan_id].plan.session, {}).get(plan_id)

    def move_stop(self, plan_id: str, stop_e4: int) -> None:
        """The protective stop is at another price now."""
        held = self.held.get(plan_id)
        if held is not None:
            self._in_order = None
            self.changes += 1
            self.held[plan_id] = replace(held, stop_e4=stop_e4)

    def open_positions(self) -> tuple[OpenPosition, ...]:
        """Positions that are not flat, by symbol."""
        if self._in_order is None:
            by_symbol = sorted(self.held.values(), key=lambda held: (held.plan.symbol, held.plan.plan_id))
            self._in_order = tuple(by_symbol)
        return self._in_order

    def add_trade(self, trade: Trade, exit_session: str) -> None:
        """A closed round trip, booked in the session in which it ended."""
        self.trades.append(trade)
        self.changes += 1
        self.exit_sessions.append(exit_session)
        self._flat.pop(trade.plan_id, None)
        self._ended_in.setdefault(exit_session, []).append(trade)
        self._pnl[exit_session] = self._pnl.get(exit_session, 0) + trade.pnl_e8

    def absorb(
        self,
        day: DayRow,
        tally: Tally,
        *,
        fills: Sequence[FillRow],
        positions: Sequence[Position],
        trades: Sequence[Trade],
    ) -> None:
        """A whole session that the kernel played: flat before and after it."""
        self.days.append(day)
        self.tallies[day.session] = tally
        self._money = None
        self.changes += 1
        for fill in fills:
            self.add_fill(fill)
        if positions:
            self._dealt[day.session] = {each.plan_id: each for each in positions}
        for trade in trades:
            self.add_trade(trade, day.session)

    def carry_sales(self, sold_e8: Mapping[str, int]) -> None:
        """Sales of sessions before the first, by date: they settle as if they had been made here."""
        for date, brought_e8 in sold_e8.items():
            earlier = Position(
                plan_id="", symbol="", session=date, direction=Direction.LONG, sold_e8=brought_e8
            )
            self._dealt[date] = {"": earlier}
        self._money = None
        self.changes += 1

    def sold_by_session(self) -> dict[str, int]:
        """What the sales of each session brought, in 1e-8."""
        return {date: sum(each.sold_e8 for each in dealt.values()) for date, dealt in self._dealt.items()}

    # ---------------------------------------------------------------- the account
    def watched(self) -> set[str]:
        """Symbols with a live order, an open position or an armed plan."""
        found = {row.intent.symbol for row in self._live.values()}
        found |= {held.plan.symbol for held in self.held.values()}
        return found | {row.plan.symbol for row in self._armed.values()}

    @property
    def is_watching(self) -> bool:
        """Whether any symbol is watched."""
        return bool(self._live or self.held or self._armed)

    def book(self, session: str, *, now_ms: int, unsettled_from: str | None = None) -> Book:
        """A session's account; sales since ``unsettled_from`` have not settled."""
        orders = self.orders_last_minute(session, now_ms=now_ms)
        key, known = (self.changes, session, unsettled_from, orders), self._book
        if known is None or known[0] != key:
            book = self._make_book(session, unsettled_from, orders)
            known = self._book = (key, book)
        return known[1]

    def _make_book(self, session: str, unsettled_from: str | None, orders: int) -> Book:
        flat_e8 = sum([each.sold_e8 - each.bought_e8 - each.fees_e8 for each in self._flat.values()])
        if self._reserved is None:
            self._reserved = tuple([self._reservations[plan_id] for plan_id in sorted(self._reservations)])
        spent_e8, unsettled_e8 = self._spent_and_unsettled_e8(session, unsettled_from or session)
        return new_book(
            session=session,
            day_start_equity_e8=self.day_start_e8(session),
            positions=self.open_positions(),
            reservations=self._reserved,
            realised_e8=self._pnl.get(session, 0) + flat_e8,
            entered_symbols=self._entered_symbols(session),
            trades=len(self._entered.get(session, ())),
            orders_last_minute=orders,
            rejected_in_a_row=self._rejected_in_a_row(session),
            losses_in_a_row=self._losses_in_a_row(session),
            unknown_symbols=(),
            control=self.control,
            spent_e8=spent_e8,
            unsettled_e8=unsettled_e8,
        )

    def day_start_e8(self, session: str) -> int:
        """Equity before the session's first trade."""
        if session not in self._day_start:
            earlier = sum(pnl for date, pnl in self._pnl.items() if date < session)
            self._day_start = {session: self.start_equity_e8 + earlier}
        return self._day_start[session]

    def _entered_symbols(self, session: str) -> tuple[str, ...]:
        if self._symbols is None or self._symbols[0] != session:
            entered = self._entered.get(session, {}).values()
            self._symbols = (session, tuple(sorted({row.plan.symbol for row in entered})))
        return self._symbols[1]

    def _spent_and_unsettled_e8(self, session: str, since: str) -> tuple[int, int]:
        if self._money is None or self._money[:2] != (session, since):
            spent_e8 = sum([each.bought_e8 for each in self._dealt.get(session, {}).values()])
            self._money = (session, since, spent_e8, self._unsettled_e8(session, since))
        return self._money[2:]

    def _unsettled_e8(self, session: str, since: str) -> int:
        total = 0
        for date in reversed(self._dealt):
            if date < since:
                break
            if date < session:
                total += sum(each.sold_e8 for each in self._dealt[date].values())
        return total

    def orders_last_minute(self, session: str, *, now_ms: int) -> int:
        """Entries of the session that were made in the last minute."""
        entries, since_ms = self._entries.get(session, ()), now_ms - RECENT_MS
        if not entries or entries[0].created_at_ms > since_ms:
            return len(entries)
        return len(entries) - bisect_right(entries, since_ms, key=_created_at_ms)

    def _rejected_in_a_row(self, session: str) -> int:
        """Entries refused by the venue since it last took one."""
        if session not in self._refused:
            return 0
        entries = self._entries.get(session, ())
        taken = [order.accepted_at_ms or 0 for order in entries if order.state is not OrderState.REJECTED]
        last_ms = max(taken, default=0)
        refused = (order for order in entries if order.state is OrderState.REJECTED)
        return sum((order.ended_at_ms or 0) > last_ms for order in refused)

    def _losses_in_a_row(self, session: str) -> int:
        """Trades lost since the last that was not."""
        trades = self._ended_in.get(session, ())
        if not trades:
            return 0
        last_ms = max([trade.exit_at_ms for trade in trades if trade.pnl_e8 >= 0], default=0)
        return sum([trade.pnl_e8 < 0 and trade.exit_at_ms > last_ms for trade in trades])

    def tell(self, at_ms: int, kind: str, ref: str, /, **data: JsonData) -> None:
        """A decision with what it rested on."""
        self.journal.append(_entry(at_ms, kind, ref, data))

    def switch(self, **flags: bool | str | None) -> None:
        """Change halt flags."""
        self.changes += 1
        self.control = replace(self.control, **flags)  # type: ignore[arg-type]  # names and types of Control


def _place(row: OrderRow) -> tuple[int, str, int]:
    return row.created_at_ms, row.intent.leg, row.intent.generation

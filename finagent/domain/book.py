"""The book: what the store knows of a session's account, and the account state that risk decides on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from finagent.domain.account import new_account
from finagent.domain.limits import breakers, tier_of
from finagent.domain.money import RATIO_SCALE, div_ceil
from finagent.domain.orders import TERMINAL_ORDER_STATES, BrokerFill, OrderIntent, OrderState, OwnOrder
from finagent.domain.plan import Plan, PlanState
from finagent.domain.positions import ExitReason, Position, pnl_e8, total_pnl_e8
from finagent.domain.risk import AccountState, RiskProfile
from finagent.domain.rows import maker, quick, replace


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """What an approved plan takes from the limits until it is filled or ends; money in 1e-8."""

    plan_id: str
    symbol: str
    notional_e8: int
    worst_case_e8: int
    sector: str | None = None


GATE_COMMA = ", "


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """The halt flags."""

    is_paused: bool = False
    pause_reason: str | None = None
    paused_by: str | None = None
    is_killed: bool = False
    needs_rearm: bool = False
    gate_reason: str | None = None
    """Every reason for which the entry gate is shut, oldest first, with commas between; None: it is open."""
    locked_symbols: tuple[str, ...] = ()

    @property
    def gate_reasons(self) -> tuple[str, ...]:
        """The same one by one: whoever shut the gate opens it for their own reason only."""
        return () if self.gate_reason is None else tuple(self.gate_reason.split(GATE_COMMA))


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPlan:
    """A plan with its state; ``plan_hash`` is empty until risk sealed it."""

    plan: Plan
    state: PlanState
    plan_hash: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredApproval:
    """The question put to a person and its answer, if any."""

    plan_id: str
    plan_hash: str
    nonce: str
    state: str
    created_at_ms: int
    expires_at_ms: int
    answered_at_ms: int | None
    channel: str
    identity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredOrder:
    """An intent with what became of it; quantities in 1e-4 shares."""

    intent: OrderIntent
    session: str
    state: OrderState
    filled_e4: int
    accepted_at_ms: int | None
    reason: str
    body_hash: str
    unwanted: str = ""
    """Why an entry on its way is wanted gone; empty where it is wanted."""

    @property
    def own(self) -> OwnOrder:
        """The order as the rules look at it."""
        return OwnOrder(intent=self.intent, state=self.state, filled_e4=self.filled_e4)


def attached_to(entry: StoredOrder, orders: Sequence[StoredOrder]) -> tuple[StoredOrder, ...]:
    """The exits that an entry carried to the broker and that are not over."""
    entry_id = entry.intent.client_order_id
    return tuple(
        order
        for order in orders
        if order.intent.parent_id == entry_id and order.state not in TERMINAL_ORDER_STATES
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFill:
    """An execution with the leg it belongs to and, for exits, why."""

    fill: BrokerFill
    leg: str
    reason: ExitReason | None


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPosition:
    """A position that is not flat, its plan and its protective stop in 1e-4."""

    position: Position
    plan: Plan
    stop_e4: int


new_open_position = maker(OpenPosition)


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """A session's account as committed; money in 1e-8."""

    session: str
    day_start_equity_e8: int
    positions: tuple[OpenPosition, ...]
    reservations: tuple[Reservation, ...]
    realised_e8: int
    """Net of fees, of the session's closed trades."""
    entered_symbols: tuple[str, ...]
    """Symbols of the session with a reserved, working, open or closed plan, sorted."""
    trades: int
    """Plans of the session that reserved and did not end without a fill."""
    orders_last_minute: int
    unknown_symbols: tuple[str, ...]
    control: Control
    external_symbols: tuple[str, ...] = ()
    """Symbols of which the account holds shares that are not ours: they are not traded."""
    has_old_unknown: bool = False
    """An order has been unknown for longer than a minute."""

    spent_e8: int = 0
    """What the session's entries have cost so far, sold again or not."""
    rejected_in_a_row: int = 0
    """Entries of the session refused by the broker since it last took one, or since the last rearm."""
    losses_in_a_row: int = 0
    """Trades of the session lost since the last that was not, or since the last rearm."""
    orders_out: int = 0
    """Orders stopped at the broker's door without their intent, since the last rearm."""
    rearmed_at_ms: int = 0
    """When a person last opened entries again after a limit; 0: never."""
    recovered_symbols: tuple[str, ...] = ()
    """Symbols that orders of a restore's lost time traded in the session: each is one of its trades, too."""
    unsettled_e8: int = 0
    """Proceeds of earlier sessions' sales that have not settled yet."""
    has_day_start: bool = True
    """False at a broker outside before the session's capital was read there; then the figure is an older one."""

    def with_positions(self, positions: "tuple[OpenPosition, ...]") -> "Book":
        """The same book with other positions."""
        return replace(self, positions=positions)


new_book = maker(Book)


def worst_case_e8(held: OpenPosition, *, extra_r_e6: int) -> int:
    """What an open position loses against its cost at stop + extra R, in 1e-8, never below 0.

    The cost of the shares still held is their part of the entry, rounded against us.
    """
    position, sign = held.position, held.plan.direction.sign
    opened_e4, opened_e8 = (
        (position.bought_e4, position.bought_e8) if sign > 0 else (position.sold_e4, position.sold_e8)
    )
    slack_e4 = div_ceil(held.plan.risk_per_share_e4 * extra_r_e6, RATIO_SCALE)
    quantity_e4 = abs(position.quantity_e4)
    exit_e8 = quantity_e4 * (held.stop_e4 - sign * slack_e4)
    return max(0, div_ceil(sign * (opened_e8 * quantity_e4 - exit_e8 * opened_e4), max(1, opened_e4)))


def position_pnl_e8(position: Position, mark_e4: int) -> int:
    """Profit and loss of a position since its first fill at a mark, net of fees, in 1e-8; exact."""
    return total_pnl_e8(position, mark_e4)


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """A book's reservations and positions summed at some prices: what every question about its account shares."""

    reserved_e8: int
    exposure_e8: int
    worst_case_e8: int
    closed_e8: int
    """What exits of open positions earned; ``open_e8`` is what is still open of them."""
    open_e8: int
    sectors: tuple[tuple[str, str, int], ...]
    """Plan (empty for a position), sector and notional, where the sector is known."""
    reserved_by: Mapping[str, Reservation]
    """The reservations by their plans."""
    waiting: frozenset[str]
    """Plans with a reservation that hold no position yet."""


def marked(book: Book, marks_e4: Mapping[str, int], profile: RiskProfile) -> Marked:
    """The sums over a book; a position without a mark is valued at its stop, the careful side."""
    reservations = book.reservations
    reserved_e8 = exposure_e8 = sum([each.notional_e8 for each in reservations])
    worst_e8 = sum([each.worst_case_e8 for each in reservations])
    sectors = [
        (each.plan_id, each.sector, each.notional_e8) for each in reservations if each.sector is not None
    ]
    closed_total_e8 = open_total_e8 = 0
    for held in book.positions:
        mark_e4 = marks_e4.get(held.plan.symbol, held.stop_e4)
        closed_e8, open_e8 = pnl_e8(held.position, mark_e4)
        closed_total_e8 += closed_e8
        open_total_e8 += open_e8
        notional_e8 = abs(held.position.quantity_e4) * mark_e4
        exposure_e8 += notional_e8
        if held.plan.sector is not None:
            sectors.append(("", held.plan.sector, notional_e8))
        worst_e8 += worst_case_e8(held, extra_r_e6=profile.worst_case_extra_r_e6)
    reserved_by = {each.plan_id: each for each in reservations}
    return Marked(
        reserved_e8=reserved_e8,
        exposure_e8=exposure_e8,
        worst_case_e8=worst_e8,
        closed_e8=closed_total_e8,
        open_e8=open_total_e8,
        sectors=tuple(sectors),
        reserved_by=reserved_by,
        waiting=frozenset(reserved_by).difference([held.plan.plan_id for held in book.positions]),
    )


def account_state(
    book: Book, marks_e4: Mapping[str, int], profile: RiskProfile, *, without: str = ""
) -> AccountState:
    """What risk sees: the book marked at last prices; ``without`` leaves out one plan's own reservation.

    A position without a mark is valued at its stop, the careful side.
    """
    return account_of(book, marked(book, marks_e4, profile), without=without)


def account_of(book: Book, sums: Marked, *, without: str = "") -> AccountState:
    """The same of a book that is summed already: many plans may ask about one."""
    reserved_e8, exposure_e8, worst_e8 = sums.reserved_e8, sums.exposure_e8, sums.worst_case_e8
    waiting, entered, sectors = len(sums.waiting), book.entered_symbols, sums.sectors
    own = sums.reserved_by.get(without)
    if own is not None:
        reserved_e8 -= own.notional_e8
        exposure_e8 -= own.notional_e8
        worst_e8 -= own.worst_case_e8
        waiting -= without in sums.waiting
        sectors = tuple([part for part in sectors if part[0] != without]) if sectors else ()
        if own.symbol in entered:
            place = entered.index(own.symbol)
            entered = entered[:place] + entered[place + 1 :]
    realised_e8 = book.realised_e8 + sums.closed_e8
    equity_e8 = book.day_start_equity_e8 + realised_e8 + sums.open_e8
    recovered, control = book.recovered_symbols, book.control
    also = [symbol for symbol in recovered if symbol not in entered] if recovered else ()
    foreign = book.unknown_symbols or book.external_symbols
    return new_account(
        equity_e8=equity_e8,
        day_start_equity_e8=book.day_start_equity_e8,
        cash_e8=max(0, settled_cash_e8(book, reserved_e8)),
        buying_power_e8=max(0, equity_e8 - exposure_e8),
        realised_pnl_e8=realised_e8,
        open_pnl_e8=sums.open_e8,
        open_worst_case_e8=worst_e8,
        exposure_e8=exposure_e8,
        sector_exposure_e8=_by_sector(sectors) if sectors else (),
        open_positions=len(book.positions) + waiting,
        trades_today=book.trades - (own is not None) + len(also),
        symbols_today=(*entered, *also) if also else entered,
        orders_last_minute=book.orders_last_minute,
        rejected_in_a_row=book.rejected_in_a_row,
        losses_in_a_row=book.losses_in_a_row,
        orders_out=book.orders_out,
        is_paused=control.is_paused,
        is_killed=control.is_killed,
        locked_symbols=control.locked_symbols,
        blocked_symbols=tuple(sorted({*book.unknown_symbols, *book.external_symbols})) if foreign else (),
        entry_gate_reason=_gate(book),
        pause_reason=control.pause_reason,
    )


def limits_reached(book: Book, marks_e4: Mapping[str, int], profile: RiskProfile) -> tuple[str, ...]:
    """The tier of the day's loss, then the breakers, as the account marked at these prices would have them."""
    pnl_e8_of_day = book.realised_e8
    for held in book.positions:
        pnl_e8_of_day += total_pnl_e8(held.position, marks_e4.get(held.plan.symbol, held.stop_e4))
    tier = tier_of(-pnl_e8_of_day, book, profile)
    return (*(() if tier is None else (tier,)), *breakers(book, profile))


def _by_sector(parts: Sequence[tuple[str, str, int]]) -> tuple[tuple[str, int], ...]:
    """Exposure summed by sector, in its order."""
    total: dict[str, int] = {}
    for _, sector, notional_e8 in parts:
        total[sector] = total.get(sector, 0) + notional_e8
    return tuple(sorted(total.items()))


def settled_cash_e8(book: Book, reserved_e8: int) -> int:
    """Cash that is settled, not spent today and not reserved: what a cash account may buy with, in 1e-8.

    Proceeds of today's sales are not counted: they settle later, and spending them before would be free riding
    (Regulation T, 12 CFR 220.8).
    """
    return book.day_start_equity_e8 - book.unsettled_e8 - book.spent_e8 - reserved_e8


def settlement_days(session: str) -> int:
    """Business days from trade to settlement: T+3, T+2 from 2017-09-05, T+1 from 2024-05-28 (SEC Rule 15c6-1)."""
    if session < "2017-09-05":
        return 3
    return 2 if session < "2024-05-28" else 1


def _gate(book: Book) -> str | None:
    if book.control.needs_rearm:
        return "rearm_needed"
    if book.has_old_unknown or len(book.unknown_symbols) >= 3:
        return "unknown_orders"
    if book.control.gate_reason is None and not book.has_day_start:
        return "no_day_start_equity"
    return book.control.gate_reason

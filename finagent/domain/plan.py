"""A plan as a noun: its parts, its hash, and the states it goes through to exactly one end."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from finagent.domain.errors import InvalidTransitionError
from finagent.domain.journal import digest
from finagent.domain.market import MINUTE_MS, Bar, Direction, Instrument
from finagent.domain.money import price_text, quantity_number
from finagent.domain.orders import Scope, plan_id
from finagent.domain.plain import plain
from finagent.domain.rows import maker, quick, replace
from finagent.domain.setups import Setup
from finagent.domain.shorts import ShortTerms

AUCTION_NOTE = "opening_auction"
"""A plan with this note enters at the opening auction: its order leaves before the open or never."""
AUCTION_LEAD_MS = 3 * MINUTE_MS
"""How long before the open an auction entry leaves at the latest: a minute before the exchanges' cut-off of 09:28."""


class ExitKind(StrEnum):
    """What closes a leg."""

    STOP = "stop"
    TARGET = "target"
    TRAILING = "trailing"


class PlanState(StrEnum):
    """Life of a plan; the last seven are terminal."""

    PLANNED = "planned"
    PENDING = "pending"
    APPROVED = "approved"
    ARMED = "armed"
    ENTERING = "entering"
    OPEN = "open"
    CLOSED = "closed"
    REFUSED = "refused"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    NOT_FILLED = "not_filled"
    SUPERSEDED = "superseded"


TERMINAL_PLAN_STATES = (
    PlanState.CLOSED,
    PlanState.REFUSED,
    PlanState.REJECTED,
    PlanState.EXPIRED,
    PlanState.CANCELLED,
    PlanState.NOT_FILLED,
    PlanState.SUPERSEDED,
)


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class ExitLeg:
    """One target of a plan: its share of the quantity in 1e-6 and its limit price in 1e-4."""

    leg: str
    share_e6: int
    price_e4: int


new_exit_leg = maker(ExitLeg)


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Management:
    """What happens to an open position; R in 1e-6, None switches a rule off."""

    break_even_after_r_e6: int | None = None
    trail_after_r_e6: int | None = None
    trail_distance_e4: int | None = None
    time_stop_minutes: int | None = None
    time_stop_min_r_e6: int = 500_000


new_management = maker(Management)


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One candidate's plan; prices in 1e-4 and never moved by the fill; ``quantity_e4`` is 0 until risk sized
    it.

    A plan with ``trigger_e4`` waits armed until a bar trades through it and then sends a limit at
    ``limit_e4``; one without enters at the next bar's open. Entries are possible from ``entry_from_ms`` until
    ``entry_until_ms``.
    """

    plan_id: str
    version: int
    session: str
    scan_tick: str
    symbol: str
    rank: int
    preset: str
    setup: Setup
    direction: Direction
    score_e6: int
    reference_e4: int
    stop_e4: int
    targets: tuple[ExitLeg, ...]
    management: Management
    decided_at_ms: int
    entry_from_ms: int
    entry_until_ms: int
    trigger_e4: int | None = None
    limit_e4: int | None = None
    quantity_e4: int = 0
    adv_shares: int | None = None
    spread_e6: int | None = None
    lot_e4: int = 10_000
    notes: tuple[str, ...] = ()
    sector: str | None = None
    short: ShortTerms | None = None
    """What a short plan was made under; None for a long."""

    @property
    def risk_per_share_e4(self) -> int:
        """|reference - stop| in 1e-4: one R per share."""
        return abs(self.reference_e4 - self.stop_e4)


new_plan = maker(Plan)


@dataclass(frozen=True, slots=True)
class NoPlan:
    """The candidate gets no plan: why."""

    symbol: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class NotYet:
    """The setup cannot be judged before an instant; ask again then."""

    symbol: str
    at_ms: int
    reason: str


_WAITING_FOR_ENTRY = (PlanState.REFUSED, PlanState.EXPIRED, PlanState.CANCELLED, PlanState.SUPERSEDED)
PLAN_MOVES: Mapping[PlanState, tuple[PlanState, ...]] = {
    PlanState.PLANNED: (PlanState.PENDING, PlanState.APPROVED, *_WAITING_FOR_ENTRY),
    PlanState.PENDING: (PlanState.APPROVED, PlanState.REJECTED, *_WAITING_FOR_ENTRY),
    PlanState.APPROVED: (PlanState.ARMED, PlanState.ENTERING, *_WAITING_FOR_ENTRY),
    PlanState.ARMED: (PlanState.ENTERING, *_WAITING_FOR_ENTRY),
    PlanState.ENTERING: (
        PlanState.OPEN,
        PlanState.CLOSED,
        PlanState.NOT_FILLED,
        PlanState.EXPIRED,
        PlanState.CANCELLED,
    ),
    PlanState.OPEN: (PlanState.CLOSED,),
    **dict.fromkeys(TERMINAL_PLAN_STATES, ()),
}
"""Every step a plan may take: it has no cycle, so each plan ends in exactly one terminal state (G3).

``entering`` may close at once: a broker can report entry and exit in either order. Unfilled, it ends
``not_filled`` once its entry order is terminal; ``expired`` or ``cancelled`` only where no order left.
"""

REOPENED_FROM = (PlanState.CLOSED, PlanState.NOT_FILLED, PlanState.EXPIRED, PlanState.CANCELLED)
"""A fill the broker tells late takes a plan out of its end, and nothing else does: it is open until flat again."""


def plan_hash(plan: Plan) -> str:
    """SHA-256 (64 hex digits) over every field of the plan, its quantity included: what an approval is given
    for.
    """
    return digest("plan_body", plain(plan))


def with_size(plan: Plan, quantity_e4: int) -> Plan:
    """The plan with the quantity that risk allows, in 1e-4 shares; its hash changes, its id does not."""
    return replace(plan, quantity_e4=quantity_e4)


def is_edited(plan: Plan, *, quantity_e4: int | None, stop_e4: int | None) -> bool:
    """Whether a person's quantity or stop differs from the plan's; None stands for the plan's own."""
    return quantity_e4 not in (None, plan.quantity_e4) or stop_e4 not in (None, plan.stop_e4)


def next_version_id(plan: Plan, scope: Scope) -> str:
    """The id of the plan that takes this one's place, whether or not it has been made."""
    return plan_id(
        scope,
        session=plan.session,
        scan_tick=plan.scan_tick,
        symbol=plan.symbol,
        version=plan.version + 1,
    )


def revise(
    plan: Plan, scope: Scope, *, quantity_e4: int | None = None, stop_e4: int | None = None
) -> Plan | NoPlan:
    """The next version of a plan with a person's quantity or stop: risk may only shrink, targets stay.

    The caller moves the old version to ``superseded`` and asks risk again. Quantity in 1e-4 shares, stop in
    1e-4.
    """
    quantity = plan.quantity_e4 if quantity_e4 is None else quantity_e4
    stop = plan.stop_e4 if stop_e4 is None else stop_e4
    sign, most = plan.direction.sign, plan.quantity_e4
    if not 0 < quantity <= most or quantity % plan.lot_e4:
        asked, step, held = (quantity_number(each) for each in (quantity, plan.lot_e4, most))
        detail = f"quantity {asked} must be above 0 and at most {held}, in steps of {step}"
        return NoPlan(plan.symbol, "quantity_grows", detail)
    is_tighter = sign * plan.stop_e4 <= sign * stop < sign * plan.reference_e4
    if not is_tighter or stop % Instrument(symbol=plan.symbol).tick_e4(stop):
        detail = f"stop {price_text(stop)} must be a tick between {price_text(plan.stop_e4)} and the entry"
        return NoPlan(plan.symbol, "stop_widens", detail)
    return replace(
        plan,
        plan_id=next_version_id(plan, scope),
        version=plan.version + 1,
        quantity_e4=quantity,
        stop_e4=stop,
    )


def armed_trigger_fires(plan: Plan, bar: Bar) -> bool:
    """Whether an ended bar trades through the trigger of an armed plan while entries are possible.

    A plan without a trigger never fires. The entry would be sent at the bar's end, which must lie in the
    window.
    """
    if plan.trigger_e4 is None or not plan.entry_from_ms < bar.end_ms < plan.entry_until_ms:
        return False
    if plan.direction is Direction.LONG:
        return bar.high_e4 >= plan.trigger_e4
    return bar.low_e4 <= plan.trigger_e4


def can_move(state_from: PlanState, state_to: PlanState) -> bool:
    """Whether a plan may go from one state to another."""
    return state_to in PLAN_MOVES[state_from]


def next_plan_state(state_from: PlanState, state_to: PlanState) -> PlanState:
    """The new state; InvalidTransitionError when there is no such step."""
    if state_to not in PLAN_MOVES[state_from]:
        allowed = ", ".join(PLAN_MOVES[state_from]) or "nothing, it is terminal"
        raise InvalidTransitionError(f"a plan cannot go from {state_from} to {state_to}; allowed: {allowed}")
    return state_to

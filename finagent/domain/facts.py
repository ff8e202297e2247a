"""Facts: what one step of the day commits; the store writes each in the same commit as the step's job."""

from dataclasses import dataclass

from finagent.domain.binding import AccountBinding
from finagent.domain.day_start import DayStart
from finagent.domain.evidence import Evidence
from finagent.domain.gap import GapScan
from finagent.domain.journal import JsonData
from finagent.domain.orders import BrokerCashFlow, BrokerFill, BrokerOrder, OrderIntent, OrderState
from finagent.domain.plan import Plan, PlanState
from finagent.domain.positions import ExitReason, Position, Trade
from finagent.domain.reconcile import Difference
from finagent.domain.recovery import RecoveryState
from finagent.domain.risk import RiskDecision
from finagent.domain.scoring import ScoredCandidate
from finagent.domain.tie_out import AccountSnapshot, TieOut

ACCOUNT_ROW = "account"
"""The guarded row of every decision that takes from the account's limits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Journalled:
    """A journal row; the writer gives it its sequence and hash.

    ``evidence`` is what the step rested on; the rows of one step share it.
    """

    kind: str
    ref: str
    data: dict[str, JsonData]
    evidence: Evidence | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanRecorded:
    """A scan's result under its tick's name."""

    tick: str
    kind: str
    scan: GapScan


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateScored:
    """A candidate's rank (from 1) and factors; ``is_selected``: it goes on to planning."""

    session: str
    tick: str
    rank: int
    scored: ScoredCandidate
    is_selected: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRecorded:
    """A new plan in its first state."""

    plan: Plan
    state: PlanState


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateRefused:
    """A selected candidate without a plan: why."""

    session: str
    tick: str
    symbol: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanMoved:
    """A plan's next state; the commit fails when it is no longer in one of ``from_states``."""

    plan_id: str
    from_states: tuple[PlanState, ...]
    to_state: PlanState
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanReopened:
    """A late fill left a plan that had ended with a position: it is open again, and its trade is not closed."""

    plan_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSized:
    """Risk's decision on a plan; an approved one seals the quantity and the hash, and reserves."""

    plan: Plan
    plan_hash: str
    decision: RiskDecision


@dataclass(frozen=True, slots=True, kw_only=True)
class ReservationReleased:
    """The plan takes nothing from the account's limits any more."""

    plan_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReservationReduced:
    """Less is reserved than before (risk shrank at the trigger, or only a part was filled)."""

    plan_id: str
    notional_e8: int
    worst_case_e8: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRequested:
    """A person is asked; nobody else can answer with another nonce or hash."""

    plan_id: str
    plan_hash: str
    nonce: str
    expires_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalAnswered:
    """The first answer to a plan: approved, rejected or expired; the commit fails when one was there already."""

    plan_id: str
    plan_hash: str
    state: str
    channel: str
    identity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentRecorded:
    """The committed will to send one order of a session."""

    intent: OrderIntent
    session: str
    body_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderMoved:
    """An order's next state."""

    client_order_id: str
    to_state: OrderState
    reason: str = ""
    accepted_at_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryUnwanted:
    """A flatten or a kill wants a live entry gone: it never leaves (again), and what it fills is closed."""

    client_order_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FillRecorded:
    """One execution, folded into its order and position; recording it again changes nothing."""

    fill: BrokerFill
    plan_id: str
    leg: str
    session: str
    reason: ExitReason | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionRecorded:
    """A position as folded from its fills, with the stop that protects it, in 1e-4."""

    position: Position
    stop_e4: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StopMoved:
    """A position's protective stop is at another price now, in 1e-4."""

    plan_id: str
    stop_e4: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeRecorded:
    """A closed round trip, booked in the session in which it ended."""

    trade: Trade
    exit_session: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlChanged:
    """The halt flags; None leaves a flag as it is.

    ``gate_reason`` shuts the entry gate for one more reason, ``gate_opened`` takes back that one; the others stay.
    """

    is_paused: bool | None = None
    pause_reason: str | None = None
    paused_by: str | None = None
    is_killed: bool | None = None
    needs_rearm: bool | None = None
    gate_reason: str | None = None
    gate_opened: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountBound:
    """The database belongs to this account from now on; the commit fails when it is bound already."""

    binding: AccountBinding


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferencesFound:
    """All that broker and journal disagree on by now; what is not named is settled."""

    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalSeen:
    """The account holds this much of a symbol that is not ours, signed, in 1e-4; 0 when it is gone."""

    symbol: str
    quantity_e4: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalAcknowledged:
    """A person has seen an external holding at this size; the commit fails when it is another by now."""

    symbol: str
    quantity_e4: int
    identity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalIntended:
    """The committed will to close a holding that is not ours, by one order that belongs to no plan."""

    intent: OrderIntent
    session: str
    body_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalOrderMoved:
    """What became of such an order; filled in 1e-4 shares."""

    client_order_id: str
    to_state: OrderState
    filled_e4: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRecovered:
    """An order of ours that the restored database does not know, as the broker listed it."""

    order: BrokerOrder
    session: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FillRecovered:
    """An execution of such an order, or of what closed its shares; it counts for this session."""

    fill: BrokerFill
    session: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryMoved:
    """A restore begins a recovery, each look says whether something is left of it, a rearm ends it."""

    to_state: RecoveryState


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveAllowed:
    """A person on this machine allows live trading for an account, or takes it back."""

    account_id: str
    is_allowed: bool
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsAccepted:
    """Limits by name as a person accepted them (or lowered them in the settings); None is off."""

    values: tuple[tuple[str, int | None], ...]
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSeen:
    """The account at a session's close, what explains its change (None: nothing to compare with), flows counted."""

    snapshot: AccountSnapshot
    tie_out: TieOut | None
    flows: tuple[BrokerCashFlow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DayStarted:
    """A session's capital at a broker outside; the first one stays."""

    start: DayStart


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolLocked:
    """A symbol that is not entered (or is again)."""

    symbol: str
    is_locked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DayClosed:
    """A session's end: flat or not, and what was held over."""

    session: str
    is_flat: bool
    held_over: tuple[str, ...]
    pnl_e8: int
    fees_e8: int
    trades: int

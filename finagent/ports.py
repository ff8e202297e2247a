"""What the day needs from the world, on one page; adapters provide it, services use nothing else."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from finagent.domain.binding import AccountBinding
from finagent.domain.book import (
    Book,
    Control,
    OpenPosition,
    StoredApproval,
    StoredFill,
    StoredOrder,
    StoredPlan,
)
from finagent.domain.external import ExternalHolding, ExternalOrder
from finagent.domain.gap import Candidate
from finagent.domain.market import Bar, Earnings, Headline, History, Instrument, MarketView, Quote, Session
from finagent.domain.orders import (
    BrokerAccount,
    BrokerCapabilities,
    BrokerCashFlow,
    BrokerFill,
    BrokerOrder,
    BrokerPosition,
    BrokerUpdate,
    OrderIntent,
)
from finagent.domain.plan import Plan, PlanState
from finagent.domain.positions import Trade
from finagent.domain.reconcile import Difference
from finagent.domain.recovery import LostTime
from finagent.domain.risk import RiskDecision
from finagent.domain.scoring import ScoredCandidate
from finagent.domain.shorts import ShortNow
from finagent.domain.tie_out import AccountSnapshot
from finagent.queue.compute import ComputePool, ComputeTask
from finagent.queue.job import Job, JobStatus, JsonValue, NewJob
from finagent.queue.port import JobQueue, Tx
from finagent.runtime.clock import Clock, Ticker
from finagent.runtime.errors import GiveUpError, HaltError, RetryError

__all__ = [
    "BrokerAccessError",
    "BrokerStreamPort",
    "CalendarPort",
    "Clock",
    "ComputePool",
    "ComputeTask",
    "DuplicateClientOrderIdError",
    "GiveUpError",
    "HaltError",
    "Job",
    "JobQueue",
    "JobStatus",
    "JsonValue",
    "LastPrice",
    "MarketDataPort",
    "NewJob",
    "NewsPort",
    "OrderExecutionPort",
    "OrderRejectedError",
    "OutcomeUnknownError",
    "Recheck",
    "RetryError",
    "RiskCheck",
    "Store",
    "StreamLostError",
    "Ticker",
    "Tx",
]


class CalendarPort(Protocol):
    """The exchange's sessions."""

    def session(self, date: str) -> Session | None:
        """The session of a local date, None on a holiday or weekend."""

    def sessions(self, first: str, last: str) -> Sequence[Session]:
        """All sessions from ``first`` to ``last`` inclusive, in order."""

    def session_at(self, at_ms: int) -> Session:
        """The session whose local date holds the instant, else the next one."""

    def after(self, date: str) -> Session:
        """The first session after a local date."""


@dataclass(frozen=True, slots=True)
class LastPrice:
    """The newest price known of a symbol: last ended bar's close, its end, and the quote where there is one."""

    symbol: str
    price_e4: int
    at_ms: int
    quote: Quote | None = None


class MarketDataPort(Protocol):
    """Prices; every answer holds only what was known ``as_of_ms``."""

    @property
    def name(self) -> str:
        """The feed's name, shown beside results."""

    async def view(self, session: Session, as_of_ms: int) -> MarketView:
        """Snapshots of the whole universe. SessionDataMissingError where the session has no data at all."""

    async def history(
        self, symbols: Sequence[str], session: Session, as_of_ms: int, *, sessions: int = 60
    ) -> Mapping[str, History]:
        """Daily bars of the last ``sessions`` sessions before ``session``, with volumes for RVOL."""

    async def last_prices(
        self, symbols: Sequence[str], session: Session, as_of_ms: int
    ) -> Mapping[str, LastPrice]:
        """The newest known price of each symbol that has one."""

    async def minutes(self, symbol: str, session: Session, as_of_ms: int) -> Sequence[Bar]:
        """A symbol's ended minute bars of the session, in time order."""

    def loaded_minutes(self, symbol: str, session: Session, as_of_ms: int) -> Sequence[Bar]:
        """The same at once, for a session that was loaded."""

    async def load(self, session: Session) -> None:
        """Bring a session's minute bars into memory so that ``bars_ending`` and ``next_bar_end_ms`` answer at once."""

    def bars_ending(self, session: Session, end_ms: int, symbols: Sequence[str]) -> Mapping[str, Bar]:
        """The bars of a loaded session that end at an instant, for those symbols that traded."""

    def next_bar_end_ms(self, session: Session, after_ms: int) -> int | None:
        """End of the first bar of a loaded session that ends after an instant; None behind the last one."""

    def is_halted(self, session: Session, symbol: str, at_ms: int) -> bool:
        """Whether trading in the symbol is halted at an instant."""

    def instrument(self, symbol: str) -> Instrument | None:
        """What is known of a symbol; None for one that the feed does not know."""


class NewsPort(Protocol):
    """Texts and earnings dates, as known at an instant."""

    async def headlines(
        self, symbols: Sequence[str], since_ms: int, as_of_ms: int
    ) -> Mapping[str, Sequence[Headline]]:
        """Headlines known in (since, as_of], oldest first, for each symbol that has any."""

    async def earnings(
        self, symbols: Sequence[str], first: str, last: str
    ) -> Mapping[str, Sequence[Earnings]]:
        """Earnings dates between two sessions inclusive."""


class Store(Protocol):
    """What steps read of the committed facts; writing goes through ``Tx.put``."""

    async def candidates(self, session: str, tick: str) -> Sequence[Candidate]:
        """Candidates of one scan tick in the scan's order."""

    async def scored(self, session: str, tick: str) -> Sequence[tuple[int, ScoredCandidate]]:
        """Selected candidates of a tick with their rank, best first."""

    async def plan(self, plan_id: str) -> StoredPlan | None:
        """One plan."""

    async def plans(self, session: str, *, states: Sequence[PlanState] = ()) -> Sequence[StoredPlan]:
        """Plans of a session (in some states), by creation, rank and symbol."""

    async def approval(self, plan_id: str) -> StoredApproval | None:
        """The question put for a plan."""

    async def order(self, client_order_id: str) -> StoredOrder | None:
        """One order."""

    async def orders_of(self, plan_id: str) -> Sequence[StoredOrder]:
        """A plan's orders by creation and leg."""

    async def was_sent(self, client_order_id: str) -> bool:
        """Whether a job that sends the order was ever claimed: from then on it may be at the broker."""

    async def is_exiting(self, plan_id: str) -> bool:
        """Whether a job that closes (a part of) the plan's position waits or runs."""

    async def live_orders(self) -> Sequence[StoredOrder]:
        """All orders that are not terminal, by creation and id."""

    async def fills_of(self, plan_id: str) -> Sequence[StoredFill]:
        """A plan's fills in the order they were recorded."""

    async def position(self, plan_id: str) -> OpenPosition | None:
        """A plan's position, flat or not; None before its first fill."""

    async def open_positions(self) -> Sequence[OpenPosition]:
        """Positions that are not flat, by symbol."""

    async def book(self, session: str, *, now_ms: int, unsettled_from: str | None = None) -> Book:
        """The session's account as committed, in one snapshot; sales since ``unsettled_from`` have not settled."""

    async def control(self) -> Control:
        """The halt flags."""

    async def binding(self) -> AccountBinding | None:
        """The account at the broker that the database belongs to; None as long as it belongs to none."""

    async def external(self) -> Sequence[ExternalHolding]:
        """Holdings of the account that are not ours, by symbol."""

    async def external_orders(self) -> Sequence[ExternalOrder]:
        """Every order that closes or closed such a holding, by creation."""

    async def lost_time(self) -> LostTime:
        """What was taken over after a restore; empty where there was none."""

    async def account_before(self, session: str) -> AccountSnapshot | None:
        """The account at the newest close before a session that was seen."""

    async def fills_after(self, seq: int) -> tuple[Sequence[BrokerFill], int]:
        """Our fills recorded after one, in order, and the number of the last."""

    async def counted_flows(self, flow_ids: Sequence[str]) -> frozenset[str]:
        """Those of some cash flows that a tie-out has counted."""

    async def differences(self) -> Sequence[Difference]:
        """What broker and journal disagreed on by the newest comparison."""

    async def recorded(self, execution_ids: Sequence[str]) -> frozenset[str]:
        """Those of some executions that a fill has recorded."""

    async def live_account(self) -> str | None:
        """The account for which a person has allowed live trading; None when there is none."""

    async def trades(self, session: str) -> Sequence[Trade]:
        """Closed trades of a session by exit time and symbol."""


class OrderRejectedError(Exception):
    """The broker refused the order; it does not exist there. ``reason`` is one word, ``detail`` the value seen."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class BrokerAccessError(RetryError):
    """The broker does not let us in, and nothing was done: keys are missing, wrong or expired. ``mend`` says how."""

    def __init__(self, message: str, mend: str) -> None:
        super().__init__(message)
        self.mend = mend


class OutcomeUnknownError(Exception):
    """Nobody knows whether the broker has the order: look the id up before anything else."""


class DuplicateClientOrderIdError(Exception):
    """The broker already has an order of this id: look it up and adopt it."""


class OrderExecutionPort(Protocol):
    """A broker: orders out, their state and fills back; ids are ours, and one id is one order for ever."""

    @property
    def capabilities(self) -> BrokerCapabilities:
        """What the broker can do."""

    async def submit(self, intents: Sequence[OrderIntent]) -> BrokerOrder:
        """Send an order with its attached legs as one body; gives the first one as accepted.

        OrderRejectedError, OutcomeUnknownError, DuplicateClientOrderIdError, BrokerAccessError.
        """

    async def find(self, client_order_id: str) -> BrokerOrder | None:
        """The order of an id, None when the broker has none."""

    async def cancel(self, client_order_id: str) -> bool:
        """Cancel what is open of an order; False when nothing was. Safe to repeat."""

    async def replace(self, client_order_id: str, *, new: OrderIntent) -> BrokerOrder:
        """Put ``new`` in the place of an open order in one step at the broker; errors as ``submit``."""

    async def orders(self, *, session: str) -> Sequence[BrokerOrder]:
        """All orders of a session."""

    async def fills(self, *, session: str) -> Sequence[BrokerFill]:
        """All executions of a session in order."""

    async def positions(self) -> Sequence[BrokerPosition]:
        """All positions that are not flat."""

    async def account(self) -> BrokerAccount:
        """Cash, equity and buying power."""

    async def cash_flows(self, *, session: str) -> Sequence[BrokerCashFlow]:
        """Money that came or went without a trade since the close before the session, oldest first."""


class StreamLostError(Exception):
    """The broker's stream ended or said nothing for too long: connect again and catch up by listing."""


class BrokerStreamPort(Protocol):
    """What a broker tells by itself. It gives no snapshot: whoever listens lists orders and fills first."""

    def updates(self) -> AsyncIterator[BrokerUpdate | None]:
        """Updates from now on, in the order they arrive (late, twice and shuffled ones happen).

        The first item, None, says that the broker listens to us: list only after it. Later ones are signs of life.
        StreamLostError when the connection is lost.
        """


@dataclass(frozen=True, slots=True)
class Recheck:
    """Risk asked again: the decision, and what it was made from, for the last look at the orders that follow.

    ``price`` is None where the market tells none; ``equity_e8`` is the session's first.
    """

    decision: RiskDecision
    price: LastPrice | None
    equity_e8: int
    orders_last_minute: int
    short: ShortNow


class RiskCheck(Protocol):
    """Risk asked again about one plan, as if its own reservation were free; it may only shrink the quantity."""

    async def recheck(self, plan: Plan, *, replaces: str | None = None) -> Recheck:
        """The decision now; ``replaces`` names the plan whose reservation it takes.

        GiveUpError when the plan's date is no session.
        """

    def check_order(self, intent: OrderIntent, plan: Plan, found: Recheck) -> tuple[str, ...]:
        """The last look at an order: price band, price grid, lot, fat finger; empty when it may leave."""

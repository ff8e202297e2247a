"""What the world outside knows by itself: who said yes to what, which orders were sent, what was executed.

Nothing here reads the agent's database, and none of the agent's rules are used: it is what an auditor has who was
given the people's notes and the broker's statements alone.
"""

from collections import Counter
from dataclasses import dataclass, field

from finagent.domain.orders import BrokerFill

SHARE_E4 = 10_000


@dataclass(frozen=True, slots=True)
class Shown:
    """A plan as it was put to a person: what they would agree to."""

    plan_id: str
    plan_hash: str
    symbol: str
    quantity_e4: int
    limit_e4: int | None
    expires_ms: int


@dataclass(frozen=True, slots=True)
class Yes:
    """An answer that the agent took: when it was given, and the most it allows."""

    shown: Shown
    at_ms: int
    quantity_e4: int


@dataclass(slots=True)
class Ledger:
    """Executions of one kind of orders added up: shares by symbol and money, with fees."""

    shares_e4: dict[str, int] = field(default_factory=dict)
    money_e8: int = 0
    fees_e8: int = 0

    def add(self, fill: BrokerFill) -> None:
        """One execution."""
        sign = 1 if fill.side.value == "buy" else -1
        self.shares_e4[fill.symbol] = self.shares_e4.get(fill.symbol, 0) + sign * fill.quantity_e4
        self.money_e8 -= sign * fill.quantity_e4 * fill.price_e4
        self.fees_e8 += fill.fees_e8

    def held(self) -> dict[str, int]:
        """Shares that are not 0, by symbol."""
        return {symbol: e4 for symbol, e4 in sorted(self.shares_e4.items()) if e4}


class Witness:
    """People's answers and the broker's executions, as they happened."""

    def __init__(self) -> None:
        self.shown: dict[str, Shown] = {}
        self.yes: dict[str, Yes] = {}
        self.no: dict[str, int] = {}
        self.sent: dict[str, str] = {}
        """Order id -> plan id, for each order the agent sent (whatever became of it)."""
        self.closing: set[str] = set()
        """Ids of orders that were to close what finagent did not open."""
        self.sold_by_hand_e4 = Counter[str]()
        self.ours = Ledger()
        self.by_plan: dict[str, Ledger] = {}
        self.entered_e4: dict[str, int] = {}
        self.overfilled_e4: dict[str, int] = {}

    def fills(self, fill: BrokerFill, *, is_entry: bool) -> None:
        """An execution of an order of ours."""
        plan_id = self.sent.get(fill.client_order_id)
        self.ours.add(fill)
        if plan_id is None:
            return
        self.by_plan.setdefault(plan_id, Ledger()).add(fill)
        if is_entry:
            self.entered_e4[plan_id] = self.entered_e4.get(plan_id, 0) + fill.quantity_e4

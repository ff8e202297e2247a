"""How the paper venue is set up, and what it tells when something happens to an order."""

from dataclasses import dataclass, field

from finagent.domain.costs import CostRules
from finagent.domain.fills import Ambiguity
from finagent.domain.money import MONEY_SCALE, RATIO_SCALE, SHARE_E4
from finagent.domain.orders import BrokerCapabilities, BrokerFill, BrokerOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueRules:
    """The venue's account and habits; money in 1e-8, ratios in 1e-6.

    ``buying_power_e6`` is gross exposure allowed per equity (1_000_000: what the cash pays for). ``lot_e4``
    of 1 allows fractions. ``has_separate_exits`` refuses attached exits: every leg is then an order of its own that
    holds its shares. ``strict_alpaca`` does so too, and refuses what Alpaca refuses beyond it: an exit while the rest
    of its entry still works (a potential wash trade), and the replacement of a fraction.
    """

    name: str = "paper"
    currency: str = "USD"
    start_equity_e8: int = 100_000 * MONEY_SCALE
    costs: CostRules = field(default_factory=CostRules)
    ambiguity: Ambiguity = Ambiguity.STOP_FIRST
    lot_e4: int = SHARE_E4
    allow_shorts: bool = False
    buying_power_e6: int = RATIO_SCALE
    has_separate_exits: bool = False
    strict_alpaca: bool = False

    @property
    def has_attached_exits(self) -> bool:
        """Whether an entry may carry its exits."""
        return not (self.has_separate_exits or self.strict_alpaca)

    @property
    def capabilities(self) -> BrokerCapabilities:
        """What the venue declares to the execution service."""
        return BrokerCapabilities(
            name=self.name,
            has_attached_exits=self.has_attached_exits,
            has_opposite_orders=not self.strict_alpaca,
            has_fractions=self.lot_e4 < SHARE_E4,
            has_shorts=self.allow_shorts,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueEvent:
    """One thing to tell about an order: a fill, or (``fill`` None) that it ended otherwise than by its fills.

    ``order`` is the order right after it. An order whose fills add up to the quantity it was sent with ends
    with the last of them (``filled``). Any other end is an event of its own, behind the fills: cancelled,
    expired, or ``filled`` where a sibling's fill had cut the quantity.
    """

    symbol: str
    leg: str
    plan_id: str
    order: BrokerOrder
    fill: BrokerFill | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """An order the venue does not take: the reason as one word, and the value seen."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Duplicate:
    """An order with this id exists already."""

    client_order_id: str

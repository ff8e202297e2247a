"""External holdings: what the account holds that finagent did not open; never sold, never counted, not traded."""

from collections.abc import Iterable
from dataclasses import dataclass

from finagent.domain.market import Side
from finagent.domain.orders import OrderIntent, OrderState, OrderType, Scope, client_order_id, is_ours


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalHolding:
    """Shares of a symbol that are not ours, signed, in 1e-4; ``acknowledged_e4`` is what a person has seen of them."""

    symbol: str
    quantity_e4: int
    acknowledged_e4: int = 0

    @property
    def is_acknowledged(self) -> bool:
        """Whether a person has seen this holding at least as large, on this side."""
        is_same_side = self.quantity_e4 * self.acknowledged_e4 > 0
        return is_same_side and abs(self.quantity_e4) <= abs(self.acknowledged_e4)


def attribute(ours_e4: int, external_e4: int, theirs_e4: int) -> tuple[int, int]:
    """Whose the broker's shares of a symbol are: (ours, external), signed, together exactly the broker's.

    A change is a person's, and comes out of what is theirs first; ours is never more than the broker holds on our
    side, so that no exit can sell what is not there.
    """
    if ours_e4 + external_e4 == theirs_e4:
        return ours_e4, external_e4
    sign = (ours_e4 > 0) - (ours_e4 < 0)
    left_e4 = sign * min(abs(ours_e4), max(0, sign * theirs_e4))
    return left_e4, theirs_e4 - left_e4


def attribute_in_turn(ours_e4: int, external_e4: int, changes_e4: Iterable[int]) -> tuple[int, int]:
    """Whose the shares are after a person's executions one by one, signed: sold and bought back, they are external."""
    for change_e4 in changes_e4:
        ours_e4, external_e4 = attribute(ours_e4, external_e4, ours_e4 + external_e4 + change_e4)
    return ours_e4, external_e4


def unseen(holdings: Iterable[ExternalHolding]) -> tuple[ExternalHolding, ...]:
    """Holdings that wait for acknowledgement and block entries until then, by symbol."""
    waiting = (each for each in holdings if not each.is_acknowledged)
    return tuple(sorted(waiting, key=lambda each: each.symbol))


EXTERNAL_LEG = "external"
MOST_EXTERNAL_ORDERS = 5
"""How often a day an order to close an external holding of one symbol is tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalOrder:
    """An order that closes a holding that is not ours, with what became of it."""

    intent: OrderIntent
    session: str
    state: OrderState
    filled_e4: int = 0
    reason: str = ""


def is_external_id(client_order_id: str) -> bool:
    """Whether an order of ours closes what is not ours: it belongs to no plan."""
    return is_ours(client_order_id) and f"-{EXTERNAL_LEG}-" in client_order_id


def external_intent(
    holding: ExternalHolding,
    *,
    session: str,
    generation: int,
    scope: Scope,
    now_ms: int,
    reason: str,
    leg: str = EXTERNAL_LEG,
) -> OrderIntent:
    """A market order that closes a whole external holding; its id is derived, as every other is."""
    return OrderIntent(
        client_order_id=client_order_id(
            scope,
            session=session,
            scan_tick=EXTERNAL_LEG,
            symbol=holding.symbol,
            leg=leg,
            generation=generation,
        ),
        plan_id="",
        symbol=holding.symbol,
        leg=leg,
        generation=generation,
        side=Side.SELL if holding.quantity_e4 > 0 else Side.BUY,
        type=OrderType.MARKET,
        quantity_e4=abs(holding.quantity_e4),
        ignores_participation=True,
        created_at_ms=now_ms,
        reason=reason,
    )

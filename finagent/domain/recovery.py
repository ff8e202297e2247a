"""Recovery: after a restore, what orders of ours did in the lost time; no plan of the database explains it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from finagent.domain.legs import ENTRY
from finagent.domain.market import Direction, Side
from finagent.domain.orders import BrokerFill
from finagent.domain.positions import Position, realised_pnl_e8

RECOVERED = "recovered"
RECOVERED_LEG = "recover"
"""The leg of an order that closes shares of the lost time; it belongs to no plan."""


class RecoveryState(StrEnum):
    """How far a recovery is; SETTLED has nothing left to take over, cancel or close."""

    BEGUN = "begun"
    UNSETTLED = "unsettled"
    SETTLED = "settled"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveredFill:
    """An execution of ours from the lost time (or what closed its shares), and the session it counts for."""

    fill: BrokerFill
    session: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LostTime:
    """What has been taken over; ``fills`` leaves out what a trade of the database counts by now.

    ``since_ms`` is the backup's last commit, None when no recovery is open; ``is_settled`` says that the last look
    found nothing more to take over, cancel or close.
    """

    since_ms: int | None = None
    is_settled: bool = False
    order_ids: tuple[str, ...] = ()
    executions: tuple[str, ...] = ()
    fills: tuple[RecoveredFill, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether a restore has not been rearmed yet."""
        return self.since_ms is not None

    @property
    def shares_e4(self) -> dict[str, int]:
        """Signed shares by symbol that the recovered executions add up to; none that are flat."""
        found: dict[str, int] = {}
        for each in self.fills:
            fill = each.fill
            found[fill.symbol] = found.get(fill.symbol, 0) + fill.side.sign * fill.quantity_e4
        return {symbol: quantity_e4 for symbol, quantity_e4 in found.items() if quantity_e4}

    def with_more(self, order_ids: Iterable[str], fills: Sequence[RecoveredFill]) -> "LostTime":
        """The same with what one more look has found."""
        return replace(
            self,
            order_ids=(*self.order_ids, *order_ids),
            executions=(*self.executions, *(each.fill.execution_id for each in fills)),
            fills=(*self.fills, *fills),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveredDay:
    """What the lost time means for a session's limits; money in 1e-8."""

    symbols: tuple[str, ...] = ()
    realised_e8: int = 0
    spent_e8: int = 0


def is_entry_id(client_order_id: str) -> bool:
    """Whether an id of ours was minted for an entry."""
    return f"-{ENTRY}-" in client_order_id


def remainder(fill: BrokerFill, counted_e4: int) -> BrokerFill | None:
    """An execution less the part that a trade of the database counts, its fees in proportion; None: nothing left."""
    left_e4 = fill.quantity_e4 - counted_e4
    if left_e4 <= 0:
        return None
    return replace(fill, quantity_e4=left_e4, fees_e8=fill.fees_e8 * left_e4 // fill.quantity_e4)


def written_off(symbol: str, quantity_e4: int, *, mark_e4: int, now_ms: int) -> BrokerFill:
    """The end of recovered shares that a person sold elsewhere and the broker lists no more, at a mark in 1e-4."""
    return BrokerFill(
        execution_id=f"recovered:{symbol}:{now_ms}",
        client_order_id="",
        symbol=symbol,
        side=Side.SELL if quantity_e4 > 0 else Side.BUY,
        quantity_e4=abs(quantity_e4),
        price_e4=mark_e4,
        at_ms=now_ms,
    )


def recovered_day(fills: Sequence[RecoveredFill], session: str) -> RecoveredDay:
    """The session's part of the lost time; profit and loss at average cost per symbol, fees included."""
    today = [each for each in fills if each.session == session]
    before = [each for each in fills if each.session < session]
    bought = [each.fill for each in today if each.fill.side is Side.BUY]
    return RecoveredDay(
        symbols=tuple(sorted({each.fill.symbol for each in today})),
        realised_e8=_realised_e8([*before, *today]) - _realised_e8(before),
        spent_e8=sum(fill.quantity_e4 * fill.price_e4 for fill in bought),
    )


def _realised_e8(fills: Sequence[RecoveredFill]) -> int:
    held: dict[str, Position] = {}
    for each in sorted(fills, key=lambda one: (one.fill.at_ms, one.fill.execution_id)):
        fill, is_buy = each.fill, each.fill.side is Side.BUY
        position = held.get(fill.symbol) or Position(
            plan_id="",
            symbol=fill.symbol,
            session=each.session,
            direction=Direction.LONG if is_buy else Direction.SHORT,
        )
        money_e8 = fill.quantity_e4 * fill.price_e4
        held[fill.symbol] = replace(
            position,
            bought_e4=position.bought_e4 + (fill.quantity_e4 if is_buy else 0),
            bought_e8=position.bought_e8 + (money_e8 if is_buy else 0),
            sold_e4=position.sold_e4 + (0 if is_buy else fill.quantity_e4),
            sold_e8=position.sold_e8 + (0 if is_buy else money_e8),
            fees_e8=position.fees_e8 + fill.fees_e8,
        )
    return sum(realised_pnl_e8(position) for position in held.values())

"""Positions and trades, folded from fills; what to watch while a position is open."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from finagent.domain.errors import DomainError
from finagent.domain.market import Bar, Direction, Side
from finagent.domain.money import RATIO_SCALE, div_half_even
from finagent.domain.orders import ENTRY_LEG, BrokerFill
from finagent.domain.plan import Plan
from finagent.domain.rows import maker, quick


class ExitReason(StrEnum):
    """Why a trade was closed."""

    STOP = "stop"
    TARGET = "target"
    TRAILING = "trailing"
    TIME = "time"
    FLATTEN = "flatten"
    CLOSE_FORCED = "close_forced"
    KILL = "kill"
    MANUAL = "manual"


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A plan's position, folded from its fills in order; quantities in 1e-4 shares, money in 1e-8."""

    plan_id: str
    symbol: str
    session: str
    direction: Direction
    bought_e4: int = 0
    sold_e4: int = 0
    bought_e8: int = 0
    sold_e8: int = 0
    fees_e8: int = 0
    opened_at_ms: int | None = None
    closed_at_ms: int | None = None
    last_at_ms: int | None = None
    """The newest fill's instant; fills may be told late and in any order."""

    @property
    def quantity_e4(self) -> int:
        """Shares held, signed: positive long, negative short."""
        return self.bought_e4 - self.sold_e4


_position = maker(Position)
_BUY = Side.BUY


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class TradeExit:
    """One exit fill of a trade; a negative quantity bought back what had been sold beyond the position."""

    leg: str
    quantity_e4: int
    at_ms: int
    price_e4: int
    reason: ExitReason


_trade_exit = maker(TradeExit)


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """A closed round trip; average prices are exact money over quantity, shown rounded half even to 1e-4.

    ``r_multiple_e6`` = pnl / (quantity x |reference - stop|); MAE and MFE in R from ended bars between
    entry and exit; ``target_e4`` is the first target's price, 0 where the plan has none.
    """

    trade_id: str
    plan_id: str
    session: str
    symbol: str
    setup: str
    direction: Direction
    quantity_e4: int
    entry_at_ms: int
    entry_price_e4: int
    entry_e8: int
    exit_at_ms: int
    exit_price_e4: int
    exit_e8: int
    exit_reason: ExitReason
    exits: tuple[TradeExit, ...]
    stop_e4: int
    target_e4: int
    reference_e4: int
    risk_per_share_e4: int
    r_multiple_e6: int
    mae_r_e6: int
    mfe_r_e6: int
    slippage_e6: int
    fees_e8: int
    pnl_e8: int
    is_ambiguous: bool


_trade = maker(Trade)


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class LegFill:
    """A fill with the leg it belongs to; exits carry why they were sent (None on entries)."""

    leg: str
    fill: BrokerFill
    reason: ExitReason | None = None


new_leg_fill = maker(LegFill)


def open_position(plan: Plan) -> Position:
    """The empty position of a plan, to fold fills into."""
    return Position(plan_id=plan.plan_id, symbol=plan.symbol, session=plan.session, direction=plan.direction)


def fold(position: Position, fill: BrokerFill) -> Position:
    """The position after one more fill; the caller drops fills it has seen (key: broker + execution id).

    The order of fills does not matter: the same ones lead to the same position.
    Raises DomainError for a fill of another symbol. Nothing else is refused: the broker is the truth.
    """
    if fill.symbol != position.symbol:
        raise DomainError(
            f"fill {fill.execution_id} is of {fill.symbol}, the position of {position.symbol}:"
            " fold it into its own"
        )
    money_e8 = fill.quantity_e4 * fill.price_e4
    is_buy = fill.side is _BUY
    bought_e4 = position.bought_e4 + (fill.quantity_e4 if is_buy else 0)
    sold_e4 = position.sold_e4 + (0 if is_buy else fill.quantity_e4)
    last_at_ms = fill.at_ms if position.last_at_ms is None else max(position.last_at_ms, fill.at_ms)
    return _position(
        plan_id=position.plan_id,
        symbol=position.symbol,
        session=position.session,
        direction=position.direction,
        bought_e4=bought_e4,
        sold_e4=sold_e4,
        bought_e8=position.bought_e8 + (money_e8 if is_buy else 0),
        sold_e8=position.sold_e8 + (0 if is_buy else money_e8),
        fees_e8=position.fees_e8 + fill.fees_e8,
        opened_at_ms=fill.at_ms if position.opened_at_ms is None else min(position.opened_at_ms, fill.at_ms),
        closed_at_ms=last_at_ms if bought_e4 == sold_e4 else None,
        last_at_ms=last_at_ms,
    )


def entry_price_e4(position: Position) -> int:
    """Average entry price in 1e-4, rounded half even; DomainError before the first entry fill."""
    is_long = position.direction is Direction.LONG
    quantity_e4 = position.bought_e4 if is_long else position.sold_e4
    if quantity_e4 == 0:
        raise DomainError(f"position {position.plan_id} has no entry fill yet: ask after the first one")
    return div_half_even(position.bought_e8 if is_long else position.sold_e8, quantity_e4)


def has_entry(position: Position) -> bool:
    """Whether a fill of the entry is known: of fills told out of order an exit's may come first."""
    return (position.bought_e4 if position.direction is Direction.LONG else position.sold_e4) > 0


def realised_pnl_e8(position: Position) -> int:
    """What the exits earned at average cost, less all fees so far; exact when flat, else rounded down."""
    is_long = position.direction is Direction.LONG
    in_e4, in_e8 = (
        (position.bought_e4, position.bought_e8) if is_long else (position.sold_e4, position.sold_e8)
    )
    out_e4, out_e8 = (
        (position.sold_e4, position.sold_e8) if is_long else (position.bought_e4, position.bought_e8)
    )
    closed_e4 = min(out_e4, in_e4)
    if closed_e4 == 0:
        return -position.fees_e8
    # One floor over one fraction: out_e8 * closed / out - in_e8 * closed / in, signed by direction.
    numerator = out_e8 * closed_e4 * in_e4 - in_e8 * closed_e4 * out_e4
    return position.direction.sign * numerator // (out_e4 * in_e4) - position.fees_e8


def open_pnl_e8(position: Position, mark_e4: int) -> int:
    """What the open quantity earns at a mark; realised + open is always the exact total."""
    return pnl_e8(position, mark_e4)[1]


def pnl_e8(position: Position, mark_e4: int) -> tuple[int, int]:
    """Both at once: realised and open."""
    realised_e8 = realised_pnl_e8(position)
    return realised_e8, total_pnl_e8(position, mark_e4) - realised_e8


def total_pnl_e8(position: Position, mark_e4: int) -> int:
    """Realised and open together, net of fees; exact."""
    cash_flow_e8 = position.sold_e8 - position.bought_e8
    return cash_flow_e8 + (position.bought_e4 - position.sold_e4) * mark_e4 - position.fees_e8


def make_trade(plan: Plan, fills: Sequence[LegFill], bars: Sequence[Bar], *, trade_id: str) -> Trade:
    """The closed round trip of a plan from its fills, in whatever order they were told, and the symbol's ended bars.

    MAE (zero or less) and MFE (zero or more) are measured from the average entry over the bars that lie
    between the first entry fill and the last exit fill. ``slippage_e6`` is what all fills paid beyond their
    model price as a share of the notional traded; fills without a model price count as paying nothing.
    Ratios are rounded half even. Raises DomainError when the fills are not a closed round trip or an exit
    has no reason.
    """
    in_time = sorted(fills, key=lambda leg: (leg.fill.at_ms, leg.fill.execution_id))
    entries = [leg.fill for leg in in_time if leg.leg == ENTRY_LEG]
    exits = [leg for leg in in_time if leg.leg != ENTRY_LEG]
    quantity_e4 = sum([fill.quantity_e4 for fill in entries])
    closed_e4 = [_closed_e4(plan, leg.fill) for leg in exits]
    if quantity_e4 == 0 or quantity_e4 != sum(closed_e4):
        raise DomainError(f"plan {plan.plan_id} is not a closed round trip: make its trade when it is flat")
    entry_e8 = sum([fill.quantity_e4 * fill.price_e4 for fill in entries])
    exit_e8 = sum([quantity * leg.fill.price_e4 for quantity, leg in zip(closed_e4, exits, strict=True)])
    fees_e8 = sum([leg.fill.fees_e8 for leg in fills])
    pnl_e8 = plan.direction.sign * (exit_e8 - entry_e8) - fees_e8
    entry_at_ms, exit_at_ms = entries[0].at_ms, exits[-1].fill.at_ms
    held = [bar for bar in bars if bar.start_ms >= entry_at_ms and bar.end_ms <= exit_at_ms]
    mae_r_e6, mfe_r_e6 = _excursions_e6(plan, held, entry_e8, quantity_e4)
    return _trade(
        trade_id=trade_id,
        plan_id=plan.plan_id,
        session=plan.session,
        symbol=plan.symbol,
        setup=plan.setup,
        direction=plan.direction,
        quantity_e4=quantity_e4,
        entry_at_ms=entry_at_ms,
        entry_price_e4=div_half_even(entry_e8, quantity_e4),
        entry_e8=entry_e8,
        exit_at_ms=exit_at_ms,
        exit_price_e4=div_half_even(exit_e8, quantity_e4),
        exit_e8=exit_e8,
        exit_reason=_exit_reason(exits[-1]),
        exits=tuple(
            [
                _trade_exit(
                    leg=leg.leg,
                    quantity_e4=quantity,
                    at_ms=leg.fill.at_ms,
                    price_e4=leg.fill.price_e4,
                    reason=_exit_reason(leg),
                )
                for quantity, leg in zip(closed_e4, exits, strict=True)
            ]
        ),
        stop_e4=plan.stop_e4,
        target_e4=plan.targets[0].price_e4 if plan.targets else 0,
        reference_e4=plan.reference_e4,
        risk_per_share_e4=plan.risk_per_share_e4,
        r_multiple_e6=_ratio_e6(pnl_e8, quantity_e4 * plan.risk_per_share_e4),
        mae_r_e6=mae_r_e6,
        mfe_r_e6=mfe_r_e6,
        slippage_e6=_ratio_e6(sum([_slippage_e8(leg.fill) for leg in fills]), entry_e8 + exit_e8),
        fees_e8=fees_e8,
        pnl_e8=pnl_e8,
        is_ambiguous=any(leg.fill.is_ambiguous for leg in fills),
    )


def _closed_e4(plan: Plan, fill: BrokerFill) -> int:
    """What an exit fill closed; negative when it took back what had been closed beyond the position."""
    return -plan.direction.sign * fill.side.sign * fill.quantity_e4


def _exit_reason(leg: LegFill) -> ExitReason:
    if leg.fill.is_forced_close:
        return ExitReason.CLOSE_FORCED
    if leg.reason is None:
        raise DomainError(f"exit fill {leg.fill.execution_id} has no reason: say why its order was sent")
    return leg.reason


def _slippage_e8(fill: BrokerFill) -> int:
    if fill.reference_e4 is None:
        return 0
    return fill.side.sign * (fill.price_e4 - fill.reference_e4) * fill.quantity_e4


def _excursions_e6(plan: Plan, held: Sequence[Bar], entry_e8: int, quantity_e4: int) -> tuple[int, int]:
    if not held:
        return 0, 0
    low_e8 = min([bar.low_e4 for bar in held]) * quantity_e4 - entry_e8
    high_e8 = max([bar.high_e4 for bar in held]) * quantity_e4 - entry_e8
    worst_e8, best_e8 = (low_e8, high_e8) if plan.direction is Direction.LONG else (-high_e8, -low_e8)
    risk_e8 = plan.risk_per_share_e4 * quantity_e4
    return _ratio_e6(min(worst_e8, 0), risk_e8), _ratio_e6(max(best_e8, 0), risk_e8)


def _ratio_e6(numerator: int, denominator: int) -> int:
    return div_half_even(numerator * RATIO_SCALE, denominator) if denominator else 0

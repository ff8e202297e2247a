"""What the kernel kept of one set, told as the reference engine tells it: fills in order, positions and trades."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from finagent.backtest.drilling import until
from finagent.backtest.kernel import columns as c
from finagent.backtest.kernel.engine import Played
from finagent.backtest.kernel.gathering import Tables
from finagent.backtest.ledger import FillRow
from finagent.backtest.source import Ints
from finagent.backtest.venue import broker_fill
from finagent.domain.fills import ModelFill
from finagent.domain.legs import ENTRY, EXIT, STOP, entry_side, exit_side, order_id
from finagent.domain.market import MINUTE_MS, Bar, Direction, Session
from finagent.domain.money import RATIO_SCALE
from finagent.domain.orders import Scope, plan_id, trade_id
from finagent.domain.plan import ExitLeg, Management, Plan
from finagent.domain.positions import ExitReason, LegFill, Position, Trade, make_trade
from finagent.domain.setups import Setup

TARGET = "target-1"
LEGS = (ENTRY, STOP, TARGET, EXIT)
REASONS = (None, ExitReason.STOP, ExitReason.TARGET, ExitReason.FLATTEN)
"""On daily bars by leg."""
MINUTE_REASONS = (
    None,
    ExitReason.STOP,
    ExitReason.TARGET,
    ExitReason.TRAILING,
    ExitReason.TIME,
    ExitReason.FLATTEN,
    ExitReason.CLOSE_FORCED,
)


@dataclass(frozen=True, slots=True)
class DayTold:
    """A session's fills and trades as they were booked, and its positions."""

    fills: tuple[FillRow, ...]
    positions: tuple[Position, ...]
    trades: tuple[Trade, ...]


@dataclass(frozen=True, slots=True)
class _Carried:
    """A plan with its fills; ``phases`` say when in the day each of them fell."""

    plan: Plan
    fills: tuple[FillRow, ...]
    phases: tuple[int, ...]
    bars: tuple[Bar, ...]


def told_days(
    played: Played,
    tables: Tables,
    sessions: Sequence[Session],
    ticks: Sequence[str | None],
    symbols: Sequence[str],
    scope: Scope,
) -> Iterator[DayTold]:
    """Session by session; ``ticks``: the scan that each one on daily bars planned with."""
    fills: list[list[list[int]]] = [[] for _ in played.kept]
    for fill in played.fills.tolist():
        fills[fill[c.F_PLAN]].append(fill)
    days: list[list[_Carried]] = [[] for _ in sessions]
    for kept, own in zip(played.kept.tolist(), fills, strict=True):
        number = kept[c.K_DAY]
        row, session = tables.rows[kept[c.K_ROW]].tolist(), sessions[number]
        is_on_minutes = bool(tables.days[number, c.IS_ON_MINUTES])
        tick = tables.names[kept[c.K_LINE]] if is_on_minutes else ticks[number] or ""
        plan = _plan(kept, row, session, tick, symbols[row[c.SYMBOL]], scope)
        if is_on_minutes:
            bars = _minutes(tables, row, own, session)
            days[number].append(_carried(plan, own, session, scope, MINUTE_REASONS, bars))
        else:
            day = _day(tables, row, own, session)
            days[number].append(_carried(plan, own, session, scope, REASONS, (day,)))
    return (_told(day, scope) for day in days)


def _plan(kept: list[int], row: list[int], session: Session, tick: str, symbol: str, scope: Scope) -> Plan:
    return Plan(
        plan_id=plan_id(scope, session=session.date, scan_tick=tick, symbol=symbol, version=1),
        version=1,
        session=session.date,
        scan_tick=tick,
        symbol=symbol,
        rank=0,
        preset="classic",
        setup=Setup.NEXT_OPEN,
        direction=Direction.LONG if row[c.DIRECTION] > 0 else Direction.SHORT,
        score_e6=kept[c.K_SCORE],
        reference_e4=row[c.LAST_PRICE],
        stop_e4=kept[c.K_STOP],
        targets=(ExitLeg(leg=TARGET, share_e6=RATIO_SCALE, price_e4=kept[c.K_TARGET]),),
        management=Management(),
        decided_at_ms=session.open_ms,
        entry_from_ms=session.open_ms,
        entry_until_ms=session.close_ms,
        quantity_e4=kept[c.K_QUANTITY],
    )


def _carried(
    plan: Plan,
    fills: Sequence[list[int]],
    session: Session,
    scope: Scope,
    reasons: Sequence[ExitReason | None],
    bars: tuple[Bar, ...],
) -> _Carried:
    rows: list[FillRow] = []
    seen: dict[tuple[int, int], int] = {}
    for fill in fills:
        order = fill[c.F_LEG], fill[c.F_GENERATION]
        seen[order] = seen.get(order, 0) + 1
        rows.append(_fill_row(plan, fill, seen[order], session, scope, reasons))
    return _Carried(plan, tuple(rows), tuple(fill[c.F_PHASE] for fill in fills), bars)


def _day(tables: Tables, row: list[int], fills: Sequence[list[int]], session: Session) -> Bar:
    bar = Bar(session.open_ms, row[c.OPEN], row[c.HIGH], row[c.LOW], row[c.CLOSE], row[c.VOLUME])
    for fill in fills:
        if fill[c.F_LEG] in (c.STOP_LEG, c.TARGET_LEG):
            if fill[c.F_AMBIGUOUS] == c.DRILLED:
                inside = _bars(tables.bars[row[c.DRILL_FIRST] : row[c.DRILL_LAST]], session)
                bar = until(bar, inside, session.open_ms + fill[c.F_MINUTE] * MINUTE_MS)
            bar = _cut(bar, fill[c.F_PRICE])
    return bar


def _bars(rows: Ints, session: Session) -> tuple[Bar, ...]:
    return tuple(
        Bar(session.open_ms + bar[c.B_MINUTE] * MINUTE_MS, *bar[c.B_OPEN :]) for bar in rows.tolist()
    )


def _minutes(tables: Tables, row: list[int], fills: Sequence[list[int]], session: Session) -> tuple[Bar, ...]:
    """The bars between a plan's first fill and its last."""
    if not fills:
        return ()
    first, last = fills[0][c.F_MINUTE], fills[-1][c.F_MINUTE]
    own = tables.bars[row[c.BAR_FIRST] : row[c.BAR_LAST]]
    return _bars(own[(own[:, c.B_MINUTE] >= first) & (own[:, c.B_MINUTE] < last)], session)


def _cut(bar: Bar, price_e4: int) -> Bar:
    """After an exit the day says nothing more of the position."""
    if price_e4 < bar.open_e4:
        return replace(bar, low_e4=max(bar.low_e4, price_e4))
    return replace(bar, high_e4=min(bar.high_e4, price_e4))


def _fill_row(
    plan: Plan,
    fill: list[int],
    number: int,
    session: Session,
    scope: Scope,
    reasons: Sequence[ExitReason | None],
) -> FillRow:
    name = LEGS[fill[c.F_LEG]]
    if reasons is REASONS:
        own_id, reason = order_id(plan, name, 1, scope), REASONS[fill[c.F_LEG]]
        at_ms = session.open_ms if fill[c.F_PHASE] == c.AT_OPEN else session.close_ms
    else:
        own_id, reason = order_id(plan, name, fill[c.F_GENERATION], scope), reasons[fill[c.F_REASON]]
        at_ms = session.open_ms + fill[c.F_MINUTE] * MINUTE_MS
    is_ambiguous, is_drilled = fill[c.F_AMBIGUOUS] == c.DOUBTFUL, fill[c.F_AMBIGUOUS] == c.DRILLED
    model = ModelFill(
        client_order_id=own_id,
        symbol=plan.symbol,
        side=entry_side(plan) if fill[c.F_LEG] == c.ENTRY_LEG else exit_side(plan),
        quantity_e4=fill[c.F_QUANTITY],
        price_e4=fill[c.F_PRICE],
        reference_e4=fill[c.F_REFERENCE],
        at_ms=at_ms,
        fees_e8=fill[c.F_FEES],
        is_ambiguous=is_ambiguous,
        best_e4=fill[c.F_BEST] if is_ambiguous else None,
        worst_e4=fill[c.F_WORST] if is_ambiguous else None,
        is_forced_close=reason is ExitReason.CLOSE_FORCED,
        drilled_ms=session.open_ms + fill[c.F_MINUTE] * MINUTE_MS if is_drilled else None,
    )
    told = broker_fill(model, f"{own_id}:{number}")
    return FillRow(told, plan.plan_id, plan.session, name, reason, model)


def _told(day: Sequence[_Carried], scope: Scope) -> DayTold:
    """As the reference books it: by phase of the day, then by symbol and leg; a trade in the phase that ended it."""
    places = [
        (phase, carried.plan.symbol, row.leg, row)
        for carried in day
        for phase, row in zip(carried.phases, carried.fills, strict=True)
    ]
    places.sort(key=lambda each: each[:3])
    filled = [carried for carried in day if carried.fills]
    filled.sort(key=lambda carried: (carried.phases[-1], carried.plan.symbol))
    return DayTold(
        tuple(each[3] for each in places),
        tuple(_position(carried) for carried in filled),
        tuple(_trade(carried, scope) for carried in filled),
    )


def _trade(carried: _Carried, scope: Scope) -> Trade:
    plan = carried.plan
    identity = trade_id(scope, session=plan.session, scan_tick=plan.scan_tick, symbol=plan.symbol)
    legs = [LegFill(leg=row.leg, fill=row.fill, reason=row.reason) for row in carried.fills]
    return make_trade(plan, legs, carried.bars, trade_id=identity)


def _position(carried: _Carried) -> Position:
    """What the fills fold to: flat."""
    plan, fills = carried.plan, [row.fill for row in carried.fills]
    bought = [fill for fill in fills if fill.side.sign > 0]
    sold = [fill for fill in fills if fill.side.sign < 0]
    last_ms = max(fill.at_ms for fill in fills)
    return Position(
        plan_id=plan.plan_id,
        symbol=plan.symbol,
        session=plan.session,
        direction=plan.direction,
        bought_e4=sum(fill.quantity_e4 for fill in bought),
        sold_e4=sum(fill.quantity_e4 for fill in sold),
        bought_e8=sum(fill.quantity_e4 * fill.price_e4 for fill in bought),
        sold_e8=sum(fill.quantity_e4 * fill.price_e4 for fill in sold),
        fees_e8=sum(fill.fees_e8 for fill in fills),
        opened_at_ms=min(fill.at_ms for fill in fills),
        closed_at_ms=last_ms,
        last_at_ms=last_ms,
    )

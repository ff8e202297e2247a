"""A session of daily bars alone: the open is assumed known, entries slip from it, the day is one bar.

The order of events: entries at the open with ``open_slippage_e6``; then the whole day as one bar, in which the
ambiguity rule decides between stop and target, asking the stored minutes where it is ``MINUTES``; what is left leaves
at the close with the usual slippage. Rules that act while a position is open (break-even, trailing, time stop, limits
of the day) need minutes and do not act here. Excursions are bounds: what the day reached, cut at the price of an exit
on that side.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache

from finagent.backtest import entering, leaving
from finagent.backtest.agenda import Task, new_task
from finagent.backtest.desk import Desk
from finagent.backtest.drilling import bars_inside, until
from finagent.backtest.ledger import PlanRow
from finagent.backtest.market import new_last_price
from finagent.backtest.venue import VenueEvent, VenueMinute
from finagent.domain.costs import CostRules
from finagent.domain.fills import Ambiguity
from finagent.domain.market import MINUTE_MS, Bar, DailyBar, new_bar
from finagent.domain.plan import PlanState
from finagent.domain.positions import ExitReason
from finagent.domain.rows import replace
from finagent.domain.steps import Step

_BROKER_EVENT = Step.BROKER_EVENT
SCAN = "open"
"""Name of the scan where the schedule has none after the open."""


def play_day(desk: Desk) -> None:
    """One session on its daily bars, from the scan of its open to the close."""
    desk.entry_slippage_e6 = _at_open(desk.rules.costs, desk.rules.open_slippage_e6).slippage_bound_e6
    scan_line = next(
        (line for line in desk.lines.scans if line.kind == "plan" and line.at_ms > desk.session.open_ms), None
    )
    skipped = next((line.skipped for line in desk.lines.scans if line.skipped is not None), None)
    if scan_line is None and skipped is not None:
        desk.skipped.append(skipped)
    else:
        _enter(desk, SCAN if scan_line is None else scan_line.name)
        _leave(desk)
    desk.now_ms = desk.lines.day_close_ms
    leaving.close_day(desk, new_task(step=Step.DAY_CLOSE))


def _enter(desk: Desk, tick: str) -> None:
    """Scan, score, plan and size as soon as the open is known, with orders that take part in that open."""
    open_ms = desk.session.open_ms
    desk.now_ms = open_ms + MINUTE_MS
    entering.scan(desk, new_task(step=Step.SCAN, tick=tick, kind="plan"))
    _look(desk, desk.scored.get(tick, {}).keys() & desk.ledger.watched())
    _work(desk)


def _plan(desk: Desk, task: Task) -> None:
    _look(desk, task.names)
    entering.plan(desk, task)
    _date_back(desk)


def _look(desk: Desk, symbols: Iterable[str]) -> None:
    """The day of some symbols as one bar."""
    named = sorted(symbols)
    for symbol, bar in zip(named, desk.market.daily_bars(named, desk.market.row), strict=True):
        if bar is not None:
            desk.day_bars[symbol] = _as_bar(bar, desk.session.open_ms)
            desk.day_prices[symbol] = new_last_price(bar.open_e4, desk.session.open_ms)


def _date_back(desk: Desk) -> None:
    """The plans are for the open itself: that is what daily bars have to assume."""
    open_ms = desk.session.open_ms
    desk.now_ms = open_ms
    for row in desk.ledger.plans_of(desk.session.date, (PlanState.PLANNED,)):
        row.plan = replace(row.plan, decided_at_ms=open_ms, entry_from_ms=open_ms)


@lru_cache(maxsize=8)
def _at_open(costs: CostRules, open_slippage_e6: int) -> CostRules:
    """What an entry costs at an open that only daily bars tell."""
    return replace(costs, slippage_e6=open_slippage_e6, open_multiplier=1)


def _leave(desk: Desk) -> None:
    """The open, the day, the close."""
    session, costs = desk.session, desk.rules.costs
    watched = desk.ledger.watched()
    bars = {symbol: bar for symbol, bar in desk.day_bars.items() if symbol in watched}
    prints = {
        symbol: new_bar(bar.start_ms, bar.open_e4, bar.open_e4, bar.open_e4, bar.open_e4, bar.volume)
        for symbol, bar in bars.items()
    }
    _tell(desk, prints, _at_open(costs, desk.rules.open_slippage_e6), session.open_ms)
    after_ms = session.open_ms + costs.open_minutes * MINUTE_MS
    days = {symbol: replace(bar, start_ms=after_ms) for symbol, bar in bars.items()}
    _tell(desk, days, costs, session.close_ms, inside=_inside(desk, days))
    desk.now_ms = session.close_ms - MINUTE_MS
    for held in desk.ledger.open_positions():
        plan_id = held.plan.plan_id
        leave = new_task(step=Step.EXIT, of=plan_id, reason=ExitReason.FLATTEN.value)
        desk.agenda.add(leave, f"{plan_id}/close", now_ms=desk.now_ms)
    _work(desk)
    closes = {
        symbol: new_bar(desk.now_ms, bar.close_e4, bar.close_e4, bar.close_e4, bar.close_e4, bar.volume)
        for symbol, bar in bars.items()
    }
    _tell(desk, closes, costs, session.close_ms, is_last=True)
    _work(desk)


def _inside(desk: Desk, symbols: Iterable[str]) -> dict[str, tuple[Bar, ...]]:
    """The minutes that tell the order of a day's events, where the rule asks them."""
    if desk.rules.ambiguity is not Ambiguity.MINUTES:
        return {}
    return {symbol: bars_inside(desk.dataset, desk.market.row, symbol) for symbol in symbols}


def _tell(
    desk: Desk,
    bars: Mapping[str, Bar],
    costs: CostRules,
    at_ms: int,
    *,
    is_last: bool = False,
    inside: Mapping[str, tuple[Bar, ...]] | None = None,
) -> None:
    """Play one bar a symbol; whatever fills in it fills at an instant that daily bars know: the open or the close."""
    desk.now_ms = at_ms
    minute = VenueMinute(
        now_ms=at_ms,
        session=desk.session,
        bars=bars,
        spreads_e4={},
        halted=frozenset(),
        is_last_bar=is_last,
        costs=costs,
        inside=inside,
    )
    for event in desk.venue.match(minute):
        told = event
        if event.fill is not None and event.fill.at_ms != at_ms:
            told = replace(event, fill=replace(event.fill, at_ms=at_ms))
        key = event.execution_id or f"{event.client_order_id}:{event.state.value}"
        desk.agenda.add(new_task(step=_BROKER_EVENT, event=told), key, now_ms=at_ms)
        _cut(desk, told, inside)
    _work(desk)


def _cut(desk: Desk, event: VenueEvent, inside: Mapping[str, tuple[Bar, ...]] | None) -> None:
    """After an exit the day says nothing more of the position: its bar ends at that price on that side, and where
    minutes told the exit, with that minute.
    """
    order = desk.ledger.orders[event.client_order_id]
    if event.fill is None or order.intent.parent_id is None:
        return
    symbol, price_e4 = order.intent.symbol, event.fill.price_e4
    bar = desk.day_bars[symbol]
    if inside and event.fill.drilled_ms is not None:
        bar = until(bar, inside[symbol], event.fill.drilled_ms)
    if price_e4 < bar.open_e4:
        bar = replace(bar, low_e4=max(bar.low_e4, price_e4))
    else:
        bar = replace(bar, high_e4=min(bar.high_e4, price_e4))
    desk.day_bars[symbol] = bar


def _work(desk: Desk) -> None:
    while (task := desk.agenda.take()) is not None:
        DAILY_STEPS[task.step](desk, task)


def _execute(desk: Desk, task: Task) -> None:
    row: PlanRow = desk.ledger.plans[task.of]
    if row.state is PlanState.APPROVED:
        entering.execute(desk, task)


DAILY_STEPS = {
    Step.SCORE: entering.choose,
    Step.PLAN: _plan,
    Step.RISK: entering.risk,
    Step.APPROVE: entering.approve,
    Step.EXECUTE: _execute,
    Step.SEND: entering.send,
    Step.BROKER_EVENT: leaving.broker_event,
    Step.EXIT: leaving.exit_position,
    Step.SEND_EXIT: leaving.send_exit,
    Step.CANCEL_ENTRY: leaving.cancel_entry,
    Step.RECORD_TRADE: leaving.record_trade,
}


def _as_bar(bar: DailyBar, start_ms: int) -> Bar:
    return new_bar(start_ms, bar.open_e4, bar.high_e4, bar.low_e4, bar.close_e4, bar.volume)

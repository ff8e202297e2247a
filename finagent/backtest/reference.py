"""The reference engine: each session minute by minute through the domain's rules, with every order and decision."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from finagent.backtest import entering, leaving
from finagent.backtest.agenda import Agenda, Task, new_task
from finagent.backtest.daily import play_day
from finagent.backtest.dataset import Dataset
from finagent.backtest.desk import Desk
from finagent.backtest.ledger import Ledger
from finagent.backtest.market import open_session
from finagent.backtest.parameters import DayLines, Parameters
from finagent.backtest.venue import Venue, VenueEvent, VenueMinute, broker_fill
from finagent.domain.book import Book, OpenPosition, limits_reached
from finagent.domain.manage import (
    ArmedAction,
    MoveStop,
    OpenState,
    TimeStop,
    advance,
    armed_action,
    evaluate,
    is_managed,
)
from finagent.domain.market import MINUTE_MS, Bar, Session
from finagent.domain.positions import entry_price_e4, fold, open_position
from finagent.domain.steps import Step

STEPS: Mapping[Step, Callable[[Desk, Task], None]] = {
    Step.FLATTEN: leaving.flatten,
    Step.BROKER_EVENT: leaving.broker_event,
    Step.EXIT: leaving.exit_position,
    Step.MOVE_STOP: leaving.move_stop,
    Step.REPLACE: leaving.replace_stop,
    Step.SEND_EXIT: leaving.send_exit,
    Step.RECORD_TRADE: leaving.record_trade,
    Step.LIMIT: leaving.limit,
    Step.SCAN: entering.scan,
    Step.SCORE: entering.choose,
    Step.PLAN: entering.plan,
    Step.RISK: entering.risk,
    Step.APPROVE: entering.approve,
    Step.PLAN_EXPIRY: entering.execute,
    Step.EXECUTE: entering.execute,
    Step.SEND: entering.send,
    Step.CANCEL_ENTRY: leaving.cancel_entry,
    Step.RECONCILE: leaving.reconcile,
    Step.DAY_CLOSE: leaving.close_day,
}


@dataclass(slots=True, eq=False)
class Run:
    """One run of the reference engine: what it has come to is in ``ledger``."""

    dataset: Dataset
    rules: Parameters
    ledger: Ledger
    venue: Venue
    agenda: Agenda = field(default_factory=Agenda)

    @classmethod
    def begin(cls, dataset: Dataset, rules: Parameters) -> "Run":
        """Nothing has happened yet."""
        return cls(dataset, rules, Ledger(rules.start_equity_e8), Venue(rules))

    def play(self, session: Session, lines: DayLines, *, use_minutes: bool = True) -> None:
        """One session from its first line to its last: on its minute bars, else on its daily bars alone."""
        market = open_session(self.dataset, session, use_minutes=use_minutes)
        # Of a day that is one bar no timer is left to the next, and nobody answers late.
        is_as_it_is = market.has_minutes or not self.rules.approval_delay_ms
        desk = Desk(
            dataset=self.dataset,
            rules=self.rules if is_as_it_is else replace(self.rules, approval_delay_ms=0),
            ledger=self.ledger,
            venue=self.venue,
            agenda=self.agenda if market.has_minutes else Agenda(),
            market=market,
            lines=lines,
            now_ms=0,
        )
        if market.has_minutes:
            _Day(desk).run()
        else:
            play_day(desk)


class _Day:
    """The instants of one session; lives for one call."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._due = _ticks(desk)
        self._seen: dict[str, tuple[OpenPosition, int, OpenState]] = {}
        """By plan its position, how many bars were looked at, and what they told."""
        self._at_ms = self._due[0][0] - 1

    def run(self) -> None:
        """Every instant at which something is due or a watched minute ends, in order."""
        while (at_ms := self._next_ms()) is not None:
            self._tick(max(at_ms, self._at_ms))
            while (task := self._desk.agenda.take()) is not None:
                STEPS[task.step](self._desk, task)

    def _next_ms(self) -> int | None:
        desk = self._desk
        instants = [self._due[0][0]] if self._due else []
        if desk.ledger.is_watching and self._at_ms < desk.session.close_ms:
            following = desk.market.next_bar_end_ms(self._at_ms)
            close_ms = desk.session.close_ms
            instants.append(close_ms if following is None else min(following, close_ms))
        waiting_ms = desk.agenda.next_ms()
        if waiting_ms is not None:
            instants.append(waiting_ms)
        return min(instants, default=None)

    def _tick(self, at_ms: int) -> None:
        """The venue's fills, watched plans and positions, the day's loss, and what is due: one instant."""
        desk, self._at_ms = self._desk, at_ms
        desk.now_ms = at_ms
        desk.agenda.promote(at_ms)
        watched = sorted(desk.ledger.watched())
        bars = self._bars(watched)
        events = self._match(watched, bars) if at_ms > desk.session.open_ms else []
        self._watch_plans(bars)
        self._watch_positions(bars)
        self._watch_limits(bars, events)
        while self._due and self._due[0][0] <= at_ms:
            _, task, key = self._due.pop(0)
            if key:
                desk.agenda.add(task, key, now_ms=at_ms)
            else:
                desk.skipped.append(task.reason)
                ref = f"{desk.session.date}/{task.tick}"
                desk.ledger.tell(at_ms, "scan_skipped", ref, reason=task.reason)

    def _bars(self, watched: Sequence[str]) -> dict[str, Bar]:
        market, found = self._desk.market, {}
        for symbol in watched:
            bar = market.day(symbol).bar_ending(self._at_ms)
            if bar is not None:
                found[symbol] = bar
        return found

    def _match(self, watched: Sequence[str], bars: Mapping[str, Bar]) -> list[VenueEvent]:
        desk = self._desk
        spreads: dict[str, int] = {}
        for symbol in watched if desk.market.has_quotes else ():
            before = desk.market.last_price(symbol, self._at_ms - MINUTE_MS)
            if before is not None and before.quote is not None:
                spreads[symbol] = before.quote.ask_e4 - before.quote.bid_e4
        events = desk.venue.match(
            VenueMinute(
                now_ms=self._at_ms,
                session=desk.session,
                bars=bars,
                spreads_e4=spreads,
                halted=desk.dataset.halted(watched, self._at_ms),
                is_last_bar=self._at_ms == desk.session.close_ms,
            )
        )
        for event in events:
            key = event.execution_id or f"{event.client_order_id}:{event.state.value}"
            desk.agenda.add(new_task(step=Step.BROKER_EVENT, event=event), key, now_ms=self._at_ms)
        return events

    def _watch_plans(self, bars: Mapping[str, Bar]) -> None:
        for row in self._desk.ledger.armed():
            plan = row.plan
            if armed_action(plan, bars.get(plan.symbol), self._at_ms) is ArmedAction.TRIGGER:
                task = new_task(step=Step.EXECUTE, of=plan.plan_id)
                self._desk.agenda.add(task, plan.plan_id, now_ms=self._at_ms)

    def _watch_positions(self, bars: Mapping[str, Bar]) -> None:
        agenda, at_ms = self._desk.agenda, self._at_ms
        for held in self._desk.ledger.open_positions():
            bar = bars.get(held.plan.symbol) if is_managed(held.plan) else None
            if bar is None:
                continue
            plan_id = held.plan.plan_id
            for action in evaluate(held.plan, self._state(held), bar, at_ms):
                if isinstance(action, TimeStop):
                    task = new_task(step=Step.EXIT, of=plan_id, reason=action.reason.value)
                    agenda.add(task, f"{plan_id}/time", now_ms=at_ms)
                elif isinstance(action, MoveStop):
                    task = new_task(
                        step=Step.MOVE_STOP,
                        of=plan_id,
                        stop_e4=action.new_stop_e4,
                        reason=action.reason.value,
                    )
                    agenda.add(task, f"{plan_id}/{action.new_stop_e4}@{at_ms}", now_ms=at_ms)

    def _state(self, held: OpenPosition) -> OpenState:
        """The best price of the ended bars since the entry; only bars not seen before are looked at."""
        plan, known = held.plan, self._seen.get(held.plan.plan_id)
        if known is not None and known[0] is held:
            _, seen, state = known
        else:
            seen, entry_e4 = 0 if known is None else known[1], entry_price_e4(held.position)
            state = OpenState(
                entry_e4=entry_e4,
                best_e4=entry_e4 if known is None else known[2].best_e4,
                stop_e4=held.stop_e4,
                opened_at_ms=held.position.opened_at_ms or 0,
            )
        news = self._desk.market.day(plan.symbol).bars_until(self._at_ms, after=seen)
        for bar in news:
            state = advance(plan, state, bar)
        self._seen[plan.plan_id] = (held, seen + len(news), state)
        return state

    def _watch_limits(self, bars: Mapping[str, Bar], events: Sequence[VenueEvent]) -> None:
        """The day's loss after this minute's fills, marked from ended bars, and the breakers."""
        desk, date = self._desk, self._desk.session.date
        fills = [event for event in events if event.fill is not None]
        book = desk.ledger.book(date, now_ms=self._at_ms)
        if fills:
            book = _with_fills(desk.ledger, book, fills)
        marks: dict[str, int] = {}
        for held in book.positions:
            symbol = held.plan.symbol
            bar = bars.get(symbol) or desk.market.day(symbol).last_until(self._at_ms)
            if bar is not None:
                marks[symbol] = bar.close_e4
        for name in limits_reached(book, marks, desk.rules.profile):
            desk.agenda.add(new_task(step=Step.LIMIT, reason=name), f"{date}/{name}", now_ms=self._at_ms)


def _with_fills(ledger: Ledger, book: Book, events: Sequence[VenueEvent]) -> Book:
    """The book with fills that are not folded yet."""
    held = {each.plan.plan_id: each for each in book.positions}
    for event in events:
        assert event.fill is not None
        plan = ledger.plans[ledger.orders[event.client_order_id].intent.plan_id].plan
        known = held.get(plan.plan_id)
        before = known.position if known is not None else open_position(plan)
        stop_e4 = known.stop_e4 if known is not None else plan.stop_e4
        folded = fold(before, broker_fill(event.fill, event.execution_id))
        held[plan.plan_id] = OpenPosition(position=folded, plan=plan, stop_e4=stop_e4)
    return book.with_positions(tuple(held[plan_id] for plan_id in sorted(held)))


def _ticks(desk: Desk) -> list[tuple[int, Task, str]]:
    """What is due in the session, in order; a task without a key only tells that it is skipped."""
    lines, date = desk.lines, desk.session.date
    found: list[tuple[int, Task, str]] = []
    for line in lines.scans:
        scan = new_task(step=Step.SCAN, of=date, tick=line.name, kind=line.kind, reason=line.skipped or "")
        found.append((line.at_ms, scan, "" if line.skipped else f"{date}/{line.name}"))
    for number, at_ms in enumerate(lines.flatten_ms, 1):
        key = f"{date}/ladder-{number}"
        found.append((at_ms, new_task(step=Step.FLATTEN, of=date, reason="flatten", tick=key), key))
    found.append((lines.day_open_ms, new_task(step=Step.RECONCILE, of=date), f"{date}/open"))
    found.append((lines.day_close_ms, new_task(step=Step.RECONCILE, of=date), date))
    found.append((lines.day_close_ms, new_task(step=Step.DAY_CLOSE, of=date), date))
    return sorted(found, key=lambda each: each[0])

"""The desk's account is the book's, however often it was asked before."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

from finagent.backtest.agenda import Agenda
from finagent.backtest.desk import Desk
from finagent.backtest.ledger import DayRow, Ledger, Tally
from finagent.backtest.market import open_session
from finagent.backtest.venue import Venue
from finagent.domain.book import account_state
from finagent.domain.legs import entry_intents
from finagent.domain.market import Direction, Side
from finagent.domain.orders import BrokerFill, OrderState, Scope
from finagent.domain.plan import Plan, PlanState
from finagent.domain.positions import ExitReason, LegFill, Position, make_trade
from finagent.domain.risk import RiskDecision
from tests.conformance.made_up import ms
from tests.conformance.trading import DAY, FREE, lines, market, with_bars
from tests.unit.domain.plan_builders import planned


def at_the_desk(folder: Path) -> Desk:
    """A desk of the day at its first minute's end, with nothing decided."""
    stored = with_bars(market(), ("09:31", 105, 106, 105, 106), ("09:32", 106, 108, 106, 108))
    dataset = stored.dataset(folder)
    (session,) = dataset.between(DAY, DAY)
    return Desk(
        dataset=dataset,
        rules=FREE,
        ledger=Ledger(FREE.start_equity_e8),
        venue=Venue(FREE),
        agenda=Agenda(),
        market=open_session(dataset, session),
        lines=lines(session),
        now_ms=ms(DAY, "09:31"),
    )


def test_every_change_of_book_or_price_reaches_the_account(tmp_path: Path) -> None:
    """What is summed once for many plans is summed anew where a reservation, a position or a price is another."""
    desk = at_the_desk(tmp_path)
    made = planned()
    assert isinstance(made, Plan)
    first = replace(made, plan_id="pl_a", symbol="AAA", session=DAY)
    second = replace(made, plan_id="pl_b", symbol="BBB", session=DAY)
    decision = RiskDecision(
        plan_id="", version=1, is_approved=True, notional_e8=5_000_000_000, worst_case_e8=100_000_000
    )
    bought = Position(
        plan_id="pl_a",
        symbol="AAA",
        session=DAY,
        direction=Direction.LONG,
        bought_e4=100_000,
        bought_e8=10**11,
    )
    seen = []

    def look(price_e4: int) -> None:
        book = desk.ledger.book(DAY, now_ms=desk.now_ms, unsettled_from=desk.dataset.sessions[0].date)
        for without in ("", "pl_a", "pl_b"):
            account = desk.account(without=without)
            assert account == account_state(book, {"AAA": price_e4}, FREE.profile, without=without)
            seen.append(account)

    look(1_050_000)
    for plan in (first, second):
        desk.ledger.add_plan(plan)
        desk.ledger.reserve(plan, decision)
        look(1_050_000)
    desk.ledger.put_position(first, bought, first.stop_e4)
    look(1_050_000)
    desk.now_ms = ms(DAY, "09:33")
    look(1_080_000)
    desk.ledger.put_position(first, replace(bought, sold_e4=50_000, sold_e8=6 * 10**10), first.stop_e4)
    look(1_080_000)
    desk.ledger.release("pl_b")
    look(1_080_000)
    assert len({account.equity_e8 for account in seen}) == 4  # flat, at 105, at 108, half of it sold


def test_a_book_asked_again_is_the_one_that_would_be_made_anew() -> None:
    """After every kind of change: none of them is left out of the count that a kept book and verdict rest on."""
    ledger, made = Ledger(FREE.start_equity_e8), planned()
    assert isinstance(made, Plan)
    plan, now_ms = replace(made, session=DAY), ms(DAY, "09:31")
    decision = RiskDecision(plan_id="", version=1, is_approved=True, notional_e8=500, worst_case_e8=100)
    entry, stop, *_ = entry_intents(plan, 10_000, scope=Scope(), now_ms=now_ms, time_to_live_ms=60_000)
    bought = Position(
        plan_id=plan.plan_id,
        symbol="AAA",
        session=DAY,
        direction=Direction.LONG,
        bought_e4=10_000,
        bought_e8=10**10,
    )
    sold = replace(bought, sold_e4=10_000, sold_e8=9 * 10**9)
    fills = [
        LegFill(leg=leg, fill=fill(leg, side, at_ms, price_e4), reason=reason)
        for leg, side, at_ms, price_e4, reason in (
            ("entry", Side.BUY, now_ms, 100_0000, None),
            ("stop", Side.SELL, now_ms + 1, 90_0000, ExitReason.STOP),
        )
    ]
    day = DayRow("2018-01-02", True, (), 0, ())
    tally = Tally(plans=0, approved=0, orders=0, shorts=0)
    trade = make_trade(plan, fills, (), trade_id="tr_1")
    ledger.add_plan(plan)
    ledger.add_order(entry, DAY, now_ms=now_ms)
    row, order = ledger.plans[plan.plan_id], ledger.orders[entry.client_order_id]
    second = replace(entry, client_order_id="second")
    steps: tuple[Callable[[], object], ...] = (
        lambda: ledger.move_plan(row, PlanState.PENDING),
        lambda: ledger.reserve(plan, decision),
        lambda: ledger.reduce(plan.plan_id, notional_e8=400, worst_case_e8=100),
        lambda: ledger.release(plan.plan_id),
        lambda: ledger.put_position(plan, bought, 95_0000),
        lambda: ledger.move_stop(plan.plan_id, 96_0000),
        lambda: ledger.put_position(plan, sold, 96_0000),
        lambda: ledger.add_trade(trade, DAY),
        lambda: ledger.switch(is_paused=True),
        lambda: ledger.carry_sales({"2018-01-03": 77}),
        lambda: ledger.absorb(
            day, tally, fills=(), positions=(replace(bought, session=day.session, sold_e8=5),), trades=()
        ),
        lambda: ledger.move_order(order, OrderState.REJECTED, now_ms=now_ms + 5),
        lambda: ledger.add_order(second, DAY, now_ms=now_ms),
        lambda: ledger.fill_order(ledger.orders["second"], 10_000, at_ms=now_ms + 6, now_ms=now_ms + 6),
    )
    before = ledger.book(DAY, now_ms=now_ms, unsettled_from="2018-01-01")
    for number, step in enumerate(steps):
        step()
        found = ledger.book(DAY, now_ms=now_ms, unsettled_from="2018-01-01")
        anew = deepcopy(ledger)
        anew.changes = -1
        assert found == anew.book(DAY, now_ms=now_ms, unsettled_from="2018-01-01"), number
        assert found != before, number
        before = found
    assert stop.parent_id == entry.client_order_id


def test_a_verdict_asked_again_at_one_instant_is_the_same_until_something_changes(tmp_path: Path) -> None:
    """The same plan, account and instant; the rate of entries counts at once."""
    desk = at_the_desk(tmp_path)
    made = planned()
    assert isinstance(made, Plan)
    begin_ms, end_ms = desk.session.open_ms, desk.session.close_ms
    plan = replace(made, symbol="AAA", session=DAY, entry_from_ms=begin_ms, entry_until_ms=end_ms)
    first, _ = desk.recheck(plan)
    assert first.is_approved
    assert desk.recheck(plan)[0] is first
    other = replace(plan, quantity_e4=10_000)
    assert desk.recheck(other)[0].quantity_e4 == 10_000 < first.quantity_e4
    (entry, *_) = entry_intents(plan, 10_000, scope=Scope(), now_ms=desk.now_ms, time_to_live_ms=60_000)
    for number in range(FREE.profile.max_orders_per_minute):
        assert desk.recheck(plan)[0].is_approved
        desk.ledger.add_order(replace(entry, client_order_id=f"{number}"), DAY, now_ms=desk.now_ms)
    assert desk.recheck(plan)[0].reasons == ("orders_per_minute",)
    desk.ledger.switch(is_paused=True)
    assert desk.recheck(plan)[0].reasons == ("paused", "orders_per_minute")
    desk.now_ms = plan.entry_until_ms
    assert desk.recheck(plan)[0].reasons == ("paused", "plan_expired")


def fill(leg: str, side: Side, at_ms: int, price_e4: int) -> BrokerFill:
    """One share."""
    return BrokerFill(
        execution_id=leg,
        client_order_id=leg,
        symbol="AAA",
        side=side,
        quantity_e4=10_000,
        price_e4=price_e4,
        at_ms=at_ms,
    )

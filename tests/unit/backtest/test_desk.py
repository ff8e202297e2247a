"""The desk's account is the book's, however often it was asked before."""

from dataclasses import replace
from pathlib import Path

from finagent.backtest.agenda import Agenda
from finagent.backtest.desk import Desk
from finagent.backtest.ledger import Ledger
from finagent.backtest.market import open_session
from finagent.backtest.venue import Venue
from finagent.domain.book import account_state
from finagent.domain.market import Direction
from finagent.domain.plan import Plan
from finagent.domain.positions import Position
from finagent.domain.risk import RiskDecision
from tests.conformance.made_up import ms
from tests.conformance.trading import DAY, FREE, lines, market, with_bars
from tests.unit.domain.plan_builders import planned


def test_every_change_of_book_or_price_reaches_the_account(tmp_path: Path) -> None:
    """What is summed once for many plans is summed anew where a reservation, a position or a price is another."""
    stored = with_bars(market(), ("09:31", 105, 106, 105, 106), ("09:32", 106, 108, 106, 108))
    dataset = stored.dataset(tmp_path)
    (session,) = dataset.between(DAY, DAY)
    desk = Desk(
        dataset=dataset,
        rules=FREE,
        ledger=Ledger(FREE.start_equity_e8),
        venue=Venue(FREE),
        agenda=Agenda(),
        market=open_session(dataset, session),
        lines=lines(session),
        now_ms=ms(DAY, "09:31"),
    )
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
        book = desk.ledger.book(DAY, now_ms=desk.now_ms, unsettled_from=dataset.sessions[0].date)
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

"""A plan's way through the day on a real file and engine: in, out by each exit, and the trade it leaves."""

from collections.abc import Sequence
from pathlib import Path

from finagent.domain.market import Bar, Headline
from finagent.ports import RetryError
from tests.integration.services.invariants import violations
from tests.integration.services.market import ScriptedNews, local
from tests.integration.services.world import DAY, NEXT, Stage

SHARES = 1_660_000
"""166 shares: 0.5 % of 100,000 at 3.00 a share."""


async def test_gap_is_scanned_planned_approved_sent_filled_and_hits_its_target(home: Path) -> None:
    async with Stage(home) as stage:
        stage.market.day("AAA", DAY, {"09:45": (100, 110, 100, 108)})
        await stage.until("09:31")
        plan = await stage.plan()
        assert (plan.state, plan.plan.reference_e4, plan.plan.stop_e4) == ("entering", 1_000_000, 970_000)
        assert (plan.plan.targets[0].price_e4, plan.plan.quantity_e4) == (1_090_000, SHARES)
        assert set((await stage.order_states()).items()) == {
            ("entry-1", "accepted"),
            ("stop-1", "accepted"),
            ("target-1-1", "accepted"),
        }
        await stage.until("09:32")
        held = await stage.held()
        assert held is not None
        assert held.position.quantity_e4 == SHARES
        assert await stage.reserved() == []
        await stage.finish()
        assert await stage.states() == {"AAA": "closed target"}
        (trade,) = await stage.engine.store.trades(DAY)
        assert (trade.entry_price_e4, trade.exit_price_e4) == (1_000_000, 1_090_000)
        assert trade.pnl_e8 == SHARES * 90_000
    assert violations(stage.path, is_day_over=True) == []


async def test_journal_tells_the_whole_way_in_order(home: Path) -> None:
    async with Stage(home) as stage:
        stage.market.day("AAA", DAY, {"09:45": (100, 110, 100, 108)})
        await stage.finish()
        rows = await stage.engine.database.read("SELECT kind FROM journal ORDER BY seq")
        assert [kind for (kind,) in rows] == [
            *("scan", "score", "plan", "risk", "approved", "intent", "accepted", "fill"),
            *("order_ended", "fill", "trade", "day_report", "state"),
        ]


async def test_stop_closes_the_position_at_its_price(home: Path) -> None:
    async with Stage(home) as stage:
        stage.market.day("AAA", DAY, {"09:40": (100, 100, 96, 96)})
        await stage.finish()
        assert await stage.states() == {"AAA": "closed stop"}
        (trade,) = await stage.engine.store.trades(DAY)
        assert (trade.exit_price_e4, trade.pnl_e8) == (970_000, -SHARES * 30_000)
    assert violations(stage.path, is_day_over=True) == []


async def test_gap_through_the_stop_fills_at_the_open_of_the_bar(home: Path) -> None:
    async with Stage(home) as stage:
        stage.market.day("AAA", DAY, {"09:40": (94, 95, 93, 94)})
        await stage.finish()
        (trade,) = await stage.engine.store.trades(DAY)
        assert trade.exit_price_e4 == 940_000


async def test_entry_and_stop_inside_one_bar_leave_a_closed_plan(home: Path) -> None:
    async with Stage(home) as stage:
        stage.market.day("AAA", DAY, {"09:31": (100, 100, 96, 96)})
        await stage.until("09:32")
        assert await stage.states() == {"AAA": "closed stop"}
        assert await stage.reserved() == []
        await stage.finish()
    assert violations(stage.path, is_day_over=True) == []


async def test_position_without_progress_leaves_at_its_time_stop(home: Path) -> None:
    async with Stage(home) as stage:
        stage.market.day("AAA", DAY)
        await stage.until("10:30")
        assert await stage.held() is not None
        await stage.until("10:31")
        assert (await stage.order_states())["exit-1"] == "accepted"
        assert {n for n, s in (await stage.venue_states()).items() if s == "cancelled"} == {
            "stop-1",
            "target-1-1",
        }
        await stage.until("10:32")
        assert await stage.states() == {"AAA": "closed time"}
        await stage.finish()
    assert violations(stage.path, is_day_over=True) == []


async def test_what_is_open_at_the_ladder_is_flattened(home: Path) -> None:
    async with Stage(home, settings={"planning": {"time_stop_minutes": None}}) as stage:
        stage.market.day("AAA", DAY)
        await stage.until("15:44")
        assert await stage.held() is not None
        await stage.until("15:46")
        assert await stage.states() == {"AAA": "closed flatten"}
        await stage.finish()
        assert await stage.value("SELECT is_flat FROM day") == 1
    assert violations(stage.path, is_day_over=True) == []


async def test_what_trades_no_more_before_the_ladder_is_forced_at_the_close(home: Path) -> None:
    """Its exit waits for a bar that never comes and fills at the newest price less the penalty."""
    async with Stage(home, settings={"planning": {"time_stop_minutes": None}}) as stage:
        stage.market.day("AAA", DAY, silent_from="15:30")
        await stage.finish()
        assert await stage.states() == {"AAA": "closed close_forced"}
        (trade,) = await stage.engine.store.trades(DAY)
        assert trade.exit_price_e4 == 995_000
    assert violations(stage.path, is_day_over=True) == []


async def test_halted_to_the_close_is_held_over_and_counted(home: Path) -> None:
    async with Stage(home, settings={"planning": {"time_stop_minutes": None}}) as stage:
        stage.market.day("AAA", DAY, silent_from="15:30")
        stage.market.halts.append(("AAA", stage.calendar.sessions(DAY, DAY)[0].open_ms + 360 * 60_000, 2**62))
        await stage.finish()
        assert await stage.states() == {"AAA": "open"}
        assert await stage.value("SELECT held_over FROM day") == '["AAA"]'
    assert violations(stage.path) == []


async def test_held_over_position_is_closed_in_the_next_session(home: Path) -> None:
    async with Stage(home, dates=(DAY, NEXT), settings={"planning": {"time_stop_minutes": None}}) as stage:
        stage.market.day("AAA", DAY, silent_from="15:30")
        stage.market.halts.append(("AAA", stage.calendar.sessions(DAY, DAY)[0].open_ms + 360 * 60_000, 2**41))
        stage.market.halts[0] = (
            "AAA",
            stage.market.halts[0][1],
            stage.calendar.sessions(NEXT, NEXT)[0].open_ms,
        )
        stage.market.day("AAA", NEXT, previous=100)
        await stage.finish()
        assert await stage.states() == {"AAA": "closed flatten"}
    assert violations(stage.path, is_day_over=True, flat=False) == []


async def test_break_even_replaces_the_stop_by_its_second_generation(home: Path) -> None:
    """Half off at 102.03, then the stop of the rest rests at the entry; the old one is over on both sides."""
    rise = {"09:33": (100, 101.5, 100, 101.05), "09:40": (101.05, 102.5, 101.05, 102.4)}
    async with Stage(home, settings=STRUCTURE) as stage:
        stage.market.day("AAA", DAY, {**rise, "09:50": (102.4, 102.4, 101, 101)})
        stage.market.premarket("AAA", DAY, high=101, low=99.5, close=100)
        await stage.until("09:41")
        states = await stage.order_states()
        assert (states["target-1-1"], states["stop-1"], states["stop-2"]) == (
            "filled",
            "cancelled",
            "accepted",
        )
        held = await stage.held()
        assert held is not None
        assert held.stop_e4 == 1_010_500
        assert (await stage.venue_states())["stop-1"] == "cancelled"
        await stage.finish()
        (trade,) = await stage.engine.store.trades(DAY)
        assert [(exit.leg, exit.price_e4, exit.reason) for exit in trade.exits] == [
            ("target-1", 1_020_300, "target"),
            ("stop", 1_010_500, "trailing"),
        ]
        assert await stage.states() == {"AAA": "closed trailing"}
    assert violations(stage.path, is_day_over=True) == []


async def test_armed_plan_enters_by_a_limit_when_its_trigger_trades(home: Path) -> None:
    async with Stage(home, settings=STRUCTURE) as stage:
        stage.market.day("AAA", DAY, {"09:33": (100, 101.5, 100, 101.05)})
        stage.market.premarket("AAA", DAY, high=101, low=99.5, close=100)
        await stage.until("09:33")
        assert await stage.states() == {"AAA": "armed"}
        assert await stage.reserved() == ["AAA"]
        await stage.until("09:34")
        entry = (await stage.orders())["entry-1"]
        assert (entry.intent.type, entry.intent.limit_e4) == ("limit", 1_011_100)
        await stage.until("09:35")
        assert await stage.states() == {"AAA": "open"}


async def test_armed_plan_without_its_trigger_expires_at_the_cut_off(home: Path) -> None:
    async with Stage(home, settings=STRUCTURE) as stage:
        stage.market.day("AAA", DAY)
        stage.market.premarket("AAA", DAY, high=101, low=99.5, close=100)
        await stage.until("10:59")
        assert await stage.states() == {"AAA": "armed"}
        await stage.until("11:00")
        assert await stage.states() == {"AAA": "expired entry_window_over"}
        assert await stage.reserved() == []
        await stage.finish()
    assert violations(stage.path, is_day_over=True) == []


async def test_entry_that_finds_no_bar_ends_not_filled_after_its_time(home: Path) -> None:
    async with Stage(home) as stage:
        stage.market.day("AAA", DAY, silent_from="09:31")
        await stage.until("09:35")
        assert await stage.states() == {"AAA": "entering"}
        await stage.until("09:36")
        assert await stage.states() == {"AAA": "not_filled entry_ttl"}
        assert set((await stage.order_states()).values()) == {"cancelled"}
        assert await stage.reserved() == []
        await stage.finish()
    assert violations(stage.path, is_day_over=True) == []


async def test_rest_of_a_partly_filled_entry_is_cancelled_and_the_filled_part_protected(home: Path) -> None:
    """10 shares a minute for five minutes; the stop then sells exactly those 50."""
    async with Stage(home) as stage:
        stage.market.day("AAA", DAY, {"09:40": (100, 100, 96, 96)}, volumes=THIN)
        await stage.until("09:33")
        held = await stage.held()
        assert held is not None
        assert held.position.quantity_e4 == 200_000
        assert (await stage.order_states())["entry-1"] == "partially_filled"
        assert await stage.reserved() == ["AAA"]
        assert await stage.value("SELECT notional FROM reservation") == (SHARES - 200_000) * 1_000_000
        await stage.until("09:36")
        assert (await stage.order_states())["entry-1"] == "cancelled"
        assert await stage.reserved() == []
        assert await stage.value("SELECT quantity FROM venue_order WHERE leg = 'stop'") == 500_000
        await stage.finish()
        assert await stage.states() == {"AAA": "closed stop"}
        (trade,) = await stage.engine.store.trades(DAY)
        assert (trade.quantity_e4, trade.pnl_e8) == (500_000, -500_000 * 30_000)
        assert (await stage.order_states())["stop-1"] == "filled"
    assert violations(stage.path, is_day_over=True) == []


async def test_stop_while_the_entry_still_works_ends_both_and_books_one_trade(home: Path) -> None:
    async with Stage(home) as stage:
        stage.market.day("AAA", DAY, {"09:33": (96, 96, 96, 96)}, volumes={**THIN, "09:33": 1_000})
        await stage.until("09:34")
        states = await stage.order_states()
        assert (states["entry-1"], states["stop-1"]) == ("cancelled", "filled")
        assert await stage.states() == {"AAA": "closed stop"}
        assert await stage.reserved() == []
        await stage.finish()
    assert violations(stage.path, is_day_over=True) == []


async def test_stop_filled_over_several_bars_closes_the_plan_once(home: Path) -> None:
    async with Stage(home) as stage:
        thin = {f"09:{minute}": 1_000 for minute in range(40, 46)}
        stage.market.day("AAA", DAY, {"09:40": (97, 97, 96, 96)}, volumes=thin)
        await stage.until("09:42")
        assert (await stage.order_states())["stop-1"] == "partially_filled"
        await stage.finish()
        assert await stage.states() == {"AAA": "closed stop"}
        (trade,) = await stage.engine.store.trades(DAY)
        assert len(trade.exits) == 4
    assert violations(stage.path, is_day_over=True) == []


async def test_time_stop_with_the_entry_still_working_frees_it_first(home: Path) -> None:
    patient = {"execution": {"entry_ttl_s": 7200}, "planning": {"time_stop_minutes": 2}}
    async with Stage(home, settings=patient) as stage:
        stage.market.day("AAA", DAY, volumes=THIN | {f"09:{m}": 200 for m in range(37, 60)})
        await stage.until("09:33")
        await stage.until("09:35")
        states = await stage.order_states()
        assert (states["entry-1"], states["exit-1"]) == ("cancelled", "filled")
        assert await stage.states() == {"AAA": "closed time"}
        await stage.finish()
    assert violations(stage.path, is_day_over=True) == []


async def test_costs_and_fees_balance_to_the_last_unit(home: Path) -> None:
    costs = {
        "execution": {
            "slippage_bps": 5,
            "regulatory_fees": True,
            "commission_per_share": "0.005",
            "commission_min": 1,
        }
    }
    async with Stage(home, settings=costs) as stage:
        stage.market.day("AAA", DAY, {"09:45": (100, 110, 100, 108)})
        stage.market.day("BBB", DAY, {"09:50": (40, 40, 30, 31)}, open_at=40, previous=38)
        await stage.finish()
        trades = await stage.engine.store.trades(DAY)
        assert {trade.symbol for trade in trades} == {"AAA", "BBB"}
        assert all(trade.fees_e8 > 0 for trade in trades)
        account = await stage.engine.broker.account()
        assert account.cash_e8 == 100_000 * 10**8 + sum(trade.pnl_e8 for trade in trades)
    assert violations(stage.path, is_day_over=True) == []


async def test_two_sessions_start_from_what_the_first_one_earned(home: Path) -> None:
    async with Stage(home, dates=(DAY, NEXT)) as stage:
        stage.market.day("AAA", DAY, {"09:45": (100, 110, 100, 108)})
        stage.market.day("AAA", NEXT, {"09:45": (110, 121, 110, 120)}, open_at=110, previous=104)
        await stage.finish()
        earned_e8 = SHARES * 90_000
        book = await stage.engine.store.book(NEXT, now_ms=stage.clock.now_ms())
        assert book.day_start_equity_e8 == 100_000 * 10**8 + earned_e8
        assert await stage.value("SELECT count(*) FROM trade") == 2
    assert violations(stage.path, is_day_over=True) == []


async def test_same_day_twice_leaves_the_same_journal(home: Path) -> None:
    hashes = []
    for number in (1, 2):
        folder = home / str(number)
        folder.mkdir()
        async with Stage(folder) as stage:
            for symbol, high in (("AAA", 110), ("BBB", 101), ("CCC", 102)):
                stage.market.day(symbol, DAY, {"09:45": (100, high, 96, 98)})
            await stage.finish()
            hashes.append(await stage.value("SELECT hash FROM journal ORDER BY seq DESC LIMIT 1"))
    assert hashes[0] == hashes[1]


DECISIONS = "SELECT seq, at, kind, ref, data FROM journal ORDER BY seq"


async def test_stopped_and_started_in_the_middle_the_day_goes_on_as_if_nothing_was(home: Path) -> None:
    """The inputs of a step that was tried twice say so; what was decided is the same."""
    hashes = []
    for number, stops in ((1, ()), (2, ("09:31", "09:33", "09:44", "09:46"))):
        folder = home / str(number)
        folder.mkdir()
        async with Stage(folder) as stage:
            stage.market.day("AAA", DAY, {"09:45": (100, 110, 100, 108)})
            for time in stops:
                await stage.until(time)
                await stage.restart()
            await stage.finish()
            rows = await stage.engine.database.read(DECISIONS)
            hashes.append([*rows])
    assert hashes[0] == hashes[1]


THIN = {f"09:{minute}": 200 for minute in range(31, 37)}
STRUCTURE = {
    "planning": {"preset": "structure", "structure_setup": "premarket_break", "time_stop_minutes": None}
}


async def test_opening_range_is_asked_again_when_it_is_complete(home: Path) -> None:
    """At 09:31 there is no range yet: the plan is made at 09:35 and triggers a tick above the five minutes' high."""
    break_out = {"planning": {"classic_entry": "opening_range_break"}}
    async with Stage(home, settings=break_out) as stage:
        stage.market.day("AAA", DAY, {"09:32": (100, 101, 100, 100.5), "09:40": (100.5, 101.2, 100.5, 101.1)})
        await stage.until("09:34")
        assert await stage.plans() == []
        await stage.until("09:35")
        plan = await stage.plan()
        assert (plan.state, plan.plan.trigger_e4) == ("armed", 1_010_100)
        await stage.until("09:42")
        assert await stage.states() == {"AAA": "open"}
        await stage.finish()
    assert violations(stage.path, is_day_over=True) == []


async def test_candidate_whose_setup_is_gone_gets_its_reason_instead_of_a_plan(home: Path) -> None:
    tight = {"planning": {"preset": "structure", "structure_setup": "premarket_break"}}
    async with Stage(home, settings=tight) as stage:
        stage.market.day("AAA", DAY, {"09:30": (100, 100, 90, 100)})
        stage.market.premarket("AAA", DAY, high=101, low=99.5, close=100)
        await stage.until("09:40")
        ((ref, data),) = await stage.journal("no_plan")
        assert ref == f"{DAY}/open/AAA"
        assert "stop_too_wide" in data
        outcome = await stage.value("SELECT outcome FROM candidate")
        assert str(outcome).startswith("stop_too_wide: ")
        await stage.finish()
    assert violations(stage.path, is_day_over=True) == []


async def test_short_is_planned_sized_and_covered_like_a_long(home: Path) -> None:
    """A gap down on an account that may sell short: the stop above is hit, and the loss is the same."""
    shorts = {"risk": {"allow_shorts": True}}
    async with Stage(home, settings=shorts) as stage:
        stage.market.day("AAA", DAY, {"09:45": (100, 104, 100, 104)}, previous=105.5)
        stage.market.is_short_restricted = False
        await stage.finish()
        assert await stage.states() == {"AAA": "closed stop"}
        (trade,) = await stage.engine.store.trades(DAY)
        assert (trade.exit_price_e4, trade.pnl_e8) == (1_030_000, -SHARES * 30_000)
    assert violations(stage.path, is_day_over=True) == []


async def test_gap_down_is_scored_and_not_planned_where_shorts_are_off(home: Path) -> None:
    async with Stage(home) as stage:
        stage.market.day("AAA", DAY, previous=105.5)
        await stage.finish()
        assert await stage.plans() == []
        assert await stage.value("SELECT is_selected FROM candidate") == 0
    assert violations(stage.path, is_day_over=True) == []


async def test_rank_follows_the_news_known_before_the_decision(home: Path) -> None:
    """Of two equal gaps the one with a takeover in its headline comes first; what is told later counts nothing."""
    known, later = local(DAY, "08:00"), local(DAY, "09:32")
    headlines = [
        Headline(
            symbol=symbol, published_ms=at_ms, known_at_ms=at_ms, text="to be acquired in merger", source="x"
        )
        for symbol, at_ms in (("BBB", known), ("CCC", later))
    ]
    async with Stage(home, news=ScriptedNews(*headlines)) as stage:
        for symbol in ("AAA", "BBB", "CCC"):
            stage.market.day(symbol, DAY)
        await stage.until("09:31")
        rows = await stage.engine.database.read("SELECT symbol, score FROM candidate ORDER BY rank")
        assert [symbol for symbol, _ in rows] == ["BBB", "AAA", "CCC"]
        assert rows[1][1] == rows[2][1]


async def test_trade_whose_booking_was_given_up_is_booked_at_the_days_close(home: Path) -> None:
    """The feed answers nothing for a while: the job that books the trade dies; its loss counts meanwhile."""
    async with Stage(home, is_checked=False) as stage:
        stage.market.day("AAA", DAY, {"09:45": (96, 96, 96, 96)})
        await stage.until("09:40")
        answers, stage.market.minutes = stage.market.minutes, _no_answer  # type: ignore[method-assign]
        await stage.until("10:00")
        status = "SELECT status FROM job_queue WHERE type = 'record_trade'"
        assert (await stage.value(status), await stage.states()) == ("dead", {"AAA": "open"})
        book = await stage.engine.store.book(DAY, now_ms=stage.clock.now_ms())
        assert book.realised_e8 < 0
        stage.market.minutes = answers  # type: ignore[method-assign]
        await stage.finish()
        assert await stage.states() == {"AAA": "closed stop"}
        (trade,) = await stage.engine.store.trades(DAY)
        assert trade.pnl_e8 == book.realised_e8


async def _no_answer(*_: object) -> Sequence[Bar]:
    raise RetryError("the feed does not answer")

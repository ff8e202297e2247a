"""Scans, plans, orders, positions, trades and results as documents."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from finagent.adapters.sqlite.views import (
    UnknownRecordError,
    explain_document,
    scan_document,
)
from finagent.context import Document
from finagent.domain.facts import (
    CandidateRefused,
    CandidateScored,
    DayClosed,
    FillRecorded,
    OrderMoved,
    PlanMoved,
    PlanRecorded,
    PlanSized,
    PositionRecorded,
    ScanRecorded,
)
from finagent.domain.market import MINUTE_MS, Direction
from finagent.domain.orders import OrderState
from finagent.domain.plan import ExitLeg, PlanState
from finagent.domain.positions import ExitReason, fold
from finagent.domain.risk import RiskDecision
from finagent.domain.shorts import ShortTerms
from tests.integration.views_world import (
    BEFORE,
    DAY,
    HOUR_MS,
    OPEN_MS,
    SCAN,
    SCORED,
    TICK,
    Desk,
    a_plan,
    asked,
    closed,
    codes,
    fill_of,
    open_desk,
    opened,
    part,
)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(tmp_path) as desk:
        yield desk


# ---------------------------------------------------------------- scans
async def test_a_computed_scan_has_every_key_that_other_programs_read() -> None:
    """Percent, ratio, basis points and decimal texts in their units; unknown values are null."""
    document = scan_document(SCAN, SCORED, tick="scan", elapsed_ms=412)
    head = {key: document[key] for key in ("session", "as_of", "universe", "elapsed_ms", "market", "dropped")}
    assert head == {
        "session": "2018-02-20",
        "as_of": "2018-02-20T14:31:00Z",
        "universe": 5,
        "elapsed_ms": 412,
        "market": {"spy_gap_pct": -0.31, "breadth": None},
        "dropped": {"gap_too_small": 1, "price": 1},
    }
    assert document["data_issues"] == [
        {"symbol": "JCI", "kind": "split_mismatch", "detail": "close falls to a third"}
    ]
    best = part(document, "candidates", 0)
    assert isinstance(best, dict)
    wanted = {
        "symbol": "WMT", "gap_pct": 4.2, "indication": "100.00", "indication_source": "open",
        "prev_close": "95.9693", "prev_close_adjusted": "95.9693", "direction": "long", "volume": 1_200_000,
        "premarket_volume": None, "adv_usd": 80_000_000, "rvol": 3.25, "atr_pct": 2.0, "spread_bps": 5.0,
        "float_shares": None, "sector": "Retail", "shortable": True, "ssr": None, "feed": "test",
        "score": 0.812, "flags": ["unknown_premarket_volume"],
    }  # fmt: skip
    assert {key: best[key] for key in wanted} == wanted
    assert best["levels"] == {
        "premarket_high": None, "premarket_low": None, "prev_high": "97.00", "prev_low": None,
        "half_gap": "97.9846", "gap_fill": "95.9693", "vwap": "99.8765", "day_high": None, "day_low": None,
    }  # fmt: skip
    assert best["factors"]["volatility"]["value"] == 0.8
    assert best["factors"]["catalyst"]["value"] is None


async def test_without_scores_the_candidates_stand_as_scanned() -> None:
    document = scan_document(SCAN, (), tick=None, elapsed_ms=None)
    rows = document["candidates"]
    assert [(row["symbol"], row["score"], row["factors"]) for row in rows] == [
        ("AMD", None, None),
        ("WMT", None, None),
    ]


@pytest.mark.parametrize(
    ("symbol", "word", "measured"),
    [
        ("IBM", "gap_too_small", {"filter": "gap_too_small", "seen": "1.20 % is below 4.00 %"}),
        ("JCI", "split_mismatch", {"data_issue": "split_mismatch", "seen": "close falls to a third"}),
        ("ZZZ", "not in the universe", {}),
    ],
)
async def test_an_explanation_says_why_a_symbol_was_left_out(
    symbol: str, word: str, measured: Document
) -> None:
    document = explain_document(symbol, SCAN, SCORED)
    assert word in str(document["reasons"])
    assert document["measured"] == measured
    assert (document["symbol"], document["session"]) == (symbol, DAY.date)


async def test_an_explanation_of_a_candidate_tells_its_score_and_measures() -> None:
    document = explain_document("WMT", SCAN, SCORED)
    reasons = str(document["reasons"])
    assert "passed every filter" in reasons
    assert "rank 1 of 2" in reasons
    assert part(document, "measured", "gap_pct") == 4.2


async def stored_scan(desk: Desk) -> None:
    await desk.put(
        ScanRecorded(tick=TICK, kind="open", scan=SCAN),
        *(
            CandidateScored(session=DAY.date, tick=TICK, rank=rank, scored=s, is_selected=rank == 1)
            for rank, s in enumerate(SCORED, 1)
        ),
        CandidateRefused(session=DAY.date, tick=TICK, symbol="WMT", reason="no_atr", detail="too short"),
    )


async def test_the_stored_scan_reads_like_the_computed_one(desk: Desk) -> None:
    """Same document, with the outcome of each candidate and why the others were left out."""
    await stored_scan(desk)
    document = await desk.views().candidates()
    computed = scan_document(SCAN, SCORED, tick=TICK, elapsed_ms=None)
    rows = [dict(row) for row in document["candidates"]]
    outcomes = [(row.pop("outcome"), row.pop("is_selected")) for row in rows]
    assert {**{key: document[key] for key in computed}, "candidates": rows} == computed
    assert outcomes == [("no_atr: too short", True), (None, False)]
    assert part(document, "why", "IBM") == ["gap_too_small", "1.20 % is below 4.00 %"]
    assert await desk.views().candidates(session=DAY.date, tick=TICK) == document


async def test_scans_are_listed_newest_first_with_their_counts(desk: Desk) -> None:
    early = replace(SCAN, as_of_ms=OPEN_MS - 30 * MINUTE_MS, candidates=())
    await desk.put(ScanRecorded(tick="early", kind="watchlist", scan=early))
    await stored_scan(desk)
    rows = (await desk.views().scans())["scans"]
    assert [(r["tick"], r["kind"], r["candidates"], r["as_of"]) for r in rows] == [
        ("open", "open", 2, "2018-02-20T14:31:00Z"),
        ("early", "watchlist", 0, "2018-02-20T14:00:00Z"),
    ]
    assert rows[0]["dropped"] == {"gap_too_small": 1, "price": 1}
    assert rows[0]["market"]["spy_gap_pct"] == -0.31
    assert (await desk.views().scans(session="2018-02-16"))["scans"] == []
    unscored = await desk.views().candidates(tick="early")
    assert unscored["candidates"] == []


async def test_a_candidate_without_a_score_keeps_its_place(desk: Desk) -> None:
    await desk.put(ScanRecorded(tick=TICK, kind="open", scan=SCAN))
    rows = (await desk.views().candidates())["candidates"]
    assert [(row["symbol"], row["rank"], row["score"]) for row in rows] == [
        ("AMD", None, None),
        ("WMT", None, None),
    ]


async def test_no_scan_is_an_empty_document_but_a_wrong_tick_is_an_error(desk: Desk) -> None:
    empty = await desk.views().candidates()
    assert (empty["as_of"], empty["candidates"], empty["universe"]) == (None, [], None)
    with pytest.raises(UnknownRecordError) as none:
        await desk.views().candidates(tick="noon")
    assert none.value.hint == "No scan was made yet"
    await stored_scan(desk)
    with pytest.raises(UnknownRecordError, match="no scan 'noon' of 2018-02-20") as other:
        await desk.views().candidates(session=DAY.date, tick="noon")
    assert other.value.hint == "Scans of 2018-02-20: open"


# ---------------------------------------------------------------- plans
async def test_a_pending_plan_shows_its_question_and_what_risk_said(desk: Desk) -> None:
    await asked(desk, a_plan())
    desk.clock.advance(desk.clock.now_ms() + 90_000)
    (row,) = (await desk.views().plans(state="pending"))["plans"]
    wanted = {
        "plan_id": "pl_wmt001", "session": "2018-02-20", "symbol": "WMT", "rank": 1, "preset": "classic",
        "setup": "next_open", "direction": "long", "state": "pending", "score": 0.812, "entry": "100.00",
        "stop": "97.00", "target": "109.00", "target_r": 3.0, "quantity": 100, "risk_per_share": "3.00",
        "risk": "300.00", "notional": "10000.00", "seconds_left": 510, "nonce": "n" * 32, "reasons": [],
        "expires_at": "2018-02-20T14:41:00Z", "entry_until": "2018-02-20T16:00:00Z", "pnl": None,
        "trigger": None,
    }  # fmt: skip
    assert {key: row[key] for key in wanted} == wanted
    assert row["risk_decision"] == {
        "is_approved": True, "at": "2018-02-20T14:31:00Z", "quantity": 100, "notional": "10000.00",
        "worst_case": "450.00", "reasons": [], "binding_cap": "position_notional",
        "caps": {"risk_per_trade": 166, "position_notional": 100},
    }  # fmt: skip
    assert row["approval"]["state"] == "pending"
    desk.clock.advance(desk.clock.now_ms() + HOUR_MS)
    (late,) = (await desk.views().plans())["plans"]
    assert late["seconds_left"] == 0


async def test_a_short_plan_shows_what_it_was_made_under_and_what_a_night_costs(desk: Desk) -> None:
    terms = ShortTerms(
        is_restricted=True, restricted_at_e4=850_000, is_borrow_assumed=False, borrow_fee_e6=3_000
    )
    await asked(desk, replace(a_plan(), direction=Direction.SHORT, short=terms))
    (row,) = (await desk.views().plans())["plans"]
    assert row["short"] == {
        "restricted": True, "restricted_at": "85.00", "borrow": "easy", "borrow_fee_pct": 0.3,
        "overnight_fee": "0.08333334",
    }  # fmt: skip


async def test_a_refused_plan_tells_every_reason_and_no_quantity(desk: Desk) -> None:
    plan = a_plan("F", rank=2)
    refusal = RiskDecision(
        plan_id=plan.plan_id, version=1, is_approved=False, reasons=("open_positions", "spread")
    )
    await asked(desk, a_plan())
    await desk.put(
        PlanRecorded(plan=plan, state=PlanState.PLANNED),
        PlanSized(plan=plan, plan_hash="", decision=refusal),
        PlanMoved(
            plan_id=plan.plan_id,
            from_states=(PlanState.PLANNED,),
            to_state=PlanState.REFUSED,
            reason="open_positions, spread",
        ),
    )
    await desk.put(PlanRecorded(plan=a_plan("AA", rank=3), state=PlanState.PLANNED))
    first, second, third = (await desk.views().plans(session=DAY.date))["plans"]
    assert [first["symbol"], second["symbol"], third["symbol"]] == ["WMT", "F", "AA"]
    assert second["reasons"] == ["open_positions", "spread"]
    assert (second["quantity"], second["risk"], second["notional"]) == (None, None, None)
    assert (second["approval"], second["seconds_left"], second["plan_hash"]) == (None, None, None)
    assert (third["risk_decision"], third["reasons"]) == (None, [])
    with pytest.raises(UnknownRecordError, match="never 'waiting'"):
        await desk.views().plans(state="waiting")


async def test_one_plan_comes_with_orders_fills_trade_and_journal(desk: Desk) -> None:
    trade_id = await closed(desk, a_plan())
    document = await desk.views().plan("pl_wm")
    assert (document["plan_id"], document["state"], document["reasons"]) == ("pl_wmt001", "closed", ["stop"])
    assert [row["leg"] for row in document["orders"]] == ["entry", "stop", "target-1"]
    assert [row["leg"] for row in document["fills"]] == ["entry", "stop"]
    assert part(document, "trade", "trade_id") == trade_id
    assert [row["kind"] for row in document["journal"]] == ["plan", "trade"]
    assert document["pnl"] == "-310.60"
    approval = document["approval"]
    assert (approval["channel"], approval["identity"]) == ("cli", "cli:ada")
    assert (document["nonce"], document["seconds_left"]) == (None, None)


async def test_a_prefix_must_name_exactly_one_plan(desk: Desk) -> None:
    await desk.put(
        PlanRecorded(plan=a_plan(), state=PlanState.PLANNED),
        PlanRecorded(plan=a_plan(number=2), state=PlanState.PLANNED),
        PlanRecorded(plan=a_plan("AMD", plan_id="pl_wmt0011"), state=PlanState.PLANNED),
    )
    assert (await desk.views().plan("pl_wmt001"))["symbol"] == "WMT"
    with pytest.raises(UnknownRecordError, match=r"pl_wmt001 \(WMT, planned\), pl_wmt0011 \(AMD, planned\)"):
        await desk.views().plan("pl_wmt")
    for unknown in ("pl_x", "", "%"):
        with pytest.raises(UnknownRecordError, match="there is no plan"):
            await desk.views().plan(unknown)


# ---------------------------------------------------------------- orders and positions
async def test_orders_come_in_order_of_creation_with_their_average_price(desk: Desk) -> None:
    await opened(desk, a_plan())
    rows = (await desk.views().orders(session=DAY.date))["orders"]
    assert [(r["leg"], r["state"], r["filled"], r["price"], r["average_price"]) for r in rows] == [
        ("entry", "filled", 100, None, "100.10"),
        ("stop", "accepted", 0, "97.00", None),
        ("target-1", "accepted", 0, "109.00", None),
    ]
    assert (rows[0]["side"], rows[0]["type"], rows[0]["quantity"]) == ("buy", "market", 100)
    assert (rows[0]["created_at"], rows[0]["fees"]) == ("2018-02-20T14:31:00Z", "0.30")
    live = (await desk.views().orders(open_only=True))["orders"]
    assert [row["leg"] for row in live] == ["stop", "target-1"]
    assert (await desk.views().orders(session=BEFORE))["orders"] == []


async def test_a_position_is_protected_while_its_stop_rests_for_every_share(desk: Desk) -> None:
    intents, _ = await opened(desk, a_plan())
    desk.marks_e4["WMT"] = 103_1000
    (row,) = (await desk.views().positions())["positions"]
    wanted = {
        "symbol": "WMT", "quantity": 100, "entry_price": "100.10", "mark": "103.10", "stop": "97.00",
        "target": "109.00", "is_protected": True, "open_pnl": "300.00", "realised": "-0.30", "pnl": "299.70",
        "r_multiple": 0.999, "stop_distance_r": 2.033333, "target_distance_r": 1.966667,
        "stop_distance_pct": 5.916586, "target_distance_pct": 5.722599, "notional": "10310.00",
    }  # fmt: skip
    assert {key: row[key] for key in wanted} == wanted
    await desk.put(OrderMoved(client_order_id=intents[1].client_order_id, to_state=OrderState.CANCELLED))
    (row,) = (await desk.views().positions())["positions"]
    assert (row["is_protected"], row["protected_quantity"], row["stop_orders"]) == (False, 0, [])


async def test_an_unknown_mark_is_null_and_the_account_counts_the_stop(desk: Desk) -> None:
    await opened(desk, a_plan())
    (row,) = (await desk.views(marks=None).positions())["positions"]
    unknown = ("mark", "open_pnl", "pnl", "r_multiple", "stop_distance_pct", "target_distance_r", "notional")
    assert [row[key] for key in unknown] == [None] * len(unknown)
    status = await desk.status(marks=None)
    account = part(status, "account")
    assert (account["equity"], account["valued_at_stop"]) == ("99689.70", ["WMT"])
    assert ("warning", "no_price") in codes(status)


async def test_the_venue_s_own_mark_stands_in_where_no_market_is_at_hand(desk: Desk) -> None:
    await opened(desk, a_plan())
    await desk.queue.call(
        lambda session: session.conn.execute(
            "INSERT INTO venue_position (symbol, quantity, mark, mark_at) VALUES ('WMT', 1000000, 1010000, 0)"
        )
    )
    (row,) = (await desk.views(marks=None).positions())["positions"]
    assert row["mark"] == "101.00"
    desk.marks_e4["WMT"] = 102_0000
    (row,) = (await desk.views().positions())["positions"]
    assert row["mark"] == "102.00"


async def test_the_next_target_is_the_first_that_was_not_filled(desk: Desk) -> None:
    legs = (
        ExitLeg(leg="target-1", share_e6=500_000, price_e4=103_0000),
        ExitLeg(leg="target-2", share_e6=500_000, price_e4=106_0000),
    )
    plan = a_plan(targets=legs)
    intents, position = await opened(desk, plan)
    desk.marks_e4["WMT"] = 104_0000
    first = next(i for i in intents if i.leg == "target-1")
    out = fill_of(first, 103_0000, desk.clock.now_ms())
    await desk.put(
        FillRecorded(
            fill=out,
            plan_id=plan.plan_id,
            leg="target-1",
            session=plan.session,
            reason=ExitReason.TARGET,
        ),
        PositionRecorded(position=fold(position, out), stop_e4=plan.stop_e4),
    )
    (row,) = (await desk.views().positions())["positions"]
    assert (row["quantity"], row["target"], row["realised"]) == (50, "106.00", "144.40")


# ---------------------------------------------------------------- trades and results
async def test_a_trade_has_the_shape_that_other_programs_read(desk: Desk) -> None:
    trade_id = await closed(desk, a_plan())
    (row,) = (await desk.views().trades())["trades"]
    wanted = {
        "trade_id": trade_id, "plan_id": "pl_wmt001", "session": "2018-02-20", "symbol": "WMT",
        "setup": "next_open", "direction": "long", "quantity": 100, "entry_ts": "2018-02-20T14:31:00Z",
        "entry_price": "100.10", "exit_ts": "2018-02-20T15:31:00Z", "exit_price": "97.00",
        "exit_reason": "stop", "stop": "97.00", "target": "109.00", "risk_per_share": "3.00",
        "r_multiple": -1.035333, "mae_r": 0.0, "mfe_r": 0.0, "slippage_bps": 0.0, "fees": "0.60",
        "pnl": "-310.60", "ambiguous": False,
        "exits": [{"leg": "stop", "quantity": 100, "ts": "2018-02-20T15:31:00Z", "price": "97.00",
                   "reason": "stop"}],
    }  # fmt: skip
    assert {key: row[key] for key in wanted} == wanted
    assert (await desk.views().trades(session=BEFORE))["trades"] == []


async def test_results_go_by_session_and_each_begins_where_the_last_ended(desk: Desk) -> None:
    """A session without a trade is a row too; nothing yet is no row, and no win rate."""
    nothing = await desk.views().pnl()
    assert nothing["sessions"] == []
    assert part(nothing, "totals", "win_rate") is None
    await closed(desk, a_plan("AMD", session=BEFORE), price_e4=103_1000)
    await closed(desk, a_plan())
    quiet = DayClosed(session="2018-02-15", is_flat=True, held_over=(), pnl_e8=0, fees_e8=0, trades=0)
    held = DayClosed(session=BEFORE, is_flat=False, held_over=("F",), pnl_e8=0, fees_e8=0, trades=1)
    await desk.put(quiet, held)
    document = await desk.views().pnl()
    assert [
        (r["session"], r["trades"], r["pnl"], r["fees"], r["day_start_equity"], r["flat"], r["held_over"])
        for r in document["sessions"]
    ] == [
        ("2018-02-15", 0, "0.00", "0.00", "100000.00", True, []),
        ("2018-02-16", 1, "299.40", "0.60", "100000.00", False, ["F"]),
        ("2018-02-20", 1, "-310.60", "0.60", "100299.40", None, []),
    ]
    assert document["totals"] == {
        "trades": 2, "wins": 1, "pnl": "-11.20", "fees": "1.20", "win_rate": 0.5, "max_drawdown": "310.60",
        "start_equity": "100000.00", "end_equity": "99988.80",
    }  # fmt: skip

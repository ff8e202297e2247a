"""The journal, the queue, risk and the status as documents."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from finagent.adapters.sqlite.database import Database
from finagent.adapters.sqlite.views import (
    SqliteViews,
    UnknownRecordError,
)
from finagent.cli import render_ops
from finagent.cli.page import Page
from finagent.context import Document, Views
from finagent.domain.facts import (
    ControlChanged,
    IntentRecorded,
    Journalled,
    OrderMoved,
    SymbolLocked,
)
from finagent.domain.legs import exit_intent
from finagent.domain.market import MINUTE_MS
from finagent.domain.money import MONEY_SCALE
from finagent.domain.orders import OrderState, Scope, body_hash
from finagent.domain.risk import standard_profile
from finagent.queue.job import NewJob
from finagent.queue.port import Tx
from finagent.queue.query import JobQuery, QueryError
from finagent.runtime.clock import VirtualClock
from tests.contract.queue_world import Hands
from tests.integration.views_world import (
    BEFORE,
    DAY,
    HOUR_MS,
    OPEN_MS,
    Desk,
    a_plan,
    asked,
    closed,
    codes,
    open_desk,
    opened,
    part,
    sent,
)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(tmp_path) as desk:
        yield desk


def as_views(views: SqliteViews) -> Views:
    """The type checker's proof that the protocol is satisfied."""
    return views


# ---------------------------------------------------------------- journal
async def test_the_journal_is_read_page_by_page(desk: Desk) -> None:
    for number in range(5):
        await desk.put(
            Journalled(kind="scan" if number % 2 else "note", ref=f"r{number}", data={"n": number})
        )
    views = desk.views()
    first = await views.journal(limit=2)
    assert ([e["seq"] for e in first["entries"]], first["next_after"]) == ([1, 2], 2)
    last = await views.journal(after_seq=2, limit=3)
    assert ([e["data"] for e in last["entries"]], last["next_after"]) == (
        [{"n": 2}, {"n": 3}, {"n": 4}],
        None,
    )
    assert [e["seq"] for e in (await views.journal(kind="scan"))["entries"]] == [2, 4]
    assert [e["seq"] for e in (await views.journal(ref="r3"))["entries"]] == [4]
    assert (await views.journal(ref="r3", kind="note"))["entries"] == []
    entry = first["entries"][0]
    assert (entry["at"], entry["kind"], entry["ref"], len(entry["hash"])) == (
        "2018-02-20T14:31:00Z",
        "note",
        "r0",
        64,
    )


async def test_kind_that_no_entry_has_is_refused_with_the_nearest(desk: Desk) -> None:
    """One that the program knows may have no entry yet; one that it forgot may stand in an old journal."""
    await desk.put(Journalled(kind="scan", ref="r", data={}), Journalled(kind="antique", ref="r", data={}))
    for kind, count in (("scan", 1), ("antique", 1), ("kill", 0)):
        assert len((await desk.views().journal(kind=kind))["entries"]) == count  # type: ignore[arg-type]
    with pytest.raises(QueryError, match="of a kind 'antiqe'") as error:
        await desk.views().journal(kind="antiqe")
    assert error.value.hint.startswith("the nearest: antique")
    with pytest.raises(QueryError) as error:
        await desk.views().journal(kind="0")
    assert error.value.hint.startswith("the nearest: ")


# ---------------------------------------------------------------- jobs
async def test_jobs_show_their_state_attempts_and_errors(desk: Desk) -> None:
    hands = Hands(credits={"scan": 1, "send": 1})
    desk.queue.attach(hands)
    await desk.queue.publish(NewJob("scan", {"session": DAY.date}, "2018-02-20/open", key="WMT"))
    job = await hands.take()
    await desk.queue.fail(job, "ValueError: boom", outcome="dead")
    late = NewJob("send", {"order": "x"}, "send:x", run_at_ms=OPEN_MS + HOUR_MS)
    await desk.queue.publish(late)
    views = desk.views()
    newest, oldest = (await views.jobs())["jobs"]
    assert (newest["type"], newest["status"], newest["run_at"]) == (
        "send",
        "scheduled",
        "2018-02-20T15:30:00Z",
    )
    assert (oldest["id"], oldest["last_error"], oldest["idempotency_key"], oldest["key"]) == (
        job.id,
        "ValueError: boom",
        "2018-02-20/open",
        "WMT",
    )
    assert [j["id"] for j in (await views.jobs(JobQuery(statuses=["dead"])))["jobs"]] == [job.id]
    assert [j["type"] for j in (await views.jobs(JobQuery(types=["send"], limit=1)))["jobs"]] == ["send"]
    shown = await views.job(job.id)
    assert (shown["payload"], shown["attempts"]) == (
        {"session": DAY.date},
        [
            {
                "attempt": 1,
                "boot": 1,
                "started_at": "2018-02-20T14:31:00Z",
                "finished_at": "2018-02-20T14:31:00Z",
                "duration_s": 0.0,
                "outcome": "dead",
                "error": "ValueError: boom",
            }
        ],
    )
    stats = await views.jobs_stats()
    assert (part(stats, "by_status", "dead"), part(stats, "by_type", "send")) == (1, {"scheduled": 1})
    assert (stats["oldest_ready_s"], part(stats, "dead", 0, "id")) == (None, job.id)
    status = await desk.status(next_ticks=lambda after_ms, count: [("second look", OPEN_MS + 2 * HOUR_MS)])
    assert codes(status) == [("warning", "dead_job")]
    assert status["next_jobs"] == [
        {"type": "send", "name": "send send:x", "at": "2018-02-20T15:30:00Z"},
        {"type": "schedule", "name": "second look", "at": "2018-02-20T16:30:00Z"},
    ]


async def test_a_job_under_way_and_a_done_one_show_their_last_attempt(desk: Desk) -> None:
    hands = Hands(credits={"scan": 1, "send": 1})
    desk.queue.attach(hands)
    await desk.queue.publish(NewJob("scan", {}, "a"))
    job = await hands.take()
    assert part(await desk.views().job(job.id), "attempts", 0, "outcome") == "running"
    await desk.queue.complete(job, Tx())
    attempt = part(await desk.views().job(job.id), "attempts", 0)
    assert (attempt["outcome"], attempt["finished_at"]) == ("done", "2018-02-20T14:31:00Z")
    await desk.queue.publish(NewJob("scan", {}, "b"))
    await desk.queue.prune(older_than_ms=OPEN_MS + HOUR_MS)
    with pytest.raises(UnknownRecordError, match="was pruned"):
        await desk.views().job(job.id)
    with pytest.raises(UnknownRecordError, match="no job 99"):
        await desk.views().job(99)
    with pytest.raises(QueryError, match="never 'lost'"):
        await desk.views().jobs(JobQuery(statuses=["lost"]))


# ---------------------------------------------------------------- risk and status
async def test_risk_shows_each_limit_with_the_part_used(desk: Desk) -> None:
    await closed(desk, a_plan())
    await asked(desk, a_plan("AMD", rank=2))
    await desk.put(SymbolLocked(symbol="GME", is_locked=True))
    document = await as_views(desk.views()).risk()
    limits = document["limits"]
    assert (document["profile"], document["loss_tier"]) == ("standard", None)
    assert limits["flatten_loss"] == {
        "limit": "2000.00", "used": "310.60", "left": "1689.40", "used_ratio": 0.1553, "unit": "money",
        "reopens": "rearm",
    }  # fmt: skip
    assert (limits["pause_loss"]["limit"], limits["worst_case"]["used"]) == ("1500.00", "760.60")
    assert (limits["exposure"]["limit"], limits["exposure"]["used"]) == ("100000.00", "10000.00")
    assert limits["trades_per_day"] == {
        "limit": 5, "used": 2, "left": 3, "used_ratio": 0.4, "unit": "count", "reopens": "next session",
    }  # fmt: skip
    (reservation,) = document["reservations"]
    assert reservation == {
        "plan_id": "pl_amd001", "symbol": "AMD", "notional": "10000.00", "worst_case": "450.00",
    }  # fmt: skip
    assert document["locks"] == [{"symbol": "GME", "since": "2018-02-20T15:31:00Z"}]
    off = replace(
        standard_profile(),
        max_exposure_e6=None,
        max_sector_e6=None,
        max_rejected_in_a_row=None,
        pause_loss_e6=None,
        flatten_loss_e6=None,
        bankroll_e8=MONEY_SCALE,
    )
    silent = await desk.views(profile=off).risk()
    assert sorted(silent["limits"]) == [
        "open_positions", "orders_out", "orders_per_minute", "trades_per_day",
    ]  # fmt: skip
    account = silent["account"]
    assert (account["pause_at"], account["flatten_at"], account["limit_used_ratio"]) == (None, None, None)


async def test_a_bankroll_bounds_the_exposure_limit(desk: Desk) -> None:
    profile = replace(standard_profile(), bankroll_e8=500 * MONEY_SCALE)
    limits = (await desk.views(profile=profile).risk())["limits"]
    assert limits["exposure"]["limit"] == "500.00"


async def test_a_quiet_status_has_the_account_the_session_and_no_problem(desk: Desk) -> None:
    await opened(desk, a_plan())
    desk.marks_e4["WMT"] = 101_1000
    status = await desk.status(run_id="r1")
    assert status["problems"] == []
    assert (status["mode"], status["broker"], status["run_id"], status["now"]) == (
        "approve", "paper", "r1", "2018-02-20T14:31:00Z",
    )  # fmt: skip
    assert part(status, "clock", "kind") == "virtual"
    assert status["session"] == {
        "date": "2018-02-20", "open": "2018-02-20T14:30:00Z", "close": "2018-02-20T21:00:00Z",
        "is_half_day": False, "phase": "open",
    }  # fmt: skip
    account = status["account"]
    assert {key: account[key] for key in ("currency", "equity", "day_start_equity", "day_pnl")} == {
        "currency": "USD", "equity": "100099.70", "day_start_equity": "100000.00", "day_pnl": "99.70",
    }  # fmt: skip
    assert (account["day_pnl_pct"], account["realised"], account["open"]) == (0.0997, "-0.30", "100.00")
    assert (account["pause_at"], account["flatten_at"]) == ("-1500.00", "-2000.00")
    assert status["counts"] == {
        "positions_open": 1, "positions_unprotected": 0, "plans_pending": 0, "orders_open": 2,
        "entries_working": 0, "exits_working": 2, "exits_attached": 0,
        "trades_today": 0, "jobs_waiting": 0, "jobs_dead": 0, "orders_unknown": 0,
        "flatten_late": 0,
    }  # fmt: skip
    assert (status["services"], status["engine_state"]) == ([], "stopped")


async def test_status_tells_entries_from_exits_that_work_and_exits_that_wait_for_a_fill(desk: Desk) -> None:
    """One entry that nobody filled with its stop and its target, and one position with both at work."""
    await opened(desk, a_plan())
    await sent(desk, a_plan("AMD", rank=2))
    desk.marks_e4["WMT"] = 101_1000
    status = await desk.status()
    counts = status["counts"]
    names = ("orders_open", "entries_working", "exits_working", "exits_attached")
    assert [counts[name] for name in names] == [5, 1, 2, 2]
    assert "1 entry working, 2 exits working, 2 exits attached" in render_ops.status(status, Page(width=120))


@pytest.mark.parametrize(
    ("minutes", "phase"),
    [(-331, "closed"), (-330, "premarket"), (0, "open"), (374, "open"), (375, "closing"), (390, "closed")],
)
async def test_the_session_s_phase_follows_the_clock(desk: Desk, minutes: int, phase: str) -> None:
    status = await desk.status(clock=VirtualClock(OPEN_MS + minutes * MINUTE_MS))
    assert part(status, "session", "phase") == phase


async def test_the_worst_problem_stands_first(desk: Desk) -> None:
    """Halts, orders nobody knows of and unprotected shares before what may wait."""
    intents, _ = await opened(desk, a_plan())
    await sent(desk, a_plan("AMD", rank=2))
    await asked(desk, a_plan("F", rank=3), ttl_ms=90_000)
    desk.marks_e4["WMT"] = 87_6000
    await desk.put(
        OrderMoved(
            client_order_id=intents[1].client_order_id, to_state=OrderState.CANCELLED, reason="by hand"
        ),
        ControlChanged(is_paused=True, pause_reason="lunch", paused_by="cli:ada", is_killed=True),
        ControlChanged(gate_reason="reconcile"),
        Journalled(kind="scan_skipped", ref=f"{DAY.date}/noon", data={"reason": "no bars"}),
    )
    entry = (await desk.views().orders(open_only=True))["orders"]
    unknown = next(o for o in entry if o["leg"] == "entry")
    lost = "UPDATE broker_order SET state = 'unknown' WHERE client_order_id = ?"
    await desk.queue.call(lambda ws: ws.conn.execute(lost, (unknown["client_order_id"],)).rowcount)
    services = {
        "scanner": {"state": "running", "last_error": None, "restarts": 0},
        "stream": {"state": "failed", "last_error": "OSError: gone", "restarts": 3},
        "venue": {"state": "degraded", "last_error": None, "restarts": 1},
    }
    status = await desk.status(health=lambda: services)
    assert codes(status) == [
        ("critical", "killed"),
        ("critical", "gate"),
        ("critical", "unknown_order"),
        ("critical", "unprotected"),
        ("critical", "service"),
        ("warning", "service"),
        ("warning", "loss_near"),
        ("warning", "plan_expires"),
        ("info", "scan_skipped"),
    ]
    unprotected = part(status, "problems", 3)
    assert unprotected["text"] == "WMT has no resting stop for 100 shares (planned at 97.00)"
    assert unprotected["message"] == unprotected["text"]
    assert (unprotected["mend"], unprotected["since"]) == ("finagent flatten WMT", "2018-02-20T14:31:00Z")
    assert part(status, "control") == {
        "paused": True, "pause_reason": "lunch", "paused_by": "cli:ada", "killed": True, "needs_rearm": False,
        "gate_reason": "reconcile", "locked_symbols": [],
    }  # fmt: skip
    assert status["engine_state"] == "running"
    assert part(status, "services", 1) == {
        "name": "stream", "state": "failed", "last_error": "OSError: gone", "detail": "OSError: gone",
        "restarts": 3,
    }  # fmt: skip


async def test_a_loss_limit_and_a_position_held_over_are_critical(desk: Desk) -> None:
    await opened(desk, a_plan(session=BEFORE))
    desk.marks_e4["WMT"] = 80_0000
    await desk.put(ControlChanged(needs_rearm=True))
    status = await desk.status(health=lambda: {"engine": {"state": "halted", "last_error": "disk full"}})
    assert codes(status) == [
        ("critical", "needs_rearm"),
        ("critical", "held_over"),
        ("critical", "service"),
        ("critical", "loss_flatten"),
    ]
    assert (status["engine_state"], part(status, "control", "gate_reason")) == ("halted", "rearm_needed")


async def test_position_that_the_last_rung_found_open_is_critical_until_it_is_closed(desk: Desk) -> None:
    plan = a_plan()
    for minute in range(2):
        late = Journalled(kind="flatten_late", ref=plan.plan_id, data={"rung": str(minute)})
        await desk.put(late)
    assert codes(await desk.status()) == []
    await opened(desk, plan)
    desk.marks_e4["WMT"] = 100_0000
    status = await desk.status()
    assert codes(status) == [("critical", "flatten_late")]
    words = "WMT is still open after the last rung of the flatten ladder"
    assert part(status, "problems", 0, "text") == words
    assert part(status, "counts", "flatten_late") == 1
    sold = "UPDATE position SET quantity = 0"
    await desk.queue.call(lambda ws: ws.conn.execute(sold).rowcount)
    assert part(await desk.status(), "counts", "flatten_late") == 0


async def test_raised_limits_are_told_whether_they_wait_or_are_in_force(desk: Desk) -> None:
    standing: Document = {
        "raised_limits": [{"limit": "max_open_positions", "profile": "3", "in_force": "5"}],
        "waiting_limits": [{"limit": "risk_per_trade_pct", "accepted": "0.5", "wanted": "1"}],
    }

    async def limits() -> Document:
        return standing

    status = await desk.status(limits=limits)
    assert codes(status) == [("warning", "waiting_limit"), ("info", "raised_limit")]
    assert [part(status, "problems", n, "text") for n in range(2)] == [
        "risk_per_trade_pct is raised from 0.5 to 1 and not in force",
        "max_open_positions is 5, above the profile's 3",
    ]
    risk = await desk.views(limits=limits).risk()
    for document in (status, risk):
        assert {name: document[name] for name in standing} == standing
    assert (await desk.views().risk())["raised_limits"] == []


async def test_risk_names_the_breakers_that_stand_open(desk: Desk) -> None:
    profile = replace(standard_profile(), max_losses_in_a_row=1)
    await closed(desk, a_plan())
    assert (await desk.views(profile=profile).risk())["breakers"] == ["losses_in_a_row"]
    assert (await desk.views().risk())["breakers"] == []


async def test_a_position_that_is_being_closed_is_no_alarm(desk: Desk) -> None:
    plan = a_plan()
    intents, _ = await opened(desk, plan)
    desk.marks_e4["WMT"] = 100_0000
    leave = exit_intent(
        plan, 1_000_000, generation=1, reason="flatten", scope=Scope(), now_ms=desk.clock.now_ms()
    )
    await desk.put(
        OrderMoved(client_order_id=intents[1].client_order_id, to_state=OrderState.CANCELLED),
        IntentRecorded(intent=leave, session=plan.session, body_hash=body_hash(leave)),
    )
    assert codes(await desk.status()) == [("warning", "closing_unprotected")]
    exit_row = next(o for o in (await desk.views().orders())["orders"] if o["leg"] == "exit")
    assert (exit_row["reason"], exit_row["state"]) == ("flatten", "intent")


async def test_many_problems_of_one_kind_are_cut_short(desk: Desk) -> None:
    hands = Hands(credits={"scan": 9, "send": 9})
    desk.queue.attach(hands)
    await desk.queue.publish_many([NewJob("send", {}, f"s{n}") for n in range(8)])
    for _ in range(8):
        await desk.queue.fail(await hands.take(), "no", outcome="dead")
    status = await desk.status()
    assert codes(status) == [("warning", "dead_job")] * 5 + [("warning", "dead_job")]
    assert part(status, "problems", 5, "text") == "and 3 more like it"


async def test_status_says_that_no_agent_runs(desk: Desk) -> None:
    """Critical while something is open; of a run that was played nobody expects an agent."""
    status = await desk.status(run_id=None)
    assert codes(status) == [("warning", "no_agent")]
    assert part(status, "problems", 0, "mend") == "finagent orchestrate starts one"
    await opened(desk, a_plan())
    assert ("critical", "no_agent") in codes(await desk.status(run_id=None))
    told = next(row for row in (await desk.status(run_id=None))["problems"] if row["code"] == "no_agent")
    assert told["message"] == "No agent runs, and open are 1 position, 2 exits"
    assert ("critical", "no_agent") not in codes(await desk.status(run_id=None, health=dict))
    assert ("critical", "no_agent") not in codes(await desk.status(run_id="r1"))


async def test_a_reader_beside_a_running_agent_knows_that_it_runs(desk: Desk, tmp_path: Path) -> None:
    """The last boot's process is alive and is not this one."""
    async with await Database.open_readonly(tmp_path / "finagent.db") as reader:
        views = SqliteViews(reader, desk.views()._facts)
        assert (await views.status())["engine_state"] == "stopped"
        for pid, state in ((1, "running"), (2**22 + 1, "stopped")):
            await desk.queue.call(lambda s, pid=pid: s.conn.execute("UPDATE boot SET pid = ?", (pid,)))
            assert (await views.status())["engine_state"] == state
        await desk.queue.call(lambda s: s.conn.execute("DELETE FROM boot"))
        assert (await views.status())["engine_state"] == "stopped"

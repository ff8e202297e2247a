"""Gauges: after a made-up session every metric says what the tables say, again and again."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finagent.adapters.sqlite.measures import Cursor, label_channel, label_word, read_measures
from finagent.bootstrap.engine import Engine
from finagent.bootstrap.gauges import (
    DIFFERENCE_KINDS,
    ENGINE_STATES,
    GaugeService,
    Totals,
)
from finagent.bootstrap.runs import RunPlan, drive, open_run
from finagent.bootstrap.sessions import chosen_sessions
from finagent.bootstrap.world import load_world
from finagent.domain.approvals import Verdict
from finagent.domain.facts import (
    ApprovalAnswered,
    DifferencesFound,
    IntentRecorded,
    OrderMoved,
)
from finagent.domain.orders import OrderState
from finagent.domain.plan import PlanState
from finagent.domain.reconcile import Difference
from finagent.domain.steps import Step
from finagent.queue.job import NewJob
from finagent.queue.port import Tx
from finagent.runtime.clock import VirtualClock
from finagent.runtime.metrics import Metrics
from finagent.runtime.timeline import ImmediatePacer, Pacer
from finagent.services.approval import Reply
from finagent.settings import Settings

SESSION = "2026-11-04"
ASKED_MS = 1_793_802_360_000
"""09:26 New York, when the first plans wait for an answer."""
OLD_JOBS = 200
MORNING_MS = 1_793_803_200_000
"""09:40 New York, while positions of that session are open."""


class StoppedError(Exception):
    """The session was left where the test wanted it."""


@dataclass(frozen=True, slots=True)
class Until:
    """A pacer that leaves the session before an instant."""

    at_ms: int

    async def until(self, T_ms: int) -> None:
        if T_ms >= self.at_ms:
            raise StoppedError


@asynccontextmanager
async def engine_of(
    folder: Path, pacer: Pacer | None = None, *, mode: str = "policy"
) -> AsyncIterator[Engine]:
    """An engine on a run's file, driven by a pacer when one is given."""
    chosen = Settings()
    world = load_world(chosen, folder, vendor="simulated")
    sessions = chosen_sessions(world.calendar, SESSION, SESSION)
    plan = RunPlan(sessions=sessions, result_id="0" * 16, path=folder / "finagent.db")
    engine = await open_run(chosen, world, plan, approval_mode=lambda: mode)
    try:
        if pacer is not None:
            with suppress(StoppedError):
                await drive(engine, plan, pacer, progress=None)
        yield engine
    finally:
        await engine.close()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of one session that is over."""
    folder = tmp_path_factory.mktemp("finished")

    async def play() -> None:
        async with engine_of(folder, ImmediatePacer()):
            pass

    asyncio.run(play())
    return folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run that a test may change."""
    shutil.copytree(finished, tmp_path / "run", ignore=shutil.ignore_patterns("*.lock"))
    return tmp_path / "run"


def samples(metrics: Metrics, name: str) -> dict[tuple[str, ...], float]:
    """Values of a metric by its label values."""
    return {
        tuple(sample.labels.values()): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == f"finagent_{name}"
    }


def one(metrics: Metrics, name: str, *labels: str) -> float:
    return samples(metrics, name)[labels]


async def commit(engine: Engine, *facts: object) -> None:
    """Store facts as a step of the day does."""
    tx = Tx()
    for fact in facts:
        tx.put(fact)
    await engine.queue.commit(tx)


async def counted(engine: Engine, sql: str) -> dict[tuple[str, ...], float]:
    """Rows of labels and a count."""
    rows = await engine.database.read(sql)
    return {tuple(str(each) for each in row[:-1]): float(str(row[-1])) for row in rows}


async def number(engine: Engine, sql: str) -> float:
    return float(str((await engine.database.read(sql))[0][0]))


TABLES = {
    "plans_total": "SELECT state, substr(reason || ',', 1, instr(reason || ',', ',') - 1), count(*) FROM plan"
    " GROUP BY 1, 2",
    "approvals_total": "SELECT json_extract(data, '$.channel'), 'approved', count(*) FROM journal"
    " WHERE kind = 'approved' GROUP BY 1",
    "orders_total": "SELECT json_extract(body, '$.side'), json_extract(body, '$.type'), state, count(*)"
    " FROM broker_order GROUP BY 1, 2, 3",
    "risk_rejections_total": "SELECT value, count(*) FROM risk_decision, json_each(body, '$.reasons') GROUP BY 1",
    "jobs": "SELECT type, status, count(*) FROM job_queue GROUP BY 1, 2",
    "order_ack_latency_seconds_count": "SELECT count(*) FROM journal WHERE kind = 'accepted'",
    "slippage_bps_count": "SELECT count(*) FROM fill WHERE json_extract(body, '$.reference_e4') IS NOT NULL",
    "positions_open": "SELECT count(*) FROM position WHERE quantity <> 0",
    "orders_inflight": "SELECT count(*) FROM broker_order WHERE state = 'intent'",
    "orders_ambiguous": "SELECT count(*) FROM broker_order WHERE state = 'unknown'",
}
"""What each metric must equal once a session is over and all its plans have ended."""


async def check_tables(engine: Engine) -> None:
    for name, sql in TABLES.items():
        assert samples(engine.metrics, name) == await counted(engine, sql), name


def frozen(metrics: Metrics) -> list[str]:
    """The exposition without what the process itself goes on measuring."""
    moving = ("db_commit_seconds", "wal_bytes", "_created")
    lines = metrics.exposition().decode().splitlines()
    return [line for line in lines if not any(word in line for word in moving)]


async def test_numbers_of_a_session_are_those_of_its_tables_twice(tmp_path: Path) -> None:
    """A reading says what the tables say, and a second one changes nothing."""
    async with engine_of(tmp_path, ImmediatePacer()) as engine:
        gauges = GaugeService(engine)
        await gauges.run_once()
        await check_tables(engine)
        first = frozen(engine.metrics)
        await gauges.run_once()
        await check_tables(engine)
        assert frozen(engine.metrics) == first
        stages = samples(engine.metrics, "stage_duration_seconds_count")
        handled = await counted(
            engine, "SELECT type, sum(attempts) FROM job_queue WHERE attempts > 0 GROUP BY 1"
        )
        assert stages.keys() == handled.keys()
        assert all(stages[stage] >= handled[stage] for stage in handled)
        assert one(engine.metrics, "scan_duration_seconds_count") == 4


async def test_account_and_day_are_those_of_the_tables(copied: Path) -> None:
    """Equity, result, limits, schedule and reconcile of a session that is over."""
    async with engine_of(copied) as engine:
        assert isinstance(engine.clock, VirtualClock)
        await GaugeService(engine).run_once()
        metrics = engine.metrics
        pnl = await number(engine, "SELECT sum(pnl) / 1e8 FROM trade")
        equity = one(metrics, "equity", "USD")
        assert equity == pytest.approx(engine.start_equity_e8 / 1e8 + pnl)
        assert 0 <= one(metrics, "drawdown_ratio") < 0.05
        assert {labels[0] for labels in samples(metrics, "day_pnl")} == {"realised", "open", "total"}
        limits = {labels[0] for labels in samples(metrics, "risk_limit_used_ratio")}
        assert {"daily_loss_flatten", "daily_loss_pause"} <= limits
        lines = samples(metrics, "schedule_last_success_timestamp_seconds")
        fired = await counted(engine, "SELECT name, max(fire_at) / 1e3 FROM cron_fire GROUP BY 1")
        assert lines.keys() == fired.keys()
        assert all(lines[name] >= fired[name] for name in fired)
        done = await number(engine, "SELECT max(finished_at) / 1e3 FROM job_queue WHERE type = 'reconcile'")
        assert one(metrics, "reconcile_last_success_timestamp_seconds") == done
        last = "SELECT candidates FROM scan ORDER BY as_of DESC LIMIT 1"
        assert one(metrics, "scan_candidates") == await number(engine, last)
        assert one(metrics, "unprotected_positions") == 0
        assert one(metrics, "positions_held_over") == 0
        assert one(metrics, "kill_switch_active") == 0


async def test_restarted_agent_counts_from_the_tables(copied: Path) -> None:
    """A new process says the totals the old one said: a scraper sees no step."""
    async with engine_of(copied) as engine:
        await GaugeService(engine).run_once()
        await check_tables(engine)


async def test_fresh_agent_shows_every_family(tmp_path: Path) -> None:
    """On a new database a scrape names all metrics, and each that has no open label has a value."""
    async with engine_of(tmp_path) as engine:
        gauges = GaugeService(engine)
        await gauges.run_once()
        text = engine.metrics.exposition().decode()
        for family in Metrics().registry.collect():
            assert f"# TYPE {family.name}" in text
        assert one(engine.metrics, "equity", "USD") == engine.start_equity_e8 / 1e8
        assert samples(engine.metrics, "engine_state") == {
            (state,): float(state == "stopped") for state in ENGINE_STATES
        }
        assert samples(engine.metrics, "reconcile_differences") == {(kind,): 0.0 for kind in DIFFERENCE_KINDS}


async def test_uncovered_position_and_unanswered_orders_are_seen(tmp_path: Path) -> None:
    """A position whose stop went away is unprotected; an order is in flight, then ambiguous, without an answer."""
    async with engine_of(tmp_path, Until(MORNING_MS)) as engine:
        gauges, metrics = GaugeService(engine), engine.metrics

        async def after(*facts: object) -> tuple[float, float, float]:
            await commit(engine, *facts)
            await gauges.run_once()
            names = ("unprotected_positions", "orders_inflight", "orders_ambiguous")
            first, second, third = (one(metrics, name) for name in names)
            return first, second, third

        assert await after() == (0, 0, 0)
        held = one(metrics, "positions_open")
        assert held >= 2
        stop = next(o for o in await engine.store.live_orders() if o.intent.leg == "stop")
        gone = OrderMoved(client_order_id=stop.intent.client_order_id, to_state=OrderState.CANCELLED)
        assert await after(gone) == (1, 0, 0)
        again = replace(stop.intent, client_order_id="again", generation=9, parent_id=None)
        assert await after(IntentRecorded(intent=again, session=SESSION, body_hash="")) == (1, 1, 0)
        assert await after(OrderMoved(client_order_id="again", to_state=OrderState.UNKNOWN)) == (1, 0, 1)
        closing = replace(again, client_order_id="closing", leg="exit")
        assert await after(IntentRecorded(intent=closing, session=SESSION, body_hash="")) == (0, 1, 1)
        assert one(metrics, "positions_open") == held


async def test_counters_stay_when_old_jobs_are_dropped(copied: Path) -> None:
    """Vanished ones read 0 and the rest does not change."""
    async with engine_of(copied) as engine:
        assert isinstance(engine.clock, VirtualClock)
        gauges, metrics = GaugeService(engine), engine.metrics
        many = [NewJob(Step.LIMIT, {"session": SESSION}, idem_key=f"old/{n}") for n in range(OLD_JOBS)]
        published = [each.job_id for each in await engine.queue.publish_many(many)]
        engine.clock.advance(engine.clock.now_ms() + 400 * 86_400_000)
        before = await number(engine, "SELECT count(*) FROM job_queue")
        await gauges.run_once()
        lines = samples(metrics, "schedule_last_success_timestamp_seconds")
        for job_id in published:
            assert await engine.queue.cancel(job_id)
        await engine.queue.prune(older_than_ms=engine.clock.now_ms(), limit=OLD_JOBS)
        after = await number(engine, "SELECT count(*) FROM job_queue")
        assert 0 < before - after <= OLD_JOBS
        await gauges.run_once()
        assert samples(metrics, "schedule_last_success_timestamp_seconds") == lines
        left = await counted(engine, TABLES["jobs"])
        shown = samples(metrics, "jobs")
        assert {labels: value for labels, value in shown.items() if value} == left
        assert 0.0 in shown.values()


async def test_differences_are_shown_until_a_comparison_settles_them(copied: Path) -> None:
    """By kind, from the first comparison to the one that finds none."""
    async with engine_of(copied) as engine:
        gauges = GaugeService(engine, compared_ms=engine.clock.now_ms() + 5_000)

        async def after(*pairs: tuple[str, str]) -> dict[tuple[str, ...], float]:
            found = tuple(Difference(kind, ref, "") for kind, ref in pairs)
            await commit(engine, DifferencesFound(differences=found))
            await gauges.run_once()
            shown = samples(engine.metrics, "reconcile_differences")
            return {labels: value for labels, value in shown.items() if value}

        first = await after(("stranded", "EXK"), ("position", "EXK"))
        assert first == {("stranded",): 1, ("position",): 1}
        compared_s = one(engine.metrics, "reconcile_last_success_timestamp_seconds")
        assert compared_s == engine.clock.now_ms() / 1000 + 5
        assert await after(("lost_order", "a"), ("lost_order", "b")) == {("lost_order",): 2}
        assert await after() == {}


async def test_answers_are_counted_by_channel_and_timed(tmp_path: Path) -> None:
    """Questions put to a person: who answered, how, after how long; what nobody answered has no time."""
    async with engine_of(tmp_path, Until(ASKED_MS), mode="approve") as engine:
        assert isinstance(engine.clock, VirtualClock)
        gauges, metrics = GaugeService(engine), engine.metrics
        await gauges.run_once()
        assert samples(metrics, "approvals_total") == {}
        pending = await engine.store.plans(SESSION, states=(PlanState.PENDING,))
        yes, no, late = (stored.plan.plan_id for stored in pending[:3])
        engine.clock.advance(engine.clock.now_ms() + 30_000)
        said_yes = Reply(verdict=Verdict.APPROVE, channel="cli", identity="me")
        words = "I do not like it: at all"
        said_no = Reply(verdict=Verdict.REJECT, channel="somewhere", identity="me", reason=words)
        assert (await engine.approvals.answer(yes, said_yes)).code == "approved"
        assert (await engine.approvals.answer(no, said_no)).code == "rejected"
        assert (await engine.approvals.answer(no, said_yes)).code == "already_answered"
        question = await engine.store.approval(late)
        assert question is not None
        passed = ApprovalAnswered(
            plan_id=late, plan_hash=question.plan_hash, state="expired", channel="clock", identity=""
        )
        await commit(engine, passed)
        for _ in range(2):
            await gauges.run_once()
            assert samples(metrics, "approvals_total") == {
                ("cli", "approved"): 1, ("other", "rejected"): 1, ("clock", "expired"): 1,
                ("cli", "already_answered"): 1,
            }  # fmt: skip
            assert one(metrics, "approval_latency_seconds_count") == 2
            assert one(metrics, "approval_latency_seconds_sum") == 60
            assert one(metrics, "plans_total", "rejected", "rejected") == 1


async def test_engine_state_is_that_of_its_services(copied: Path) -> None:
    """Halted once somebody halted it, and exactly one state at a time."""
    async with engine_of(copied) as engine:
        gauges = GaugeService(engine)
        supervisor = engine.supervise()
        await gauges.run_once()
        assert one(engine.metrics, "engine_state", "starting") == 1
        supervisor.halt("disk full")
        await gauges.run_once()
        assert one(engine.metrics, "engine_state", "halted") == 1
        assert sum(samples(engine.metrics, "engine_state").values()) == 1


async def test_cursor_gives_each_event_once(copied: Path) -> None:
    """A second look from where the first ended finds nothing new."""
    async with engine_of(copied) as engine:
        first = await engine.database.read_fn(lambda conn: read_measures(conn, Cursor()))
        again = await engine.database.read_fn(lambda conn: read_measures(conn, first.cursor))
        assert first.acks_ms
        assert first.slippages_bps
        assert (again.acks_ms, again.slippages_bps, again.answer_waits_ms) == ((), (), ())
        assert again.cursor == first.cursor
        assert again.plans == first.plans


@settings(deadline=None)
@given(totals=st.lists(st.integers(0, 1000), min_size=1))
def test_counter_follows_its_total_and_never_falls(totals: list[int]) -> None:
    """Whatever is read, the counter is the greatest total so far."""
    metrics, following = Metrics(), Totals()
    value: Callable[[], float] = lambda: one(metrics, "risk_rejections_total", "spread")  # noqa: E731
    before = 0.0
    for count, total in enumerate(totals, 1):
        following.follow(metrics.risk_rejections_total, ("spread",), total)
        assert value() == max(totals[:count])
        assert value() >= before
        before = value()


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("", "none"),
        ("time", "time"),
        ("symbol_today, open_positions", "symbol_today"),
        ("rejected: no shares", "rejected"),
        ("revised by http", "revised"),
        ("Why not?", "other"),
        ("a" * 33, "other"),
    ],
)
def test_reason_becomes_one_short_word(text: str, label: str) -> None:
    """Labels are words of the program, never sentences of people."""
    assert label_word(text) == label


def test_channels_are_few() -> None:
    """A caller may name any channel; only ours are labels."""
    found = {label_channel(name) for name in ("cli", "policy", "", None, "xyz", "abc")}
    assert found == {"cli", "policy", "none", "other"}

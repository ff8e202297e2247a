"""The queue as documents: every filter, one job with its kin, times and attempts, and the queue under watch."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finagent.adapters.sqlite.views import UnknownRecordError
from finagent.adapters.sqlite.watch import QueueWatch
from finagent.context import Document
from finagent.domain.market import MINUTE_MS
from finagent.queue.job import NewJob
from finagent.queue.port import Tx
from finagent.queue.query import JobQuery, QueryError
from tests.contract.queue_world import Hands, ManualTicker
from tests.integration.views_world import HOUR_MS, OPEN_MS, Desk, a_plan, asked, open_desk, part


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(tmp_path) as desk:
        yield desk


@pytest.fixture
async def busy(desk: Desk) -> Desk:
    """Six jobs: 1 done (its child 2 waits for a retry), 3 dead, 4 leased, 5 scheduled, 6 ready."""
    hands = Hands(credits={"send": 1})
    desk.queue.attach(hands)
    await desk.queue.publish(NewJob("send", {"n": 1}, "send:a", key="WMT", trace_id="t-1"))
    tx = Tx()
    tx.enqueue(NewJob("send", {}, "send:child"))
    desk.clock.advance(OPEN_MS + 2 * MINUTE_MS)
    await desk.queue.complete(await hands.take(), tx)
    hands.credits["send"] = 1
    desk.queue.poke()
    await desk.queue.fail(await hands.take(), "TimeoutError: slow", outcome="retry", retry_after_s=3600)
    desk.clock.advance(OPEN_MS + HOUR_MS)
    hands.credits["scan"] = 1
    await desk.queue.publish(NewJob("scan", {}, "scan:1"))
    await desk.queue.fail(await hands.take(), "ValueError: Boom", outcome="dead")
    hands.credits["scan"] = 1
    await desk.queue.publish(NewJob("scan", {}, "scan:2", deadline_at_ms=OPEN_MS + 9 * HOUR_MS))
    await hands.take()
    await desk.queue.publish(NewJob("send", {}, "late", run_at_ms=OPEN_MS + 5 * HOUR_MS))
    hands.credits.clear()
    await desk.queue.publish(NewJob("scan", {}, "scan:3"))
    desk.clock.advance(OPEN_MS + HOUR_MS + MINUTE_MS)
    return desk


def ids(document: Document) -> list[object]:
    return [row["id"] for row in document["jobs"]]  # type: ignore[index,union-attr,call-overload]


FILTERS: list[tuple[dict[str, object], list[int]]] = [
    ({}, [6, 5, 4, 3, 2, 1]),
    ({"statuses": ["dead"]}, [3]),
    ({"statuses": ["dead", "done"]}, [3, 1]),
    ({"types": ["scan"]}, [6, 4, 3]),
    ({"types": ["scan", "send"], "statuses": ["scheduled"]}, [5, 2]),
    ({"key": "WMT"}, [1]),
    ({"idem": "send:"}, [2, 1]),
    ({"idem": "scan:2"}, [4]),
    ({"idem": "%"}, []),
    ({"since": "1m"}, [6, 5, 4, 3]),
    ({"since": "2018-02-20T14:32:00Z", "until": "30m"}, [2, 1]),
    ({"until": "2018-02-20T14:31:59.999Z"}, []),
    ({"error": "boom"}, [3]),
    ({"error": "TIMEOUT", "statuses": ["scheduled"]}, [2]),
    ({"trace": "t-1"}, [2, 1]),
    ({"limit": 2}, [6, 5]),
    ({"types": ["nope"]}, []),
]


@pytest.mark.parametrize(("filters", "expected"), FILTERS, ids=[str(filters) for filters, _ in FILTERS])
async def test_filters_must_all_hold_and_values_of_one_are_alternatives(
    busy: Desk, filters: dict[str, object], expected: list[int]
) -> None:
    document = await busy.views().jobs(JobQuery(**filters))  # type: ignore[arg-type]
    assert ids(document) == expected
    assert document["matching"] == (6 if "limit" in filters else len(expected))
    assert document.get("types") == (["scan", "send"] if filters.get("types") == ["nope"] else None)


@pytest.mark.parametrize("query", [JobQuery(statuses=["lost"]), JobQuery(since="soon"), JobQuery(until="x")])
async def test_filter_that_is_no_value_is_refused(busy: Desk, query: JobQuery) -> None:
    with pytest.raises(QueryError):
        await busy.views().jobs(query)


async def test_spans_tell_age_and_wait(busy: Desk) -> None:
    rows = {row["id"]: row for row in (await busy.views().jobs())["jobs"]}  # type: ignore[index,union-attr,call-overload]
    assert (rows[6]["age_s"], rows[6]["wait_s"]) == (60.0, 60.0)
    assert (rows[1]["age_s"], rows[1]["wait_s"]) == (3600.0, 0.0)
    assert (rows[5]["wait_s"], rows[2]["wait_s"], rows[4]["wait_s"]) == (None, None, 0.0)


async def test_one_job_shows_kin_lease_and_every_attempt(busy: Desk) -> None:
    views = busy.views()
    first = await views.job(1)
    assert (first["children"], first["children_count"], first["parent"]) == (
        [{"id": 2, "type": "send", "status": "scheduled", "idempotency_key": "send:child"}],
        1,
        None,
    )
    assert (part(first, "attempts", 0, "duration_s"), part(first, "attempts", 0, "outcome")) == (60.0, "done")
    child = await views.job(2)
    assert part(child, "parent", "id") == 1
    assert (part(child, "attempts", 0, "outcome"), child["lease"]) == ("retry", None)
    running = await views.job(4)
    assert (part(running, "lease", "boot"), part(running, "lease", "number")) == (1, 1)
    assert running["deadline_at"] == "2018-02-20T23:30:00Z"
    assert (part(running, "attempts", 0, "outcome"), part(running, "attempts", 0, "duration_s")) == (
        "running",
        60.0,
    )


async def test_pruned_parent_is_named_by_its_number(busy: Desk) -> None:
    await busy.queue.prune(older_than_ms=OPEN_MS + HOUR_MS)
    assert (await busy.views().job(2))["parent"] == {"id": 1, "type": None, "status": "pruned"}


async def test_only_the_last_hundred_attempts_are_shown_and_the_rest_counted(desk: Desk) -> None:
    hands = Hands(credits={"send": 1})
    desk.queue.attach(hands)
    await desk.queue.publish(NewJob("send", {}, "a", max_attempts=200))
    for _ in range(103):
        await desk.queue.fail(await hands.take(), "E", outcome="retry", retry_after_s=0)
        hands.credits["send"] = 1
        desk.queue.poke()
    await hands.take()
    document = await desk.views().job(1)
    attempts = document["attempts"]
    assert isinstance(attempts, list)
    assert (document["attempts_omitted"], len(attempts)) == (3, 101)
    assert (part(document, "attempts", 0, "attempt"), part(document, "attempts", 100, "outcome")) == (
        4,
        "running",
    )


async def test_stats_know_attempts_by_outcome_and_times(busy: Desk) -> None:
    stats = await busy.views().jobs_stats()
    assert stats["attempts"] == {"scan": {"dead": 1}, "send": {"done": 1, "retry": 1}}
    assert stats["times"] == {
        "send": {
            "jobs": 1, "wait_p50_s": 0.0, "wait_p95_s": 0.0, "run_p50_s": 60.0, "run_p95_s": 60.0,
            "run_max_s": 60.0,
        }
    }  # fmt: skip


# ---------------------------------------------------------------- under watch
async def look(desk: Desk, watch: QueueWatch) -> Document:
    now_ms = desk.clock.now_ms()
    return await desk.database.read_fn(lambda conn: watch.look(conn, now_ms=now_ms))


async def test_watch_tells_what_is_where_runs_and_failed(busy: Desk) -> None:
    ticker = ManualTicker()
    watch = QueueWatch(ticker)
    document = await look(busy, watch)
    assert document["by_status"] == {
        "scheduled": 2, "ready": 1, "leased": 1, "done": 1, "dead": 1, "cancelled": 0
    }  # fmt: skip
    assert document["by_type"] == {
        "scan": {"dead": 1, "leased": 1, "ready": 1},
        "send": {"done": 1, "scheduled": 2},
    }
    assert (document["per_s"], document["oldest_ready_s"]) == (None, 60.0)
    assert (part(document, "running", 0, "id"), part(document, "running", 0, "running_s")) == (4, 60.0)
    failed = document["failed"]
    assert isinstance(failed, list)
    assert [(row["id"], row["error"]) for row in failed] == [  # type: ignore[index,call-overload]
        (3, "ValueError: Boom"),
        (2, "TimeoutError: slow"),
    ]
    await busy.queue.cancel(5)
    ticker.advance(2_000)
    assert part(await look(busy, watch), "per_s") == {"done": 0.0, "dead": 0.0, "cancelled": 0.5}


class SlowTicker(ManualTicker):
    """A clock that passes a second with every look at it: a full count then looks dear and is put off."""

    def monotonic_ms(self) -> int:
        self.advance(1_000)
        return super().monotonic_ms()


STEPS = st.lists(st.sampled_from(["publish", "done", "dead", "cancel", "wait"]), max_size=25)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
async def test_growth_is_added_to_the_last_full_count_exactly(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    """Whatever ends between two full counts, within one millisecond or not: the sums are those of the table."""
    async with open_desk(tmp_path_factory.mktemp("watch")) as desk:
        hands = Hands(credits={"send": 99})
        desk.queue.attach(hands)
        watch, held, waiting = QueueWatch(SlowTicker()), [], []
        for number, step in enumerate(steps):
            if step == "publish":
                await desk.queue.publish(NewJob("send", {}, f"s{number}"))
                held.append(await hands.take())
                late = NewJob("scan", {}, f"l{number}", run_at_ms=OPEN_MS + HOUR_MS)
                waiting.append((await desk.queue.publish(late)).job_id)
            elif step == "done" and held:
                await desk.queue.complete(held.pop(), Tx())
            elif step == "dead" and held:
                await desk.queue.fail(held.pop(), "E", outcome="dead")
            elif step == "cancel" and waiting:
                await desk.queue.cancel(waiting.pop())
            elif step == "wait":
                desk.clock.advance(desk.clock.now_ms() + 1)
            document = await look(desk, watch)
            assert document["by_status"] == await desk.database.read_fn(full_count)


def full_count(conn: sqlite3.Connection) -> dict[str, int]:
    found = dict.fromkeys(["scheduled", "ready", "leased", "done", "dead", "cancelled"], 0)
    return {**found, **dict(conn.execute("SELECT status, count(*) FROM job_queue GROUP BY status"))}


async def test_watch_reads_by_index_and_never_the_whole_history(desk: Desk) -> None:
    """What runs each second must not grow with the jobs that are over."""
    from finagent.adapters.sqlite import watch

    for sql in (
        watch.LIVE,
        watch.LAST_END,
        watch.ENDED_SINCE,
        watch.RUNNING,
        watch.FAILED,
        watch.OLDEST_READY,
    ):
        plan = await desk.database.read(f"EXPLAIN QUERY PLAN {sql}", (0,) if "?" in sql else ())
        steps = [str(row[3]) for row in plan]
        assert not [step for step in steps if "SCAN job_queue" in step and "INDEX job_" not in step], steps


# ---------------------------------------------------------------- plans by symbol
async def test_plan_is_found_by_id_prefix_or_symbol_where_only_one_fits(desk: Desk) -> None:
    await asked(desk, a_plan("WMT"))
    await asked(desk, a_plan("AMD", rank=2))
    await asked(desk, a_plan("AMD", rank=3, number=2))
    views = desk.views()
    for wanted in ("pl_wmt001", "pl_w", "WMT", "wmt"):
        assert (await views.plan(wanted))["plan_id"] == "pl_wmt001"
    with pytest.raises(
        UnknownRecordError, match=r"'AMD' is the symbol of several plans: pl_amd001 .*pl_amd002"
    ):
        await views.plan("AMD")
    with pytest.raises(UnknownRecordError, match="begins several plans"):
        await views.plan("pl_")
    with pytest.raises(UnknownRecordError, match="no plan 'IBM'"):
        await views.plan("IBM")


async def test_letters_that_are_an_id_and_a_symbol_at_once_are_ambiguous(desk: Desk) -> None:
    """A yes must never reach the wrong plan."""
    await asked(desk, a_plan("PL", number=7))
    await asked(desk, a_plan("WMT", rank=2))
    with pytest.raises(UnknownRecordError, match="'pl' may mean several plans: pl_pl007"):
        await desk.views().plan("pl")
    assert (await desk.views().plan("PL"))["symbol"] == "PL"

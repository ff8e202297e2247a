"""The judge of hung handlers."""

from finagent.queue.job import Job, JobStatus
from finagent.queue.rescue import HangJudge


def job(job_id: int) -> Job:
    return Job(
        id=job_id, type="a", key=None, payload={}, payload_version=1, status=JobStatus.LEASED, priority=0,
        run_at_ms=0, deadline_at_ms=None, attempts=1, failures=0, max_attempts=3, lease=None, idem_key="a",
        trace_id=None, parent_id=None, created_at_ms=0, started_at_ms=0, finished_at_ms=None, error=None,
    )  # fmt: skip


def judge_at(judge: HangJudge, *times_ms: int) -> list[int]:
    return [found.id for now_ms in times_ms for found in judge.hung(now_ms=now_ms)]


def test_handler_without_progress_is_named_after_its_time_out() -> None:
    judge = HangJudge(period_ms=250)
    judge.start(job(1), timeout_ms=1000, now_ms=0)
    assert judge_at(judge, 0, 250, 500, 750, 1000) == []
    assert judge_at(judge, 1250) == [1]


def test_progress_starts_the_time_out_again() -> None:
    judge = HangJudge(period_ms=250)
    held = judge.start(job(1), timeout_ms=1000, now_ms=0)
    held.progress()
    assert judge_at(judge, 500, 750, 1000, 1250, 1500) == []
    assert judge.alive_until_ms(now_ms=1500) == {1: 2500}
    judge.stop(held)
    assert judge.alive_until_ms(now_ms=1500) == {}


def test_judge_forgives_the_time_it_was_stalled_itself() -> None:
    judge = HangJudge(period_ms=250)
    judge.start(job(1), timeout_ms=1000, now_ms=0)
    assert judge_at(judge, 250, 500) == []
    assert judge_at(judge, 60_000, 60_250) == []
    assert judge_at(judge, 60_500) == [1]


def test_lease_outlives_a_stall_whoever_asks_first_after_it() -> None:
    judge = HangJudge(period_ms=250)
    judge.start(job(1), timeout_ms=1000, now_ms=0)
    judge.hung(now_ms=0)
    assert judge.alive_until_ms(now_ms=60_000)[1] > 60_000
    assert judge_at(judge, 60_000) == []

"""Logs without secrets, metrics by their public names, and the loop's watchdog."""

import asyncio
import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from finagent.runtime.logs import EventFormatter, SecretKeeper, bound, set_up_logs
from finagent.runtime.metrics import Metrics
from finagent.runtime.watchdog import LoopWatchdog


@pytest.fixture
def log_file(tmp_path: Path) -> Iterator[Path]:
    keeper = SecretKeeper()
    keeper.register("hunter2-hunter2")
    keeper.register("abc")
    set_up_logs(keeper, folder=tmp_path / "logs", stderr=False)
    yield tmp_path / "logs" / "finagent.log"
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler.formatter, EventFormatter):
            root.removeHandler(handler)
            handler.close()
    root.setLevel("WARNING")


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_line_is_json_with_event_fields_and_bound_ids(log_file: Path) -> None:
    with bound(job_id=7, plan_id=None), bound(order_id="o1"):
        logging.getLogger("finagent.test").info("order.sent", extra={"side": "buy"})
    logging.getLogger("finagent.test").warning("after")
    first, second = lines(log_file)
    assert first["event"] == "order.sent"
    assert (first["level"], first["logger"], first["side"]) == ("INFO", "finagent.test", "buy")
    assert (first["job_id"], first["order_id"]) == (7, "o1")
    assert "plan_id" not in first
    assert "job_id" not in second
    assert str(first["at"]).endswith("Z")


@pytest.mark.parametrize("library", ["httpx", "aiosqlite"])
def test_talkative_libraries_are_quiet_at_debug(log_file: Path, library: str) -> None:
    """Their line for each request or statement would bury ours."""
    set_up_logs(SecretKeeper(), level="DEBUG", folder=log_file.parent, stderr=False)
    logging.getLogger(library).debug("executing %s", "SELECT 1")
    logging.getLogger("finagent.test").debug("ours")
    assert [line["event"] for line in lines(log_file)] == ["ours"]


def test_copy_of_the_message_for_terminals_is_left_out(log_file: Path) -> None:
    """uvicorn gives each message twice; the second one holds colour codes."""
    extra = {"color_message": "Started process [\x1b[36m%d\x1b[0m]", "side": "buy"}
    logging.getLogger("finagent.server").info("Started process [%d]", 7, extra=extra)
    (line,) = lines(log_file)
    assert line["event"] == "Started process [7]"
    assert line["side"] == "buy"
    assert "color_message" not in line


@pytest.mark.parametrize(
    "text",
    [
        "connect with hunter2-hunter2 now",
        "token=s3cr3t-value",
        "GET /x?api_key=s3cr3t-value&a=1",
        "password: s3cr3t-value",
        "Authorization: Bearer s3cr3t-value",
        'body {"secret": "s3cr3t-value"}',
    ],
)
def test_secrets_never_reach_a_line(log_file: Path, text: str) -> None:
    try:
        raise ValueError(text)
    except ValueError:
        logging.getLogger("finagent.test").exception(text, extra={"detail": text})
    written = log_file.read_text()
    assert "s3cr3t-value" not in written
    assert "hunter2" not in written
    assert "***" in written
    lines(log_file)


def test_text_from_outside_cannot_forge_a_line_or_move_a_terminal(log_file: Path) -> None:
    logging.getLogger("finagent.test").info(
        'news\n{"event": "forged"}\x1b[2J\u2028', extra={"a": "b\x00\x9bc"}
    )
    (line,) = lines(log_file)
    assert line["event"] == 'news {"event": "forged"}[2J'
    assert line["a"] == "bc"


def test_setting_up_logs_twice_writes_each_line_once(log_file: Path) -> None:
    set_up_logs(SecretKeeper(), folder=log_file.parent, stderr=False)
    logging.getLogger("finagent.test").info("once")
    assert len(lines(log_file)) == 1


def test_metrics_carry_their_public_names() -> None:
    metrics = Metrics()
    metrics.set_build(version="1", python="3.11", sqlite="3.40")
    metrics.job_attempts_total.add(("scan", "done"))
    names = {family.name for family in text_string_to_metric_families(metrics.exposition().decode())}
    assert {
        "finagent_build_info", "finagent_engine_state", "finagent_stage_duration_seconds",
        "finagent_scan_candidates", "finagent_plans", "finagent_approvals", "finagent_orders",
        "finagent_orders_inflight", "finagent_orders_ambiguous", "finagent_slippage_bps",
        "finagent_unprotected_positions", "finagent_equity", "finagent_day_pnl", "finagent_drawdown_ratio",
        "finagent_risk_limit_used_ratio", "finagent_kill_switch_active", "finagent_reconcile_differences",
        "finagent_job_latency_seconds", "finagent_jobs", "finagent_job_attempts",
        "finagent_db_commit_seconds",
        "finagent_wal_bytes", "finagent_event_loop_lag_seconds",
        "finagent_schedule_last_success_timestamp_seconds",
    } <= names  # fmt: skip


def test_two_registries_do_not_meet() -> None:
    one, other = Metrics(), Metrics()
    one.scan_candidates.set(5)
    assert other.registry.get_sample_value("finagent_scan_candidates") == 0.0


async def test_watchdog_measures_the_loop_and_reports_a_stall_while_it_lasts() -> None:
    metrics, stalled, seen = Metrics(), threading.Event(), []

    def on_stall(lag_s: float) -> None:
        seen.append(watchdog.is_stalled)
        stalled.set()

    watchdog = LoopWatchdog(metrics=metrics, on_stall=on_stall, period_s=0.001, stall_s=0.02)
    watchdog.start()
    try:
        assert stalled.wait(10)  # the loop is blocked right here, and only the thread can say so
        while not metrics.registry.get_sample_value("finagent_event_loop_lag_seconds_count"):  # noqa: ASYNC110
            await asyncio.sleep(0)
    finally:
        watchdog.stop()
    assert seen[0]
    total_s = metrics.registry.get_sample_value("finagent_event_loop_lag_seconds_sum")
    assert total_s is not None
    assert total_s > 0.02

"""Prometheus metrics of one process in a registry of their own; names and labels are a public interface."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from finagent.runtime.buckets import BucketHistogram, LabelCounter

FAST_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SLOW_S = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0)
BPS = (-50.0, -20.0, -10.0, -5.0, -2.0, 0.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)


class Metrics:
    """All metrics, made once and passed to whoever measures; base units, ratios from 0 to 1."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._add_process()
        self._add_queue()
        self._add_day()
        self._add_orders()
        self._add_risk()

    def exposition(self) -> bytes:
        """The text a scrape gets."""
        return generate_latest(self.registry)

    def set_build(self, *, version: str, python: str, sqlite: str) -> None:
        """What runs here, as labels of a gauge that is always 1."""
        self.build_info.labels(version=version, python=python, sqlite=sqlite).set(1)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"finagent_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"finagent_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"finagent_{name}", text, labels, registry=self.registry, buckets=buckets)

    def _buckets(self, name: str, text: str, bounds: tuple[float, ...], label: str) -> BucketHistogram:
        return BucketHistogram(f"finagent_{name}", text, bounds, label, registry=self.registry)

    def _add_process(self) -> None:
        self.build_info = self._gauge("build_info", "Version of what runs", "version", "python", "sqlite")
        self.engine_state = self._gauge("engine_state", "1 for the present state, 0 for others", "state")
        self.event_loop_lag_seconds = self._histogram(
            "event_loop_lag_seconds", "Lateness of the event loop, seen by a thread", FAST_S
        )
        self.db_commit_seconds = self._histogram("db_commit_seconds", "Time of one commit", FAST_S)
        self.backup_last_success_timestamp_seconds = self._gauge(
            "backup_last_success_timestamp_seconds", "Last backup of the database that was verified"
        )
        self.wal_bytes = self._gauge("wal_bytes", "Size of the write-ahead log")
        self.api_refused_total = self._counter(
            "api_refused_total", "Requests over HTTP that were turned away", "reason"
        )

    def _add_queue(self) -> None:
        self.job_latency_seconds = self._buckets(
            "job_latency_seconds", "From claim to commit of a job", FAST_S, "type"
        )
        self.jobs = self._gauge("jobs", "Jobs by type and status", "type", "status")
        self.queue_pending_requests = self._gauge(
            "queue_pending_requests", "Requests that wait for the next commit"
        )
        self.queue_waiting_publishers = self._gauge(
            "queue_waiting_publishers", "Publishers held back since the queue is full"
        )
        self.job_attempts_total = LabelCounter(
            "finagent_job_attempts_total",
            "Attempts by how they ended",
            ("type", "outcome"),
            registry=self.registry,
        )

    def _add_day(self) -> None:
        self.schedule_last_success_timestamp_seconds = self._gauge(
            "schedule_last_success_timestamp_seconds", "Last success of a line of the schedule", "job"
        )
        self.stage_duration_seconds = self._buckets(
            "stage_duration_seconds", "Time a stage of the day took", SLOW_S, "stage"
        )
        self.scan_duration_seconds = self._histogram("scan_duration_seconds", "Time of a scan", SLOW_S)
        self.scan_candidates = self._gauge("scan_candidates", "Candidates of the last scan")
        self.plans_total = self._counter("plans_total", "Plans by outcome", "outcome", "reason")
        self.approvals_total = self._counter("approvals_total", "Approvals", "channel", "outcome")
        self.approval_latency_seconds = self._histogram(
            "approval_latency_seconds", "From question to answer", SLOW_S
        )

    def _add_orders(self) -> None:
        self.orders_total = self._counter("orders_total", "Orders by outcome", "side", "type", "outcome")
        self.orders_inflight = self._gauge("orders_inflight", "Orders sent and not answered")
        self.orders_ambiguous = self._gauge("orders_ambiguous", "Orders whose fate is unknown")
        self.order_ack_latency_seconds = self._histogram(
            "order_ack_latency_seconds", "From sending to the broker's answer", FAST_S
        )
        self.slippage_bps = self._histogram("slippage_bps", "Fill against reference price", BPS)
        self.positions_open = self._gauge("positions_open", "Open positions")
        self.unprotected_positions = self._gauge("unprotected_positions", "Positions without a resting stop")
        self.positions_held_over = self._gauge(
            "positions_held_over", "Positions that are open past their session's close"
        )
        self.flatten_late = self._gauge("flatten_late", "Positions still open at the ladder's last rung")
        self._add_vendors()
        self.reconcile_last_success_timestamp_seconds = self._gauge(
            "reconcile_last_success_timestamp_seconds", "Last reconcile without an error"
        )
        self.reconcile_differences = self._gauge(
            "reconcile_differences", "Differences between broker and journal", "kind"
        )

        self.tie_out_difference = self._gauge(
            "tie_out_difference", "What nothing explains of the last close's change of equity", "currency"
        )

    def _add_vendors(self) -> None:
        self.api_requests_total = self._counter(
            "api_requests_total", "Requests to a vendor by how they ended", "vendor", "endpoint", "code"
        )
        self.api_retries_total = self._counter("api_retries_total", "Requests tried again", "vendor")
        self.circuit_state = self._gauge(
            "circuit_state", "1 while the last requests to a vendor all failed", "vendor"
        )

    def _add_risk(self) -> None:
        self.equity = self._gauge("equity", "Account value", "currency")
        self.day_pnl = self._gauge("day_pnl", "Profit and loss of the day", "kind", "currency")
        self.drawdown_ratio = self._gauge("drawdown_ratio", "Fall from the highest equity, 0 to 1")
        self.risk_limit_used_ratio = self._gauge("risk_limit_used_ratio", "Share of a limit used", "limit")
        self.risk_rejections_total = self._counter("risk_rejections_total", "Refusals by rule", "rule")
        self.kill_switch_active = self._gauge("kill_switch_active", "1 while the kill switch is on")

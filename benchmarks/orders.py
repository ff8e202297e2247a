"""From a decision to the request on the wire: python -m benchmarks.orders [--quick]; last line one JSON document."""

import argparse
import asyncio
import json
import logging
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

from benchmarks.figures import machine, percentile, rounded
from finagent.adapters.brokers.alpaca import AlpacaBroker, AlpacaHttp, Keys, endpoint
from finagent.bootstrap.engine import Engine, EngineOptions, open_engine
from finagent.bootstrap.rules import start_equity_e8
from finagent.bootstrap.world import NoNews, World
from finagent.domain.approvals import Verdict, make_request
from finagent.domain.day_start import DayStart
from finagent.domain.facts import ApprovalRequested, DayStarted, PlanRecorded, PlanSized
from finagent.domain.market import MINUTE_MS, Direction, Instrument, Session
from finagent.domain.orders import Scope
from finagent.domain.plan import ExitLeg, Management, Plan, PlanState, plan_hash
from finagent.domain.risk import RiskDecision
from finagent.domain.setups import Setup
from finagent.domain.steps import Step
from finagent.ports import LastPrice, NewJob, Tx
from finagent.runtime.clock import SystemTicker, VirtualClock
from finagent.runtime.tasks import spawn
from finagent.services.approval import Reply
from finagent.settings import Settings
from finagent.simulation.alpaca import KEY, SECRET
from finagent.simulation.alpaca.process import AlpacaProcess

OPEN_MS = 1_519_137_000_000
NOW_MS = OPEN_MS + 30 * MINUTE_MS
DAY = Session(date="2018-02-20", open_ms=OPEN_MS, close_ms=OPEN_MS + 390 * MINUTE_MS, previous="2018-02-16")
LIMIT_MS = 5.0
FSYNC_LIMIT_MS = 1.0
WAIT_S = 10.0
SHARES_E4 = 10 * 10_000
FORGET = (
    "UPDATE plan SET state = 'closed'",
    "UPDATE reservation SET released_at = 1",
    "UPDATE broker_order SET state = 'cancelled', ended_at = 1",
)
"""Between two samples, never inside one: the account is as free as before."""


class Calendar:
    """One session, and the one before it."""

    def session(self, date: str) -> Session | None:
        return DAY if date == DAY.date else None

    def sessions(self, first: str, last: str) -> Sequence[Session]:
        return [DAY]

    def session_at(self, at_ms: int) -> Session:
        return DAY

    def after(self, date: str) -> Session:
        return DAY


class StillMarket:
    """A market in which everything costs 100 and stays so."""

    name = "still"

    async def last_prices(
        self, symbols: Sequence[str], session: Session, as_of_ms: int
    ) -> Mapping[str, LastPrice]:
        return {symbol: LastPrice(symbol, 1_000_000, as_of_ms) for symbol in symbols}

    def instrument(self, symbol: str) -> Instrument:
        return Instrument(symbol=symbol)

    def is_halted(self, session: Session, symbol: str, at_ms: int) -> bool:
        return False


class Wire:
    """When each order's request is handed to the connection."""

    def __init__(self) -> None:
        self.sent = asyncio.Event()
        self.at_ns = 0

    async def on_request(self, request: httpx.Request) -> None:
        """The last thing our side does before the bytes leave."""
        if request.method == "POST" and request.url.path == "/v2/orders":
            self.at_ns = time.perf_counter_ns()
            self.sent.set()

    async def wait(self) -> int:
        """The instant of the request."""
        await asyncio.wait_for(self.sent.wait(), WAIT_S)
        self.sent.clear()
        return self.at_ns


def plan_of(number: int, *, is_armed: bool) -> Plan:
    """A small long plan in a symbol of its own."""
    return Plan(
        plan_id=f"pl_{number:020d}",
        version=1,
        session=DAY.date,
        scan_tick="bench",
        symbol=f"S{number:04d}",
        rank=1,
        preset="classic",
        setup=Setup.OPENING_RANGE_BREAK if is_armed else Setup.NEXT_OPEN,
        direction=Direction.LONG,
        score_e6=500_000,
        reference_e4=1_000_000,
        stop_e4=970_000,
        targets=(ExitLeg(leg="target-1", share_e6=1_000_000, price_e4=1_090_000),),
        management=Management(),
        decided_at_ms=NOW_MS,
        entry_from_ms=NOW_MS,
        entry_until_ms=NOW_MS + 60 * MINUTE_MS,
        trigger_e4=1_000_000 if is_armed else None,
        limit_e4=1_003_000 if is_armed else None,
        quantity_e4=SHARES_E4,
        adv_shares=10_000_000,
        spread_e6=100,
    )


class Bench:
    """An engine over its own file on disk, and a broker in another process."""

    def __init__(self, engine: Engine, wire: Wire) -> None:
        self.engine, self.wire, self._count = engine, wire, 0

    async def approved(self) -> tuple[float, float]:
        """Milliseconds from a person's yes to the request, and to the end of the yes (its own commit)."""
        plan = await self._planned(is_armed=False)
        reply = Reply(verdict=Verdict.APPROVE, channel="bench", identity="bench")
        began_ns = time.perf_counter_ns()
        outcome = await self.engine.approvals.answer(plan.plan_id, reply)
        granted_ns = time.perf_counter_ns()
        if outcome.code != "approved":
            raise RuntimeError(f"the plan was not approved: {outcome}")
        sent_ns = await self._sent(plan)
        await self._rest()
        return (sent_ns - began_ns) / 1e6, (granted_ns - began_ns) / 1e6

    async def triggered(self) -> float:
        """Milliseconds from the trigger's job, as the tick publishes it, to the request."""
        plan = await self._planned(is_armed=True)
        reply = Reply(verdict=Verdict.APPROVE, channel="bench", identity="bench")
        await self.engine.approvals.answer(plan.plan_id, reply)
        job = NewJob(Step.EXECUTE, {"plan": plan.plan_id}, idem_key=plan.plan_id, key=plan.plan_id)
        began_ns = time.perf_counter_ns()
        await self.engine.queue.publish(job)
        sent_ns = await self._sent(plan)
        await self._rest()
        return (sent_ns - began_ns) / 1e6

    async def _sent(self, plan: Plan) -> int:
        """When its entry left; RuntimeError with what became of the plan where it did not."""
        try:
            return await self.wire.wait()
        except TimeoutError:
            stored = await self.engine.store.plan(plan.plan_id)
            dead = [f"{job.type}: {job.error}" for job in (await self.engine.queue.stats()).dead]
            state = f"{stored.state} {stored.reason}" if stored is not None else "absent"
            raise RuntimeError(f"no order left: the plan is {state}; {dead}") from None

    async def begin(self) -> None:
        """The session's capital, without which no entry leaves."""
        base_e8 = start_equity_e8(self.engine.settings)
        tx = Tx()
        tx.put(
            DayStarted(
                start=DayStart(
                    session=DAY.date,
                    at_ms=NOW_MS,
                    base_e8=base_e8,
                    is_last_close=True,
                    flows_e8=0,
                    external_e8=0,
                    pnl_e8=0,
                )
            )
        )
        await self.engine.queue.commit(tx)

    async def _planned(self, *, is_armed: bool) -> Plan:
        self._count += 1
        plan = plan_of(self._count, is_armed=is_armed)
        decision = RiskDecision(
            plan_id=plan.plan_id,
            version=plan.version,
            is_approved=True,
            quantity_e4=SHARES_E4,
            notional_e8=SHARES_E4 * 1_000_000,
            worst_case_e8=SHARES_E4 * 45_000,
        )
        request = make_request(plan, Scope(), now_ms=NOW_MS, ttl_ms=600_000)
        tx = Tx()
        tx.put(PlanRecorded(plan=plan, state=PlanState.PENDING))
        tx.put(PlanSized(plan=plan, plan_hash=plan_hash(plan), decision=decision))
        tx.put(
            ApprovalRequested(
                plan_id=plan.plan_id,
                plan_hash=request.plan_hash,
                nonce=request.nonce,
                expires_at_ms=request.expires_at_ms,
            )
        )
        await self.engine.queue.commit(tx)
        return plan

    async def _rest(self) -> None:
        await asyncio.wait_for(self.engine.queue.wait_quiescent(), WAIT_S)
        for sql in FORGET:
            await self.engine.queue.call(lambda ws, sql=sql: ws.conn.execute(sql).rowcount)  # type: ignore[misc]


def fsyncs(folder: Path, count: int) -> list[float]:
    """Milliseconds of a 4 KiB append with fdatasync, the machine's price of one commit."""
    samples, block = [], bytes(4096)
    descriptor = os.open(folder / "fsync", os.O_CREAT | os.O_WRONLY)
    try:
        for number in range(count):
            began_ns = time.perf_counter_ns()
            os.pwrite(descriptor, block, number % 256 * 4096)
            os.fdatasync(descriptor)
            samples.append((time.perf_counter_ns() - began_ns) / 1e6)
    finally:
        os.close(descriptor)
    return samples


async def bare_posts(url: str, wire: Wire, count: int) -> list[float]:
    """Milliseconds from ``client.post()`` to the request: what an HTTP client costs alone."""
    samples = []
    async with _client(url, wire) as client:
        for number in range(count):
            began_ns = time.perf_counter_ns()
            await client.post("/v2/orders", json=_body(f"bare-{number}"))
            samples.append((await wire.wait() - began_ns) / 1e6)
    return samples


async def naive_posts(url: str, wire: Wire, folder: Path, count: int) -> list[float]:
    """A script that inserts its order with FULL, commits, then posts: no risk, no guard, no journal, no queue."""
    samples = []
    connection = sqlite3.connect(folder / "naive.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE sent (id TEXT PRIMARY KEY, body TEXT NOT NULL)")
    async with _client(url, wire) as client:
        for number in range(count):
            began_ns = time.perf_counter_ns()
            body = _body(f"naive-{number}")
            connection.execute("INSERT INTO sent VALUES (?, ?)", (body["client_order_id"], json.dumps(body)))
            await client.post("/v2/orders", json=body)
            samples.append((await wire.wait() - began_ns) / 1e6)
    connection.close()
    return samples


def _client(url: str, wire: Wire) -> httpx.AsyncClient:
    headers = {"APCA-API-KEY-ID": KEY, "APCA-API-SECRET-KEY": SECRET}
    hooks = {"request": [wire.on_request]}
    return httpx.AsyncClient(base_url=url, headers=headers, event_hooks=hooks, trust_env=False)


def _body(order_id: str) -> dict[str, str]:
    return {
        "symbol": "S0001",
        "side": "buy",
        "type": "limit",
        "time_in_force": "day",
        "qty": "1",
        "limit_price": "1.00",
        "client_order_id": order_id,
    }


async def measure(folder: Path, *, count: int, rounds: int) -> dict[str, list[float]]:
    """All figures, interleaved in rounds, so that a slow minute of the machine slows everything alike."""
    found: dict[str, list[float]] = {
        name: [] for name in ("fsync", "approve", "grant", "trigger", "bare", "naive")
    }
    settings = Settings(
        risk={"max_trades_per_day": 100, "max_open_positions": 50, "max_orders_per_minute": 200},  # type: ignore[arg-type]
        account={"start_equity": 1_000_000},  # type: ignore[arg-type]
    )
    with AlpacaProcess() as process:
        process.control.run("clock", {"at_ms": NOW_MS})
        for number in range(2 * count * rounds + 2):
            process.control.run("asset", {"symbol": f"S{number:04d}", "price": "100"})
        clock, wire = VirtualClock(NOW_MS), Wire()
        http = AlpacaHttp(endpoint(process.url), Keys(KEY, SECRET), clock=clock, ticker=SystemTicker())
        http._client.event_hooks = {"request": [wire.on_request]}
        broker = AlpacaBroker(http, calendar=Calendar())
        options = EngineOptions(
            path=folder / "finagent.db",
            scope=Scope(),
            approval_mode=lambda: "approve",
            is_virtual=False,
            broker=broker,
        )
        world = World(calendar=Calendar(), market=StillMarket(), news=NoNews(), data_id="bench")  # type: ignore[arg-type]
        engine = await open_engine(settings, world, options, clock=clock, ticker=SystemTicker())
        supervisor = engine.supervise()
        running = spawn(supervisor.run(), "supervisor")
        bench = Bench(engine, wire)
        try:
            await bench.begin()
            await bench.approved()
            await bench.triggered()  # the first of each kind fills caches and opens the connection
            for number in range(rounds):
                found["fsync"] += fsyncs(folder, 4 * count)
                for _ in range(count):
                    sent, granted = await bench.approved()
                    found["approve"].append(sent)
                    found["grant"].append(granted)
                    found["trigger"].append(await bench.triggered())
                where = folder / f"naive-{number}"
                where.mkdir()
                found["naive"] += await naive_posts(process.url, wire, where, count)
                found["bare"] += await bare_posts(process.url, wire, count)
                print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        finally:
            supervisor.request_stop()
            await running
            await engine.close()
            await http.close()
    return found


def document(found: Mapping[str, Sequence[float]], load_before: Sequence[float]) -> dict[str, object]:
    """Percentiles, and ratios: below 1 is within the limit; to a peer, how many times as long we take."""
    absolute = {
        f"{name}_p{share}_ms": rounded(percentile(samples, share))
        for name, samples in found.items()
        for share in (50, 99)
    }
    ratios = {
        "approve_to_wire_p50": rounded(absolute["approve_p50_ms"] / LIMIT_MS),
        "trigger_to_wire_p50": rounded(absolute["trigger_p50_ms"] / LIMIT_MS),
        "approve_to_naive_p50": rounded(absolute["approve_p50_ms"] / absolute["naive_p50_ms"]),
        "trigger_to_naive_p50": rounded(absolute["trigger_p50_ms"] / absolute["naive_p50_ms"]),
        "approve_in_fsyncs_p50": rounded(absolute["approve_p50_ms"] / absolute["fsync_p50_ms"]),
        "naive_in_fsyncs_p50": rounded(absolute["naive_p50_ms"] / absolute["fsync_p50_ms"]),
    }
    return {
        "ratios": ratios,
        "absolute": absolute,
        "limits": {"to_wire_p50_ms": LIMIT_MS},
        "is_fsync_within_its_limit": absolute["fsync_p99_ms"] < FSYNC_LIMIT_MS,
        "samples": {name: len(samples) for name, samples in found.items()},
        "machine": machine(load_before),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.orders", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a few samples: tries the benchmark, proves nothing"
    )
    parser.add_argument(
        "--folder", type=Path, help="where the files lie (a real disk); default a new folder here"
    )
    options = parser.parse_args(argv)
    logging.disable(logging.WARNING)
    load_before = os.getloadavg()
    count, rounds = (3, 1) if options.quick else (12, 4)
    with tempfile.TemporaryDirectory(prefix=".bench-orders-", dir=options.folder or Path.cwd()) as folder:
        found = asyncio.run(measure(Path(folder), count=count, rounds=rounds))
    for name, samples in found.items():
        half, most = percentile(samples, 50), percentile(samples, 99)
        print(f"{name:<10} p50 {half:7.3f} ms  p99 {most:7.3f} ms  n {len(samples)}")
    print(json.dumps(document(found, load_before)))


if __name__ == "__main__":
    main()

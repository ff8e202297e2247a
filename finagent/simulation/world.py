"""One seed: a market, a broker, people and a process that dies and starts again, until all must be at rest."""

import gc
import random
import sys
import warnings
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field

from finagent.domain.broker_event import fill_payload
from finagent.domain.market import MINUTE_MS, Session
from finagent.domain.money import MONEY_SCALE
from finagent.domain.orders import BrokerFill, OrderIntent
from finagent.domain.steps import Step
from finagent.ports import NewJob
from finagent.services.approval import Outcome, Reply
from finagent.services.control import ControlService
from finagent.simulation.exchange import Exchange
from finagent.simulation.faults import NOT_ON_PAPER, Faults
from finagent.simulation.judge import Judge
from finagent.simulation.loop import Outside
from finagent.simulation.memory import Disk
from finagent.simulation.observer import Observer
from finagent.simulation.patrol import Patrol
from finagent.simulation.people import Person
from finagent.simulation.power import Power
from finagent.simulation.process import Process
from finagent.simulation.rest import fingerprint, judge_close, judge_rest
from finagent.simulation.scenario import Scenario, make_scenario
from finagent.simulation.silence import ErrorKeeper
from finagent.simulation.trace import Trace
from finagent.simulation.vendor import SimulatedFeed
from finagent.simulation.weather import Weather
from finagent.simulation.witness import Witness

EARLY_MS = 7 * MINUTE_MS
LATE_MS = 20 * MINUTE_MS
"""Longer than the evidence that an order never arrived takes."""
MOST_ALIKE = 5
EVIDENCE_MS = 240_000
"""So long after such an exit was written two listings a minute apart must have ended it."""
AWAITS_EVIDENCE = """
SELECT 1 FROM broker_order AS o JOIN position AS p USING (plan_id)
WHERE o.symbol = ? AND o.leg <> 'entry' AND p.quantity <> 0 AND (o.quantity - o.filled > abs(p.quantity) OR EXISTS (
        SELECT 1 FROM broker_order AS r WHERE r.plan_id = o.plan_id AND r.leg <> 'entry' AND r.state = 'unknown'
        AND r.client_order_id <> o.client_order_id))
    AND (o.state = 'unknown' AND o.created_at > ? OR o.state = 'never_arrived' AND o.ended_at > ?)"""
SLOW_RETRY_MS = 12_000
"""After the evidence what waited for it looks again; an exit that waits long looks once in ten seconds."""
START_EQUITY_E8 = 100_000 * MONEY_SCALE


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A promise that was broken."""

    seed: int
    invariant: str
    step: int
    detail: str


@dataclass(slots=True, kw_only=True)
class SeedResult:
    """What a seed showed."""

    seed: int
    digest: str = ""
    violations: list[Violation] = field(default_factory=list)
    faults: dict[str, int] = field(default_factory=dict)
    crashes: int = 0
    lives: int = 0
    steps: int = 0
    commits: int = 0
    orders: int = 0
    virtual_ms: int = 0
    lines: list[str] = field(default_factory=list)


class SimulatedWorld:
    """Runs one seed."""

    def __init__(self, seed: int, *, keeper: ErrorKeeper, keep_trace: bool = False) -> None:
        def rng(part: str) -> random.Random:
            """Each part draws from a stream of its own: a change in one leaves the others' luck alone."""
            return random.Random(f"finagent sim {seed} {part}")

        self._rng = rng("loop")
        self.scenario: Scenario = make_scenario(seed, rng("scenario"))
        self.trace = Trace(keep=keep_trace)
        self.result = SeedResult(seed=seed)
        calendar, tape = self.scenario.calendar, self.scenario.tape
        self.sessions = self.scenario.sessions
        self.outside = Outside(self.sessions[0].open_ms - EARLY_MS)
        self.faults = Faults(rng, lambda: self.now_ms)
        if self.scenario.has_attached_exits:
            self.faults.without(NOT_ON_PAPER)
        self.power = Power(rng("power"), self.faults)
        self.disk = Disk()
        self.exchange = Exchange(
            self.outside,
            calendar,
            tape,
            self.faults,
            rng("exchange"),
            rng("cancel race"),
            has_attached_exits=self.scenario.has_attached_exits,
            cash_e8=START_EQUITY_E8,
        )
        self.feed = SimulatedFeed(tape, self.faults, rng("feed"))
        self.witness = Witness()
        self.judge = Judge(
            self.disk.connection,
            Observer(self.disk.connection),
            self.exchange.books,
            self.witness,
            self.exchange.external_e4,
            start_e8=START_EQUITY_E8,
            written=lambda: [str(line.get("order")) for line in self.disk.exit_log.lines()],
            now_ms=lambda: self.now_ms,
            broken=self.broken,
            offers=self.feed.offers,
        )
        self.exchange.say = lambda text: self.trace.say(self.now_ms, "broker", text)
        self.exchange.executed = self._executed
        self.exchange.overfilled = self._overfilled
        self.person = Person(
            self,
            self.outside,
            self.faults,
            rng("person"),
            self.witness,
            say=lambda text: self.trace.say(self.now_ms, "person", text),
            broken=self.broken,
        )
        self.weather = Weather(
            self.outside, self.exchange, tape, self, self.faults, rng("weather"), self.witness
        )
        self.patrol = Patrol(
            self.outside, self.exchange, tape, self.faults, self, self.broken, self._awaits_evidence
        )
        self.process: Process | None = None
        self._started_ms = 0
        self._alike: dict[str, int] = {}
        self._down_until_ms = 0
        self._is_asleep = False
        self._cut: str | None = None
        self._keeper = keeper
        self._grave: list[Process] = []

    def run(self) -> SeedResult:
        """The whole seed."""
        began_ms = self.outside.now_ms
        try:
            for session in self.sessions:
                self._day(session)
            judge_rest(self.disk.connection, self.exchange, self.witness, self.judge, self.broken)
        finally:
            self.result.faults = dict(sorted(self.faults.fired.items()))
            self.result.virtual_ms = self.outside.now_ms - began_ms
            self.result.orders = len(self.witness.sent)
            self.result.digest = self.trace.digest()
            self.result.lines = self.trace.lines
            self._bury()
            self.disk.close()
        return self.result

    # ------------------------------------------------------------ days and lives
    def _day(self, session: Session) -> None:
        """From before the open until everything after the close is done; the process is down over night."""
        is_calm = session is self.sessions[-1]
        self.outside.run_until(session.open_ms - EARLY_MS)
        if is_calm:
            self.faults.is_calm = True
            self.power.stop()
            self._down_until_ms = 0
            self.outside.at(
                session.open_ms - 5 * MINUTE_MS, lambda: self.person.open_all(self.scenario.tape.symbols)
            )
        else:
            self.weather.plan(session)
            self.person.plan_controls(session.open_ms, session.close_ms, self.scenario.tape.symbols)
        self.patrol.plan(session)
        self.outside.at(session.close_ms + 30_000, lambda: self._closed(session, is_calm=is_calm))
        end_ms = session.close_ms + LATE_MS
        self.outside.at(end_ms, self._stop)
        while self.outside.now_ms < end_ms:
            if self.outside.now_ms < self._down_until_ms:
                self.outside.run_until(min(end_ms, self._down_until_ms))
                continue
            ending = self._live()
            down_ms = self.power.down_ms() if ending == "crashed" else 1_000
            self.outside.run_until(min(end_ms, self.outside.now_ms + down_ms))

    def _live(self) -> str:
        death = self.power.death()
        self.process = process = Process(
            self.scenario,
            self.outside,
            self.disk,
            self.exchange,
            self.feed,
            self.faults,
            self._rng,
            self,
            death=death,
        )
        self._grave.append(process)
        self.result.lives += 1
        self._started_ms = self.outside.now_ms
        self.trace.say(self.outside.now_ms, "process", f"starts {self.result.lives}")
        ending = process.run()
        self.exchange.listeners.clear()
        self.outside.now_ms = max(self.outside.now_ms, process.loop.now_ms)
        self._ended(process, ending)
        self.result.steps += process.loop.steps
        self.faults.lasts(
            max(0, process.clock.wrong_ms)
        )  # the next life's clock is right: what was due is later
        self.process = None
        return ending

    def _ended(self, process: Process, ending: str) -> None:
        self.trace.say(self.outside.now_ms, "process", f"{ending} after {process.loop.steps} steps")
        if ending == "crashed":
            self.result.crashes += 1
            if (
                self._cut is None
                and process.death is not None
                and process.loop.is_crashed | (process.death.step is not None)
            ):
                self.faults.happened(process.death.kind)
            self._cut = None
        elif ending != "stopped" and ending not in self._excused():
            self.broken("process", ending)
        for error in self._keeper.found:
            self.broken("surprise", error)
        self._keeper.found.clear()

    def _excused(self) -> Sequence[str]:
        """How a start may fail while a fault lasts."""
        busy = ("failed: locked",) if self.faults.fired["database_busy"] else ()
        back = (
            ("failed: clock_behind",)
            if self.faults.fired["clock_back"] or self.faults.fired["clock_forward"]
            else ()
        )
        return (*busy, *back)

    def _stop(self) -> None:
        if self.process is not None:
            self.process.request_stop()

    def _closed(self, session: Session, *, is_calm: bool) -> None:
        """The session has been over for half a minute."""
        if is_calm or self.patrol.owes_flat(session):
            exempt = self.patrol.exempt(session)
            judge_close(self.disk.connection, self.exchange, session, exempt, self.broken)
        if is_calm:
            self.outside.at(session.close_ms + 3 * MINUTE_MS, lambda: self._tell_again(session))

    def _tell_again(self, session: Session) -> None:
        """All the broker has told of a session once more, under other keys: nothing may change."""
        if self.process is None:
            return
        before = fingerprint(self.disk.connection)
        jobs = [
            NewJob(Step.BROKER_EVENT, dict(fill_payload(fill)), idem_key=f"again/{fill.execution_id}")
            for date, fill in self.exchange.books.fills
            if date == session.date and fill.client_order_id in self.witness.sent
        ]
        self.process.publish(jobs)

        def compare() -> None:
            if fingerprint(self.disk.connection) != before:
                self.broken("told_twice", f"{len(jobs)} executions told again changed something")

        self.outside.at(session.close_ms + 5 * MINUTE_MS, compare)

    def _bury(self) -> None:
        """Collect what died, with nobody listening to what its coroutines complain about."""
        hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for process in self._grave:
                    process.loop.bury()
                self._grave.clear()
                self._keeper.found.clear()
                gc.collect(1)
        finally:
            sys.unraisablehook = hook

    # ------------------------------------------------------------ what is seen
    @property
    def now_ms(self) -> int:
        """The true instant."""
        return self.outside.now_ms if self.process is None else self.process.loop.now_ms

    @property
    def alive_since_ms(self) -> int | None:
        """When the present life began; None while it is down or its machine sleeps."""
        is_up = self.process is not None and self.process.control is not None and not self._is_asleep
        return self._started_ms if is_up else None

    @property
    def steps(self) -> int:
        """Steps of all lives so far."""
        return self.result.steps + (0 if self.process is None else self.process.loop.steps)

    def broken(self, invariant: str, detail: str) -> None:
        """Record a violation; of many alike the first are enough."""
        self._alike[invariant] = self._alike.get(invariant, 0) + 1
        if self._alike[invariant] > MOST_ALIKE:
            return
        self.trace.say(self.now_ms, "BROKEN", f"{invariant}: {detail}")
        self.result.violations.append(
            Violation(seed=self.result.seed, invariant=invariant, step=self.steps, detail=detail)
        )

    def committed(self) -> None:
        """The agent has committed."""
        self.result.commits += 1
        for row in self.judge.committed().journal:
            _, _, kind, ref, data, _, _ = row
            self.trace.say(self.now_ms, "journal", f"{kind} {ref} {data}")
            if kind == "approval_requested":
                self.outside.at(self.now_ms, lambda ref=ref: self.person.asked(ref))  # type: ignore[misc]
            elif kind in ("approved", "trigger"):
                self.person.think_again(str(self.read("SELECT symbol FROM plan WHERE plan_id = ?", ref)[0]))

    def sends(self, intents: Sequence[OrderIntent]) -> None:
        """A body leaves for the broker."""
        self.judge.sends(intents)

    def looked_up(self, client_order_id: str) -> None:
        """An id was asked for at the broker."""
        self.judge.looked_up(client_order_id)

    def _executed(self, fill: BrokerFill) -> None:
        self.judge.executed(fill)

    def _overfilled(self, order_id: str, more_e4: int) -> None:
        plan_id = self.witness.sent.get(order_id, "")
        self.witness.overfilled_e4[plan_id] = self.witness.overfilled_e4.get(plan_id, 0) + more_e4

    # ------------------------------------------------------------ a person's desk
    def read(self, sql: str, *values: object) -> Sequence[object]:
        """One row of what the agent's pages show."""
        return self.disk.connection.execute(sql, values).fetchone() or ()

    def answer(self, plan_id: str, reply: Reply) -> Awaitable[Outcome] | None:
        """Send an answer; None while the agent is down."""
        return None if self.process is None else self.process.answer(plan_id, reply)

    @property
    def control(self) -> ControlService | None:
        """The controls, while the agent runs."""
        return None if self.process is None else self.process.control

    def _awaits_evidence(self, symbol: str) -> bool:
        """Whether an exit of unknown fate, larger than what is held, is in the way: nobody may sell beside it."""
        now_ms = self.now_ms
        return bool(self.read(AWAITS_EVIDENCE, symbol, now_ms - EVIDENCE_MS, now_ms - SLOW_RETRY_MS))

    # ------------------------------------------------------------ the machine
    def turn_clock(self, by_ms: int) -> bool:
        """Set the machine's clock wrong by so much."""
        if self.process is None:
            return False
        self.trace.say(self.now_ms, "machine", f"clock wrong by {by_ms} ms")
        set_back_ms = max(0, self.process.clock.wrong_ms - by_ms)
        self.faults.lasts(set_back_ms)  # what fell due by the clock before waits so much longer
        self.process.clock.wrong_ms = by_ms
        return True

    def sleep(self, for_ms: int) -> bool:
        """Stop the machine with all its timers; the world goes on."""
        process = self.process
        if process is None or self._is_asleep:
            return False
        self.trace.say(self.now_ms, "machine", f"sleeps {for_ms} ms")
        self._is_asleep = True
        self.outside.run_until(self.outside.now_ms + for_ms)
        self._is_asleep = False
        process.loop.base_ms += for_ms
        return True

    def cut_power(self, until_ms: int, kind: str) -> bool:
        """Kill the process and keep it down."""
        self._down_until_ms = until_ms
        if self.process is None:
            return False
        self._cut = kind
        self.process.loop.crash()
        return True

"""The drill: days of a made-up market lived through by an agent that is killed again and again."""

import asyncio
import contextlib
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

from finagent.context import SurfaceError
from finagent.runtime.clock import PacedClock, SystemClock, SystemTicker
from finagent.runtime.tasks import spawn
from finagent.simulation.drill.deaths import Death, Deaths
from finagent.simulation.drill.judge import Verdict, judge
from finagent.simulation.drill.market import Feeder
from finagent.simulation.drill.person import Person
from finagent.simulation.drill.process import KILLED, AgentBrokenError, AgentCall, AgentProcess
from finagent.simulation.drill.scenes import (
    Calm,
    Scene,
    calm_lives,
    drill_settings,
    local_time,
    pace_of,
    scenes,
    write_settings,
)
from finagent.simulation.drill.venue import Venue

LOOK_S = 0.25
BEFORE_MS = 3_600_000
DOWN_FOR_MS = 12_000
LONGEST_DOWN_MS = 15_000
CALM_MS = 120_000
FAULTS_APART_S = 8.0
TOLD_MS = 600_000
"""While nobody is killed the time is told so often, in the agent's time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillRequest:
    """What is asked: so many kills, drawn from a seed, in a folder of its own."""

    kills: int
    seed: int
    folder: Path
    progress: Callable[[str], None]


@dataclass(slots=True)
class Tally:
    """What happened so far; times in seconds."""

    kills: Counter[str] = field(default_factory=Counter)
    points: Counter[str] = field(default_factory=Counter)
    recovering: Counter[str] = field(default_factory=Counter)
    not_reached: list[str] = field(default_factory=list)
    ready_s: list[float] = field(default_factory=list)
    starts: int = 0
    clean_stops: int = 0
    sessions: list[str] = field(default_factory=list)
    elapsed_s: float = 0.0
    faults: dict[str, int] = field(default_factory=dict)
    acknowledged: int = 0

    @property
    def total(self) -> int:
        """Kills so far."""
        return sum(self.kills.values())


@dataclass(frozen=True, slots=True)
class DrillOutcome:
    """The end: what happened, and what the judge says."""

    request: DrillRequest
    tally: Tally
    verdict: Verdict


class Drill:
    """One drill; ``run`` plays it to its end."""

    def __init__(self, request: DrillRequest) -> None:
        self._request = request
        self._chance = random.Random(request.seed)
        self._chance_of_faults = random.Random(request.seed + 1)
        self._home = request.folder / "home"
        self._ticker = SystemTicker()
        self._tally = Tally()
        self._deaths = Deaths(self._chance, 0, start_s=1.0)
        self._living: AgentProcess | None = None
        self._start_s = 1.0
        self._clock = PacedClock(at_ms=0, since_ms=0, pace=1)
        self._told = ""

    async def run(self) -> DrillOutcome:
        """All kills, then the days to their end without any, then the verdict.

        SurfaceError where the agent ends by itself or does not come up: that is no kill, and a defect.
        """
        began_ms = self._ticker.monotonic_ms()
        async with self._venue() as venue:
            config = write_settings(self._home, drill_settings(broker_url=venue.url, seed=self._request.seed))
            call = AgentCall(home=self._home, config=config, environment=venue.environment)
            person = Person(self._home, self._request.folder / "witness-person.log")
            feeder = Feeder(venue, self._request.seed, lambda: self._clock, self._home)
            tasks: list[asyncio.Task[None]] = []
            try:
                self._start_s = await self._first_start(call, venue)
                self._deaths = Deaths(self._chance, self._request.kills, start_s=self._start_s)
                tasks += [
                    spawn(person.run(), "drill-person"),
                    spawn(feeder.run(), "drill-feeder"),
                    spawn(self._misbehave(venue), "drill-faults"),
                ]
                await self._days(call, venue, tasks)
            except AgentBrokenError as error:
                raise SurfaceError(
                    f"the agent ended by itself in the drill: {error}",
                    hint=f"{self._home} is kept; the seed is {self._request.seed}",
                    code="drill_broken",
                ) from None
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                if self._living is not None:
                    await self._living.kill()  # where the drill ends before its time
            self._tally.not_reached = self._deaths.not_reached
            self._tally.acknowledged = len(person.acknowledged)
            evidence = await venue.evidence(sorted(person.acknowledged))
            self._tally.faults = await venue.faults()
        verdict = await asyncio.to_thread(judge, self._home / "finagent.db", evidence, is_over=True)
        self._tally.elapsed_s = (self._ticker.monotonic_ms() - began_ms) / 1000
        return DrillOutcome(self._request, self._tally, verdict)

    @contextlib.asynccontextmanager
    async def _venue(self) -> AsyncIterator[Venue]:
        self._request.folder.mkdir(parents=True, exist_ok=True)
        async with Venue.started(self._request.folder, seed=self._request.seed) as venue:
            yield venue

    async def _first_start(self, call: AgentCall, venue: Venue) -> float:
        """Start and stop once before the first session: makes the home, and tells how long a start takes here."""
        await self._go_on(venue, next(scenes()).at_ms - BEFORE_MS, 1)
        process = await self._start(call)
        await process.ready()
        await process.stop()
        process = await self._start(call)  # the first one built what later ones find
        began_ms = self._ticker.monotonic_ms()
        await process.ready()
        start_s = (self._ticker.monotonic_ms() - began_ms) / 1000
        await process.stop()
        return max(0.1, start_s)

    async def _days(self, call: AgentCall, venue: Venue, tasks: "list[asyncio.Task[None]]") -> None:
        """Scene after scene until the kills are used up and the session they ended in is over."""
        for scene in scenes():
            is_used_up = self._tally.total >= self._request.kills
            if is_used_up and scene.session not in self._tally.sessions:
                return
            if scene.session not in self._tally.sessions:
                self._tally.sessions.append(scene.session)
            for task in tasks:
                if task.done():
                    task.result()  # the drill itself broke
            await self._scene(call, venue, scene)

    async def _scene(self, call: AgentCall, venue: Venue, scene: Scene) -> None:
        """Life after life until the scene's time or the kills are over, then the rest of it in peace."""
        pace = pace_of(DOWN_FOR_MS, self._start_s)
        if self._deaths.are_left:
            await self._go_on(venue, scene.at_ms, pace)
        while self._deaths.are_left and scene.end_ms - self._clock.now_ms() > CALM_MS:
            death = next(self._deaths)
            down_ms = round(self._chance.uniform(0, LONGEST_DOWN_MS))
            at_ms = min(self._clock.now_ms() + down_ms, scene.end_ms - CALM_MS)
            await self._go_on(venue, at_ms, pace)
            await self._life(call, death, scene)
        for calm in calm_lives(scene, self._clock.now_ms(), self._start_s):
            await self._go_on(venue, max(calm.at_ms, self._clock.now_ms()), calm.pace)
            await self._calm_life(call, calm)

    async def _start(self, call: AgentCall, *, failpoints: str = "") -> AgentProcess:
        self._living = await AgentProcess.start(call, failpoints=failpoints)
        return self._living

    async def _go_on(self, venue: Venue, at_ms: int, pace: int) -> None:
        """Set the clocks of agent, broker and market: time goes on from an instant, whoever is dead."""
        self._clock = PacedClock(at_ms=at_ms, since_ms=SystemClock().now_ms(), pace=pace)
        numbers = {"at_ms": at_ms, "since_ms": self._clock.since_ms, "pace": pace}
        await asyncio.to_thread((self._home / "clock.json").write_text, json.dumps(numbers), "utf-8")
        await venue.set_clock(numbers)

    async def _misbehave(self, venue: Venue) -> None:
        """Now and then a request or the stream goes wrong, until the kills are used up."""
        while self._tally.total < self._request.kills:
            await self._ticker.sleep(self._chance_of_faults.uniform(1.0, FAULTS_APART_S))
            await venue.misbehave()
        await venue.behave()

    def _left_s(self, until_ms: int) -> float:
        """Real seconds until an instant of the agent's."""
        return (until_ms - self._clock.now_ms()) / 1000 / self._clock.pace

    async def _life(self, call: AgentCall, death: Death, scene: Scene) -> None:
        """From a start to its death; a failpoint that was not passed in time counts as not reached."""
        self._tally.starts += 1
        process = await self._start(call, failpoints=death.failpoints)
        began_ms = self._ticker.monotonic_ms()
        longest_s = min(death.after_s, max(0.0, self._left_s(scene.end_ms)))
        if not death.in_recovery and not death.failpoints:
            await process.ready()
            self._tally.ready_s.append((self._ticker.monotonic_ms() - began_ms) / 1000)
        died_alone = await process.wait(longest_s)
        if died_alone and process.status != KILLED:
            raise AgentBrokenError(f"exit {process.status}: {process.last_words()}")
        if not died_alone:
            await process.kill()
        point = process.died_at() if died_alone else ""
        if death.failpoints:
            self._deaths.reached(point, is_again=death.is_again)
        if point:
            self._tally.points[point] += 1
            self._tally.recovering[point] += death.is_again or not process.was_announced
        self._tally.kills["named step" if point else _plain(death)] += 1
        self._tell(self._line())

    async def _calm_life(self, call: AgentCall, calm: Calm) -> None:
        """From a start to SIGTERM, with nobody killing."""
        self._tally.starts += 1
        process = await self._start(call)
        began_ms = self._ticker.monotonic_ms()
        await process.ready()
        self._tally.ready_s.append((self._ticker.monotonic_ms() - began_ms) / 1000)
        while (left_s := self._left_s(calm.until_ms)) > 0:
            self._tell(self._time_line())
            if await process.wait(min(LOOK_S, left_s)):
                raise AgentBrokenError(f"exit {process.status}: {process.last_words()}")
        await process.stop()
        self._tally.clean_stops += 1
        self._tell(self._time_line())

    def _tell(self, line: str) -> None:
        """Say a line, once."""
        if line != self._told:
            self._told = line
            self._request.progress(line)

    def _time_line(self) -> str:
        """What the time is while nobody is killed, every ten minutes."""
        now_ms = self._clock.now_ms()
        at = local_time(now_ms - now_ms % TOLD_MS)
        return f"playing the session {self._tally.sessions[-1]} to its end, {at}"

    def _line(self) -> str:
        tally = self._tally
        return f"{tally.total} of {self._request.kills} kills, {tally.starts} starts, session {tally.sessions[-1]}"


def _plain(death: Death) -> str:
    return "recovery" if death.in_recovery else "random instant"

"""Cron in exchange time: lines with a zone, or relative to open and close, become ticks that fire once."""

import asyncio
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Literal, Protocol

from cronsim import CronSim, CronSimError

from finagent.queue.job import NewJob
from finagent.queue.port import CronTick, JobQueue
from finagent.runtime.clock import Clock, Ticker
from finagent.runtime.service import sleep_or_stop

LOG = logging.getLogger(__name__)
Anchor = Literal["open", "close"]
ResolveAnchor = Callable[[Anchor, str], int | None]
"""(anchor, local date) -> instant in milliseconds, None when that day has no session."""

LOOKAHEAD_DAYS = 15
MAX_WAIT_S = 1.0
DST_MARGIN = timedelta(hours=3)
_RELATIVE = re.compile(r"(open|close)(?:([+-])(?:(\d+)h)?(?:(\d+)m)?)?")


class CronLineError(Exception):
    """A line of the schedule that cannot be read."""


class _When(Protocol):
    def after(self, after_ms: int) -> int | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CronLine:
    """`when`: five cron fields in `zone`, or `open`, `open-30m`, `close-3h45m`, `close+5m`."""

    name: str
    when: str
    zone: str = "America/New_York"


class CronScheduler:
    """The next instants of a set of lines; pure arithmetic, it neither waits nor stores.

    A local time that does not exist (clocks go forward) fires once at the shifted instant; one that exists
    twice fires at its first. Lines whose hour starts with `*` run through real hours instead.
    """

    def __init__(self, lines: Sequence[CronLine], *, resolve: ResolveAnchor | None = None) -> None:
        self._lines: dict[str, _When] = {}
        self._asked_ms = 0
        self._found: list[CronTick] = []
        for line in lines:
            if line.name in self._lines:
                raise CronLineError(f"two lines of the schedule are called {line.name!r}: rename one")
            self._lines[line.name] = _parse(line, resolve)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._lines)

    def next_of(self, name: str, after_ms: int) -> CronTick | None:
        """The first tick of one line strictly after an instant; None when there is none in sight."""
        at_ms = self._lines[name].after(after_ms)
        return None if at_ms is None else CronTick(name=name, fire_at_ms=at_ms)

    def next_after(self, after_ms: int) -> list[CronTick]:
        """All ticks of the earliest instant strictly after `after_ms`, in the order of the lines.

        The answer is the same until that instant, so who asks again and again pays once.
        """
        if not (self._found and self._asked_ms <= after_ms < self._found[0].fire_at_ms):
            ticks = [tick for name in self._lines if (tick := self.next_of(name, after_ms)) is not None]
            first_ms = min((tick.fire_at_ms for tick in ticks), default=0)
            self._found = [tick for tick in ticks if tick.fire_at_ms == first_ms]
            self._asked_ms = after_ms
        return list(self._found)

    def between(self, after_ms: int, until_ms: int) -> Iterator[CronTick]:
        """Every tick in (after_ms, until_ms], by time, then by line."""
        while True:
            ticks = self.next_after(after_ms)
            if not ticks or ticks[0].fire_at_ms > until_ms:
                return
            yield from ticks
            after_ms = ticks[0].fire_at_ms


def _parse(line: CronLine, resolve: ResolveAnchor | None) -> _When:
    import pendulum  # here, since whoever only reads the words of this module must not wait for it

    try:
        zone = pendulum.timezone(line.zone)
    except Exception:
        raise CronLineError(
            f"schedule line {line.name!r} has zone {line.zone!r}: use a name like America/New_York"
        ) from None
    relative = _RELATIVE.fullmatch(line.when.replace(" ", ""))
    if relative is not None and (relative[2] is None or relative[3] or relative[4]):
        if resolve is None:
            raise CronLineError(
                f"schedule line {line.name!r} is {line.when!r}, but no session calendar was given"
            )
        minutes = 60 * int(relative[3] or 0) + int(relative[4] or 0)
        sign = -1 if relative[2] == "-" else 1
        anchor: Anchor = "open" if relative[1] == "open" else "close"
        return _RelativeWhen(zone, resolve, anchor, sign * minutes * 60_000)
    try:
        if len(line.when.split()) != 5:
            raise CronSimError("a cron line has five fields")
        next(CronSim(line.when, datetime(2024, 1, 1)))
    except (CronSimError, StopIteration) as error:
        raise CronLineError(
            f"schedule line {line.name!r} is {line.when!r} ({error or 'it never fires'}): write five fields,"
            " or a time like open-30m or close-3h45m"
        ) from None
    return (
        _RealHours(zone, line.when) if line.when.split()[1].startswith("*") else _LocalTimes(zone, line.when)
    )


@dataclass(frozen=True, slots=True)
class _RelativeWhen:
    zone: tzinfo
    resolve: ResolveAnchor
    anchor: Anchor
    offset_ms: int

    def after(self, after_ms: int) -> int | None:
        """The first session whose instant, shifted, lies after; searched a fortnight ahead."""
        day: date = _local(after_ms, self.zone).date() - timedelta(days=1)
        for _ in range(LOOKAHEAD_DAYS + 2):
            anchor_ms = self.resolve(self.anchor, day.isoformat())
            if anchor_ms is not None and anchor_ms + self.offset_ms > after_ms:
                return anchor_ms + self.offset_ms
            day += timedelta(days=1)
        return None


@dataclass(frozen=True, slots=True)
class _RealHours:
    zone: tzinfo
    expression: str

    def after(self, after_ms: int) -> int | None:
        """cronsim walks real time here, so the repeated hour has its ticks twice and the missing one none."""
        try:
            return _ms(next(CronSim(self.expression, _local(after_ms, self.zone))))
        except StopIteration:
            return None


@dataclass(frozen=True, slots=True)
class _LocalTimes:
    zone: tzinfo
    expression: str

    def after(self, after_ms: int) -> int | None:
        """Walk wall-clock times and place each on the time line once.

        Near a change of the clocks the order of wall times is not the order of instants, so candidates up to
        three hours further are looked at as well.
        """
        start = _local(after_ms, self.zone).replace(tzinfo=None)
        best: int | None = None
        horizon: datetime | None = None
        for wall in _walk(self.expression, start - DST_MARGIN):
            if horizon is not None and wall > horizon:
                break
            at_ms = self._instant(wall)
            if at_ms <= after_ms:
                continue
            best = at_ms if best is None else min(best, at_ms)
            if horizon is None:
                if self._offset(start - DST_MARGIN) == self._offset(wall + DST_MARGIN):
                    break
                horizon = wall + DST_MARGIN
        return best

    def _instant(self, wall: datetime) -> int:
        return _ms(wall.replace(tzinfo=self.zone, fold=0))

    def _offset(self, wall: datetime) -> timedelta | None:
        return wall.replace(tzinfo=self.zone).utcoffset()


def _walk(expression: str, start: datetime) -> Iterator[datetime]:
    """Naive local times matching the expression, strictly after `start`."""
    yield from CronSim(expression, start)


def _local(at_ms: int, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone)


def _ms(moment: datetime) -> int:
    return round(moment.astimezone(UTC).timestamp() * 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class CronPolicy:
    """What a tick means: its jobs, and whether a late one still runs.

    `jobs` gives the jobs of a tick. `judge(tick, now_ms)` gives None to run, or the reason to skip.
    `on_skip` is told of a skipped tick after it was recorded. `look_back_ms`: how far before its first start
    a line without any record is searched for ticks it missed.
    """

    jobs: Callable[[CronTick], Sequence[NewJob]]
    judge: Callable[[CronTick, int], str | None]
    on_skip: Callable[[CronTick, str], None]
    look_back_ms: int = 600_000


def grace(grace_ms: int) -> Callable[[CronTick, int], str | None]:
    """A misfire policy: run when late by at most `grace_ms`, otherwise skip with the reason."""

    def judge(tick: CronTick, now_ms: int) -> str | None:
        late_ms = now_ms - tick.fire_at_ms
        return (
            None if late_ms <= grace_ms else f"missed by {late_ms // 1000} s, grace is {grace_ms // 1000} s"
        )

    return judge


class CronService:
    """Fires ticks on the real clock, each exactly once across restarts; replay fires them in its ticks."""

    name = "schedule"

    def __init__(
        self,
        scheduler: CronScheduler,
        policy: CronPolicy,
        *,
        queue: JobQueue,
        clock: Clock,
        ticker: Ticker,
        needs: tuple[str, ...] = (),
    ) -> None:
        self.needs = needs
        self._scheduler = scheduler
        self._policy = policy
        self._queue = queue
        self._clock = clock
        self._ticker = ticker
        self._fired_ms: dict[str, int] = {}

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self.run_once()
            # Short waits, since a laptop that slept wakes with another wall clock.
            await sleep_or_stop(self._ticker, self._wait_s(), stop)

    async def run_once(self) -> list[CronTick]:
        """Fire or skip everything that is due; gives the ticks that were new."""
        now_ms = self._clock.now_ms()
        due: list[CronTick] = []
        for name in self._scheduler.names:
            after_ms = await self._fired_until(name, now_ms)
            while (tick := self._scheduler.next_of(name, after_ms)) and tick.fire_at_ms <= now_ms:
                due.append(tick)
                after_ms = tick.fire_at_ms
        due.sort(key=lambda tick: tick.fire_at_ms)
        return [tick for tick in due if await self._fire(tick, now_ms)]

    async def _fire(self, tick: CronTick, now_ms: int) -> bool:
        reason = self._policy.judge(tick, now_ms)
        jobs = [] if reason is not None else list(self._policy.jobs(tick))
        is_new = await self._queue.fire(tick, jobs, skipped=reason)
        self._fired_ms[tick.name] = tick.fire_at_ms
        if is_new and reason is not None:
            LOG.warning("schedule.skipped", extra={"line": tick.name, "reason": reason})
            self._policy.on_skip(tick, reason)
        return is_new

    async def _fired_until(self, name: str, now_ms: int) -> int:
        if name not in self._fired_ms:
            last_ms = await self._queue.last_fire_ms(name)
            self._fired_ms[name] = now_ms - self._policy.look_back_ms if last_ms is None else last_ms
        return self._fired_ms[name]

    def _wait_s(self) -> float:
        now_ms = self._clock.now_ms()
        ticks = [self._scheduler.next_of(name, self._fired_ms[name]) for name in self._scheduler.names]
        next_ms = min((tick.fire_at_ms for tick in ticks if tick is not None), default=now_ms + 60_000)
        return max(0.001, min(MAX_WAIT_S, (next_ms - now_ms) / 1000))

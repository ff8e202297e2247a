"""Schedule: the day's cron lines in exchange time, as ticks that become jobs or are skipped with a reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from finagent.domain.market import Session
from finagent.domain.steps import Step
from finagent.domain.watch import ScanWatch
from finagent.ports import CalendarPort, JsonValue, NewJob
from finagent.queue.port import CronTick
from finagent.queue.scheduler import Anchor, CronLine, CronScheduler

SCAN, FLATTEN, DAY_OPEN, DAY_CLOSE = "scan", "flatten", "day_open", "day_close"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanTime:
    """A scheduled scan: its tick name, when it fires, and what it leads to."""

    name: str
    when: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRules:
    """The lines of a day; entries are possible inside ``entry_windows`` (local ``HH:MM`` pairs), not on
    ``no_trade_days`` (local dates) and not inside ``no_trade_windows`` (date, from, until).
    """

    zone: str
    scans: tuple[ScanTime, ...]
    flatten: tuple[str, ...]
    day_close: str
    misfire_ms: int
    min_before_flatten_ms: int
    entry_windows: tuple[tuple[str, str], ...] = ()
    no_trade_days: tuple[str, ...] = ()
    no_trade_windows: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class DueTick:
    """A tick with its jobs, or the reason why it is skipped."""

    tick: CronTick
    session: str
    jobs: tuple[NewJob, ...]
    watch: ScanWatch | None = None
    """A scan's: it says whether it is skipped."""

    @property
    def skipped(self) -> str | None:
        """Why the tick leaves no job."""
        return None if self.watch is None else self.watch.skipped()


class DaySchedule:
    """What fires when; pure arithmetic over the calendar, so a restart goes on from the last fire.

    Lines are ``HH:MM`` in the zone, relative (``open+1m``, ``close-3h45m``) or five cron fields; CronLineError
    for any other. Ticks on days without a session do not exist.
    """

    def __init__(self, calendar: CalendarPort, rules: ScheduleRules) -> None:
        self._calendar = calendar
        self._rules = rules
        self._zone = ZoneInfo(rules.zone)
        self._scans = {scan.name: scan for scan in rules.scans}
        lines = [CronLine(name=f"{SCAN}:{s.name}", when=_when(s.when), zone=rules.zone) for s in rules.scans]
        lines += [
            CronLine(name=f"{FLATTEN}:{number}", when=_when(when), zone=rules.zone)
            for number, when in enumerate(rules.flatten, 1)
        ]
        lines.append(CronLine(name=DAY_OPEN, when="open", zone=rules.zone))
        lines.append(CronLine(name=DAY_CLOSE, when=_when(rules.day_close), zone=rules.zone))
        self._cron = CronScheduler(lines, resolve=self._resolve)
        self._ladders: dict[Session, tuple[int, int]] = {}

    def next_ms(self, after_ms: int) -> int | None:
        """The next instant strictly after, at which a tick of a session is due; None where the calendar ends."""
        while ticks := self._cron.next_after(after_ms):
            at_ms = ticks[0].fire_at_ms
            if self._session(at_ms) is not None:
                return at_ms
            following = self._calendar.session_at(at_ms)
            after_ms = local_ms(following.date, "00:00", self._rules.zone) - 1
            if after_ms < at_ms:
                return None
        return None

    def upcoming(self, after_ms: int, count: int) -> list[tuple[str, int]]:
        """Names and instants of the next ``count`` ticks of sessions."""
        found: list[tuple[str, int]] = []
        while len(found) < count and (at_ms := self.next_ms(after_ms)) is not None:
            found += [(tick.name, at_ms) for tick in self._cron.next_after(at_ms - 1)]
            after_ms = at_ms
        return found[:count]

    def due(self, after_ms: int, until_ms: int, *, now_ms: int) -> Sequence[DueTick]:
        """Every tick in (after, until] with its jobs; late ones are skipped as the misfire policy says."""
        due: list[DueTick] = []
        for tick in self._cron.between(after_ms, until_ms):
            session = self._session(tick.fire_at_ms)
            if session is not None:
                due.append(self._judged(tick, session, now_ms))
        return due

    def flatten_start_ms(self, session: Session) -> int:
        """When the flatten ladder begins in a session."""
        return self._ladder(session)[0]

    def _flatten_end_ms(self, session: Session) -> int:
        """When its last rung is."""
        return self._ladder(session)[1]

    def _ladder(self, session: Session) -> tuple[int, int]:
        if session not in self._ladders:
            rungs = [
                tick.fire_at_ms
                for tick in self._cron.between(session.open_ms, session.close_ms)
                if tick.name.startswith(f"{FLATTEN}:")
            ]
            ends = (min(rungs), max(rungs)) if rungs else (session.close_ms, session.close_ms)
            self._ladders[session] = ends
        return self._ladders[session]

    def entry_windows(self, session: Session) -> list[tuple[int, int]]:
        """When a session takes entries, as (start_ms, end_ms), the end excluded: the windows of every day, until
        the flatten ladder begins, without the day's no-trade windows; none on a no-trade day.
        """
        rules = self._rules
        if session.date in rules.no_trade_days:
            return []
        until_ms = self.flatten_start_ms(session)
        windows = entry_windows(session, rules.entry_windows, rules.zone, until_ms=until_ms)
        return without(windows, self._no_trade(session))

    def is_no_trade(self, session: Session, at_ms: int) -> bool:
        """Whether an instant lies on a no-trade day or in a no-trade window, as the file says now."""
        if session.date in self._rules.no_trade_days:
            return True
        return any(start <= at_ms < end for start, end in self._no_trade(session))

    def _no_trade(self, session: Session) -> list[tuple[int, int]]:
        zone = self._rules.zone
        return [
            (local_ms(date, start, zone), local_ms(date, end, zone))
            for date, start, end in self._rules.no_trade_windows
            if date == session.date
        ]

    def _judged(self, tick: CronTick, session: Session, now_ms: int) -> DueTick:
        late_ms = now_ms - tick.fire_at_ms
        if tick.name.startswith(f"{SCAN}:"):
            return self._scan(tick, session, late_ms, now_ms)
        if tick.name == DAY_OPEN:
            compare = {"session": session.date, "reason": DAY_OPEN}
            job = NewJob(Step.RECONCILE, dict(compare), idem_key=f"{session.date}/open")
            return DueTick(tick, session.date, (job,))
        if tick.name == DAY_CLOSE:
            payload = {"session": session.date}
            jobs = (
                NewJob(
                    Step.RECONCILE, {"session": session.date, "reason": "day_close"}, idem_key=session.date
                ),
                NewJob(Step.DAY_CLOSE, payload, idem_key=session.date),
            )
            return DueTick(tick, session.date, jobs)
        step = tick.name.partition(":")[2]
        flatten: dict[str, JsonValue] = {
            "session": session.date,
            "symbol": None,
            "reason": "flatten",
            "rung": step,
        }
        if tick.fire_at_ms == self._flatten_end_ms(session):
            flatten["until_ms"] = session.close_ms
        return DueTick(
            tick,
            session.date,
            (NewJob(Step.FLATTEN, flatten, idem_key=f"{session.date}/ladder-{step}"),),
        )

    def _scan(self, tick: CronTick, session: Session, late_ms: int, now_ms: int) -> DueTick:
        scan, rules = self._scans[tick.name.partition(":")[2]], self._rules
        watch = ScanWatch(
            session=session.date,
            tick=scan.name,
            late_ms=late_ms,
            misfire_ms=rules.misfire_ms,
            to_flatten_ms=self.flatten_start_ms(session) - now_ms,
            min_before_flatten_ms=rules.min_before_flatten_ms,
            is_no_trade_day=session.date in rules.no_trade_days,
        )
        payload = {"session": session.date, "tick": scan.name, "kind": scan.kind}
        job = NewJob(Step.SCAN, dict(payload), idem_key=f"{session.date}/{scan.name}")
        return DueTick(tick, session.date, () if watch.skipped() else (job,), watch)

    def _session(self, at_ms: int) -> Session | None:
        return self._calendar.session(datetime.fromtimestamp(at_ms / 1000, self._zone).date().isoformat())

    def _resolve(self, anchor: Anchor, date: str) -> int | None:
        session = self._calendar.session(date)
        if session is None:
            return None
        return session.open_ms if anchor == "open" else session.close_ms


def _when(line: str) -> str:
    """``HH:MM`` as five cron fields; anything else as it is."""
    hour, colon, minute = line.partition(":")
    return f"{int(minute)} {int(hour)} * * *" if colon and hour.isdigit() and minute.isdigit() else line


def entry_windows(
    session: Session, windows: Sequence[tuple[str, str]], zone: str, *, until_ms: int | None = None
) -> list[tuple[int, int]]:
    """Entry windows of a session as (start_ms, end_ms): local ``HH:MM`` pairs, cut at ``until_ms`` (the flatten
    ladder's start), else at the close.
    """
    cut_ms = session.close_ms if until_ms is None else until_ms
    return [
        (start, min(end, cut_ms))
        for first, last in windows
        if (start := local_ms(session.date, first, zone)) < cut_ms
        and (end := local_ms(session.date, last, zone)) > start
    ]


def without(windows: Sequence[tuple[int, int]], cuts: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """What is left of spans (start, end) when others are cut out of them, in order; empty rests are dropped."""
    left = list(windows)
    for first, last in cuts:
        left = [
            part
            for start, end in left
            for part in ((start, min(end, first)), (max(start, last), end))
            if part[0] < part[1]
        ]
    return sorted(left)


def local_ms(date: str, time: str, zone: str) -> int:
    """The instant of a local date and ``HH:MM``, in ms UTC."""
    moment = datetime.fromisoformat(f"{date}T{time}:00").replace(tzinfo=ZoneInfo(zone))
    return round(moment.astimezone(UTC).timestamp() * 1000)

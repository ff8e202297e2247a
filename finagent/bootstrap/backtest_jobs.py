"""Backtests as jobs of the agent's queue: asked for, computed in a process of their own, watched, cancelled."""

import contextlib
import errno
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import cast

from finagent import __version__
from finagent.adapters.pool.processes import PoolService, ProcessComputePool
from finagent.bootstrap import rules
from finagent.bootstrap.backtest_keeping import Checkpoints
from finagent.bootstrap.backtest_report import FOLDER
from finagent.bootstrap.backtests import (
    SECTIONS,
    Request,
    backtest,
    parameters,
    refuse_unheard,
    refused,
    settings_document,
)
from finagent.context import CommandResult, Document, ExitCode, Json, SurfaceError
from finagent.domain.journal import JsonData, digest
from finagent.ports import Ticker
from finagent.queue.compute import ComputeContext
from finagent.queue.compute_handler import ComputeHandler, ComputeStep
from finagent.queue.job import Job, JobPolicy, JobStatus, JobTypes, JsonValue, NewJob
from finagent.queue.port import JobQueue
from finagent.queue.processor import EventLoopProcessor
from finagent.runtime.clock import SystemTicker
from finagent.runtime.errors import GiveUpError
from finagent.runtime.service import ServiceContract
from finagent.settings import Settings, SettingsError
from finagent.settings.errors import misfit, nearest

BACKTEST = "backtest"
CONTRACT = ServiceContract(name="backtests", consumes=(BACKTEST,))
LAST_OF_ALL = 20
"""The priority: behind every step of the day."""
SILENT_S = 600.0
"""A dataset of thousands of symbols says nothing for minutes."""
COMPUTE = "compute"
PROGRESS = "progress.json"
REPORT_EVERY_MS = 500
WORDS: Mapping[str, tuple[str, ...]] = {
    "bars": ("auto", "daily", "minute"),
    "engine": ("kernel", "reference"),
}
MIB = 1 << 20


def job_types(settings: Settings, *, is_virtual: bool) -> JobTypes:
    """The steps of the day, and for an agent backtests; a replay or demo has none of these."""
    return rules.job_types({} if is_virtual else {BACKTEST: policy(settings)})


def policy(settings: Settings) -> JobPolicy:
    """A kill, of the worker or of the agent, costs a try; nothing of the day waits for these jobs."""
    return JobPolicy(
        priority=LAST_OF_ALL,
        max_attempts=3,
        backoff_base_s=0.2,
        backoff_cap_s=5.0,
        timeout_s=SILENT_S,
        credits=settings.backtest.workers,
    )


class BacktestDesk:
    """The jobs of one agent, whose home is the folder of its database: their pool, their handler, what may be asked."""

    def __init__(self, queue: JobQueue, settings: Settings, database: Path, ticker: Ticker) -> None:
        self._queue, self._settings, self._home, self._ticker = queue, settings, database.parent, ticker
        self._pool = ProcessComputePool(workers=settings.backtest.workers)
        self._folder = self._home / COMPUTE
        self._seen: set[int] = set()
        self._told_ms = -REPORT_EVERY_MS
        step = ComputeStep(function=f"{__name__}:run", arguments=self._arguments)
        self.handler = ComputeHandler(
            self._pool, {BACKTEST: step}, scratch=self._folder, progress=self._report
        )

    def services(self, processor: EventLoopProcessor) -> tuple[object, ...]:
        """Who consumes the jobs, and who ends their processes before it is waited for."""
        worker = processor.worker(CONTRACT, self.handler)
        return worker, PoolService(self._pool, needs=(CONTRACT.name,))

    async def publish(self, asked: Mapping[str, Json]) -> CommandResult:
        """Queue one; the same question over the same data is the job that is there already.

        SurfaceError for a range without sessions or bars, an unknown symbol, a word or setting that is none, a value
        out of its bounds.
        """
        import asyncio

        request, settings = await asyncio.to_thread(self._checked, asked)
        payload: dict[str, JsonValue] = {
            "request": cast(JsonValue, {**asdict(request), "symbols": list(request.symbols)}),
            "settings": cast(JsonValue, settings_document(settings)),
        }
        data_id = await asyncio.to_thread(_data_id, self._home)
        key = digest(json.dumps(payload, sort_keys=True), __version__, data_id)[:32]
        found = await self._queue.publish(NewJob(BACKTEST, payload, key))
        job = await self._queue.get(found.job_id)
        status = "gone" if job is None else job.status.value
        data: dict[str, Json] = {"job_id": found.job_id, "status": status}
        if found.created:
            words = f"Job {found.job_id} is queued: finagent jobs watch shows it, finagent backtest list its result."
            return CommandResult(code="queued", message=words, data=data)
        mend = (
            f" finagent jobs retry {found.job_id} runs it again."
            if status in (JobStatus.DEAD.value, JobStatus.CANCELLED.value)
            else ""
        )
        words = f"Job {found.job_id} has this question already and is {status}.{mend}"
        return CommandResult(code="known", message=words, data=data)

    def cancel(self, job_id: int, identity: str) -> bool:
        """End one that runs here; False when none of that number does."""
        return self.handler.cancel(job_id, f"cancelled by {identity}")

    def _checked(self, asked: Mapping[str, Json]) -> tuple[Request, Settings]:
        from finagent.adapters.bars.store import BarStore
        from finagent.adapters.vendors.calendar import load_calendar
        from finagent.backtest.running import Bars, refuse_unknown, refuse_unstored
        from finagent.backtest.unplayed import refuse_on_daily_bars
        from finagent.bootstrap.sessions import chosen_sessions

        request = request_of(asked)
        given = asked.get("settings")
        try:
            settings = settings_of(self._settings, given if isinstance(given, dict) else {})
            rules.checked(settings)
        except SettingsError as error:
            raise SurfaceError(
                error.message, hint=error.hint, code="settings", exit_code=ExitCode.USAGE
            ) from None
        sessions = chosen_sessions(load_calendar(self._home), request.first, request.last)
        store = BarStore(self._home)
        with refused():
            refuse_unknown(store.symbols, request.wanted)
            refuse_unstored(store.stored_range, sessions)
            minutes = () if request.bars == Bars.DAILY else store.minute_sessions
            has_minutes = any(each.date in minutes for each in sessions)
            refuse_unheard(request.at, has_minutes=has_minutes)
            if not has_minutes:
                refuse_on_daily_bars(parameters(settings))
        return replace(request, symbols=request.wanted), settings

    def _arguments(self, job: Job) -> Mapping[str, JsonValue]:
        return {
            **job.payload,
            "home": str(self._home.resolve()),
            "memory_mb": self._settings.backtest.memory_mb,
        }

    def _report(self, job: Job) -> None:
        """Progress where readers of the home find it; it is no fact, so it is in no commit."""
        self._seen.add(job.id)
        now_ms = self._ticker.monotonic_ms()
        if now_ms - self._told_ms < REPORT_EVERY_MS:
            return
        self._told_ms = now_ms
        found = {job_id: self.handler.progress_of(job_id) for job_id in self._seen}
        self._seen = {job_id for job_id, progress in found.items() if progress is not None}
        rows = {
            str(job_id): {"fraction": progress.fraction, "text": progress.text}
            for job_id, progress in found.items()
            if progress is not None
        }
        with contextlib.suppress(OSError):  # a full disk is told elsewhere; progress is a courtesy
            self._folder.mkdir(parents=True, exist_ok=True)
            draft = self._folder / f".{PROGRESS}.new"
            draft.write_text(json.dumps(rows), encoding="utf-8")
            draft.replace(self._folder / PROGRESS)


def progress_in(home: Path) -> Mapping[str, Json]:
    """By job the newest report of those that ran; of one that has ended it means nothing."""
    try:
        found = json.loads((home / COMPUTE / PROGRESS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def request_of(asked: Mapping[str, Json]) -> Request:
    """The request of a body or payload; SurfaceError for a word that is none."""
    for name, known in WORDS.items():
        if asked.get(name, known[0]) not in known:
            raise SurfaceError(
                f"{name} {asked[name]} is none of {', '.join(known)}", code="usage", exit_code=ExitCode.USAGE
            )
    symbols, check, lookahead = (asked.get(name) for name in ("symbols", "check", "lookahead"))
    first = str(asked["first"])
    return Request(
        first=first,
        last=str(asked.get("last") or first),
        bars=str(asked.get("bars", "auto")),
        engine=str(asked.get("engine", "kernel")),
        check=check if isinstance(check, int) else 0,
        lookahead=lookahead if isinstance(lookahead, int) else 0,
        symbols=tuple(map(str, symbols)) if isinstance(symbols, list) else (),
        at=None if asked.get("at") is None else str(asked["at"]),
    )


def settings_of(base: Settings, given: Mapping[str, Json]) -> Settings:
    """Settings with the values of some sections laid over them; SettingsError for one that does not fit."""
    from pydantic import ValidationError

    changed = {}
    for name, values in given.items():
        if name not in SECTIONS:
            raise SettingsError(
                f"{name} is no section that a backtest follows", nearest(name, list(SECTIONS))
            )
        if not isinstance(values, dict):
            raise SettingsError(
                f"settings of {name} are keys with values", 'for example {"scan": {"top": 3}}'
            )
        before = getattr(base, name)
        try:
            changed[name] = type(before).model_validate({**before.model_dump(), **values})
        except ValidationError as error:
            raise misfit(error, name, root=Settings) from None
    return base.model_copy(update=changed)


def run(arguments: Mapping[str, JsonValue], context: ComputeContext) -> JsonValue:
    """One backtest in a worker: within its memory, told session by session; the result is in the home.

    A later try goes on where the one before stood.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # each thread would take stacks and buffers of its own
    payload, limit_mb = arguments, cast(int, arguments["memory_mb"])
    request = request_of(cast(Mapping[str, Json], payload["request"]))

    def told(session: str, number: int, count: int) -> None:
        context.progress((number - 1) / count, f"{session} ({number} of {count})")

    def building(what: str) -> None:
        context.progress(0.0, f"the dataset: {what}")

    try:
        with _bounded(limit_mb):
            settings = settings_of(Settings(), cast(Mapping[str, Json], payload["settings"]))
            document = backtest(
                settings,
                Path(str(arguments["home"])),
                request,
                progress=told,
                building=building,
                keeper=Checkpoints(context, SystemTicker()),
            )
    except (MemoryError, ImportError, OSError) as error:
        if not _is_for_want_of_memory(error):
            raise
        raise GiveUpError(_too_much(limit_mb)) from None
    except (SurfaceError, SettingsError) as error:
        raise GiveUpError(f"{error.message}. {error.hint}".rstrip(". ")) from None
    partial = document["partial"]
    if isinstance(partial, dict):
        what = str(partial["error"])
        words = _too_much(limit_mb) if what.startswith("MemoryError") else what
        raise GiveUpError(
            f"stopped in {partial['session']}: {words}; what came before is result {document['result_id']}"
        )
    return {"result_id": str(document["result_id"]), "folder": str(FOLDER / str(document["result_id"]))}


def _is_for_want_of_memory(error: Exception) -> bool:
    """A library that is loaded, or a file that is mapped, beyond the limit has an error of its own."""
    is_unmapped = isinstance(error, ImportError) and "failed to map" in str(error)
    return isinstance(error, MemoryError) or is_unmapped or getattr(error, "errno", None) == errno.ENOMEM


def _too_much(limit_mb: int) -> str:
    return f"it needs more than {limit_mb} MiB: raise backtest.memory_mb, or take fewer sessions or symbols"


@contextlib.contextmanager
def _bounded(limit_mb: int) -> Iterator[None]:
    """Private memory of this process up to a limit while the block runs: beyond it Python raises MemoryError.

    The mapped dataset is not counted, its pages are the system's. Only Linux counts what is mapped anonymously.
    """
    if sys.platform != "linux":
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = limit_mb * MIB if hard == resource.RLIM_INFINITY else min(limit_mb * MIB, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _data_id(home: Path) -> JsonData:
    """What the stored bars are; empty where there are none, which the run then says."""
    from finagent.adapters.bars.store import BarStore

    return BarStore(home).data_id


def with_progress(home: Path) -> Callable[[Document], Document]:
    """A job's row (one without a status runs) with its newest report while it runs."""
    found = progress_in(home)

    def shown(row: Document) -> Document:
        runs = row.get("status", "leased") == "leased"
        return {**row, "progress": found.get(str(row.get("id"))) if runs else None}

    return shown

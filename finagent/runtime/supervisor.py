"""Starts services in order of their needs, restarts the crashed, stops in stages, knows how each is."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from finagent.runtime.clock import Ticker
from finagent.runtime.errors import HaltError
from finagent.runtime.service import Service, sleep_or_stop
from finagent.runtime.tasks import spawn

__all__ = ["Health", "ServiceState", "ServiceWiringError", "Supervisor", "spawn"]

LOG = logging.getLogger(__name__)


class ServiceState(StrEnum):
    """starting -> running -> stopped; degraded after a crash until it has run well, failed when given up."""

    STARTING = "starting"
    RUNNING = "running"
    DEGRADED = "degraded"
    FAILED = "failed"
    STOPPED = "stopped"


class ServiceWiringError(Exception):
    """The services cannot be started as declared: a need is missing, cyclic, doubled or no service."""


@dataclass(slots=True)
class Health:
    """How one service is."""

    state: ServiceState = ServiceState.STARTING
    last_error: str | None = None
    restarts: int = 0


@dataclass(slots=True)
class _Entry:
    service: Service
    health: Health = field(default_factory=Health)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Supervisor:
    """Runs services until `request_stop`, or until one raises HaltError: then everything stops.

    A crash restarts only its service, after `backoff_base_s` doubled per crash in a row up to
    `backoff_cap_s`; a service that has run for `steady_s` counts as well again. `provided` names what exists
    beside the services (the database, the queue), so that needs can be checked by name.
    """

    def __init__(
        self,
        services: Sequence[object],
        *,
        ticker: Ticker,
        provided: Sequence[str] = (),
        backoff_base_s: float = 0.5,
        backoff_cap_s: float = 30.0,
        steady_s: float = 60.0,
        stage_timeout_s: float = 3.0,
    ) -> None:
        self._ticker = ticker
        self._backoff_base_s = backoff_base_s
        self._backoff_cap_s = backoff_cap_s
        self._steady_s = steady_s
        self._stage_timeout_s = stage_timeout_s
        self._stages = stages(services, provided)
        self._entries = {service.name: _Entry(service) for stage in self._stages for service in stage}
        self._stop_wanted = asyncio.Event()
        self.halt_reason: str | None = None

    @property
    def order(self) -> tuple[tuple[str, ...], ...]:
        """Names by stage, in the order of starting."""
        return tuple(tuple(service.name for service in stage) for stage in self._stages)

    def health(self) -> Mapping[str, Health]:
        """State, last error and restarts of each service, by name."""
        return {name: entry.health for name, entry in self._entries.items()}

    @property
    def is_healthy(self) -> bool:
        return all(entry.health.state is ServiceState.RUNNING for entry in self._entries.values())

    def request_stop(self) -> None:
        """Begin to stop; `run` returns when all stages are down."""
        self._stop_wanted.set()

    def halt(self, reason: str) -> None:
        """Stop everything for a reason; the first one is kept."""
        if self.halt_reason is None:
            self.halt_reason = reason
            LOG.critical("engine.halted", extra={"reason": reason})
        self._stop_wanted.set()

    async def run(self) -> str | None:
        """Start all stages, wait for the stop, stop in stages; gives the reason of a halt, else None."""
        try:
            for stage in self._stages:
                for service in stage:
                    entry = self._entries[service.name]
                    entry.task = spawn(self._keep_running(entry), f"service-{service.name}")
                await asyncio.sleep(0)  # each stage runs its first step before those that need it
            await self._stop_wanted.wait()
        finally:
            await self._stop_all()
        return self.halt_reason

    async def _keep_running(self, entry: _Entry) -> None:
        crashes = 0
        name, health = entry.service.name, entry.health
        while not entry.stop.is_set():
            started_ms = self._ticker.monotonic_ms()
            health.state = ServiceState.RUNNING if crashes == 0 else ServiceState.DEGRADED
            try:
                await self._run_steady(entry, crashes)
                break
            except HaltError as error:
                health.state, health.last_error = ServiceState.FAILED, str(error)
                self.halt(f"{name}: {error}")
                return
            except Exception as error:
                is_steady = self._ticker.monotonic_ms() - started_ms >= self._steady_s * 1000
                crashes = 1 if is_steady else crashes + 1
                health.restarts += 1
                health.state, health.last_error = ServiceState.FAILED, f"{type(error).__name__}: {error}"
                LOG.exception("service.crashed", extra={"service": name, "crashes": crashes})
            wait_s = min(self._backoff_cap_s, self._backoff_base_s * 2.0 ** min(crashes - 1, 30))
            await sleep_or_stop(self._ticker, wait_s, entry.stop)
        health.state = ServiceState.STOPPED

    async def _run_steady(self, entry: _Entry, crashes: int) -> None:
        """Run the service; after a crash it counts as well again once it has run long enough."""
        if crashes == 0:
            await entry.service.run(entry.stop)
            return
        recovery = spawn(self._recover(entry), f"recovery-{entry.service.name}")
        try:
            await entry.service.run(entry.stop)
        finally:
            recovery.cancel()

    async def _recover(self, entry: _Entry) -> None:
        await self._ticker.sleep(self._steady_s)
        entry.health.state = ServiceState.RUNNING

    async def _stop_all(self) -> None:
        """Stop the stages in reverse; one that takes too long is cancelled, the rest still get their turn."""
        for stage in reversed(self._stages):
            entries = [self._entries[service.name] for service in stage]
            tasks = [entry.task for entry in entries if entry.task is not None]
            for entry in entries:
                entry.stop.set()
            if not tasks:
                continue
            _, late = await asyncio.wait(tasks, timeout=self._stage_timeout_s)
            for task in late:
                LOG.warning("service.stop_late", extra={"task": task.get_name()})
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for entry in entries:
                if entry.health.state is not ServiceState.FAILED:
                    entry.health.state = ServiceState.STOPPED


def stages(services: Sequence[object], provided: Sequence[str] = ()) -> list[list[Service]]:
    """Services grouped so that each group needs only earlier ones; raises ServiceWiringError by name."""
    by_name: dict[str, Service] = {}
    for candidate in services:
        if not isinstance(candidate, Service):
            raise ServiceWiringError(f"{type(candidate).__name__} is no service: it lacks name, needs or run")
        if candidate.name in by_name or candidate.name in provided:
            raise ServiceWiringError(f"two services are called {candidate.name!r}: rename one")
        by_name[candidate.name] = candidate
    for service in by_name.values():
        _check_needs(service, {*by_name, *provided})
    placed: set[str] = set(provided)
    waiting = list(by_name.values())
    found: list[list[Service]] = []
    while waiting:
        stage = [service for service in waiting if placed.issuperset(service.needs)]
        if not stage:
            names = ", ".join(sorted(service.name for service in waiting))
            raise ServiceWiringError(f"services need each other in a circle: {names}")
        found.append(stage)
        placed.update(service.name for service in stage)
        waiting = [service for service in waiting if service.name not in placed]
    return found


def _check_needs(service: Service, known: set[str]) -> None:
    for need in service.needs:
        if not isinstance(need, str):
            raise ServiceWiringError(f"service {service.name!r} needs {need!r}: needs are names of services")
        if need not in known:
            raise ServiceWiringError(
                f"service {service.name!r} needs {need!r}, which nobody provides; there are: "
                + ", ".join(sorted(known))
            )

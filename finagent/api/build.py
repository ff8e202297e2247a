"""create_api: one FastAPI application over one context, with the modules that are switched on."""

from collections.abc import Callable, Sequence

from fastapi import APIRouter, FastAPI
from prometheus_client import CollectorRegistry

from finagent.api.approvals import approvals_router
from finagent.api.backtests import backtests_router
from finagent.api.callers import Callers, OnRefused
from finagent.api.control import control_router
from finagent.api.guard import Guard
from finagent.api.health import Health, health_router
from finagent.api.idempotency import Idempotency
from finagent.api.jobs import jobs_router
from finagent.api.metrics import metrics_router
from finagent.api.problems import explain_problems
from finagent.api.reads import reads_router
from finagent.api.tickets import tickets_router
from finagent.context import ApplicationContext

MODULES = ("health", "metrics", "reads", "approvals", "tickets", "control", "jobs", "backtests")
PREFIX = "/api/v1"


def nobody_counts(reason: str, token: str) -> None:
    """Refusals are answered and not counted."""


def create_api(
    context: ApplicationContext,
    *,
    callers: Callers,
    registry: CollectorRegistry,
    health: Health,
    modules: Sequence[str] = MODULES,
    allowed_hosts: Sequence[str] = (),
    on_refused: OnRefused = nobody_counts,
) -> FastAPI:
    """The HTTP surface of a context.

    ``callers`` knows the tokens; names of the loopback are always allowed as Host; ``on_refused`` is told of every
    request that was turned away. Raises ValueError for a module that does not exist.
    """
    unknown = sorted(set(modules) - set(MODULES))
    if unknown:
        raise ValueError(f"unknown API module {unknown[0]}: choose from {', '.join(MODULES)}")
    app = FastAPI(title="finagent", version=context.version, docs_url="/docs", redoc_url=None)
    routers: dict[str, tuple[str, Callable[[], APIRouter]]] = {
        "health": ("", lambda: health_router(health)),
        "metrics": ("", lambda: metrics_router(registry)),
        "reads": (PREFIX, lambda: reads_router(context.views)),
        "approvals": (PREFIX, lambda: approvals_router(context)),
        "tickets": (PREFIX, lambda: tickets_router(context)),
        "control": (PREFIX, lambda: control_router(context)),
        "jobs": (PREFIX, lambda: jobs_router(context)),
        "backtests": (PREFIX, lambda: backtests_router(context)),
    }
    for name in MODULES:
        if name in modules:
            prefix, build = routers[name]
            app.include_router(build(), prefix=prefix)
    explain_problems(app, on_refused)
    app.add_middleware(Idempotency)
    app.add_middleware(Guard, callers=callers, allowed_hosts=tuple(allowed_hosts), on_refused=on_refused)
    return app

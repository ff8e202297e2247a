"""create_api: one FastAPI application over one context, with the modules that are switched on."""

from collections.abc import Callable, Sequence

from fastapi import APIRouter, FastAPI
from prometheus_client import CollectorRegistry

from finagent.api.approvals import approvals_router
from finagent.api.control import control_router
from finagent.api.guard import Guard
from finagent.api.health import Health, health_router
from finagent.api.idempotency import Idempotency
from finagent.api.jobs import jobs_router
from finagent.api.metrics import metrics_router
from finagent.api.problems import explain_problems
from finagent.api.reads import reads_router
from finagent.context import ApplicationContext

MODULES = ("health", "metrics", "reads", "approvals", "control", "jobs")
PREFIX = "/api/v1"


def create_api(
    context: ApplicationContext,
    *,
    token_hash: str,
    registry: CollectorRegistry,
    health: Health,
    modules: Sequence[str] = MODULES,
    allowed_hosts: Sequence[str] = (),
) -> FastAPI:
    """The HTTP surface of a context.

    ``token_hash`` is the SHA-256 of the bearer token in hexadecimal; names of the loopback are always
    allowed as Host. Raises ValueError for a module that does not exist.
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
        "control": (PREFIX, lambda: control_router(context)),
        "jobs": (PREFIX, lambda: jobs_router(context)),
    }
    for name in MODULES:
        if name in modules:
            prefix, build = routers[name]
            app.include_router(build(), prefix=prefix)
    explain_problems(app)
    app.add_middleware(Idempotency)
    app.add_middleware(Guard, token_hash=token_hash, allowed_hosts=tuple(allowed_hosts))
    return app

"""Limits of the settings against those a person accepted: the stricter ones hold until a raise is accepted."""

import logging
from pathlib import Path

from finagent.bootstrap.engine import Engine
from finagent.bootstrap.going_live import home_engine
from finagent.bootstrap.homes import DATABASE
from finagent.bootstrap.readers import open_stored
from finagent.bootstrap.risk_rules import (
    accepted_limits,
    auto_limits,
    full_profile,
    limit_key,
    shown_limit,
    waiting_rows,
)
from finagent.context import Document
from finagent.domain.accepted_limits import RaisedLimit, limits_of, raised, stricter
from finagent.domain.facts import Journalled, LimitsAccepted
from finagent.queue.port import Tx
from finagent.settings import Settings

LOG = logging.getLogger(__name__)
FIRST = "first start"


async def settle_limits(engine: Engine, settings: Settings) -> tuple[RaisedLimit, ...]:
    """At the start the first limits and lowered ones are accepted as they are; raised ones are told and given back."""
    wanted = limits_of(full_profile(settings), auto_limits(settings))
    accepted = await accepted_limits(engine.database)
    news = {
        name: value
        for name, value in wanted.items()
        if name not in accepted or (stricter(accepted[name], value) == value != accepted[name])
    }
    if news:
        await _accept(engine, news, identity=FIRST if not accepted else "lowered in the settings")
    found = raised(accepted, wanted)
    for each in found:
        told = {"limit": limit_key(each.name), "mend": "finagent limits accept"}
        told |= {
            "accepted": shown_limit(each.name, each.accepted),
            "asked": shown_limit(each.name, each.wanted),
        }
        LOG.error("limits.raised", extra=told)
    return found


async def limits_document(settings: Settings, home: Path) -> Document:
    """``{raised: [{limit, accepted, wanted}], is_settled}``; works beside a running agent."""
    wanted = limits_of(full_profile(settings), auto_limits(settings))
    if not (home / DATABASE).exists():
        return {"raised": [], "is_settled": False}
    database = await open_stored(home, home / DATABASE, None)
    try:
        accepted = await accepted_limits(database)
    finally:
        await database.close()
    return {"raised": waiting_rows(raised(accepted, wanted)), "is_settled": bool(accepted)}


async def accept_limits(settings: Settings, home: Path, *, identity: str) -> Document:
    """Accept the limits of the settings; refused while an agent runs. ``{accepted: [{limit, accepted, wanted}]}``."""
    async with home_engine(settings, home) as engine:
        wanted = limits_of(full_profile(settings), auto_limits(settings))
        found = raised(await accepted_limits(engine.database), wanted)
        await _accept(engine, wanted, identity=identity)
        return {"accepted": waiting_rows(found)}


async def _accept(engine: Engine, values: dict[str, int | None], *, identity: str) -> None:
    tx = Tx()
    tx.put(LimitsAccepted(values=tuple(sorted(values.items())), by=identity))
    tx.put(Journalled(kind="limits_accepted", ref=identity[:64], data={"limits": dict(values)}))
    await engine.queue.commit(tx)

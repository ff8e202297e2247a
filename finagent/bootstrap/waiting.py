"""Waiting: what an entry that was said yes to still waits for, in words for whoever said it."""

from finagent.adapters.sqlite.views_values import maybe_instant
from finagent.bootstrap.engine import Engine
from finagent.domain.money import price_text
from finagent.domain.plan import PlanState


async def waits_for(engine: Engine, plan_id: str) -> str:
    """One sentence without its full stop, empty where nothing keeps the entry from leaving."""
    stored = await engine.store.plan(plan_id)
    if stored is None or stored.state not in (PlanState.APPROVED, PlanState.ARMED):
        return ""
    plan, now_ms = stored.plan, engine.clock.now_ms()
    until = f"until {maybe_instant(plan.entry_until_ms)}"
    session = engine.world.calendar.session_at(now_ms)
    if engine.world.market.is_halted(session, plan.symbol, now_ms):
        words = "it waits for the first price after the halt, which decides"
        return f"{plan.symbol} is halted: {words}, {until}"
    if stored.state is PlanState.ARMED and plan.trigger_e4 is not None:
        return f"It waits for its trigger {price_text(plan.trigger_e4)}, {until}"
    if now_ms < plan.entry_from_ms:
        return f"It leaves at {maybe_instant(plan.entry_from_ms)}, if risk and price still agree"
    return ""

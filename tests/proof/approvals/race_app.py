"""A running agent with its HTTP surface, in a process of its own, that puts questions when its parent asks for them.

Lines of JSON: out ``{"url"}`` once it serves; in ``{"ask": number, "symbols": [...]}``, out ``{"plans": [ids]}``.
"""

import asyncio
import json
import sys
from pathlib import Path

from finagent.api.serving import address, announced, bind, serving
from finagent.app import http_surface
from finagent.bootstrap import Agent, start_agent
from finagent.domain.approvals import make_request
from finagent.domain.facts import ApprovalRequested, PlanRecorded, PlanSized
from finagent.domain.market import MINUTE_MS, Direction
from finagent.domain.orders import plan_id
from finagent.domain.plan import ExitLeg, Management, Plan, PlanState, plan_hash
from finagent.domain.risk import RiskDecision
from finagent.domain.setups import Setup
from finagent.queue.port import Tx
from finagent.settings import Settings

SESSION, AT = "2026-11-04", "2026-11-04T09:45"
SHARES_E4 = 10_000
SETTINGS = Settings(approval={"ttl_minutes": 240}, ops={"log_level": "error"})  # type: ignore[arg-type]


async def a_plan(agent: Agent, symbol: str, number: int) -> Plan:
    """One share at the last price, armed far above it, so that nothing but the answer happens to it."""
    engine = agent.engine
    now_ms = engine.clock.now_ms()
    session = engine.world.calendar.session(SESSION)
    assert session is not None
    last = (await engine.world.market.last_prices([symbol], session, now_ms))[symbol]
    price_e4, tick = last.price_e4 // 100 * 100, f"race-{number:04d}"
    return Plan(
        plan_id=plan_id(engine.options.scope, session=SESSION, scan_tick=tick, symbol=symbol, version=1),
        version=1,
        session=SESSION,
        scan_tick=tick,
        symbol=symbol,
        rank=1,
        preset="structure",
        setup=Setup.PREMARKET_BREAK,
        direction=Direction.LONG,
        score_e6=500_000,
        reference_e4=price_e4,
        stop_e4=price_e4 * 8 // 1000 * 100,
        targets=(ExitLeg(leg="target-1", share_e6=1_000_000, price_e4=price_e4 * 3),),
        management=Management(),
        decided_at_ms=now_ms,
        entry_from_ms=now_ms,
        entry_until_ms=session.close_ms - 120 * MINUTE_MS,
        trigger_e4=price_e4 * 2,
        limit_e4=price_e4 * 2 + 100,
        quantity_e4=SHARES_E4,
    )


async def ask(agent: Agent, symbols: list[str], number: int) -> list[str]:
    """Put one question for each symbol, as planner, risk and approval leave it."""
    engine, ids = agent.engine, []
    for symbol in symbols:
        plan = await a_plan(agent, symbol, number)
        notional_e8 = plan.quantity_e4 * plan.reference_e4
        decision = RiskDecision(
            plan_id=plan.plan_id,
            version=1,
            is_approved=True,
            quantity_e4=plan.quantity_e4,
            notional_e8=notional_e8,
            worst_case_e8=notional_e8,
            caps=(("risk_per_trade", plan.quantity_e4),),
            binding_cap="risk_per_trade",
        )
        request = make_request(plan, engine.options.scope, now_ms=plan.decided_at_ms, ttl_ms=240 * MINUTE_MS)
        tx = Tx()
        tx.put(PlanRecorded(plan=plan, state=PlanState.PENDING))
        tx.put(PlanSized(plan=plan, plan_hash=plan_hash(plan), decision=decision))
        tx.put(
            ApprovalRequested(
                plan_id=plan.plan_id,
                plan_hash=request.plan_hash,
                nonce=request.nonce,
                expires_at_ms=request.expires_at_ms,
            )
        )
        await engine.queue.commit(tx)
        ids.append(plan.plan_id)
    return ids


def tell(**what: object) -> None:
    print(json.dumps(what), flush=True)


async def main(home: Path) -> None:
    agent = await start_agent(SETTINGS, home, at=AT)
    listening, _ = bind("127.0.0.1", 0, is_fixed=False)
    try:
        async with serving(http_surface(agent, SETTINGS, home), listening):
            with announced(home, address(listening), "now"):
                tell(url=address(listening))
                while line := await asyncio.to_thread(sys.stdin.readline):
                    wanted = json.loads(line)
                    tell(plans=await ask(agent, wanted["symbols"], wanted["ask"]))
    finally:
        await agent.stop()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))

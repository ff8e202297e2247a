"""The demo: one session of the built-in market, sped up; its first plan is asked for, the rest the policy decides."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from finagent.adapters.sqlite.results import day_document
from finagent.bootstrap import rules
from finagent.bootstrap.agent import Agent
from finagent.bootstrap.gauges import GaugeService
from finagent.bootstrap.homes import secrets_of
from finagent.bootstrap.runs import RunPlan, drive, forget, open_run, result_id, run_path
from finagent.bootstrap.sessions import chosen_sessions
from finagent.bootstrap.world import load_world
from finagent.context import Document
from finagent.domain.approvals import Verdict
from finagent.domain.plan import PlanState
from finagent.runtime.clock import SystemTicker, Ticker
from finagent.runtime.logs import set_up_logs
from finagent.runtime.metrics import Metrics
from finagent.runtime.timeline import ScaledPacer
from finagent.services.approval import Reply
from finagent.settings import Settings

DEMO_SESSION = "2026-11-04"
LOOK_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """How the demo runs; ``approve`` is ``ask`` (hold for the first plan) or ``policy``."""

    speed: float | None = None
    seed: int | None = None
    session: str | None = None
    hold_s: float = 30.0
    approve: str = "policy"


class Demo:
    """One session on its way; served like an agent."""

    def __init__(
        self, agent: Agent, plan: RunPlan, pacer: ScaledPacer, mode: "DemoMode", hold_s: float
    ) -> None:
        self._agent, self._plan, self._pacer, self._mode, self._hold_s = agent, plan, pacer, mode, hold_s
        self.context = agent.context
        self.metrics: Metrics = agent.metrics
        self.denials = agent.denials

    def health(self) -> Document:
        """As an agent's."""
        return self._agent.health()

    async def run(self) -> Document:
        """The session to its end, then the day's document."""
        hold = Hold(self._agent, self._pacer, self._mode, self._agent.engine.ticker, self._hold_s)
        engine = self._agent.engine
        await drive(engine, self._plan, hold, progress=None, beside=[GaugeService(engine)])
        date = self._plan.sessions[0].date
        return await self._agent.engine.database.read_fn(lambda conn: day_document(conn, date))

    async def stop(self) -> None:
        """Let go of the run's file."""
        await self._agent.stop()


@dataclass(slots=True)
class DemoMode:
    """Who approves at the moment: a person for the first plan, then the policy."""

    value: str

    def __call__(self) -> str:
        return self.value


class Hold:
    """A pacer that holds the virtual clock while the first plan waits for a person, for so long at most."""

    def __init__(
        self, agent: Agent, pacer: ScaledPacer, mode: DemoMode, ticker: Ticker, hold_s: float
    ) -> None:
        self._agent, self._pacer, self._mode, self._ticker, self._hold_s = agent, pacer, mode, ticker, hold_s

    async def until(self, T_ms: int) -> None:
        """Real time for a virtual instant, after the question of the moment is answered."""
        if self._mode.value == "approve":
            await self._answered()
        await self._pacer.until(T_ms)

    async def _answered(self) -> None:
        waiting = await self._waiting()
        if not waiting:
            return
        first, left_s = waiting[0], self._hold_s
        while left_s > 0 and first in await self._waiting():
            await self._ticker.sleep(LOOK_S)
            left_s -= LOOK_S
        self._mode.value = "policy"
        for plan_id in await self._waiting():
            reply = Reply(verdict=Verdict.APPROVE, channel="policy", identity="policy")
            await self._agent.engine.approvals.answer(plan_id, reply)
        await self._agent.engine.queue.wait_quiescent()

    async def _waiting(self) -> list[str]:
        engine = self._agent.engine
        date = engine.world.calendar.session_at(engine.clock.now_ms()).date
        plans = await engine.store.plans(date, states=(PlanState.PENDING,))
        return [stored.plan.plan_id for stored in plans]


async def start_demo(settings: Settings, home: Path, options: DemoOptions) -> Demo:
    """Open the demo's own file: an unfinished one goes on, a finished one starts over."""
    rules.checked(settings)
    (home / "logs").mkdir(parents=True, exist_ok=True)
    set_up_logs(secrets_of(home), level=settings.ops.log_level.upper(), folder=home / "logs", stderr=False)
    world = await asyncio.to_thread(load_world, settings, home, vendor="simulated", seed=options.seed)
    date = options.session or DEMO_SESSION
    sessions = chosen_sessions(world.calendar, date, date)
    identity = result_id(settings, data_id=world.data_id, first=date, last=date, at=f"demo-{options.approve}")
    plan = RunPlan(sessions=sessions, result_id=identity, path=run_path(home, identity))
    await forget(plan.path, only_finished=True)
    plan.path.parent.mkdir(parents=True, exist_ok=True)
    (home / "runs" / "last").write_text(identity + "\n", encoding="utf-8")
    mode = DemoMode("approve" if options.approve == "ask" and options.hold_s > 0 else "policy")
    engine = await open_run(settings, world, plan, approval_mode=mode, is_every_bar=True)
    agent = Agent(engine, home, mode="demo", run_id=identity)
    pacer = ScaledPacer(options.speed or float(settings.ops.demo_speed), SystemTicker())
    return Demo(agent, plan, pacer, mode, options.hold_s)

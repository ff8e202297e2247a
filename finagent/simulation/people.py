"""The person beside the agent: answers plans, at times twice, late, from two places; pauses, flattens, kills, locks."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from finagent.domain.approvals import Verdict
from finagent.ports import HaltError
from finagent.queue.errors import QueueError
from finagent.runtime.tasks import spawn
from finagent.services.approval import Outcome, Reply
from finagent.services.control import ControlService
from finagent.simulation.faults import Faults
from finagent.simulation.loop import Outside
from finagent.simulation.witness import SHARE_E4, Shown, Witness, Yes

Commands = ControlService
MOST_STEPS = (12, 60)
"""So many steps of the agent may lie between a plan that is to be entered and a word against it: within the decision,
or while the order leaves."""
TAKEN = ("approved", "rejected")
TOO_LATE = ("expired", "already_answered", "not_pending", "busy")
"""What an answer hears whose question is over."""
ASKED = """
SELECT a.plan_hash, a.nonce, a.expires_at, p.symbol, p.body FROM approval a JOIN plan p USING (plan_id)
WHERE a.plan_id = ?"""


class Desk(Protocol):
    """What a person finds: the agent, if it runs, and what its pages show."""

    def read(self, sql: str, *values: object) -> Sequence[object]:
        """One row of what is shown, empty where there is none."""

    def answer(self, plan_id: str, reply: Reply) -> Awaitable[Outcome] | None:
        """Send an answer; None while the agent is down."""

    @property
    def control(self) -> ControlService | None:
        """The controls, while the agent runs."""


class Person:
    """Acts by the seed; what they said is in the witness, whatever the agent made of it."""

    def __init__(
        self,
        desk: Desk,
        outside: Outside,
        faults: Faults,
        rng: random.Random,
        witness: Witness,
        *,
        say: Callable[[str], None],
        broken: Callable[[str, str], None],
    ) -> None:
        self._desk, self._outside, self._faults, self._rng = desk, outside, faults, rng
        self._witness, self._say, self._broken = witness, say, broken
        self._taken: dict[str, list[str]] = {}

    # ------------------------------------------------------------ plans
    def asked(self, plan_id: str) -> None:
        """A question appeared."""
        row = self._desk.read(ASKED, plan_id)
        if not row:
            return
        digest, nonce, expires_ms, symbol, body = row
        plan = json.loads(str(body))
        shown = Shown(
            plan_id, str(digest), str(symbol), plan["quantity_e4"], plan["limit_e4"], int(str(expires_ms))
        )
        self._witness.shown[plan_id] = shown
        chance = self._rng.random()
        if chance < 0.12:
            return  # nobody looks
        verdict = Verdict.REJECT if chance < 0.2 else Verdict.APPROVE
        reply = Reply(
            verdict=verdict, channel="http", identity="ann", nonce=str(nonce), plan_hash=str(digest)
        )
        now_ms = self._outside.now_ms
        at_ms = now_ms + self._rng.randrange(1_000, 60_000)
        if self._faults.strikes("answers_late"):
            # Mostly at the very end: later its own timer has ended the question long since.
            at_ms = shown.expires_ms + self._rng.choice((0, 0, self._rng.randrange(120_000)))
            self._faults.happened("answers_late")
        if self._faults.strikes("answers_changed") and shown.quantity_e4 > SHARE_E4:
            fewer_e4 = self._rng.randrange(1, shown.quantity_e4 // SHARE_E4) * SHARE_E4
            reply = Reply(verdict=verdict, channel="http", identity="ann", quantity_e4=fewer_e4)
            self._faults.happened("answers_changed")
        self._at(at_ms, shown, reply)
        if self._faults.strikes("answers_twice"):
            self._faults.happened("answers_twice")
            self._at(at_ms + self._rng.randrange(0, 3_000), shown, reply)
        if self._faults.strikes("answers_raced"):
            self._faults.happened("answers_raced")
            other = Verdict.APPROVE if verdict is Verdict.REJECT else Verdict.REJECT
            rival = Reply(
                verdict=other, channel="cli", identity="bob", nonce=str(nonce), plan_hash=str(digest)
            )
            self._at(at_ms + self._rng.randrange(0, 2), shown, rival)
        if self._faults.strikes("answers_replayed"):
            self._faults.happened("answers_replayed")
            self._at(at_ms + self._rng.randrange(60_000, 1_200_000), shown, reply)

    def _at(self, at_ms: int, shown: Shown, reply: Reply) -> None:
        self._outside.at(at_ms, lambda: self._answer(shown, reply))

    def _answer(self, shown: Shown, reply: Reply) -> None:
        answering = self._desk.answer(shown.plan_id, reply)
        if answering is None:
            if self._outside.now_ms < shown.expires_ms:  # nobody answers: a moment later again
                self._at(self._outside.now_ms + 5_000, shown, reply)
            return
        self._say(f"{reply.identity} says {reply.verdict} to {shown.plan_id} {shown.symbol}")
        if reply.verdict is Verdict.APPROVE:
            quantity_e4 = shown.quantity_e4 if reply.quantity_e4 is None else reply.quantity_e4
            self._witness.yes.setdefault(shown.plan_id, Yes(shown, self._said_ms(shown), quantity_e4))
        spawn(self._hear(answering, shown, reply, self._said_ms(shown)), "person")

    def _said_ms(self, shown: Shown) -> int:
        """When an answer was given; an agent whose clock was ever wrong cannot be held to ours."""
        now_ms, fired = self._outside.now_ms, self._faults.fired
        is_wrong = fired["clock_back"] or fired["clock_forward"]
        return min(now_ms, shown.expires_ms - 1) if is_wrong else now_ms

    async def _hear(self, answering: Awaitable[Outcome], shown: Shown, reply: Reply, said_ms: int) -> None:
        try:
            outcome = await answering
        except (QueueError, HaltError) as error:
            self._say(f"{reply.identity} hears {type(error).__name__}")
            return
        self._say(f"{reply.identity} hears {outcome.code} for {shown.plan_id}")
        if said_ms >= shown.expires_ms and outcome.code not in TOO_LATE:
            self._broken("yes_in_time", f"{shown.plan_id}: too late, and heard {outcome.code}")
        if outcome.code not in TAKEN:
            return
        taken = self._taken.setdefault(shown.plan_id, [])
        taken.append(f"{reply.identity} {outcome.code}")
        if len(taken) > 1:
            self._broken("approval_once", f"{shown.plan_id}: {', '.join(taken)}")
        if outcome.plan_id != shown.plan_id and reply.quantity_e4 is not None:
            self._witness.shown[outcome.plan_id] = shown
            self._witness.yes.setdefault(outcome.plan_id, Yes(shown, said_ms, reply.quantity_e4))

    # ------------------------------------------------------------ controls
    def plan_controls(self, from_ms: int, until_ms: int, symbols: Sequence[str]) -> None:
        """What they will switch in a session, and when they undo it."""
        rng = self._rng
        for kind in ("paused", "flattened", "killed", "locked"):
            if self._faults.strikes(kind):
                symbol = rng.choice(symbols) if kind == "locked" or rng.random() < 0.5 else None
                at_ms = rng.randrange(from_ms, until_ms)
                self._outside.at(at_ms, lambda kind=kind, symbol=symbol: self._switch(kind, symbol))  # type: ignore[misc]

    def think_again(self, symbol: str) -> None:
        """Something is about to be bought: just then they may stop it, while the agent takes its steps."""
        for most in MOST_STEPS:
            for kind in ("paused", "killed", "locked"):
                if self._faults.strikes(kind):
                    spawn(self._switch_soon(kind, symbol, self._rng.randrange(most)), "person")

    async def _switch_soon(self, kind: str, symbol: str, steps: int) -> None:
        for _ in range(steps):
            await asyncio.sleep(0)
        self._switch(kind, symbol)

    def open_all(self, symbols: Sequence[str]) -> None:
        """Undo whatever is switched: pause, kill, limits, locks."""
        control = self._desk.control
        if control is not None:
            self._do(control.rearm(identity="ann"))
            self._do(control.resume(identity="ann"))
            for symbol in symbols:
                self._do(control.lock(symbol, is_locked=False, identity="ann"))

    def _switch(self, kind: str, symbol: str | None) -> None:
        control = self._desk.control
        if control is None or self._faults.is_calm:
            return
        self._faults.happened(kind)
        self._say(f"ann: {kind} {symbol or ''}")
        wait_ms = self._rng.randrange(60_000, 600_000)
        if kind == "paused":
            self._do(control.pause(reason="lunch", identity="ann"))
        elif kind == "flattened":
            self._do(control.flatten(symbol=symbol, identity="ann"))
        elif kind == "killed":
            self._do(control.kill(reason="enough", identity="ann"))
        elif symbol is not None:
            self._do(control.lock(symbol, is_locked=True, identity="ann"))
        if self._rng.random() < 0.6:
            undo = [symbol] if symbol is not None else []
            self._outside.at(self._outside.now_ms + wait_ms, lambda: self.open_all(undo))

    def _do(self, work: Awaitable[object]) -> None:
        async def done() -> None:
            try:
                await work
            except (QueueError, HaltError) as error:
                self._say(f"hears {type(error).__name__}")

        spawn(done(), "person")

"""The commands of a surface over one engine: answers to plans, controls, jobs; each result is one sentence."""

import difflib
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace

from finagent.adapters.sqlite.queue import SqliteJobQueue
from finagent.adapters.sqlite.views_values import maybe_instant
from finagent.bootstrap.amounts import amount
from finagent.bootstrap.backtest_jobs import BacktestDesk
from finagent.bootstrap.by_hand import ByHand
from finagent.bootstrap.readers import SurfaceViews
from finagent.context import CommandResult, ExitCode, Json, SurfaceError
from finagent.domain.approvals import Verdict
from finagent.domain.journal import JsonData
from finagent.domain.money import PRICE_SCALE, SHARE_E4
from finagent.domain.orders import Scope
from finagent.domain.plan import PlanState
from finagent.domain.told import told
from finagent.queue.errors import QueueError
from finagent.queue.job import JobStatus
from finagent.queue.port import Tx
from finagent.services.approval import ApprovalService, Outcome, Reply
from finagent.services.control import ControlService

REFUSED = (
    "expired", "price_moved", "past_stop", "past_target", "stale_quote", "refused_by_risk", "already_answered",
    "not_pending", "auction_missed", "hash_mismatch", "nonce_mismatch", "quantity_grows", "stop_widens",
    "edit_too_tight", "busy",
)  # fmt: skip
MENDS: Mapping[str, str] = {
    "expired": "the next scan may bring a new plan",
    "edit_too_tight": "give a wider stop, or approve the plan as it is",
    "busy": "try again",
}
MOST_REF = 64
MOST_DETAIL = 300
ACCEPT = "finagent limits accept, while no agent runs"
NOBODY_SENDS = "No agent runs here: nothing is sent until finagent orchestrate does"

STATES: Mapping[JobStatus, str] = {JobStatus.LEASED: "running", JobStatus.READY: "ready already"}


class EngineCommands:
    """Commands of context.Commands."""

    def __init__(
        self,
        approvals: ApprovalService,
        control: ControlService,
        queue: SqliteJobQueue,
        views: SurfaceViews,
        scope: Scope,
        symbols: Callable[[], Collection[str]],
        is_running: Callable[[], bool],
        by_hand: ByHand | None = None,
        backtests: BacktestDesk | None = None,
        waits: Callable[[str], Awaitable[str]] | None = None,
    ) -> None:
        self._approvals = approvals
        self._control = control
        self._queue = queue
        self._views = views
        self._scope = scope
        self._symbols = symbols
        self._is_running = is_running
        self._by_hand = by_hand
        self._backtests = backtests
        self._waits = waits

    async def approve(
        self,
        plan_id: str,
        *,
        channel: str,
        identity: str,
        quantity: str | None = None,
        stop: str | None = None,
        nonce: str | None = None,
        plan_hash: str | None = None,
    ) -> CommandResult:
        try:
            quantity_e4 = None if quantity is None else amount(quantity, SHARE_E4, "--qty")
            stop_e4 = None if stop is None else amount(stop, PRICE_SCALE, "--stop")
        except SurfaceError as error:
            told = {"verdict": Verdict.APPROVE.value, "channel": channel, "identity": identity}
            await self._refused_here("answer_refused", plan_id, error, told)
            raise
        reply = Reply(
            verdict=Verdict.APPROVE,
            channel=channel,
            identity=identity,
            nonce=nonce,
            plan_hash=plan_hash,
            quantity_e4=quantity_e4,
            stop_e4=stop_e4,
        )
        return await self._answer(plan_id, reply)

    async def reject(self, plan_id: str, *, channel: str, identity: str, reason: str = "") -> CommandResult:
        reply = Reply(verdict=Verdict.REJECT, channel=channel, identity=identity, reason=reason)
        return await self._answer(plan_id, reply)

    async def add_fill(
        self,
        plan_id: str,
        *,
        leg: str,
        price: str,
        quantity: str,
        identity: str,
        at: str | None = None,
        fees: str | None = None,
        name: str | None = None,
        is_again: bool = False,
        is_average: bool = False,
        is_sure: bool = False,
    ) -> CommandResult:
        try:
            return await self._desk().add_fill(
                await self._views.plan_id(plan_id),
                leg=leg,
                price=price,
                quantity=quantity,
                identity=identity,
                at=at,
                fees=fees,
                name=name,
                is_again=is_again,
                is_average=is_average,
                is_sure=is_sure,
            )
        except SurfaceError as error:
            await self._refused_here("fill_refused", plan_id, error, {"by": identity})
            raise

    async def end_ticket(self, plan_id: str, *, leg: str, reason: str, identity: str) -> CommandResult:
        try:
            full_id = await self._views.plan_id(plan_id)
            return await self._desk().end(full_id, leg=leg, reason=reason, identity=identity)
        except SurfaceError as error:
            await self._refused_here("fill_refused", plan_id, error, {"by": identity})
            raise

    async def _refused_here(
        self, kind: str, ref: str, error: SurfaceError, by: Mapping[str, JsonData]
    ) -> None:
        """What never reaches a service is journalled all the same: who asked, and why not."""
        data = {**by, "reason": error.code, "detail": error.message[:MOST_DETAIL]}
        await self._tell(kind, ref[:MOST_REF], data)

    async def _tell(self, kind: str, ref: str, data: Mapping[str, JsonData]) -> None:
        """A row for what a person did here and no service decided."""
        tx = Tx()
        for fact in told(kind, ref, dict(data)):
            tx.put(fact)
        await self._queue.commit(tx)

    def _desk(self) -> ByHand:
        if self._by_hand is None:
            raise SurfaceError(
                "the broker of this home tells its fills itself",
                hint="fills are told by hand with broker.name: manual only",
                code="not_manual",
                exit_code=ExitCode.REFUSED,
            )
        return self._by_hand

    async def pause(self, *, reason: str, identity: str) -> CommandResult:
        await self._control.pause(reason=reason, identity=identity)
        return CommandResult(code="paused", message="Paused: no new entries; exits go on.")

    async def resume(self, *, identity: str) -> CommandResult:
        refused = await self._control.resume(identity=identity)
        if refused is not None:
            return CommandResult(
                code="not_resumed",
                message=f"Not resumed: {refused}. Only rearm opens entries after a kill or a loss limit.",
                exit_code=ExitCode.REFUSED,
            )
        return CommandResult(code="resumed", message="Resumed: entries are possible again.")

    async def flatten(
        self, *, symbol: str | None, identity: str, include_external: bool = False
    ) -> CommandResult:
        count = await self._control.flatten(
            symbol=symbol, identity=identity, include_external=include_external
        )
        what = f"in {symbol}" if symbol else "everywhere, and entries are paused"
        also = " What finagent did not open is sold, too." if include_external else ""
        return CommandResult(
            code="flattening",
            message=f"Flattening {what}: {count} positions in scope; entries are cancelled.{also}",
            data={"positions": count, "symbol": symbol},
        )

    async def kill(self, *, reason: str, identity: str, include_external: bool = False) -> CommandResult:
        count = await self._control.kill(reason=reason, identity=identity, include_external=include_external)
        also = " What finagent did not open is sold, too." if include_external else ""
        return CommandResult(
            code="killed",
            message=f"Killed: {count} positions are being closed, no entry until finagent rearm.{also}",
            data={"positions": count},
        )

    async def rearm(self, *, identity: str) -> CommandResult:
        if await self._control.rearm(identity=identity) is not None:
            return CommandResult(
                code="not_rearmed",
                message="Not rearmed: orders from before the restore are still being compared with the broker, "
                "cancelled and closed. Start the agent, wait until finagent status names none of them, and rearm.",
                exit_code=ExitCode.REFUSED,
            )
        still = await self._still_shut()
        words = f"but {still}" if still else "entries are possible again"
        return CommandResult(code="rearmed", message=f"Rearmed: {words}.")

    async def _still_shut(self) -> str:
        """What a rearm does not open: the day's loss, and a gate shut for damage or a difference."""
        found = await self._views.risk()
        control = found.get("control")
        gate = control.get("gate_reason") if isinstance(control, dict) else None
        if gate is not None:
            return f"entries stay shut: {gate}"
        tier = found.get("loss_tier")
        if not tier:
            return ""
        words = f"the day's loss is still at its {tier} limit: no entry before the next session"
        waiting = found.get("waiting_limits")
        rows = [each for each in waiting if isinstance(each, dict)] if isinstance(waiting, list) else []
        raised = ", ".join(
            f"{each['limit']} {each['accepted']} -> {each['wanted']}"
            for each in rows
            if str(each["limit"]).startswith(("pause_loss", "flatten_loss"))
        )
        return f"{words}. Raised and not in force ({ACCEPT}): {raised}" if raised else words

    async def lock(self, symbol: str, *, identity: str, force: bool = False) -> CommandResult:
        known = self._symbols()
        if known and symbol not in known and not force:
            raise SurfaceError(
                f"no symbol {symbol} among the {len(known)} of this market",
                hint=_nearest(symbol, known) + "--force locks it all the same",
                code="unknown_symbol",
            )
        await self._control.lock(symbol, is_locked=True, identity=identity)
        rests = await self._control.resting_entries(symbol)
        note = f" {rests} entry orders rest in it: finagent flatten {symbol} cancels them." if rests else ""
        return CommandResult(code="locked", message=f"{symbol} is locked: no entries in it.{note}")

    async def unlock(self, symbol: str, *, identity: str) -> CommandResult:
        await self._control.lock(symbol, is_locked=False, identity=identity)
        return CommandResult(code="unlocked", message=f"{symbol} is unlocked.")

    async def acknowledge(self, symbols: Sequence[str], *, identity: str) -> CommandResult:
        done, unknown = await self._control.acknowledge(symbols, identity=identity)
        if unknown:
            raise SurfaceError(
                f"the account holds no {', '.join(unknown)} that finagent did not open",
                hint="finagent external list shows what it holds",
                code="unknown_symbol",
            )
        what = ", ".join(done) if done else "nothing: no holding waits"
        return CommandResult(
            code="acknowledged",
            message=f"Acknowledged {what}. What is not ours is never sold and not traded.",
            data={"symbols": [*done]},
        )

    async def note(self, text: str, *, ref: str, identity: str) -> CommandResult:
        await self._control.note(text, ref=ref, identity=identity)
        return CommandResult(code="noted", message="Noted.")

    async def retry_job(self, job_id: int, *, identity: str) -> CommandResult:
        try:
            is_done = await self._queue.retry(job_id)
        except QueueError as error:
            raise SurfaceError(str(error), hint="finagent jobs ls", code="unknown_job") from None
        if not is_done:
            return await self._not_done(
                job_id, "not_retried", "only one that is scheduled, dead or cancelled can be retried"
            )
        await self._tell("job_retried", str(job_id), {"by": identity})
        return CommandResult(code="retried", message=f"Job {job_id} is ready again.")

    async def cancel_job(self, job_id: int, *, identity: str) -> CommandResult:
        try:
            is_done = await self._queue.cancel(job_id)
        except QueueError as error:
            raise SurfaceError(str(error), hint="finagent jobs ls", code="unknown_job") from None
        if is_done:
            await self._tell("job_cancelled", str(job_id), {"by": identity})
            return CommandResult(code="cancelled", message=f"Job {job_id} is cancelled: it will not run.")
        if self._backtests is not None and self._backtests.cancel(job_id, identity):
            await self._tell("job_cancelled", str(job_id), {"by": identity})
            return CommandResult(code="cancelling", message=f"Job {job_id} runs and is told to end.")
        return await self._not_done(job_id, "not_cancelled", "only one that waits can be cancelled")

    async def backtest(self, asked: Mapping[str, Json], *, identity: str) -> CommandResult:
        if self._backtests is None:
            raise SurfaceError("a run takes no backtests", hint="ask the agent of a home", code="not_here")
        found = await self._backtests.publish(asked)
        if self._is_running():
            return found
        return replace(
            found, message=f"{found.message} No agent runs here: finagent orchestrate computes it."
        )

    async def _not_done(self, job_id: int, code: str, rule: str) -> CommandResult:
        job = await self._queue.get(job_id)
        state = "gone" if job is None else STATES.get(job.status, job.status.value)
        return CommandResult(
            code=code,
            message=f"Job {job_id} is {state}: {rule}.",
            exit_code=ExitCode.REFUSED,
            data={"status": job.status.value if job is not None else None},
        )

    async def redrive_jobs(self, type: str | None, *, identity: str) -> CommandResult:
        try:
            count = await self._queue.redrive(type)
        except QueueError as error:
            raise SurfaceError(str(error), hint="finagent jobs stats", code="unknown_type") from None
        if count:
            await self._tell("jobs_redriven", type or "", {"by": identity, "jobs": count})
        return CommandResult(
            code="redriven",
            message=f"{count} dead {'job is' if count == 1 else 'jobs are'} ready again.",
            data={"jobs": count},
        )

    async def _answer(self, plan_id: str, reply: Reply) -> CommandResult:
        try:
            full_id = await self._views.plan_id(plan_id)
        except SurfaceError:
            await self._approvals.answer(plan_id[:MOST_REF], reply)  # journalled as refused, like any other
            raise
        if reply.verdict is Verdict.APPROVE and reply.plan_hash is None and not full_id.startswith(plan_id):
            await self._never_in_place_of_another(full_id, reply)
        outcome = await self._approvals.answer(full_id, reply)
        waits = ""
        if outcome.code == "approved":
            is_running = self._is_running()
            waits = (
                NOBODY_SENDS if not is_running else await self._waits(outcome.plan_id) if self._waits else ""
            )
        return self._result(outcome, reply.verdict, waits)

    async def _never_in_place_of_another(self, full_id: str, reply: Reply) -> None:
        """A symbol stands for the plan the person saw: one that took its place since is approved by its id alone."""
        plan = await self._views.plan(full_id)
        if plan["version"] == 1 or plan["state"] != PlanState.PENDING:
            return
        error = SurfaceError(
            f"{plan['symbol']} waits as version {plan['version']}, which took the place of the plan before:"
            f" entry {plan['entry']}, stop {plan['stop']}, target {plan['target']}, {plan['quantity']} shares",
            hint=f"look at it and approve it by its id: finagent approve {full_id}",
            code="changed",
            exit_code=ExitCode.REFUSED,
        )
        told = {"verdict": reply.verdict.value, "channel": reply.channel, "identity": reply.identity}
        await self._refused_here("answer_refused", full_id, error, told)
        raise error

    def _result(self, outcome: Outcome, verdict: Verdict, waits: str) -> CommandResult:
        data: dict[str, Json] = {"plan_id": outcome.plan_id}
        if outcome.fresh_plan_id is not None:
            data["fresh_plan_id"] = outcome.fresh_plan_id
            data["fresh_at"] = maybe_instant(outcome.fresh_at_ms)
        detail = outcome.detail.rstrip(".")
        if outcome.code not in REFUSED:
            words = f"{detail}. {waits}." if waits else f"{detail}."
            return CommandResult(code=outcome.code, message=words, data=data)
        mend = self._mend(outcome)
        done = "approved" if verdict is Verdict.APPROVE else "rejected"
        return CommandResult(
            code=outcome.code, message=f"Not {done} ({outcome.code}): {detail}. {mend[0].upper()}{mend[1:]}.",
            exit_code=ExitCode.REFUSED, data=data,
        )  # fmt: skip

    def _mend(self, outcome: Outcome) -> str:
        """What to do now; a plan that takes the place of this one is named, and when it comes."""
        fresh = outcome.fresh_plan_id
        if fresh is None:
            return MENDS.get(outcome.code, "look at it again: finagent plans")
        if outcome.code == "already_answered":
            return f"plan {fresh} has taken its place"
        if not self._is_running():
            return f"a fresh plan {fresh} is made once an agent runs: finagent orchestrate"
        if outcome.fresh_at_ms is not None:
            at = maybe_instant(outcome.fresh_at_ms)
            return (
                f"a fresh plan {fresh} follows once the first minute has ended, at {at}, if its setup holds"
            )
        return f"a fresh plan {fresh} is being made, if its setup still holds: finagent plans"


def _nearest(symbol: str, known: Collection[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(symbol, names, n=3, cutoff=0.6)
    near = near or difflib.get_close_matches(symbol, names, n=1, cutoff=0.0)
    return f"The nearest is {', '.join(near)}; "

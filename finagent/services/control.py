"""Control: what a person switches: pause, resume, flatten, kill, rearm, locks and notes, each one commit."""

from collections.abc import Sequence
from dataclasses import dataclass

from finagent.domain.external import unseen
from finagent.domain.facts import (
    ACCOUNT_ROW,
    ControlChanged,
    ExternalAcknowledged,
    Journalled,
    RecoveryMoved,
    SymbolLocked,
)
from finagent.domain.journal import JsonData
from finagent.domain.legs import ENTRY
from finagent.domain.market import Session
from finagent.domain.orders import TERMINAL_ORDER_STATES
from finagent.domain.recovery import LostTime, RecoveryState
from finagent.domain.steps import Step
from finagent.ports import CalendarPort, Clock, JobQueue, JsonValue, NewJob, Store, Tx


@dataclass(frozen=True, slots=True)
class ControlService:
    """Commands of a person; each journals who asked, and each is safe to repeat."""

    store: Store
    queue: JobQueue
    calendar: CalendarPort
    clock: Clock

    async def pause(self, *, reason: str, identity: str) -> None:
        """No new entries."""
        await self._change(await self._pause(reason), "pause", identity, reason)

    async def resume(self, *, identity: str) -> str | None:
        """Undo a person's pause; gives the reason when it is not a person's to undo."""
        control = await self.store.control()
        if control.needs_rearm or control.is_killed:
            return "rearm_needed"
        if control.paused_by == "person and risk":
            risks = ControlChanged(is_paused=True, pause_reason="daily loss pause", paused_by="risk")
            await self._change(risks, "resume", identity, "risk's pause stays")
            return "daily loss pause"
        if control.is_paused and control.paused_by != "person":
            return control.pause_reason or "paused_by_risk"
        await self._change(ControlChanged(is_paused=False), "resume", identity, "")
        return None

    async def flatten(
        self,
        *,
        symbol: str | None,
        identity: str,
        reason: str = "flatten",
        pause_reason: str = "flattened",
        include_external: bool = False,
    ) -> int:
        """Cancel entries and close positions in scope; without a symbol it pauses too. Gives the positions in scope.

        ``include_external`` also closes the holdings in scope that finagent did not open.
        """
        tx = Tx()
        if include_external:
            await self._sell_external(symbol, identity, reason, tx)
        if symbol is None:
            tx.put(await self._pause(pause_reason))
        await self._commit_flatten(tx, symbol=symbol, identity=identity, reason=reason)
        held = await self.store.open_positions()
        return sum(symbol is None or each.plan.symbol == symbol for each in held)

    async def kill(self, *, reason: str, identity: str, include_external: bool = False) -> int:
        """Lock entries until rearmed, cancel, close (what is not ours only on demand). Gives the open positions."""
        tx = Tx()
        if include_external:
            await self._sell_external(None, identity, "kill", tx)
        tx.put(
            ControlChanged(
                is_paused=True,
                pause_reason=f"killed: {reason}" if reason else "killed",
                paused_by="person",
                is_killed=True,
                needs_rearm=True,
            )
        )
        await self._commit_flatten(tx, symbol=None, identity=identity, reason="kill")
        return len(await self.store.open_positions())

    async def rearm(self, *, identity: str) -> str | None:
        """Open entries after a kill, a loss limit or a restore; a gate shut for damage or a difference stays shut.

        Gives a reason when it is too early: the orders of a restore's lost time are not all taken over and closed.
        """
        lost = await self.store.lost_time()
        if lost.is_open and not lost.is_settled:
            return "recovering"
        change = ControlChanged(is_paused=False, is_killed=False, needs_rearm=False)
        await self._change(change, "rearm", identity, "", *self._ends(lost))
        tx = Tx()
        self._compare_again("rearm", tx)
        await self.queue.commit(tx)
        return None

    def _ends(self, lost: LostTime) -> tuple[RecoveryMoved, ...]:
        return (RecoveryMoved(to_state=RecoveryState.ENDED),) if lost.is_open else ()

    async def lock(self, symbol: str, *, is_locked: bool, identity: str) -> None:
        """No entries in a symbol, or again."""
        kind = "lock" if is_locked else "unlock"
        await self._change(SymbolLocked(symbol=symbol, is_locked=is_locked), kind, identity, symbol)

    async def acknowledge(
        self, symbols: Sequence[str], *, identity: str
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Know of external holdings (none named: of all that wait): (acknowledged, not held); all or none."""
        held = {each.symbol: each for each in await self.store.external()}
        unknown = tuple(sorted(set(symbols) - held.keys()))
        wanted = [held[name] for name in sorted(set(symbols) & held.keys())] or list(unseen(held.values()))
        if unknown or not wanted:
            return (), unknown
        tx = Tx()
        for each in wanted:
            tx.put(ExternalAcknowledged(symbol=each.symbol, quantity_e4=each.quantity_e4, identity=identity))
            data: dict[str, JsonData] = {"by": identity, "quantity_e4": each.quantity_e4}
            tx.put(Journalled(kind="external_acknowledged", ref=each.symbol, data=data))
        tx.touch(ACCOUNT_ROW)
        self._compare_again("acknowledged", tx)
        await self.queue.commit(tx)
        return tuple(each.symbol for each in wanted), ()

    async def resting_entries(self, symbol: str) -> int:
        """How many entry orders of a symbol are on their way or at the broker."""
        live = await self.store.live_orders()
        return sum(order.intent.symbol == symbol and order.intent.leg == ENTRY for order in live)

    async def note(self, text: str, *, ref: str, identity: str) -> None:
        """A person's words in the journal."""
        tx = Tx()
        tx.put(Journalled(kind="note", ref=ref, data={"text": text[:4000], "by": identity}))
        await self.queue.commit(tx)

    async def is_flat(self) -> bool:
        """Whether nothing is open and nothing works at the broker."""
        if await self.store.open_positions():
            return False
        return all(order.state in TERMINAL_ORDER_STATES for order in await self.store.live_orders())

    async def _sell_external(self, symbol: str | None, identity: str, reason: str, tx: Tx) -> None:
        """A job for each holding in scope that is not ours, and the person's word for it in the journal."""
        session, now_ms = self._session(), self.clock.now_ms()
        held = [each for each in await self.store.external() if symbol in (None, each.symbol)]
        for each in held:
            payload: dict[str, JsonValue] = {"symbol": each.symbol, "reason": reason}
            key = f"{session.date}/{reason}/{each.symbol}/{now_ms}"
            tx.enqueue(NewJob(Step.SELL_EXTERNAL, payload, idem_key=key, key=f"external {each.symbol}"))
        data: dict[str, JsonData] = {
            "by": identity,
            "reason": reason,
            "quantities_e4": {each.symbol: each.quantity_e4 for each in held},
        }
        tx.put(Journalled(kind="external_included", ref=session.date, data=data))

    async def _pause(self, reason: str) -> ControlChanged:
        """A person's pause; one of risk's stays, or ``resume`` could undo it, and the person's outlives its session."""
        control = await self.store.control()
        if control.is_paused and control.paused_by == "risk":
            both = f"{reason or 'paused'}; {control.pause_reason}"
            return ControlChanged(is_paused=True, pause_reason=both, paused_by="person and risk")
        if control.is_paused and control.paused_by != "person":
            return ControlChanged(
                is_paused=True, pause_reason=control.pause_reason, paused_by=control.paused_by
            )
        return ControlChanged(is_paused=True, pause_reason=reason, paused_by="person")

    async def _commit_flatten(self, tx: Tx, *, symbol: str | None, identity: str, reason: str) -> None:
        session = self._session()
        now_ms = self.clock.now_ms()
        payload: dict[str, JsonValue] = {"session": session.date, "symbol": symbol, "reason": reason}
        tx.enqueue(NewJob(Step.FLATTEN, payload, idem_key=f"{session.date}/{reason}/{symbol}/{now_ms}"))
        data: dict[str, JsonData] = {"by": identity, "symbol": symbol, "reason": reason}
        tx.put(Journalled(kind=reason, ref=session.date, data=data))
        tx.touch(ACCOUNT_ROW)
        await self.queue.commit(tx)

    async def _change(
        self,
        fact: ControlChanged | SymbolLocked,
        kind: str,
        identity: str,
        detail: str,
        *also: RecoveryMoved,
    ) -> None:
        tx = Tx()
        for each in (fact, *also):
            tx.put(each)
        tx.put(Journalled(kind=kind, ref=self._session().date, data={"by": identity, "detail": detail}))
        tx.touch(ACCOUNT_ROW)
        await self.queue.commit(tx)

    def _compare_again(self, reason: str, tx: Tx) -> None:
        """The gate follows a comparison, not a person's word."""
        session, now_ms = self._session(), self.clock.now_ms()
        payload: dict[str, JsonValue] = {"session": session.date, "reason": reason}
        tx.enqueue(NewJob(Step.RECONCILE, payload, idem_key=f"{session.date}/{reason}/{now_ms}"))

    def _session(self) -> Session:
        return self.calendar.session_at(self.clock.now_ms())

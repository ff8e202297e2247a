"""Tie-out: after each close the broker's equity is held against fills, fees, cash flows and what is not ours."""

from collections.abc import Sequence
from dataclasses import dataclass

from finagent.domain.facts import AccountSeen, Journalled
from finagent.domain.journal import JsonData
from finagent.domain.orders import BrokerCashFlow, BrokerFill
from finagent.domain.steps import Step
from finagent.domain.tie_out import AccountSnapshot, TieOut, snapshot, tie_out
from finagent.ports import CalendarPort, Clock, Job, OrderExecutionPort, Store, Tx
from finagent.runtime.service import ServiceContract

CONTRACT = ServiceContract(name="tie_out", consumes=(Step.TIE_OUT,), needs=("queue", "broker"))


@dataclass(frozen=True, slots=True)
class TieOutService:
    """Takes ``tie_out {session}`` jobs; ``start_equity_e8`` is the beginning of an account that only we trade.

    With None (a broker outside) the first close is only remembered: nobody knows what was before.
    """

    store: Store
    broker: OrderExecutionPort
    calendar: CalendarPort
    clock: Clock
    start_equity_e8: int | None

    async def handle(self, job: Job, tx: Tx) -> None:
        """Remember the account, and journal what nothing explains."""
        date = str(job.payload["session"])
        before = await self._before(date)
        ours_e4: dict[str, int] = {}
        for held in await self.store.open_positions():
            symbol = held.plan.symbol
            ours_e4[symbol] = ours_e4.get(symbol, 0) + held.position.quantity_e4
        own, fill_seq = await self.store.fills_after(before.fill_seq if before is not None else 0)
        account = await self.broker.account()
        now = snapshot(
            date,
            self.clock.now_ms(),
            equity_e8=account.equity_e8,
            positions=await self.broker.positions(),
            ours_e4=ours_e4,
            fill_seq=fill_seq,
        )
        if now is None:
            return
        flows = await self._flows(before, date)
        found: TieOut | None = None
        if before is not None:
            foreign = await self._foreign(before, date)
            is_outside = self.start_equity_e8 is None
            found = tie_out(before, now, own=own, foreign=foreign, flows=flows, cent_per_fill=is_outside)
        tx.put(AccountSeen(snapshot=now, tie_out=found, flows=tuple(flows)))
        if found is not None and not found.is_tied:
            tx.put(Journalled(kind="tie_out", ref=date, data=_data(found)))

    async def _before(self, date: str) -> AccountSnapshot | None:
        found = await self.store.account_before(date)
        if found is None and self.start_equity_e8 is not None:
            return AccountSnapshot(session="", at_ms=0, fill_seq=0, equity_e8=self.start_equity_e8)
        return found

    def _dates(self, before: AccountSnapshot | None, date: str) -> list[str]:
        """The sessions whose lists may hold what happened since."""
        session = self.calendar.session(date)
        first = before.session if before is not None and before.session else None
        if first is None:
            first = session.previous if session is not None else date
        return [each.date for each in self.calendar.sessions(first, date)] or [date]

    async def _flows(self, before: AccountSnapshot | None, date: str) -> list[BrokerCashFlow]:
        """Cash flows that no tie-out has counted, each once."""
        listed: dict[str, BrokerCashFlow] = {}
        for each in self._dates(before, date):
            listed |= {flow.flow_id: flow for flow in await self.broker.cash_flows(session=each)}
        counted = await self.store.counted_flows(list(listed))
        return [flow for flow_id, flow in sorted(listed.items()) if flow_id not in counted]

    async def _foreign(self, before: AccountSnapshot, date: str) -> Sequence[BrokerFill]:
        """Executions since the snapshot before that are none of our fills."""
        listed: dict[str, BrokerFill] = {}
        for each in self._dates(before, date):
            listed |= {fill.execution_id: fill for fill in await self.broker.fills(session=each)}
        ours = await self.store.recorded(list(listed))
        return [
            fill
            for execution_id, fill in sorted(listed.items())
            if execution_id not in ours and fill.at_ms > before.at_ms
        ]


def _data(found: TieOut) -> dict[str, JsonData]:
    return {
        "baseline": found.baseline,
        "change_e8": found.change_e8,
        "pnl_e8": found.pnl_e8,
        "fees_e8": found.fees_e8,
        "flows_e8": found.flows_e8,
        "external_change_e8": found.external_change_e8,
        "difference_e8": found.difference_e8,
    }

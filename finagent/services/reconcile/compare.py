"""Reconcile: the broker against the journal; what can be adopted is, what cannot shuts the entry gate and pages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from finagent.domain.book import OpenPosition, position_pnl_e8
from finagent.domain.broker_event import ended_key, ended_payload, fill_payload
from finagent.domain.day_start import day_start, day_start_data, external_value_e8, is_due
from finagent.domain.external import ExternalHolding, unseen
from finagent.domain.facts import (
    ACCOUNT_ROW,
    ControlChanged,
    DayStarted,
    DifferencesFound,
    ExternalSeen,
    FillRecovered,
    IntentRecorded,
    Journalled,
)
from finagent.domain.journal import JsonData
from finagent.domain.manual import MANUAL, PART, manual_exit, manual_fills
from finagent.domain.market import Session
from finagent.domain.orders import Scope, body_hash, is_ours, next_generation
from finagent.domain.positions import entry_price_e4, has_entry
from finagent.domain.reconcile import (
    BrokerLook,
    Difference,
    DifferenceKind,
    OrderFindings,
    OwnLook,
    ShareFinding,
    believable,
    compare_orders,
    compare_shares,
    stranded,
)
from finagent.domain.recovery import LostTime, RecoveredFill, written_off
from finagent.domain.steps import Step
from finagent.ports import (
    CalendarPort,
    Clock,
    Job,
    JobQueue,
    JsonValue,
    MarketDataPort,
    NewJob,
    OrderExecutionPort,
    Store,
    Tx,
)
from finagent.runtime.service import ServiceContract
from finagent.services.reconcile.arrival import ArrivalDesk
from finagent.services.reconcile.recovery import Recovered, RecoveryDesk

BETWEEN_LOOKS_MS = 2_000
"""A change nobody of us made must be there in two looks so far apart before anything follows from it."""
GATE = "reconcile"
"""The one reason for which this service shuts and opens the entry gate."""
CONTRACT = ServiceContract(name="reconcile", consumes=(Step.RECONCILE,), needs=("queue", "broker"))


@dataclass(frozen=True, slots=True)
class Before:
    """What the look before this one saw and left: shares by symbol that were in dispute, orders told to be adopted."""

    shares_e4: Mapping[str, int]
    adopted: tuple[str, ...]

    @classmethod
    def of(cls, payload: Mapping[str, JsonValue]) -> "Before":
        """From a job's payload; empty for a first look."""
        shares, adopted = payload.get("shares"), payload.get("adopted")
        return cls(
            {symbol: n for symbol, n in shares.items() if isinstance(n, int)}
            if isinstance(shares, dict)
            else {},
            tuple(str(each) for each in adopted) if isinstance(adopted, list) else (),
        )


@dataclass(slots=True)
class Verdict:
    """What one look leads to: differences, and what the next look must confirm."""

    differences: list[Difference]
    again: bool = False
    told: list[str] = field(default_factory=list)
    """What of a restore's lost time the next look need not look at again at once."""


@dataclass(frozen=True, slots=True)
class ReconcileService:
    """Takes ``reconcile {session, reason}`` jobs; ``compare`` is asked before services start, too."""

    store: Store
    queue: JobQueue
    broker: OrderExecutionPort
    market: MarketDataPort
    calendar: CalendarPort
    clock: Clock
    scope: Scope
    is_outside: bool = False
    """The account is at a broker outside: its capital is read there, once a session."""

    async def handle(self, job: Job, tx: Tx) -> None:
        """Compare; a difference is journalled and blocks entries until it is gone."""
        if job.payload["reason"] == "unknown":
            await ArrivalDesk(self.store, self.broker, self.clock).resolve(job, tx)
            return
        await self.compare(tx, before=Before.of(job.payload))

    async def compare(self, tx: Tx, *, before: Before | None = None) -> Sequence[Difference]:
        """One look at the broker: adopt its ends and executions, see whose the shares are, keep the gate.

        ``before`` is what the look before saw; a first look adopts no change of shares.
        """
        version = await self.queue.row_version(ACCOUNT_ROW)
        session = self.calendar.session_at(self.clock.now_ms())
        lost = await self.store.lost_time()
        own, broker = await self._look(session, lost)
        recovered = await self._recovery.adopt(lost, own, broker, session, tx)
        lost = recovered.lost
        own = replace(own, recovered=lost.order_ids, recovered_e4=lost.shares_e4)
        orders = compare_orders(own, broker)
        orders = replace(orders, doubtful=orders.doubtful | recovered.moving)
        shares = compare_shares(own, broker, orders)
        if shares:  # a list that was cut is rarely cut twice
            broker = replace(
                broker, positions=await self.broker.positions(), account=await self.broker.account()
            )
            shares = compare_shares(own, broker, orders)
        is_known = recovered.is_quiet and not shares and not orders.fills
        if self.is_outside and before is not None and is_known:
            await self._see_day_start(session, own, broker, tx)
        before = before or Before({}, ())
        verdict = _begun(orders, recovered, before)
        await self._book_lost_exits(own, broker, lost, tx)
        self._adopt_orders(own, orders, before, verdict, tx)
        await self._end_orphans(orders, before, verdict)
        await self._judge_shares(own, broker, shares, before, verdict, tx)
        is_quiet = not (verdict.again or shares or orders.differences)
        self._recovery.settle(recovered, is_quiet=is_quiet, tx=tx)
        left = [*verdict.differences, *stranded(own.positions, session.date)]
        self._look_again(session, orders, shares, verdict, tx)
        await self.keep_gate(session, left, tx)
        if not tx.is_empty:
            tx.expect(ACCOUNT_ROW, version)
        return left

    @property
    def _recovery(self) -> RecoveryDesk:
        return RecoveryDesk(self.store, self.broker, self.calendar, self.clock)

    async def differences(self) -> Sequence[Difference]:
        """What a first look finds now; nothing is stored."""
        return await self.compare(Tx())

    # ------------------------------------------------------------ looking
    async def _look(self, session: Session, lost: LostTime) -> tuple[OwnLook, BrokerLook]:
        live = {each.intent.client_order_id: each for each in await self.store.live_orders()}
        asked = {session.previous, session.date, *self._recovery.dates(lost, session)}
        dates = sorted(asked | {each.session for each in live.values()})
        closing = {each.intent.client_order_id for each in await self.store.external_orders()}
        listed = {
            order.client_order_id: order
            for date in dates
            for order in await self.broker.orders(session=date)
            if is_ours(order.client_order_id) and order.client_order_id not in closing
        }
        fills = [fill for date in dates for fill in await self.broker.fills(session=date)]
        executions = [fill.execution_id for fill in fills]
        executions += [fill.execution_id + PART for fill in fills if not is_ours(fill.client_order_id)]
        broker = BrokerLook(
            orders={
                **{
                    order_id: await self.broker.find(order_id)
                    for order_id in sorted(live.keys() - listed.keys())
                },
                **listed,
            },
            fills=fills,
            positions=await self.broker.positions(),
            account=await self.broker.account(),
        )
        known = {
            order_id: await self.store.order(order_id) for order_id in sorted(listed.keys() - live.keys())
        }
        own = OwnLook(
            orders={**live, **{order_id: order for order_id, order in known.items() if order is not None}},
            executions=await self.store.recorded(executions),
            positions=await self.store.open_positions(),
            external=await self.store.external(),
        )
        return own, broker

    async def _see_day_start(self, session: Session, own: OwnLook, seen: BrokerLook, tx: Tx) -> None:
        """Commit the session's capital once, where both sides agree on whose every share is.

        Nothing where it is known, not due, or the broker gives no price of a position.
        """
        now_ms = self.clock.now_ms()
        book = await self.store.book(session.date, now_ms=now_ms)
        if book.has_day_start or not is_due(session, now_ms):
            return
        marks_e4 = {each.symbol: each.mark_e4 for each in seen.positions if each.mark_e4 is not None}
        closed = await self.store.account_before(session.date)
        at_close_e8 = closed.external_e8 if closed is not None and closed.session == session.previous else 0
        external_e8 = external_value_e8(own.external, marks_e4, at_close_e8=at_close_e8)
        if external_e8 is None or any(held.plan.symbol not in marks_e4 for held in own.positions):
            return
        before = self.calendar.session(session.previous)
        since_ms = before.close_ms if before is not None else 0
        open_e8 = sum(position_pnl_e8(held.position, marks_e4[held.plan.symbol]) for held in own.positions)
        found = day_start(
            session.date,
            now_ms,
            equity_e8=seen.account.equity_e8,
            last_equity_e8=seen.account.last_equity_e8,
            flows=[
                flow
                for flow in await self.broker.cash_flows(session=session.date)
                if since_ms < flow.at_ms <= now_ms
            ],
            external_e8=external_e8,
            pnl_e8=book.realised_e8 + open_e8,
        )
        tx.put(DayStarted(start=found))
        tx.put(Journalled(kind="day_start", ref=session.date, data=day_start_data(found)))

    # ------------------------------------------------------------ orders
    def _adopt_orders(
        self, own: OwnLook, orders: OrderFindings, before: Before, verdict: Verdict, tx: Tx
    ) -> None:
        """Executions and ends that no event told, as the events they are; told twice and not taken they differ."""
        for fill in orders.fills:
            ref = fill.client_order_id
            if fill.execution_id in before.adopted:
                words = f"execution {fill.execution_id} is not recorded"
                verdict.differences.append(Difference(DifferenceKind.MISSING_FILL, ref, words))
                continue
            plan_id = own.orders[ref].intent.plan_id
            tx.enqueue(
                NewJob(Step.BROKER_EVENT, dict(fill_payload(fill)), idem_key=fill.execution_id, key=plan_id)
            )
            verdict.again = True
        for stored, seen in orders.ended:
            order_id = seen.client_order_id
            if order_id in before.adopted:
                words = f"broker says {seen.state}"
                verdict.differences.append(Difference(DifferenceKind.ENDED_ORDER, order_id, words))
                continue
            payload = dict(ended_payload(order_id, seen.state, seen.reason, filled_e4=seen.filled_e4))
            key = ended_key(order_id, seen.state)
            tx.enqueue(NewJob(Step.BROKER_EVENT, payload, idem_key=key, key=stored.intent.plan_id))
            verdict.again = True

    async def _end_orphans(self, orders: OrderFindings, before: Before, verdict: Verdict) -> None:
        """What works at the broker after its end was written is cancelled there; a cancel under way comes first."""
        for seen in orders.orphans:
            order_id = seen.client_order_id
            if order_id in before.adopted:
                words = f"broker says {seen.state}, the journal ended it"
                verdict.differences.append(Difference(DifferenceKind.ORPHAN_ORDER, order_id, words))
                await self.broker.cancel(order_id)
            verdict.again |= order_id not in before.adopted

    # ------------------------------------------------------------ shares
    async def _judge_shares(
        self,
        own: OwnLook,
        broker: BrokerLook,
        shares: Sequence[ShareFinding],
        before: Before,
        verdict: Verdict,
        tx: Tx,
    ) -> None:
        """A change that two looks and the account's money agree on is a person's; until then it is a difference.

        The money has to agree at the market's prices, and at what ours cost where the market's is far from it: either
        alone may be far off.
        """
        marks_e4 = await self._marks(own, broker, shares) if shares else {}
        by_cost_e4 = {**marks_e4, **_implausible(marks_e4, _costs(own)), **_brokers_marks(broker)}
        believed = believable(broker, shares, marks_e4) & believable(broker, shares, by_cost_e4)
        external = {each.symbol: each for each in own.external}
        for found in shares:
            symbol = found.symbol
            is_seen_before = before.shares_e4.get(symbol) == found.theirs_e4
            if found.is_doubtful:
                if symbol in before.shares_e4:
                    verdict.differences.append(found.difference)
                verdict.again |= symbol not in before.shares_e4
            elif not is_seen_before:
                verdict.differences += [] if found.is_harmless else [found.difference]
                verdict.again = True
            elif symbol not in believed:
                words = f"{found.difference.detail}; the account's equity says otherwise"
                verdict.differences.append(Difference(DifferenceKind.POSITION, symbol, words))
            else:
                await self._adopt_shares(own, broker, found, marks_e4, tx)
                known = external.pop(symbol, None)
                if found.external_e4:
                    seen_e4 = known.acknowledged_e4 if known is not None else 0
                    external[symbol] = ExternalHolding(
                        symbol=symbol, quantity_e4=found.external_e4, acknowledged_e4=seen_e4
                    )
        for waiting in unseen(external.values()):
            words = f"{waiting.quantity_e4} (1e-4 shares) that finagent did not open"
            verdict.differences.append(Difference(DifferenceKind.EXTERNAL, waiting.symbol, words))

    async def _marks(
        self, own: OwnLook, broker: BrokerLook, shares: Sequence[ShareFinding]
    ) -> Mapping[str, int]:
        """A price for each symbol held or in dispute: the broker's, else the market's last, else what ours cost.

        The account's money is that of all shares: one left out would speak for or against those in dispute.
        """
        symbols = sorted({found.symbol for found in shares} | broker.held_e4.keys())
        now_ms = self.clock.now_ms()
        last = await self.market.last_prices(symbols, self.calendar.session_at(now_ms), now_ms)
        executed = sorted(broker.fills, key=lambda each: (each.at_ms, each.execution_id))
        marks = {fill.symbol: fill.price_e4 for fill in executed if fill.symbol in symbols}
        marks |= {symbol: cost_e4 for symbol, cost_e4 in _costs(own).items() if symbol in symbols}
        marks |= {symbol: price.price_e4 for symbol, price in last.items()}
        return marks | _brokers_marks(broker)

    async def _adopt_shares(
        self, own: OwnLook, broker: BrokerLook, found: ShareFinding, marks_e4: Mapping[str, int], tx: Tx
    ) -> None:
        """What is gone of ours was closed by hand, oldest plan first; what is not ours is external."""
        known = next((each for each in own.external if each.symbol == found.symbol), None)
        if found.external_e4 != (known.quantity_e4 if known is not None else 0):
            tx.put(ExternalSeen(symbol=found.symbol, quantity_e4=found.external_e4))
            data: dict[str, JsonData] = {"quantity_e4": found.external_e4}
            tx.put(Journalled(kind="external", ref=found.symbol, data=data))
        left_e4 = found.reduction_e4
        for held in sorted(own.positions, key=lambda each: (each.plan.session, each.plan.plan_id)):
            part_e4 = min(left_e4, abs(held.position.quantity_e4))
            if held.plan.symbol == found.symbol and part_e4 > 0:
                left_e4 -= part_e4
                await self._close_by_hand(held, part_e4, broker, marks_e4[found.symbol], tx)
        lost_e4 = own.recovered_e4.get(found.symbol, 0)
        if left_e4 > 0 and lost_e4:
            sign, now_ms = (1 if lost_e4 > 0 else -1), self.clock.now_ms()
            quantity_e4 = sign * min(left_e4, abs(lost_e4))
            gone = written_off(found.symbol, quantity_e4, mark_e4=marks_e4[found.symbol], now_ms=now_ms)
            tx.put(FillRecovered(fill=gone, session=self.calendar.session_at(now_ms).date))
            data = {"quantity_e4": quantity_e4, "price_e4": gone.price_e4}
            tx.put(Journalled(kind="recovered_gone", ref=found.symbol, data=data))

    async def _book_lost_exits(self, own: OwnLook, broker: BrokerLook, lost: LostTime, tx: Tx) -> None:
        """An exit of the lost time closed a position the database still holds: its executions end that plan."""
        for held in own.positions:
            recovered_e4 = own.recovered_e4.get(held.plan.symbol, 0)
            if recovered_e4 * held.position.quantity_e4 < 0 and has_entry(held.position):
                part_e4 = min(abs(recovered_e4), abs(held.position.quantity_e4))
                mark_e4 = entry_price_e4(held.position)
                await self._close_by_hand(held, part_e4, broker, mark_e4, tx, evidence=lost.fills)

    async def _close_by_hand(
        self,
        held: OpenPosition,
        quantity_e4: int,
        broker: BrokerLook,
        mark_e4: int,
        tx: Tx,
        *,
        evidence: Sequence[RecoveredFill] = (),
    ) -> None:
        plan, now_ms = held.plan, self.clock.now_ms()
        generation = next_generation(
            [each.own for each in await self.store.orders_of(plan.plan_id)],
            plan_id=plan.plan_id,
            leg=MANUAL,
        )
        if not isinstance(generation, int):
            return  # the one before is being recorded
        intent = manual_exit(plan, quantity_e4, generation=generation, scope=self.scope, now_ms=now_ms)
        by_hand = [fill for fill in broker.fills if not is_ours(fill.client_order_id)]
        foreign = [each.fill for each in evidence] or by_hand
        ids = [each for fill in foreign for each in (fill.execution_id, fill.execution_id + PART)]
        fills = manual_fills(
            intent,
            foreign,
            await self.store.recorded(ids),
            since_ms=held.position.opened_at_ms or 0,
            mark_e4=mark_e4,
            now_ms=now_ms,
        )
        tx.put(IntentRecorded(intent=intent, session=plan.session, body_hash=body_hash(intent)))
        data: dict[str, JsonData] = {
            "order": intent.client_order_id,
            "quantity_e4": quantity_e4,
            "executions": [fill.execution_id for fill in fills],
        }
        tx.put(Journalled(kind="manual", ref=plan.plan_id, data=data))
        for fill in fills:
            payload = dict(fill_payload(fill))
            tx.enqueue(NewJob(Step.BROKER_EVENT, payload, idem_key=fill.execution_id, key=plan.plan_id))

    # ------------------------------------------------------------ what follows
    def _look_again(
        self,
        session: Session,
        orders: OrderFindings,
        shares: Sequence[ShareFinding],
        verdict: Verdict,
        tx: Tx,
    ) -> None:
        """A second look soon, with what this one saw."""
        if not verdict.again:
            return
        adopted = [fill.execution_id for fill in orders.fills]
        adopted += [seen.client_order_id for _, seen in orders.ended]
        adopted += [seen.client_order_id for seen in orders.orphans]
        adopted += verdict.told
        payload: dict[str, JsonValue] = {
            "session": session.date,
            "reason": "again",
            "shares": {found.symbol: found.theirs_e4 for found in shares},
            "adopted": list(adopted),
        }
        now_ms = self.clock.now_ms()
        due_ms, key = now_ms + BETWEEN_LOOKS_MS, f"{session.date}/again/{now_ms}"
        tx.enqueue(NewJob(Step.RECONCILE, payload, idem_key=key, run_at_ms=due_ms))

    async def keep_gate(self, session: Session, left: Sequence[Difference], tx: Tx) -> None:
        """Shut while anything differs, open when nothing does; each change of what differs is journalled."""
        known = {(each.kind, each.ref) for each in await self.store.differences()}
        if known != {(each.kind, each.ref) for each in left}:
            rows: list[JsonData] = [{"kind": d.kind, "ref": d.ref, "detail": d.detail} for d in left]
            tx.put(DifferencesFound(differences=tuple(left)))
            tx.put(Journalled(kind="reconcile", ref=session.date, data={"differences": rows}))
        is_shut = GATE in (await self.store.control()).gate_reasons
        if left and not is_shut:
            tx.put(ControlChanged(gate_reason=GATE))
        elif not left and is_shut:
            tx.put(ControlChanged(gate_opened=GATE))
        self._close_stranded(session, [d for d in left if d.kind == DifferenceKind.STRANDED], tx)

    def _close_stranded(self, session: Session, stranded: list[Difference], tx: Tx) -> None:
        """What an earlier session left is closed at the first open."""
        now_ms = self.clock.now_ms()
        if not stranded or now_ms >= session.close_ms:
            return
        payload: dict[str, JsonValue] = {
            "session": session.date, "symbol": None, "reason": "flatten", "before": session.date,
        }  # fmt: skip
        run_at_ms = session.open_ms if now_ms < session.open_ms else None
        tx.enqueue(NewJob(Step.FLATTEN, payload, idem_key=f"{session.date}/stranded", run_at_ms=run_at_ms))


def _begun(orders: OrderFindings, recovered: Recovered, before: Before) -> Verdict:
    """What the orders and the lost time say before the shares are judged."""
    is_news = recovered.is_new or not set(recovered.told) <= set(before.adopted)
    return Verdict([*orders.differences, *recovered.differences], again=is_news, told=list(recovered.told))


def _costs(own: OwnLook) -> dict[str, int]:
    """What a share of ours cost, in 1e-4, by symbol."""
    return {
        held.plan.symbol: entry_price_e4(held.position) for held in own.positions if has_entry(held.position)
    }


def _implausible(marks_e4: Mapping[str, int], costs_e4: Mapping[str, int]) -> dict[str, int]:
    """The costs of which the market's price is less than half or more than twice: a slip of a digit, no gap."""
    return {
        symbol: cost_e4
        for symbol, cost_e4 in costs_e4.items()
        if not cost_e4 <= 2 * marks_e4.get(symbol, 0) <= 4 * cost_e4
    }


def _brokers_marks(broker: BrokerLook) -> dict[str, int]:
    """The prices at which the broker itself counts what it lists."""
    return {each.symbol: each.mark_e4 for each in broker.positions if each.mark_e4 is not None}

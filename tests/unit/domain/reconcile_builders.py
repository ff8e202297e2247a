"""Small builders of the two sides that reconcile compares."""

from collections.abc import Mapping, Sequence

from finagent.domain.book import OpenPosition, StoredOrder
from finagent.domain.external import ExternalHolding
from finagent.domain.legs import entry_intents
from finagent.domain.market import Side
from finagent.domain.orders import (
    BrokerAccount,
    BrokerFill,
    BrokerOrder,
    BrokerPosition,
    OrderIntent,
    OrderState,
    Scope,
)
from finagent.domain.plan import Plan
from finagent.domain.positions import fold, open_position
from finagent.domain.reconcile import BrokerLook, OwnLook
from tests.unit.domain.plan_builders import planned

SCOPE = Scope()
SHARES_E4 = 1_000_000


def plan_of() -> Plan:
    plan = planned()
    assert isinstance(plan, Plan)
    return plan


def entry_of(plan: Plan, quantity_e4: int = SHARES_E4) -> OrderIntent:
    return entry_intents(plan, quantity_e4, scope=SCOPE, now_ms=1, time_to_live_ms=60_000)[0]


def stored(intent: OrderIntent, state: OrderState = OrderState.ACCEPTED, filled_e4: int = 0) -> StoredOrder:
    return StoredOrder(
        intent=intent,
        session="2018-02-20",
        state=state,
        filled_e4=filled_e4,
        accepted_at_ms=1,
        reason="",
        body_hash="",
    )


def seen(intent: OrderIntent, state: OrderState = OrderState.ACCEPTED, filled_e4: int = 0) -> BrokerOrder:
    return BrokerOrder(
        client_order_id=intent.client_order_id,
        symbol=intent.symbol,
        side=intent.side,
        type=intent.type,
        quantity_e4=intent.quantity_e4,
        filled_e4=filled_e4,
        state=state,
        accepted_at_ms=1,
    )


def execution(
    order_id: str,
    symbol: str = "WMT",
    *,
    name: str = "x1",
    side: Side = Side.BUY,
    quantity_e4: int = SHARES_E4,
    price_e4: int = 1_000_000,
    at_ms: int = 10,
    fees_e8: int = 0,
) -> BrokerFill:
    return BrokerFill(
        execution_id=name,
        client_order_id=order_id,
        symbol=symbol,
        side=side,
        quantity_e4=quantity_e4,
        price_e4=price_e4,
        at_ms=at_ms,
        fees_e8=fees_e8,
    )


def holding(plan: Plan, quantity_e4: int = SHARES_E4) -> OpenPosition:
    entry = execution(entry_of(plan).client_order_id, plan.symbol, quantity_e4=quantity_e4)
    return OpenPosition(position=fold(open_position(plan), entry), plan=plan, stop_e4=plan.stop_e4)


def ours(
    *orders: StoredOrder,
    executions: Sequence[str] = (),
    positions: Sequence[OpenPosition] = (),
    external: Mapping[str, int] | None = None,
) -> OwnLook:
    return OwnLook(
        orders={each.intent.client_order_id: each for each in orders},
        executions=frozenset(executions),
        positions=positions,
        external=[ExternalHolding(symbol=s, quantity_e4=n) for s, n in (external or {}).items()],
    )


def theirs(
    *orders: BrokerOrder,
    missing: Sequence[str] = (),
    fills: Sequence[BrokerFill] = (),
    held: Mapping[str, int] | None = None,
    cash_e8: int = 0,
    equity_e8: int = 0,
) -> BrokerLook:
    return BrokerLook(
        orders={**dict.fromkeys(missing), **{each.client_order_id: each for each in orders}},
        fills=fills,
        positions=[BrokerPosition(symbol=s, quantity_e4=n) for s, n in (held or {}).items()],
        account=BrokerAccount(currency="USD", cash_e8=cash_e8, equity_e8=equity_e8, buying_power_e8=0),
    )

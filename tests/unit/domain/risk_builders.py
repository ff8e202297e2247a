"""Accounts, plans and orders for the tests of risk."""

from dataclasses import replace

from finagent.domain.market import Direction, Side
from finagent.domain.orders import OrderIntent, OrderType
from finagent.domain.planning import ExitLeg, Management, Plan, Setup
from finagent.domain.risk import AccountState, RiskDecision, RiskProfile, decide, standard_profile
from finagent.domain.shorts import ShortNow, ShortTerms

SHORT_TERMS = ShortTerms(
    is_restricted=False, restricted_at_e4=90_0000, is_borrow_assumed=False, borrow_fee_e6=3_000
)
FREE = ShortNow(is_easy_to_borrow=True, is_restricted=False)
"""A short that nothing speaks against."""
USD = 100_000_000
SHARE = 10_000


def account(equity_usd: int = 100_000, **changes: object) -> AccountState:
    equity = equity_usd * USD
    base = AccountState(
        equity_e8=equity, day_start_equity_e8=equity, cash_e8=equity, buying_power_e8=4 * equity
    )
    return replace(base, **changes)


def plan(
    symbol: str = "WMT",
    *,
    reference: int = 100_0000,
    stop: int = 97_0000,
    target: int = 109_0000,
    **changes: object,
) -> Plan:
    base = Plan(
        plan_id=f"pl_{symbol}",
        version=1,
        session="2018-02-20",
        scan_tick="09:31",
        symbol=symbol,
        rank=1,
        preset="classic",
        setup=Setup.NEXT_OPEN,
        direction=Direction.LONG if stop < reference else Direction.SHORT,
        score_e6=500_000,
        reference_e4=reference,
        stop_e4=stop,
        targets=(ExitLeg(leg="target-1", share_e6=1_000_000, price_e4=target),),
        management=Management(),
        decided_at_ms=1_000,
        entry_from_ms=1_000,
        entry_until_ms=9_000,
        short=SHORT_TERMS if stop > reference else None,
    )
    return replace(base, **changes)


def decision(
    plan_: Plan, account_: AccountState, profile: RiskProfile | None = None, *, slippage_bound_e6: int = 0
) -> RiskDecision:
    return decide(
        plan_,
        account_,
        profile or standard_profile(),
        price_e4=plan_.reference_e4,
        slippage_bound_e6=slippage_bound_e6,
        now_ms=2_000,
        short=FREE,
    )


def order(**changes: object) -> OrderIntent:
    base = OrderIntent(
        client_order_id="fa-1",
        plan_id="pl_WMT",
        symbol="WMT",
        leg="entry",
        generation=1,
        side=Side.BUY,
        type=OrderType.LIMIT,
        quantity_e4=100 * SHARE,
        limit_e4=100_0000,
    )
    return replace(base, **changes)

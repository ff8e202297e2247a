"""The account that risk decides on: marked, reserved, never counted twice, and shut where something is unknown."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finagent.domain.book import (
    Book,
    Control,
    OpenPosition,
    Reservation,
    account_state,
    attached_to,
    limits_reached,
    position_pnl_e8,
    settlement_days,
    worst_case_e8,
)
from finagent.domain.legs import entry_intents
from finagent.domain.limits import breakers, loss_tier
from finagent.domain.market import Direction, Side
from finagent.domain.orders import BrokerFill, OrderState, Scope
from finagent.domain.plan import Plan
from finagent.domain.positions import fold, open_position
from finagent.domain.risk import decide, reserve, standard_profile
from finagent.domain.steps import PRIORITY, Step
from tests.unit.domain.plan_builders import SESSION, candidate, planned
from tests.unit.domain.reconcile_builders import stored

SHARE, DOLLAR = 10_000, 100_000_000
PROFILE = standard_profile()


def plan_of(direction: Direction = Direction.LONG, **changes: object) -> Plan:
    plan = planned(of=candidate(direction))
    assert isinstance(plan, Plan)
    return replace(plan, **changes)  # type: ignore[arg-type]


def fill(plan: Plan, shares: int, price_e4: int, *, opens: bool = True, fees_e8: int = 0) -> BrokerFill:
    is_buy = opens is (plan.direction is Direction.LONG)
    side = Side.BUY if is_buy else Side.SELL
    return BrokerFill(
        execution_id=f"{shares}@{price_e4}/{opens}",
        client_order_id="o",
        symbol=plan.symbol,
        side=side,
        quantity_e4=shares * SHARE,
        price_e4=price_e4,
        at_ms=1,
        fees_e8=fees_e8,
    )


def held(plan: Plan, *fills: BrokerFill, stop_e4: int | None = None) -> OpenPosition:
    position = open_position(plan)
    for each in fills:
        position = fold(position, each)
    return OpenPosition(position=position, plan=plan, stop_e4=plan.stop_e4 if stop_e4 is None else stop_e4)


def book(**changes: object) -> Book:
    base = Book(
        session=SESSION.date,
        day_start_equity_e8=100_000 * DOLLAR,
        positions=(),
        reservations=(),
        realised_e8=0,
        entered_symbols=(),
        trades=0,
        orders_last_minute=0,
        unknown_symbols=(),
        control=Control(),
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def reserved(plan: Plan, *, notional: int = 10_000, worst: int = 450) -> Reservation:
    return Reservation(
        plan_id=plan.plan_id, symbol=plan.symbol, notional_e8=notional * DOLLAR, worst_case_e8=worst * DOLLAR
    )


def test_empty_book_is_the_day_start() -> None:
    account = account_state(book(), {}, PROFILE)
    assert (account.equity_e8, account.cash_e8, account.buying_power_e8) == (100_000 * DOLLAR,) * 3
    assert account.entry_gate_reason is None


def test_position_is_marked_and_its_cost_leaves_the_buying_power() -> None:
    plan = plan_of()
    opened = held(plan, fill(plan, 100, 1_000_000))
    account = account_state(
        book(positions=(opened,), spent_e8=10_000 * DOLLAR), {plan.symbol: 1_010_000}, PROFILE
    )
    assert account.equity_e8 == 100_100 * DOLLAR
    assert account.exposure_e8 == 10_100 * DOLLAR
    assert (account.buying_power_e8, account.cash_e8) == (90_000 * DOLLAR, 90_000 * DOLLAR)
    assert (account.open_pnl_e8, account.day_pnl_e8, account.open_positions) == (
        100 * DOLLAR,
        100 * DOLLAR,
        1,
    )


def test_exposure_is_summed_by_sector_and_unknown_ones_are_in_none() -> None:
    retail = plan_of(sector="Retail")
    opened = held(retail, fill(retail, 100, 1_000_000))
    unknown = reserved(plan_of())
    waiting = replace(unknown, plan_id="pl_other", symbol="BBB", sector="Retail")
    energy = replace(unknown, plan_id="pl_third", symbol="CCC", sector="Energy")
    marks = {retail.symbol: 1_010_000}
    own = book(positions=(opened,), reservations=(unknown, waiting, energy))
    account = account_state(own, marks, PROFILE)
    assert account.sector_exposure_e8 == (("Energy", 10_000 * DOLLAR), ("Retail", 20_100 * DOLLAR))
    assert account.in_sector_e8("Retail") == 20_100 * DOLLAR
    assert account.in_sector_e8("Utilities") == 0
    assert account.exposure_e8 == 40_100 * DOLLAR
    less = account_state(own, marks, PROFILE, without="pl_other")
    assert less.sector_exposure_e8 == (("Energy", 10_000 * DOLLAR), ("Retail", 10_100 * DOLLAR))


def test_streaks_of_the_book_reach_the_account() -> None:
    account = account_state(book(rejected_in_a_row=2, losses_in_a_row=3), {}, PROFILE)
    assert (account.rejected_in_a_row, account.losses_in_a_row) == (2, 3)


def test_position_without_a_mark_is_valued_at_its_stop() -> None:
    plan = plan_of()
    account = account_state(book(positions=(held(plan, fill(plan, 100, 1_000_000)),)), {}, PROFILE)
    assert account.open_pnl_e8 == 100 * SHARE * (plan.stop_e4 - 1_000_000)


def test_gate_names_each_of_its_reasons() -> None:
    assert Control().gate_reasons == ()
    assert Control(gate_reason="damage, reconcile").gate_reasons == ("damage", "reconcile")


def test_day_without_its_capital_takes_no_entries() -> None:
    assert account_state(book(has_day_start=False), {}, PROFILE).entry_gate_reason == "no_day_start_equity"


@pytest.mark.parametrize("direction", list(Direction))
def test_worst_case_is_the_way_to_the_stop_and_half_an_r_more(direction: Direction) -> None:
    plan = plan_of(direction)
    opened = held(plan, fill(plan, 100, plan.reference_e4))
    expected = 100 * SHARE * (plan.risk_per_share_e4 + plan.risk_per_share_e4 // 2)
    assert worst_case_e8(opened, extra_r_e6=500_000) == expected


def test_stop_beyond_the_entry_leaves_no_worst_case() -> None:
    plan = plan_of()
    safe = held(plan, fill(plan, 100, 1_000_000), stop_e4=1_000_000 + plan.risk_per_share_e4)
    assert worst_case_e8(safe, extra_r_e6=500_000) == 0


def test_worst_case_of_a_half_sold_position_counts_what_is_left() -> None:
    plan = plan_of()
    opened, half = (
        held(plan, fill(plan, 100, 1_000_000)),
        held(plan, fill(plan, 100, 1_000_000), fill(plan, 50, 1_030_000, opens=False)),
    )
    assert 2 * worst_case_e8(half, extra_r_e6=0) == worst_case_e8(opened, extra_r_e6=0)


def test_empty_position_has_no_worst_case() -> None:
    assert worst_case_e8(held(plan_of()), extra_r_e6=0) == 0


def test_position_profit_is_realised_and_open_together_net_of_fees() -> None:
    plan = plan_of()
    half = held(
        plan, fill(plan, 100, 1_000_000, fees_e8=5), fill(plan, 50, 1_030_000, opens=False, fees_e8=7)
    )
    assert position_pnl_e8(half.position, 1_010_000) == (50 * 3 + 50 * 1) * DOLLAR - 12


def test_reservations_count_as_exposure_positions_and_worst_case() -> None:
    plan = plan_of()
    account = account_state(
        book(reservations=(reserved(plan),), entered_symbols=(plan.symbol,), trades=1), {}, PROFILE
    )
    assert (account.exposure_e8, account.open_worst_case_e8) == (10_000 * DOLLAR, 450 * DOLLAR)
    assert (account.open_positions, account.trades_today, account.symbols_today) == (1, 1, (plan.symbol,))
    assert account.cash_e8 == 90_000 * DOLLAR


def test_symbol_of_a_restores_lost_time_is_a_trade_of_the_day_also_for_its_own_plan() -> None:
    plan = plan_of()
    lost = book(
        reservations=(reserved(plan),),
        entered_symbols=("OTH", plan.symbol),
        trades=2,
        recovered_symbols=("OTH", plan.symbol, "ZZZ"),
    )
    account = account_state(lost, {}, PROFILE)
    assert (account.trades_today, account.symbols_today) == (3, ("OTH", plan.symbol, "ZZZ"))
    again = account_state(lost, {}, PROFILE, without=plan.plan_id)
    assert (again.trades_today, again.symbols_today) == (3, ("OTH", plan.symbol, "ZZZ"))


def test_partly_filled_plan_is_one_open_position() -> None:
    plan = plan_of()
    both = book(positions=(held(plan, fill(plan, 50, 1_000_000)),), reservations=(reserved(plan),))
    assert account_state(both, {}, PROFILE).open_positions == 1


def test_own_reservation_is_left_out_when_a_plan_is_decided_again() -> None:
    plan, other = plan_of(), plan_of(plan_id="pl_other", symbol="OTH")
    full = book(
        reservations=(reserved(plan), reserved(other)), entered_symbols=("OTH", plan.symbol), trades=2
    )
    account = account_state(full, {}, PROFILE, without=plan.plan_id)
    assert (account.exposure_e8, account.open_positions) == (10_000 * DOLLAR, 1)
    assert (account.trades_today, account.symbols_today) == (1, ("OTH",))


def test_committed_reservation_and_the_one_in_mind_are_the_same_account() -> None:
    """What ``reserve`` lets the next decision see is what the book says after the commit."""
    plan = plan_of()
    before = account_state(book(), {}, PROFILE)
    decision = decide(plan, before, PROFILE, price_e4=plan.reference_e4, slippage_bound_e6=0)
    assert decision.is_approved
    after = book(
        reservations=(
            Reservation(
                plan_id=plan.plan_id,
                symbol=plan.symbol,
                notional_e8=decision.notional_e8,
                worst_case_e8=decision.worst_case_e8,
            ),
        ),
        entered_symbols=(plan.symbol,),
        trades=1,
    )
    assert account_state(after, {}, PROFILE) == reserve(before, decision, plan)


def test_cash_counts_neither_what_was_spent_nor_what_has_not_settled() -> None:
    account = account_state(book(spent_e8=30_000 * DOLLAR, unsettled_e8=80_000 * DOLLAR), {}, PROFILE)
    assert account.cash_e8 == 0
    assert account.buying_power_e8 == 100_000 * DOLLAR


@pytest.mark.parametrize(
    ("session", "days"), [("2017-09-01", 3), ("2017-09-05", 2), ("2024-05-24", 2), ("2024-05-28", 1)]
)
def test_settlement_follows_the_rule_of_its_day(session: str, days: int) -> None:
    assert settlement_days(session) == days


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"control": Control(needs_rearm=True, gate_reason="reconcile")}, "rearm_needed"),
        ({"control": Control(gate_reason="reconcile")}, "reconcile"),
        ({"unknown_symbols": ("A", "B")}, None),
        ({"unknown_symbols": ("A", "B", "C")}, "unknown_orders"),
        ({"unknown_symbols": ("A",), "has_old_unknown": True}, "unknown_orders"),
    ],
)
def test_gate_is_shut_by_the_first_thing_that_is_wrong(
    changes: dict[str, object], reason: str | None
) -> None:
    assert account_state(book(**changes), {}, PROFILE).entry_gate_reason == reason


def test_halt_flags_and_unknown_symbols_reach_risk() -> None:
    control = Control(is_paused=True, pause_reason="lunch", is_killed=True, locked_symbols=("L",))
    account = account_state(book(control=control, unknown_symbols=("U",), orders_last_minute=4), {}, PROFILE)
    assert (account.is_paused, account.pause_reason, account.is_killed) == (True, "lunch", True)
    assert (account.locked_symbols, account.blocked_symbols, account.orders_last_minute) == (
        ("L",),
        ("U",),
        4,
    )


def test_book_with_other_positions_is_otherwise_the_same() -> None:
    plan = plan_of()
    opened = held(plan, fill(plan, 1, 1_000_000))
    assert book().with_positions((opened,)) == book(positions=(opened,))


@settings(deadline=None)
@given(
    shares=st.integers(1, 10_000), sold=st.integers(0, 10_000), price=st.integers(1, 5_000_000),
    out=st.integers(1, 5_000_000), mark=st.integers(1, 5_000_000), direction=st.sampled_from(list(Direction)),
)  # fmt: skip
def test_equity_is_start_plus_every_unit_earned(
    shares: int, sold: int, price: int, out: int, mark: int, direction: Direction
) -> None:
    """Realised and open profit add up exactly, however the position was sold off."""
    plan = plan_of(direction)
    fills = [fill(plan, shares, price, fees_e8=3)]
    if (gone := min(sold, shares)) > 0:
        fills.append(fill(plan, gone, out, opens=False, fees_e8=3))
    opened = held(plan, *fills)
    account = account_state(book(positions=(opened,)), {plan.symbol: mark}, PROFILE)
    earned = direction.sign * SHARE * (gone * (out - price) + (shares - gone) * (mark - price)) - 3 * len(
        fills
    )
    assert account.day_pnl_e8 == earned
    assert account.open_worst_case_e8 >= 0


def test_steps_of_one_instant_run_fills_first_and_entries_last() -> None:
    """Fills and exits, limits, scan to risk, entries: every step has its place."""
    order = [
        Step.FLATTEN,
        Step.BROKER_EVENT,
        Step.EXIT,
        Step.LIMIT,
        Step.SCAN,
        Step.RISK,
        Step.EXECUTE,
        Step.SEND,
    ]
    assert sorted(order, key=lambda step: PRIORITY[step]) == order
    assert set(PRIORITY) == set(Step)


def test_exits_attached_to_an_entry_are_its_own_live_ones() -> None:
    plan = plan_of()
    intents = entry_intents(plan, 10 * SHARE, scope=Scope(), now_ms=1, time_to_live_ms=60_000)
    entry, *legs = (stored(intent) for intent in intents)
    over = [replace(leg, state=OrderState.CANCELLED) for leg in legs]
    alone = replace(legs[0], intent=replace(legs[0].intent, parent_id=None))
    assert attached_to(entry, [entry, *legs, *over, alone]) == tuple(legs)
    assert legs


@settings(max_examples=60)
@given(
    lost=st.integers(-5_000, 5_000),
    marks=st.tuples(st.integers(800_000, 1_200_000), st.none() | st.integers(700_000, 1_300_000)),
    sold=st.integers(0, 100),
    streaks=st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 1)),
)
def test_limits_of_a_book_are_those_of_its_account(
    lost: int, marks: tuple[int, int | None], sold: int, streaks: tuple[int, int, int]
) -> None:
    """Told without the account, which a backtest would make for every minute."""
    long, short = plan_of(), replace(plan_of(Direction.SHORT), symbol="ZZZ", plan_id="z")
    exits = (fill(long, sold, 990_000, opens=False, fees_e8=7),) if sold else ()
    positions = (held(long, fill(long, 300, 1_000_000), *exits), held(short, fill(short, 200, 1_000_000)))
    rejected, losses, out = streaks
    asked = book(
        positions=positions,
        realised_e8=-lost * DOLLAR,
        rejected_in_a_row=rejected,
        losses_in_a_row=losses,
        orders_out=out,
    )
    at = {long.symbol: marks[0]} | ({} if marks[1] is None else {short.symbol: marks[1]})
    profile = replace(PROFILE, max_losses_in_a_row=4)
    account = account_state(asked, at, profile)
    tier = loss_tier(account, profile)
    expected = (*(() if tier is None else (tier,)), *breakers(account, profile))
    assert limits_reached(asked, at, profile) == expected

"""Risk: refusals, sizing with its caps, and reservations."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finagent.domain.market import Direction
from finagent.domain.planning import with_size
from finagent.domain.risk import (
    decide,
    decide_in_rank,
    loss_limit_e8,
    micro_profile,
    release,
    reserve,
    standard_profile,
)
from tests.unit.domain.risk_builders import FREE, SHARE, SHORT_TERMS, USD, account, decision, plan

SHORTS = replace(standard_profile(), allow_shorts=True)


def test_quantity_is_the_risk_per_trade_over_the_risk_per_share():
    """0.5 % of 100,000 is 500; 3.00 a share gives 166.67 shares, floored to 166."""
    found = decision(plan(), account())
    assert found.is_approved
    assert (found.quantity_e4, found.binding_cap) == (166 * SHARE, "risk_per_trade")
    assert found.notional_e8 == 16_600 * USD
    assert found.worst_case_e8 == 166 * 4_50 * USD // 100
    assert found.reasons == ()


def test_caps_tried_are_listed_in_order():
    found = decision(plan(adv_shares=1_000_000), account())
    assert found.caps == (
        ("risk_per_trade", 166 * SHARE),
        ("position_notional", 200 * SHARE),
        ("adv_share", 5_000 * SHARE),
        ("buying_power", 4_000 * SHARE),
        ("exposure", 1_000 * SHARE),
        ("daily_loss", 444 * SHARE),
    )
    rich = plan(sector="Retail", spread_e6=1_000)
    assert [name for name, _ in decision(rich, account()).caps] == [
        "risk_per_trade",
        "position_notional",
        "spread_cost",
        "buying_power",
        "exposure",
        "sector",
        "daily_loss",
    ]


SETTLED = {"day_trade_rule": "cash_settled"}


@pytest.mark.parametrize(
    ("cap", "changes"),
    [
        ("position_notional", {"plan": {"stop": 99_0000}}),
        ("symbol_notional", {"profile": {"max_position_notional_e8": 1_000 * USD}}),
        ("order_notional", {"profile": {"max_order_notional_e8": 1_000 * USD}}),
        ("spread_cost", {"plan": {"spread_e6": 9_000}, "profile": {"max_spread_e6": None}}),
        ("sector", {"plan": {"sector": "A"}, "account": {"sector_exposure_e8": (("A", 39_000 * USD),)}}),
        ("adv_share", {"plan": {"adv_shares": 2_000}}),
        ("buying_power", {"account": {"buying_power_e8": 1_000 * USD}}),
        (
            "buying_power",
            {"account": {"cash_e8": 1_000 * USD}, "profile": {"day_trade_rule": "cash_settled"}},
        ),
        ("exposure", {"account": {"exposure_e8": 99_000 * USD}}),
        ("daily_loss", {"account": {"open_worst_case_e8": 1_900 * USD}}),
        ("daily_loss", {"account": {"realised_pnl_e8": -1_900 * USD}}),
        ("plan_quantity", {"plan": {"quantity_e4": 10 * SHARE}}),
        ("risk_per_trade", {"profile": {"bankroll_e8": 1_000 * USD}}),
    ],
)
def test_each_cap_can_bind(cap, changes):
    found = decision(
        plan(**changes.get("plan", {})),
        account(**changes.get("account", {})),
        replace(standard_profile(), **changes.get("profile", {})),
    )
    assert found.is_approved
    assert found.binding_cap == cap
    assert 0 < found.quantity_e4 < 166 * SHARE or cap == "position_notional"


def test_realised_profit_gives_no_room_beyond_the_daily_limit():
    rich = account(realised_pnl_e8=50_000 * USD, open_worst_case_e8=1_900 * USD)
    assert (
        decision(plan(), rich).quantity_e4
        == decision(plan(), account(open_worst_case_e8=1_900 * USD)).quantity_e4
    )


def test_quantity_of_nothing_is_refused_and_names_the_cap():
    found = decision(plan(), account(open_worst_case_e8=3_000 * USD))
    assert (found.is_approved, found.quantity_e4) == (False, 0)
    assert found.reasons == ("too_small",)
    assert (found.binding_cap, dict(found.caps)["daily_loss"]) == ("daily_loss", 0)


def test_account_without_equity_is_too_small():
    found = decision(plan(), account(0))
    assert (found.reasons, found.binding_cap) == (("too_small",), "risk_per_trade")


def test_crossing_the_spread_costs_a_fifth_of_the_risk_at_most():
    """0.5 % of 100,000 is 500, a fifth 100; 0.90 a share in and out gives 111 shares where R alone gives 166."""
    wide = plan(spread_e6=9_000)
    found = decision(wide, account(), replace(standard_profile(), max_spread_e6=None))
    assert (found.quantity_e4, found.binding_cap) == (111 * SHARE, "spread_cost")
    assert decision(plan(spread_e6=3_000), account()).binding_cap == "risk_per_trade"


def test_symbol_of_unknown_sector_is_held_to_no_sector_and_counts_in_none():
    full = account(sector_exposure_e8=(("Retail", 40_000 * USD),))
    assert decision(plan(sector="Retail"), full).reasons == ("too_small",)
    unknown = decision(plan(sector=None), full)
    assert unknown.is_approved
    assert reserve(full, unknown, plan(sector=None)).sector_exposure_e8 == full.sector_exposure_e8
    assert decision(plan(sector="Energy"), full).is_approved


def test_later_rank_of_a_sector_gets_what_the_earlier_ones_left():
    plans = [plan(name, sector="Retail", stop=99_0000) for name in ("AAA", "BBB", "CCC")]
    found = decide_in_rank(plans, account(), standard_profile(), slippage_bound_e6=0)
    assert [each.quantity_e4 // SHARE for each in found] == [200, 200, 0]
    assert (found[2].reasons, found[2].binding_cap) == (("too_small",), "sector")


def test_switched_off_limits_are_no_caps():
    profile = replace(
        standard_profile(),
        max_position_e6=None,
        max_exposure_e6=None,
        pause_loss_e6=None,
        flatten_loss_e6=None,
        max_spread_e6=None,
        max_spread_cost_e6=None,
        max_sector_e6=None,
        max_rejected_in_a_row=None,
    )
    troubled = account(rejected_in_a_row=99, losses_in_a_row=99)
    found = decision(plan(spread_e6=900_000, sector="Retail"), troubled, profile)
    assert [name for name, _ in found.caps] == ["risk_per_trade", "buying_power"]


def test_current_price_beyond_the_reference_shrinks_the_quantity():
    found = decide(plan(), account(), standard_profile(), price_e4=102_0000, slippage_bound_e6=0)
    assert found.quantity_e4 == 100 * SHARE
    assert found.worst_case_e8 == 100 * 6_50 * USD // 100


def test_trigger_entry_reserves_for_its_limit():
    found = decision(plan(trigger_e4=100_0000, limit_e4=100_3000), account())
    assert found.quantity_e4 == 166 * SHARE
    assert found.notional_e8 == 166 * 100_30 * USD // 100
    assert found.worst_case_e8 == 166 * 4_80 * USD // 100


def test_slippage_bound_is_part_of_the_notional():
    found = decision(plan(stop=99_0000), account(), slippage_bound_e6=10_000)
    assert (found.quantity_e4, found.binding_cap) == (198 * SHARE, "position_notional")
    assert found.notional_e8 == 19_998 * USD


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        ("entry_gate", {"account": {"entry_gate_reason": "reconcile open"}}),
        ("killed", {"account": {"is_killed": True}}),
        ("paused", {"account": {"is_paused": True}}),
        ("symbol_locked", {"account": {"locked_symbols": ("WMT",)}}),
        ("symbol_blocked", {"account": {"blocked_symbols": ("WMT",)}}),
        ("symbol_excluded", {"account": {"excluded_symbols": ("WMT",)}}),
        ("no_trade_window", {"account": {"is_no_trade_time": True}}),
        ("symbol_today", {"account": {"symbols_today": ("WMT",)}}),
        ("trades_per_day", {"account": {"trades_today": 5}}),
        ("open_positions", {"account": {"open_positions": 3}}),
        ("orders_per_minute", {"account": {"orders_last_minute": 10}}),
        ("orders_out", {"account": {"orders_out": 1}}),
        ("rejected_orders", {"account": {"rejected_in_a_row": 3}}),
        ("losses_in_a_row", {"account": {"losses_in_a_row": 2}, "profile": {"max_losses_in_a_row": 2}}),
        ("daily_loss_flatten", {"account": {"equity_e8": 98_000 * USD}}),
        ("daily_loss_pause", {"account": {"equity_e8": 98_500 * USD}}),
        ("spread", {"plan": {"spread_e6": 3_001}}),
        ("shorts_off", {"plan": {"stop": 103_0000, "target": 91_0000}}),
        ("plan_expired", {"plan": {"entry_until_ms": 2_000}}),
        ("plan_expired", {"plan": {"entry_until_ms": 1_000}}),
        ("past_target", {"plan": {"target": 100_0000}}),
    ],
)
def test_each_refusal_has_its_reason(reason, changes):
    found = decision(
        plan(**changes.get("plan", {})),
        account(**changes.get("account", {})),
        replace(standard_profile(), **changes.get("profile", {})),
    )
    assert not found.is_approved
    assert found.reasons == (reason,)
    assert (found.quantity_e4, found.notional_e8, found.worst_case_e8, found.caps) == (0, 0, 0, ())


@pytest.mark.parametrize("price_e4", [97_0000, 96_0000])
def test_price_at_or_behind_the_stop_is_refused(price_e4):
    found = decide(plan(), account(), standard_profile(), price_e4=price_e4, slippage_bound_e6=0)
    assert found.reasons == ("past_stop",)


@pytest.mark.parametrize(
    "changes",
    [
        {"stop": 100_0000, "direction": Direction.LONG},
        {"stop": 101_0000, "direction": Direction.LONG},
        {"stop": 0},
        {"stop": -1},
        {"reference": 0, "direction": Direction.LONG},
        {"target": -5},
        {"target": 10**18},
        {"limit_e4": 0},
        {"trigger_e4": -100_0000},
        {"reference": 10**12, "stop": 10**12 - 1, "target": 10**12 + 1},
    ],
)
def test_plan_whose_prices_cannot_be_is_refused(changes):
    found = decision(plan(**changes), account())
    assert (found.is_approved, found.reasons[0]) == (False, "bad_plan")


@pytest.mark.parametrize("price_e4", [0, -1, 10**15])
def test_price_that_cannot_be_is_refused(price_e4):
    found = decide(plan(), account(), standard_profile(), price_e4=price_e4, slippage_bound_e6=0)
    assert (found.is_approved, found.reasons[0]) == (False, "bad_plan")


ANY = st.integers(-(2**70), 2**70)


@given(ANY, ANY, ANY, ANY, st.none() | ANY, st.none() | st.integers(0, 2**70), st.sampled_from(Direction))
def test_no_numbers_break_risk_and_none_gets_past_its_caps(price, reference, stop, target, limit, adv, way):
    odd = plan(reference=reference, stop=stop, target=target, limit_e4=limit, adv_shares=adv, direction=way)
    odd = replace(odd, short=SHORT_TERMS)
    found = decide(odd, account(), SHORTS, price_e4=price, slippage_bound_e6=1_500, now_ms=2_000, short=FREE)
    if found.is_approved:
        assert 0 < found.quantity_e4 == min(quantity for _, quantity in found.caps)
        assert 0 < found.notional_e8 <= 20_000 * USD
        assert 0 < found.worst_case_e8 <= 2_000 * USD
    else:
        assert found.reasons
        assert (found.quantity_e4, found.notional_e8, found.worst_case_e8) == (0, 0, 0)


def test_every_reason_that_applies_is_listed():
    found = decision(plan(), account(is_paused=True, is_killed=True, trades_today=9))
    assert found.reasons == ("killed", "paused", "trades_per_day")


def test_values_at_their_limits_pass():
    ok = account(
        trades_today=4,
        open_positions=2,
        orders_last_minute=9,
        equity_e8=98_500 * USD + 1,
        symbols_today=("A",),
        rejected_in_a_row=2,
        losses_in_a_row=99,
    )
    assert decision(plan(spread_e6=3_000), ok).is_approved


def test_window_is_judged_without_a_clock_too():
    found = decide(
        plan(entry_until_ms=1_000), account(), standard_profile(), price_e4=100_0000, slippage_bound_e6=0
    )
    assert found.reasons == ("plan_expired",)


def test_shorts_are_whole_shares_and_cost_the_higher_price():
    profile = replace(SHORTS, lot_e4=1)
    short = plan(stop=103_0000, target=91_0000, lot_e4=1)
    found = decide(short, account(), profile, price_e4=99_0000, slippage_bound_e6=0, short=FREE)
    assert found.quantity_e4 == 125 * SHARE
    assert found.notional_e8 == 12_500 * USD
    assert found.worst_case_e8 == 125 * 5_50 * USD // 100


def test_short_of_which_nothing_is_known_is_refused():
    short = plan(stop=103_0000, target=91_0000)
    found = decide(short, account(), SHORTS, price_e4=100_0000, slippage_bound_e6=0)
    assert found.reasons == ("borrow_unknown", "short_restriction_unknown")
    assert decision(short, account(), SHORTS).is_approved
    assert decision(replace(short, short=None), account(), SHORTS).reasons == ("short_restriction_unknown",)
    small = account(1_999)
    assert decision(short, small, SHORTS).reasons == ("margin_minimum",)
    assert decision(short, small, replace(SHORTS, day_trade_rule="none")).is_approved


def test_restricted_short_is_approved_as_a_limit_above_the_bid():
    """The last price 100, the bid 99.99: sold at 100.00 or better, however low the plan's own limit is."""
    now = replace(FREE, is_restricted=True, bid_e4=99_9900)
    short = plan(stop=103_0000, target=91_0000, trigger_e4=100_0000, limit_e4=99_7000)
    found = decide(short, account(), SHORTS, price_e4=100_0000, slippage_bound_e6=0, short=now)
    assert (found.is_approved, found.entry_limit_e4) == (True, 100_0000)
    high = replace(now, bid_e4=103_5000)
    found = decide(short, account(), SHORTS, price_e4=100_0000, slippage_bound_e6=0, short=high)
    assert found.reasons == ("bid_past_stop",)
    found = decide(short, account(), SHORTS, price_e4=100_0000, slippage_bound_e6=0, short=FREE)
    assert (found.is_approved, found.entry_limit_e4) == (True, None)


def test_limit_above_the_bid_is_what_the_short_costs():
    now = replace(FREE, is_restricted=True, bid_e4=101_9900)
    short = plan(stop=103_0000, target=91_0000)
    found = decide(short, account(), SHORTS, price_e4=100_0000, slippage_bound_e6=0, short=now)
    assert found.entry_limit_e4 == 102_0000
    assert found.notional_e8 * 10_000 == found.quantity_e4 * 102_0000 * 10_000


def test_shorts_in_rank_are_told_apart():
    plans = [plan(name, stop=103_0000, target=91_0000) for name in ("AAA", "BBB")]
    found = decide_in_rank(plans, account(), SHORTS, slippage_bound_e6=0, shorts={"AAA": FREE})
    assert [each.is_approved for each in found] == [True, False]


def test_micro_profile_trades_fractions_of_at_most_250():
    """1.5 % of 500 is 7.50; 3.00 a share gives 2.5 shares, 250 of notional."""
    found = decision(plan(lot_e4=1), account(500), micro_profile())
    assert found.quantity_e4 == 25_000
    assert found.notional_e8 <= 250 * USD
    assert decision(plan(lot_e4=1), account(50_000), micro_profile()).quantity_e4 == 25_000
    assert decision(plan(), account(500), micro_profile()).quantity_e4 == 2 * SHARE


def test_decisions_in_rank_see_the_reservations_before_them():
    low, high = plan("AAA", score_e6=1), plan("ZZZ", score_e6=2)
    tied = [plan("CCC"), plan("BBB")]
    found = decide_in_rank([low, *tied, high], account(), standard_profile(), slippage_bound_e6=0)
    assert [each.plan_id for each in found] == ["pl_BBB", "pl_CCC", "pl_ZZZ", "pl_AAA"]
    assert [each.reasons for each in found] == [(), (), (), ("open_positions",)]
    assert [each.quantity_e4 // SHARE for each in found] == [166, 166, 112, 0]


def test_current_prices_are_used_by_symbol():
    found = decide_in_rank(
        [plan("AAA")], account(), standard_profile(), slippage_bound_e6=0, prices_e4={"AAA": 102_0000}
    )
    assert found[0].quantity_e4 == 100 * SHARE


def test_release_undoes_a_reservation():
    before = account(symbols_today=("A", "WMT", "B"))
    approved, refused = decision(plan(), account()), decision(plan(), account(is_paused=True))
    assert release(reserve(account(), approved, plan()), approved, plan()) == account()
    assert release(before, approved, plan()).symbols_today == ("A", "B")
    assert reserve(before, refused, plan()) == release(before, refused, plan()) == before
    retail = plan(sector="Retail")
    held = reserve(account(), approved, retail)
    assert held.sector_exposure_e8 == (("Retail", approved.notional_e8),)
    assert release(held, approved, retail) == account()


@given(st.integers(100_0000, 108_0000), st.integers(0, 2_000))
def test_risk_only_shrinks_when_decided_again(price_e4, open_worst_usd):
    first = decision(plan(), account())
    sized = with_size(plan(), first.quantity_e4)
    held = reserve(account(), first, sized)
    now = replace(release(held, first, sized), open_worst_case_e8=open_worst_usd * USD)
    again = decide(sized, now, standard_profile(), price_e4=price_e4, slippage_bound_e6=0)
    assert again.quantity_e4 <= first.quantity_e4


PLANS = st.builds(
    lambda symbol, reference, width, score, adv, limit, lot, spread, sector: plan(
        symbol,
        reference=reference,
        stop=reference - max(1, reference * width // 1_000),
        target=reference + 5 * max(1, reference * width // 1_000),
        score_e6=score,
        adv_shares=adv,
        limit_e4=None if limit is None else reference + limit * reference * width // 10_000,
        lot_e4=lot,
        spread_e6=spread,
        sector=sector,
    ),
    st.sampled_from(["A", "B", "C", "D", "E", "F"]),
    st.integers(2_0000, 300_0000),
    st.integers(2, 100),
    st.integers(0, 3),
    st.none() | st.integers(0, 10_000_000),
    st.none() | st.integers(0, 2),
    st.sampled_from([1, SHARE]),
    st.none() | st.integers(0, 3_000),
    st.sampled_from([None, "Retail", "Energy"]),
)
"""Stops 0.2 to 10 % wide."""


def part_of(equity: int, most: int) -> st.SearchStrategy[int]:
    """From nothing to ``most`` thousandths of the equity, in 1e-8, often near either end."""
    whole = equity * USD * most // 1_000
    return st.sampled_from([0, 0, 0, whole // 2, whole * 9 // 10]) | st.integers(0, whole)


@st.composite
def accounts(draw):
    """Accounts from empty to full, so that every cap binds in some of them and plans pass in most."""
    equity = draw(st.sampled_from([500, 5_000, 100_000]) | st.integers(400, 1_000_000))
    lost = draw(part_of(equity, 25))
    return account(
        equity,
        realised_pnl_e8=draw(st.sampled_from([-1, 0, 1])) * lost,
        open_worst_case_e8=draw(part_of(equity, 22)),
        exposure_e8=draw(part_of(equity, 1_000)),
        buying_power_e8=4 * equity * USD - draw(part_of(equity, 4_000)),
        cash_e8=equity * USD - draw(part_of(equity, 1_001)),
        sector_exposure_e8=(("Retail", 1 + draw(part_of(equity, 400))),),
    )


ACCOUNTS = accounts()
PLAN_LISTS = st.lists(PLANS, max_size=6, unique_by=lambda each: each.symbol)
PROFILES = st.sampled_from([standard_profile(), micro_profile()])
SLIPPAGE = st.integers(0, 20_000)


@given(PLANS, ACCOUNTS, PROFILES, SLIPPAGE)
def test_sizing_never_exceeds_any_cap(plan_, account_, profile, slippage):
    found = decision(plan_, account_, profile, slippage_bound_e6=slippage)
    if not found.is_approved:
        assert found.quantity_e4 == found.notional_e8 == found.worst_case_e8 == 0
        return
    quantity, equity = found.quantity_e4, account_.day_start_equity_e8
    worst_entry = max(plan_.reference_e4, plan_.limit_e4 or 0)
    assert quantity % max(plan_.lot_e4, profile.lot_e4) == 0
    assert quantity == min(quantity for _, quantity in found.caps)
    assert quantity * plan_.risk_per_share_e4 * 1_000_000 <= equity * profile.risk_per_trade_e6
    assert found.notional_e8 * 1_000_000 >= quantity * worst_entry * (1_000_000 + slippage)
    assert found.notional_e8 <= account_.buying_power_e8
    assert account_.exposure_e8 + found.notional_e8 <= equity
    if profile.max_position_e6 is not None:
        assert found.notional_e8 * 1_000_000 <= equity * profile.max_position_e6
    if profile.max_position_notional_e8 is not None:
        assert found.notional_e8 <= profile.max_position_notional_e8
        assert found.notional_e8 <= account_.cash_e8
    if plan_.sector is not None and profile.max_sector_e6 is not None:
        held = account_.in_sector_e8(plan_.sector)
        assert (held + found.notional_e8) * 1_000_000 <= equity * profile.max_sector_e6
    risk = min(equity, profile.bankroll_e8 or equity) * profile.risk_per_trade_e6
    assert quantity * worst_entry * (plan_.spread_e6 or 0) * 5 <= risk
    if plan_.adv_shares is not None:
        assert quantity * 200 <= plan_.adv_shares * SHARE
    extra = quantity * plan_.risk_per_share_e4
    assert 2 * found.worst_case_e8 >= 2 * quantity * (worst_entry - plan_.stop_e4) + extra


@given(PLAN_LISTS, ACCOUNTS, PROFILES, SLIPPAGE)
def test_realised_loss_and_worst_cases_stay_within_the_daily_limit(plans, account_, profile, slippage):
    found = decide_in_rank(plans, account_, profile, slippage_bound_e6=slippage)
    approved = [each for each in found if each.is_approved]
    limit = loss_limit_e8(account_, share_e6=profile.flatten_loss_e6, amount_e8=profile.flatten_loss_e8)
    at_risk = max(0, -account_.realised_pnl_e8) + account_.open_worst_case_e8
    if approved:
        assert at_risk + sum(each.worst_case_e8 for each in approved) <= limit
        assert (
            account_.exposure_e8 + sum(each.notional_e8 for each in approved) <= account_.day_start_equity_e8
        )
    assert len(approved) <= profile.max_open_positions


@given(
    st.lists(PLANS, max_size=6, unique_by=lambda each: each.symbol),
    ACCOUNTS,
    st.randoms(use_true_random=False),
)
def test_order_in_which_plans_arrive_changes_nothing(plans, account_, chance):
    shuffled = list(plans)
    chance.shuffle(shuffled)
    profile = standard_profile()
    assert decide_in_rank(shuffled, account_, profile, slippage_bound_e6=0) == decide_in_rank(
        plans, account_, profile, slippage_bound_e6=0
    )

"""Limits of the day: the tiers of its loss, the breakers, and how much of each limit is used."""

from dataclasses import replace

import pytest

from finagent.domain.limits import Limit, Reopens, breakers, limits
from finagent.domain.risk import limits_used, loss_limit_e8, loss_tier, micro_profile, standard_profile
from tests.unit.domain.risk_builders import USD, account


def test_micro_profile_pauses_at_22_and_flattens_at_33():
    tiers = [
        loss_tier(account(500, equity_e8=(500 - loss) * USD), micro_profile()) for loss in (21, 22, 32, 33)
    ]
    assert tiers == [None, "pause", "pause", "flatten"]


def test_loss_limit_is_the_smaller_of_share_and_amount():
    assert loss_limit_e8(account(), share_e6=15_000, amount_e8=None) == 1_500 * USD
    assert loss_limit_e8(account(), share_e6=15_000, amount_e8=100 * USD) == 100 * USD
    assert loss_limit_e8(account(), share_e6=None, amount_e8=None) is None
    assert loss_limit_e8(account(day_start_equity_e8=-1), share_e6=15_000, amount_e8=None) == 0


def test_account_without_equity_and_loss_is_in_no_tier():
    assert loss_tier(account(0), standard_profile()) is None


def test_open_loss_counts_towards_the_tiers():
    losing = account(equity_e8=98_400 * USD, realised_pnl_e8=0, open_pnl_e8=-1_600 * USD)
    assert loss_tier(losing, standard_profile()) == "pause"


def test_limits_used_are_ratios_by_name():
    used = limits_used(
        account(
            equity_e8=99_000 * USD,
            realised_pnl_e8=-500 * USD,
            open_worst_case_e8=500 * USD,
            exposure_e8=25_000 * USD,
            open_positions=1,
            trades_today=2,
            orders_last_minute=1,
            rejected_in_a_row=1,
            sector_exposure_e8=(("Energy", 5_000 * USD), ("Retail", 20_000 * USD)),
        ),
        standard_profile(),
    )
    assert used == {
        "daily_loss_flatten": 500_000,
        "daily_loss_pause": 666_666,
        "daily_worst_case": 500_000,
        "exposure": 250_000,
        "open_positions": 333_333,
        "orders_out": 0,
        "orders_per_minute": 100_000,
        "rejected_orders": 333_333,
        "sector": 500_000,
        "trades_per_day": 400_000,
    }


def test_what_is_left_of_a_limit_is_never_negative():
    over = account(equity_e8=97_000 * USD, realised_pnl_e8=-3_000 * USD, open_positions=1)
    left = {each.name: each.left for each in limits(over, standard_profile())}
    assert (left["daily_loss_flatten"], left["daily_loss_pause"], left["open_positions"]) == (0, 0, 2)


def test_limits_that_are_off_miss():
    off = replace(
        standard_profile(),
        pause_loss_e6=None,
        flatten_loss_e6=None,
        max_exposure_e6=None,
        max_sector_e6=None,
        max_rejected_in_a_row=None,
    )
    assert list(limits_used(account(), off)) == [
        "open_positions", "orders_out", "orders_per_minute", "trades_per_day",
    ]  # fmt: skip
    strict = replace(standard_profile(), max_losses_in_a_row=3)
    assert set(limits_used(account(), strict)) - set(limits_used(account(), standard_profile())) == {
        "losses_in_a_row"
    }


def test_each_limit_says_what_opens_entries_again():
    strict = replace(standard_profile(), max_losses_in_a_row=3)
    assert {each.name: each.reopens for each in limits(account(), strict)} == {
        "daily_loss_flatten": Reopens.PERSON,
        "daily_loss_pause": Reopens.SESSION,
        "daily_worst_case": Reopens.ROOM,
        "exposure": Reopens.ROOM,
        "losses_in_a_row": Reopens.PERSON,
        "open_positions": Reopens.ROOM,
        "orders_out": Reopens.PERSON,
        "orders_per_minute": Reopens.MINUTE,
        "rejected_orders": Reopens.PERSON,
        "sector": Reopens.ROOM,
        "trades_per_day": Reopens.SESSION,
    }
    (rejected,) = [
        each for each in limits(account(rejected_in_a_row=2), strict) if each.name == "rejected_orders"
    ]
    assert rejected == Limit(name="rejected_orders", used=2, limit=3, is_money=False, reopens=Reopens.PERSON)


@pytest.mark.parametrize(
    ("rejected", "lost", "found"),
    [
        (2, 1, ()),
        (3, 1, ("rejected_orders",)),
        (2, 2, ("losses_in_a_row",)),
        (9, 9, ("rejected_orders", "losses_in_a_row")),
    ],
)
def test_breaker_opens_at_its_count(rejected: int, lost: int, found: tuple[str, ...]):
    profile = replace(standard_profile(), max_losses_in_a_row=2)
    assert breakers(account(rejected_in_a_row=rejected, losses_in_a_row=lost), profile) == found


def test_limit_of_nothing_is_all_used_by_anything():
    assert limits_used(account(0), standard_profile())["exposure"] == 0
    assert limits_used(account(0, exposure_e8=1), standard_profile())["exposure"] == 1_000_000


def test_one_order_without_its_intent_opens_a_breaker():
    assert breakers(account(orders_out=1), standard_profile()) == ("orders_out",)
    assert limits_used(account(orders_out=1), standard_profile())["orders_out"] == 1_000_000

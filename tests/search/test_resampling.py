"""Sessions and trades in other orders: against day by day, against every order, by hand."""

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finagent.backtest.stress.resampling import bootstrap, interval, reshuffled, sharpes, worst_stretch

E8 = 10**8


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.sampled_from((-0.2, -0.05, 0.0, 0.01, 0.08)), min_size=1, max_size=12),
    st.integers(1, 14),
    st.integers(1, 30),
    st.integers(0, 9),
)
def test_paths_of_blocks_are_paths_day_by_day(
    returns: list[float], block: int, sessions: int, seed: int
) -> None:
    """The same blocks drawn, each session multiplied one after the other; the last block may be cut."""
    found = bootstrap(np.array(returns), paths=5, sessions=sessions, block=block, seed=seed)
    size = max(1, min(block, len(returns), sessions))
    generator, left = np.random.default_rng(seed), sessions
    days: list[list[float]] = [[] for _ in range(5)]
    while left > 0:
        for path, start in enumerate(generator.integers(0, len(returns), 5).tolist()):
            days[path] += [returns[(start + at) % len(returns)] for at in range(min(size, left))]
        left -= size
    for path, own in enumerate(days):
        assert len(own) == sessions
        equity = np.concatenate(([1.0], np.cumprod(1 + np.array(own))))
        assert found.returns[path] == pytest.approx(equity[-1] - 1, abs=1e-12)
        deepest = (1 - equity / np.maximum.accumulate(equity)).max()
        assert found.drawdowns[path] == pytest.approx(deepest, abs=1e-12)


def test_a_session_that_uses_the_account_up_ends_the_path() -> None:
    """Nothing is left, whatever comes after."""
    found = bootstrap(np.array([-1.0, 0.5]), paths=50, sessions=40, block=1, seed=1)
    assert found.returns.max() < -0.99
    assert found.drawdowns.min() > 0.99


def test_the_same_seed_draws_the_same_and_another_draws_others() -> None:
    """Paths, orders, ratios."""
    returns = np.random.default_rng(0).normal(0, 0.01, 60)
    for draw in (
        lambda seed: bootstrap(returns, paths=20, sessions=99, block=7, seed=seed).returns,
        lambda seed: sharpes(returns, paths=20, block=7, seed=seed),
        lambda seed: reshuffled([3 * E8, -E8, -2 * E8, E8], 10 * E8, orders=20, seed=seed),
    ):
        assert draw(1).tolist() == draw(1).tolist() != draw(2).tolist()


def test_reshuffled_trades_reach_what_every_order_reaches() -> None:
    """Four trades in twenty-four orders: the same lowest, highest and mean drawdown."""
    gains = [3, -1, -2, 1]

    def deepest(order: tuple[int, ...]) -> float:
        equity = 10 + np.concatenate(([0], np.cumsum(order)))
        peak = np.maximum.accumulate(equity)
        return float(((peak - equity) / peak).max())

    expected = [deepest(order) for order in permutations(gains)]
    found = reshuffled([gain * E8 for gain in gains], 10 * E8, orders=4_000, seed=3)
    assert (found.min(), found.max()) == pytest.approx((min(expected), max(expected)))
    assert found.mean() == pytest.approx(np.mean(expected), abs=0.005)
    assert reshuffled([], E8, orders=3, seed=1).tolist() == [0.0, 0.0, 0.0]


def test_sharpes_spread_around_the_one_of_the_sessions() -> None:
    """Of five hundred independent sessions the standard error is about the root of a year over the sessions."""
    returns = np.random.default_rng(4).normal(0.0005, 0.01, 500)
    own = returns.mean() / returns.std(ddof=1) * math.sqrt(252)
    found = sharpes(returns, paths=4_000, block=1, seed=1)
    assert found.mean() == pytest.approx(own, abs=0.1)
    assert found.std() == pytest.approx(math.sqrt(252 / 500), rel=0.1)
    assert len(sharpes(np.zeros(9), paths=10, block=3, seed=1)) == 0


def test_intervals_by_hand() -> None:
    """Of 0 to 100 the middle 90 %."""
    assert interval(np.arange(101.0), 0.9) == pytest.approx({"low": 5, "median": 50, "high": 95})
    assert interval(np.zeros(0), 0.9) is None


def test_worst_stretches_by_hand() -> None:
    """100, 110, 99, 90, 99: the worst session loses a tenth, the worst two together."""
    gains = np.array([10, -11, -9, 9]) * E8
    one, two = worst_stretch(gains, 100 * E8, 1), worst_stretch(gains, 100 * E8, 2)
    assert one is not None
    assert (one.first, one.last, one.result) == (1, 1, pytest.approx(-0.1))
    assert two is not None
    assert (two.first, two.last, two.result) == (1, 2, pytest.approx(90 / 110 - 1))
    assert worst_stretch(gains, 100 * E8, 5) is None

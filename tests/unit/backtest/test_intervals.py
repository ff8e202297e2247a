"""Intervals against published values, and how often they hold where sessions are alike within themselves."""

import numpy as np
import pytest

from finagent.backtest import intervals


def singles(count: int) -> np.ndarray:
    """Each value of a session of its own."""
    return np.arange(count)


@pytest.mark.parametrize(
    ("hits", "size", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_score_interval_is_the_published_one(hits: int, size: int, low: float, high: float) -> None:
    """Table I, method 3 of Newcombe, Statistics in Medicine 17 (1998)."""
    assert intervals.wilson(hits / size, size) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("degrees", "value"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (5, 2.571), (10, 2.228), (30, 2.042), (120, 1.980)],
)
def test_quantile_of_t_is_that_of_the_tables(degrees: int, value: float) -> None:
    """At 97.5 %; the series is worst for three degrees of freedom."""
    assert intervals.student_t(degrees) == pytest.approx(value, rel=0.005)


def test_mean_of_independent_values_has_the_usual_interval() -> None:
    """1, 2, 3, 4: s / sqrt(n) = 0.645, times 3.182."""
    found = intervals.mean(np.array([1.0, 2, 3, 4]), singles(4))
    assert (found.value, found.low, found.high) == pytest.approx((2.5, 0.446, 4.554), abs=0.01)


def test_values_said_twice_in_a_session_say_no_more() -> None:
    """Ten sessions, each with five equal values: as wide as ten values are."""
    few, many = np.arange(10.0), np.repeat(np.arange(10.0), 5)
    sessions = np.repeat(singles(10), 5)
    assert intervals.mean(many, sessions) == intervals.mean(few, singles(10))
    hits = np.arange(10) < 4
    assert intervals.effective_size(np.repeat(hits, 5), sessions) == pytest.approx(10)
    assert intervals.effective_size(hits, singles(10)) == pytest.approx(10)


def test_one_session_of_many_values_weighs_no_more_than_it_should() -> None:
    """A crash with a hundred gaps that all went one way, beside ten quiet sessions: hardly more than one value."""
    hits = np.concatenate((np.ones(100, np.bool_), np.arange(10) < 5))
    sessions = np.concatenate((np.zeros(100, np.int64), np.arange(1, 11)))
    assert 1 <= intervals.effective_size(hits, sessions) < 30


def test_where_all_are_alike_each_session_counts_once() -> None:
    """Forty fills in two sessions are two, not forty."""
    assert intervals.effective_size(np.ones(40, np.bool_), np.repeat([1, 2], 20)) == 2
    found = intervals.rate(np.ones(40, np.bool_), np.repeat([1, 2], 20))
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.342, abs=0.001)


def test_one_session_has_no_interval_of_a_mean() -> None:
    """Nothing tells how sessions differ; of no values nothing is known."""
    assert intervals.mean(np.array([1.0, 3]), np.array([5, 5])) == intervals.Estimate(2.0)
    nothing = np.array([])
    assert intervals.mean(nothing, nothing) == intervals.rate(nothing > 0, nothing) == intervals.UNKNOWN
    assert intervals.median(nothing) == intervals.ratio(nothing, nothing, nothing) == intervals.UNKNOWN


def test_median_lies_between_its_order_statistics() -> None:
    """Of 1 to 25 the 7th and the 19th; of five values no ranks reach far enough."""
    found = intervals.median(np.arange(25.0, 0, -1))
    assert (found.value, found.low, found.high) == (13, 7, 19)
    assert intervals.median(np.array([3.0, 1, 2, 5, 4])) == intervals.Estimate(3.0)


def test_ratio_is_the_same_each_time_and_open_where_nothing_is_below() -> None:
    """Whole sessions are drawn from one seed; a sum of losses that is zero in many draws leaves the end open."""
    won, lost = np.array([2.0, 0, 3, 0]), np.array([0.0, 1, 0, 0])
    found = intervals.ratio(won, lost, singles(4))
    assert found == intervals.ratio(won, lost, singles(4))
    assert found.value == 5.0
    assert found.high is None
    assert intervals.ratio(won, lost, np.zeros(4)) == intervals.Estimate(5.0)


def test_intervals_hold_where_values_of_a_session_hang_together() -> None:
    """60 sessions of 20 values with a common part: the truth is inside about 95 of 100 times, the plain one misses."""
    draws = np.random.default_rng(7)
    sessions = np.repeat(singles(60), 20)
    inside = {"rate": 0, "plain": 0, "mean": 0}
    for _ in range(300):
        common = np.repeat(draws.normal(size=60), 20)
        values = common + draws.normal(size=1200)
        hits = values > 0
        found, average = intervals.rate(hits, sessions), intervals.mean(values, sessions)
        low, high = intervals.wilson(hits.mean(), hits.size)
        inside["rate"] += (found.low or 0) <= 0.5 <= (found.high or 0)
        inside["mean"] += (average.low or 0) <= 0 <= (average.high or 0)
        inside["plain"] += low <= 0.5 <= high
    assert 275 <= inside["rate"] <= 297
    assert 275 <= inside["mean"] <= 297
    assert inside["plain"] < 200

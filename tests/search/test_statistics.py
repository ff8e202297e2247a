"""What the best of many is worth: against the published example, against the definition, against chance."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finagent.backtest.search import statistics
from finagent.backtest.search.statistics import (
    Shape,
    deflated_sharpe,
    expected_best_sharpe,
    explained,
    groups,
    overfitting,
    probabilistic_sharpe,
    shape_of,
)


def test_deflated_sharpe_of_the_papers_example() -> None:
    """Bailey and Lopez de Prado (2014): SR 2.5 a year, 1,250 days, skewness -3, kurtosis 10; SR0 and DSR as printed."""
    shape = Shape(2.5 / math.sqrt(250), -3, 10, 1250)
    variance = 1 / 2 / 250
    assert expected_best_sharpe(variance, 100) == pytest.approx(0.1132, abs=5e-5)
    assert deflated_sharpe(shape, variance=variance, trials=100) == pytest.approx(0.9004, abs=5e-5)
    assert deflated_sharpe(shape, variance=variance, trials=46) == pytest.approx(0.9505, abs=5e-5)
    normal = Shape(2.5 / math.sqrt(250), 0, 3, 1250)
    found = deflated_sharpe(normal, variance=variance, trials=88)
    assert found == pytest.approx(0.9505, abs=5e-4)


def test_one_trial_is_not_deflated() -> None:
    """The probability that its Sharpe ratio is above 0, by hand: 0.1 sqrt(100) / sqrt(1 + 0.5 * 0.01)."""
    shape = Shape(0.1, 0, 3, 101)
    expected = 0.5 * (1 + math.erf(1 / math.sqrt(1.005) / math.sqrt(2)))
    assert deflated_sharpe(shape, variance=0.3, trials=1) == pytest.approx(expected)
    assert probabilistic_sharpe(Shape(1, 3, 3, 9), 0) is None


def test_moments_by_hand() -> None:
    """1, 2, 6: mean 3, deviations -2, -1, 3."""
    shape = shape_of(np.array([1.0, 2.0, 6.0]))
    assert shape is not None
    assert shape.sharpe == pytest.approx(3 / math.sqrt(7))
    assert shape.skew == pytest.approx(6 / (14 / 3) ** 1.5)
    assert shape.kurtosis == pytest.approx(98 / 3 / (14 / 3) ** 2)
    assert shape_of(np.array([1.0, 1.0, 1.0])) is shape_of(np.array([1.0, 2.0])) is None


def by_definition(returns: np.ndarray, blocks: int) -> tuple[float, list[float]]:
    """The paper's steps one by one, without sums."""
    size = len(returns) // blocks
    parts = [returns[at * size : (at + 1) * size] for at in range(blocks)]
    logits = []
    for places in combinations(range(blocks), blocks // 2):
        inside = np.concatenate([parts[at] for at in places])
        outside = np.concatenate([parts[at] for at in range(blocks) if at not in places])
        best = int(np.argmax(np.round(inside.mean(axis=0) / inside.std(axis=0, ddof=1), 12)))
        reached = np.round(outside.mean(axis=0) / outside.std(axis=0, ddof=1), 12)
        rank = (reached < reached[best]).sum() + ((reached == reached[best]).sum() + 1) / 2
        share = rank / (returns.shape[1] + 1)
        logits.append(math.log(share / (1 - share)))
    return float(np.mean(np.array(logits) <= 0)), logits


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.sampled_from((2, 4, 6)))
def test_overfitting_is_the_papers_definition(seed: int, trials: int, blocks: int) -> None:
    """All splits of random returns, logit by logit."""
    returns = np.random.default_rng(seed).normal(0.001, 0.01, (blocks * statistics.LEAST_BLOCK, trials))
    found = overfitting(returns)
    assert found is not None
    probability, logits = by_definition(returns, blocks)
    assert (found.blocks, found.splits) == (blocks, math.comb(blocks, blocks // 2))
    assert found.probability == pytest.approx(probability)
    assert list(found.logits) == pytest.approx(logits)


def test_overfitting_by_hand() -> None:
    """Two halves, two trials: each is the better one in its own half, so every choice fails."""
    up, down = [0.01, 0.02, 0.03, 0.02, 0.01], [-0.01, -0.02, -0.03, -0.02, -0.01]
    found = overfitting(np.array([up + down, down + up]).T)
    assert found is not None
    assert (found.probability, found.loss_probability, found.splits) == (1.0, 1.0, 2)
    assert list(found.logits) == pytest.approx([math.log(0.5)] * 2)
    steady = overfitting(np.array([up + up, down + down]).T)
    assert steady is not None
    assert (steady.probability, steady.loss_probability) == (0.0, 0.0)


def test_chance_alone_is_overfitted_about_half_the_time_and_skill_is_not() -> None:
    """Twelve searches of twenty trials of noise; then one of their trials has a real edge."""
    blind, skilled = [], []
    for seed in range(12):
        noise = np.random.default_rng(seed).normal(0, 0.01, (160, 20))
        for found in (blind, skilled):
            result = overfitting(noise)
            assert result is not None
            found.append(result.probability)
            noise[:, 7] += 0.01
    assert 0.35 < np.mean(blind) < 0.65
    assert np.mean(skilled) < 0.01


def test_too_little_tells_nothing() -> None:
    """One trial, or fewer sessions than two blocks have."""
    assert overfitting(np.ones((100, 1))) is overfitting(np.ones((9, 3))) is None
    idle = overfitting(np.zeros((20, 3)))
    assert idle is not None
    assert (idle.probability, idle.degradation) == (1.0, None)


def test_sensitivity_by_hand() -> None:
    """Two values: means 2 and 6, all within 5, 1 and 1: 16 of 20 between them."""
    labels, values = ["a", "b", "a", "b"], [1.0, 5.0, 3.0, 7.0]
    assert explained(labels, values) == pytest.approx(16 / 20)
    assert explained(["a"], [1.0]) is None
    assert explained([], []) is None
    found = groups(labels, values, ["b", "c", "a"])
    assert [(each.label, each.count, each.mean, each.median, each.best) for each in found] == [
        ("b", 2, 6.0, 6.0, 7.0), ("a", 2, 2.0, 2.0, 3.0),
    ]  # fmt: skip

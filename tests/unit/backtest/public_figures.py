"""What two public libraries say of the same returns and trades; written once, read by test_metrics.py.

Run where they are installed: empyrical-reloaded 0.7.1 and quantstats 0.0.86 (they bring what has no wheels for every
platform, so the project does not depend on them):  python tests/unit/backtest/public_figures.py
"""

import json
import random
from pathlib import Path

FILE = Path(__file__).with_suffix(".json")


def courses() -> dict[str, list[float]]:
    """Returns by session: good years, bad ones, quiet ones, few sessions, one that never loses."""
    found = {}
    for name, (seed, mean, spread, count, quiet) in {
        "rising": (1, 0.0025, 0.01, 1_000, 0.0),
        "falling": (2, -0.002, 0.015, 700, 0.3),
        "quiet": (3, 0.0001, 0.002, 2_500, 0.8),
        "short": (4, 0.001, 0.02, 21, 0.0),
        "wild": (5, 0.0, 0.08, 400, 0.1),
    }.items():
        source = random.Random(seed)
        found[name] = [
            0.0 if source.random() < quiet else round(source.gauss(mean, spread), 9) for _ in range(count)
        ]
    return found


def money() -> list[int]:
    """Profits of trades in whole cents."""
    source = random.Random(6)
    return [round(source.gauss(2_000, 50_000)) for _ in range(300)]


def main() -> None:
    import empyrical
    import numpy
    import pandas
    import quantstats

    expected: dict[str, dict[str, float]] = {}
    for name, returns in courses().items():
        values = numpy.array(returns)
        expected[name] = {
            "total_return": float(empyrical.cum_returns_final(values)),
            "cagr": float(empyrical.annual_return(values)),
            "volatility": float(empyrical.annual_volatility(values)),
            "sharpe": float(empyrical.sharpe_ratio(values)),
            "sortino": float(empyrical.sortino_ratio(values)),
            "calmar": float(empyrical.calmar_ratio(values)),
            "max_drawdown_ratio": float(empyrical.max_drawdown(values)),
        }
    days = pandas.date_range("2018-01-01", periods=len(money()), freq="D")
    pnls = pandas.Series([cents / 100_000_000 for cents in money()], index=days)
    expected["trades"] = {
        "profit_factor": float(quantstats.stats.profit_factor(pnls)),
        "payoff": float(quantstats.stats.payoff_ratio(pnls)),
        "most_losses_in_a_row": float(quantstats.stats.consecutive_losses(pnls)),
        "win_rate": float(quantstats.stats.win_rate(pnls)),
    }
    FILE.write_text(json.dumps(expected, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

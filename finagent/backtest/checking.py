"""The check of the kernel: random sessions that it played, played once more by the reference, field by field."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from finagent.backtest.cells import Cell
from finagent.backtest.dataset import Dataset
from finagent.backtest.errors import CheckFailedError
from finagent.backtest.ledger import Ledger
from finagent.backtest.parameters import Lines, Parameters


def check(
    dataset: Dataset,
    rules: Parameters,
    lines: Lines,
    ledger: Ledger,
    cells: Sequence[Cell],
    *,
    count: int,
    seed: str,
) -> int:
    """Play ``count`` cells (all, where there are fewer) again; gives how many.

    CheckFailedError names the session and the field of the first difference. The same seed chooses the same cells.
    """
    chosen = random.Random(seed).sample(range(len(cells)), min(count, len(cells)))
    for cell in (cells[number] for number in sorted(chosen)):
        date = cell.session.date
        again = cell.played(dataset, rules, lines)
        _compare(date, dict(facts(ledger, date)), dict(facts(again, date)))
    return len(chosen)


def _compare(date: str, kernel: dict[str, object], reference: dict[str, object]) -> None:
    for name in [*kernel, *(name for name in reference if name not in kernel)]:
        ours, theirs = kernel.get(name), reference.get(name)
        if ours != theirs:
            raise CheckFailedError(
                f"session {date}: {name} is {ours} by the kernel and {theirs} by the reference"
            )


def facts(ledger: Ledger, date: str) -> Iterator[tuple[str, object]]:
    """Everything that both engines tell of a session, each with a name that says where it stands."""
    day = next(day for day in ledger.days if day.session == date)
    yield from asdict(day).items()
    tally = ledger.tallies.get(date)
    rows = ledger.plans_of(date)
    yield "plans", len(rows) if tally is None else tally.plans
    yield "shorts", sum(row.plan.direction.sign < 0 for row in rows) if tally is None else tally.shorts
    yield "approved", sum(row.approved for row in rows) if tally is None else tally.approved
    orders = sum(row.session == date for row in ledger.orders.values())
    yield "orders", orders if tally is None else tally.orders
    fills = [row for row in ledger.fills if row.session == date]
    for number, row in enumerate(fills, 1):
        parts = {**asdict(row.model), **asdict(row.fill), "leg": row.leg, "reason": row.reason}
        parts.update(best_e4=row.model.best_e4, worst_e4=row.model.worst_e4, plan_id=row.plan_id)
        yield from ((f"{name} of fill {number} ({row.fill.symbol} {row.leg})", parts[name]) for name in parts)
    trades = [trade for trade in ledger.trades if trade.session == date]
    for number, trade in enumerate(trades, 1):
        yield from (
            (f"{name} of trade {number} ({trade.symbol})", value) for name, value in asdict(trade).items()
        )

"""One day of one stock that gaps from 100 to 105, with all prices round: what every case of the suite starts from.

Reference 105, stop 103 (2 ATR of 1), target 111 (3 R of 2), 190 shares (a fifth of 100,000 at 105); the entry is due
at the open of the 09:31 bar.
"""

from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

from finagent.backtest.dataset import Dataset
from finagent.backtest.ledger import FillRow, Ledger
from finagent.backtest.parameters import DayLines, Parameters, ScanLine
from finagent.backtest.running import Bars, Result, run_backtest
from finagent.domain.costs import NO_COSTS
from finagent.domain.gap import GapRules, GapStyle
from finagent.domain.market import MINUTE_MS, Session
from finagent.domain.positions import Trade
from finagent.domain.risk_profile import RiskProfile
from tests.conformance.made_up import ZONE, MadeUp, MadeUpCalendar, Price, ms

DAY, NEXT_DAY, EARLIER = "2018-02-06", "2018-02-07", "2018-01-01"
FREE = Parameters(costs=NO_COSTS)
"""No slippage, no participation cap, no fees."""
SHORT = replace(
    FREE,
    gap=GapRules(style=GapStyle.FADE),
    profile=RiskProfile(allow_shorts=True),
)
"""The same gap, sold: reference 105, stop 107, target 99."""


def lines(session: Session) -> DayLines:
    """One scan when the first minute has ended, entries until an hour before the close, flat a quarter before it."""
    flatten_ms = session.close_ms - 15 * MINUTE_MS
    return DayLines(
        scans=(ScanLine(session.open_ms + MINUTE_MS, "open", "plan"),),
        flatten_ms=(flatten_ms, session.close_ms - 5 * MINUTE_MS),
        day_open_ms=session.open_ms,
        day_close_ms=session.close_ms + 2 * MINUTE_MS,
        windows=((session.open_ms, flatten_ms - 45 * MINUTE_MS),),
    )


def market(*, half_days: tuple[str, ...] = ()) -> MadeUp:
    """Quiet days before, then the open of the day at 105."""
    stored = MadeUp(MadeUpCalendar(EARLIER, 28, half_days=half_days))
    stored.quiet_days("AAA", 100, before=DAY)
    stored.minute_bar(DAY, "AAA", "09:30", 105, 105, 105, 105, 100_000)
    return stored


def with_bars(stored: MadeUp, *bars: tuple[str, Price, Price, Price, Price]) -> MadeUp:
    """The bars of a case, 100,000 shares each; the entry bar stands at 105 where the case has none."""
    for at, *prices in bars:
        stored.minute_bar(DAY, "AAA", at, *prices, 100_000)
    if (DAY, "AAA", ms(DAY, "09:31")) not in stored.bars:
        stored.minute_bar(DAY, "AAA", "09:31", 105, 105, 105, 105, 100_000)
    return stored


def until_close(stored: MadeUp, price: Price, *, first: str, last: str = "15:59") -> MadeUp:
    """Quiet bars for the rest of the day."""
    stored.flat_minutes(DAY, "AAA", price, first=first, last=last)
    return stored


@dataclass(frozen=True)
class Played:
    """What a case came to."""

    dataset: Dataset
    result: Result

    @property
    def ledger(self) -> Ledger:
        return self.result.ledger

    @property
    def trade(self) -> Trade:
        """The only trade."""
        assert len(self.ledger.trades) == 1, self.ledger.trades
        return self.ledger.trades[0]

    @property
    def fills(self) -> list[tuple[str, int, str, str]]:
        """Leg, shares, price and time of day of each fill, in order."""
        return [shown(row) for row in self.ledger.fills]

    def state(self, symbol: str = "AAA") -> tuple[str, str]:
        """State of the symbol's last plan, and why."""
        row = [row for row in self.ledger.plans.values() if row.plan.symbol == symbol][-1]
        return row.state.value, row.reason


def shown(row: FillRow) -> tuple[str, int, str, str]:
    """A fill in words."""
    return row.leg, row.fill.quantity_e4 // 10_000, dollars(row.fill.price_e4), clock(row.fill.at_ms)


def dollars(price_e4: int) -> str:
    """A price in dollars."""
    return f"{Decimal(price_e4) / 10_000:.2f}"


def clock(at_ms: int) -> str:
    """Exchange time of day."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(ZONE).strftime("%H:%M")


def play(
    stored: MadeUp,
    root: Path,
    rules: Parameters = FREE,
    *,
    first: str = DAY,
    last: str = DAY,
    bars: Bars = Bars.AUTO,
) -> Played:
    """Run the day (or some) over what is stored."""
    dataset = stored.dataset(root)
    result = run_backtest(dataset, rules, lines, dataset.between(first, last), bars=bars)
    assert result.failure is None, result.failure
    return Played(dataset, result)

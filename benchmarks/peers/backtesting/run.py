"""backtesting.py: a run a symbol; each day as three bars, since it fills at the next bar's open only.

It never asks the strategy on the first bar, so an idle one comes first.
"""

import warnings

import backtesting.backtesting as engine
import gapwork
import numpy as np
import pandas as pd
from backtesting import Backtest, Strategy

warnings.filterwarnings("ignore")
engine._tqdm = lambda items, **_: items


class Gap(Strategy):
    plans = None

    def init(self):
        pass

    def next(self):
        place, phase = divmod(len(self.data) - 2, 3)
        if phase == 0:
            plan = self.plans.get(place)
            if plan is not None:
                shares, stop, target = plan
                self.buy(size=shares, sl=stop, tp=target)
        elif phase == 1 and self.position:
            self.position.close()


work, _, repeats = gapwork.asked()
fee = work.rule["fee"]
prepared = []
for symbol in range(len(work.symbols)):
    plans, places = gapwork.plans(work, symbol)
    if not len(places):
        continue
    bars = gapwork.stretched(work, symbol, places, 3)
    bars = np.concatenate([bars[:1], bars])
    index = pd.date_range("2000-01-01", periods=len(bars), freq="8h")
    frame = pd.DataFrame(bars, columns=["Open", "High", "Low", "Close"], index=index)
    prepared.append((symbol, plans, places, frame))


def run():
    return [
        Backtest(frame, Gap, cash=1e8, commission=lambda size, price: fee * abs(size), finalize_trades=True)
        .run(plans=plans)
        ._trades
        for _, plans, _, frame in prepared
    ]


samples = []
for _ in range(max(repeats, 1)):
    seconds, found = gapwork.timed(run)
    samples.append(seconds)
trades = [
    gapwork.row(
        places[(each.EntryBar - 1) // 3], symbol, each.Size, each.EntryPrice, each.ExitPrice, each.PnL
    )
    for (symbol, _, places, _), table in zip(prepared, found, strict=True)
    for each in table.itertuples()
]
gapwork.tell(work, "backtesting", {"whole": samples}, trades)

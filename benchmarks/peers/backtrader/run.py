"""backtrader: a run a symbol, orders at the open; each day as three bars, so that it checks the entry bar's stop."""

import sys

import backtrader
import gapwork
import pandas as pd

work, _, repeats = gapwork.asked()
part = int(sys.argv[4]) if len(sys.argv) > 4 else len(work.symbols)
fee = work.rule["fee"]


class PerShare(backtrader.CommInfoBase):
    params = (("stocklike", True), ("commtype", backtrader.CommInfoBase.COMM_FIXED))

    def _getcommission(self, size, price, pseudoexec):
        return abs(size) * fee


class Gap(backtrader.Strategy):
    params = (("plans", None),)

    def __init__(self):
        self.bracket, self.entry, self.trades = None, None, []

    def next_open(self):
        place, phase = divmod(len(self.data) - 1, 3)
        plan = self.p.plans.get(place) if phase == 0 else None
        if plan is not None:
            shares, stop, target = plan
            self.bracket = self.buy_bracket(
                size=shares, exectype=backtrader.Order.Market, stopprice=stop, limitprice=target
            )

    def next(self):
        if (len(self.data) - 1) % 3 == 1 and self.position.size:
            self.cancel(self.bracket[1])
            self.close()

    def notify_order(self, order):
        if order.status != order.Completed:
            return
        if order.isbuy():
            self.entry = ((len(self.data) - 1) // 3, order.executed.size, order.executed.price)
        else:
            self.trades.append((*self.entry, order.executed.price))


prepared = []
for symbol in range(part):
    plans, places = gapwork.plans(work, symbol)
    if not len(places):
        continue
    index = pd.date_range("2000-01-01", periods=3 * len(places), freq="8h")
    frame = pd.DataFrame(gapwork.stretched(work, symbol, places, 3), columns=list(gapwork.OHLC), index=index)
    prepared.append((symbol, plans, places, frame.assign(volume=0, openinterest=0)))


def one(plans, frame):
    brain = backtrader.Cerebro(cheat_on_open=True, stdstats=False)
    brain.broker.setcash(1e8)
    brain.broker.addcommissioninfo(PerShare())
    brain.adddata(backtrader.feeds.PandasData(dataname=frame))
    brain.addstrategy(Gap, plans=plans)
    return brain.run()[0].trades


samples = []
for _ in range(max(repeats, 1)):
    seconds, found = gapwork.timed(lambda: [one(plans, frame) for _, plans, _, frame in prepared])
    samples.append(seconds)
trades = [
    gapwork.row(places[place], symbol, shares, entry, left, shares * (left - entry - 2 * fee))
    for (symbol, _, places, _), rows in zip(prepared, found, strict=True)
    for place, shares, entry, left in rows
]
bars = sum(len(places) for _, _, places, _ in prepared)
gapwork.tell(work, "backtrader", {"whole": samples}, trades, symbols=part, bars=bars)

"""vectorbt: from_signals with its Rust engine; each day as two rows, so that it checks the entry bar's stop."""

import gapwork
import numpy as np
import vectorbt

SWEPT = 6


class Daily:
    """The signals of a rule, and the engine over them."""

    def __init__(self, work):
        self.work = work
        self.bars = [np.repeat(work.open, 2, 0) for _ in gapwork.OHLC]
        for rows, name in zip(self.bars, gapwork.OHLC, strict=True):
            rows[1::2] = getattr(work, name)

    def signals(self, rule):
        opened = self.work.open
        entries = np.zeros(self.bars[0].shape, bool)
        entries[0::2] = gapwork.gaps(opened, self.work.prev, opened, rule)
        exits = np.zeros(self.bars[0].shape, bool)
        exits[1::2] = True
        size = np.repeat(np.floor(rule["notional"] / opened), 2, 0)
        ticks, low, high = gapwork.levels(opened, rule)
        base = np.where(ticks > 0, ticks, 1)
        return {
            "entries": entries,
            "exits": exits,
            "size": size,
            "fixed_fees": rule["fee"] * size,
            "sl_stop": np.repeat((ticks - low) / base, 2, 0),
            "tp_stop": np.repeat((high - ticks) / base, 2, 0),
        }

    def engine(self, signals):
        opened, high, low, close = self.bars
        return vectorbt.Portfolio.from_signals(
            close, open=opened, high=high, low=low, init_cash=1e9, freq="1D", engine="rust", **signals
        )

    def trades(self, portfolio):
        found = portfolio.trades.records
        return told(found, np.asarray(found["entry_idx"]) // 2, np.asarray(found["col"]))


class Minutes:
    """A session as 392 rows: its first bar, the next one's open by itself, that bar and all others up to 15:45, the
    open there by itself, the rest; every symbol by its own bars, nothing where there are no more.
    """

    FLATTEN = 375

    def __init__(self, work):
        self.work = work
        sessions, minutes, symbols = work.open.shape
        self.rows = minutes + 2
        self.bars = [np.full((sessions * self.rows, symbols), np.nan) for _ in gapwork.OHLC]
        self.exits = np.zeros(self.bars[0].shape, bool)
        for place in range(sessions):
            for symbol in range(symbols):
                self.lay(place, symbol)
        self.first = work.open[:, 0, :]
        self.reference = work.close[:, 0, :]

    def lay(self, place, symbol):
        table = np.stack([getattr(self.work, name)[place, :, symbol] for name in gapwork.OHLC], 1)
        at = np.flatnonzero(~np.isnan(table[:, 0]))
        last = int(np.searchsorted(at, self.FLATTEN))
        if len(at) < 2 or at[0] != 0 or not 1 <= last < len(at):
            return
        own, start = table[at], place * self.rows
        flat = own[[1, last], :1].repeat(4, 1)
        laid = np.concatenate([own[:1], flat[:1], own[1:last], flat[1:], own[last:]])
        for column, rows in enumerate(self.bars):
            rows[start : start + len(laid), symbol] = laid[:, column]
        self.exits[start + last + 1, symbol] = True

    def signals(self, rule):
        shape = self.exits.shape
        entered = slice(1, None, self.rows)
        entries = np.zeros(shape, bool)
        entries[entered] = gapwork.gaps(self.first, self.work.prev, self.reference, rule)
        entries[entered] &= ~np.isnan(self.bars[0][entered])
        price = np.nan_to_num(self.bars[0][entered], nan=1.0)
        _, low, high = gapwork.levels(self.reference, rule)
        found = {"entries": entries, "exits": self.exits}
        size = np.floor(rule["notional"] / self.reference)
        shares = {"size": size, "fixed_fees": rule["fee"] * size}
        stops = {"sl_stop": 1 - low / gapwork.E4 / price, "tp_stop": high / gapwork.E4 / price - 1}
        for name, values in {**shares, **stops}.items():
            found[name] = np.repeat(values, self.rows, 0)
        return found

    def engine(self, signals):
        opened, high, low, close = self.bars
        return vectorbt.Portfolio.from_signals(
            close, open=opened, high=high, low=low, init_cash=1e9, freq="1min", engine="rust", **signals
        )

    def trades(self, portfolio):
        found = portfolio.trades.records
        return told(found, np.asarray(found["entry_idx"]) // self.rows, np.asarray(found["col"]))


def told(found, places, symbols):
    """Its records in whole numbers."""
    prices = (np.rint(np.asarray(found[name]) * gapwork.E4) for name in ("entry_price", "exit_price", "pnl"))
    return np.stack([places, symbols, np.rint(np.asarray(found["size"])), *prices], 1).astype(np.int64)


def samples(own, rule, repeats):
    """Seconds of the engine alone and from prices to trades; the first pass only loads and compiles."""
    seconds = {"engine": [], "whole": []}
    for number in range(repeats + 1):
        made, signals = gapwork.timed(lambda: own.signals(rule))
        ran, portfolio = gapwork.timed(lambda given=signals: own.engine(given))
        read, trades = gapwork.timed(lambda given=portfolio: own.trades(given))
        if number or not repeats:
            seconds["engine"].append(ran)
            seconds["whole"].append(made + ran + read)
    return seconds, trades


def swept(own, work):
    """Seconds of sets spread over the sweep, from prices to what each gained."""
    sets = [work.sets[place] for place in np.linspace(0, len(work.sets) - 1, SWEPT).astype(int)]
    found = []
    for number, (gap, stop, target_r) in enumerate([sets[0], *sets]):
        rule = {**work.rule, "gap": gap, "stop": stop, "target_r": target_r}
        seconds, total = gapwork.timed(
            lambda given=rule: own.trades(own.engine(own.signals(given)))[:, 5].sum()
        )
        if number:
            found.append((seconds, int(total)))
    return found


def main():
    work, kind, repeats = gapwork.asked()
    own = (Daily if kind == "daily" else Minutes)(work)
    seconds, trades = samples(own, work.rule, repeats)
    more = {}
    if "sets" in work.arrays:
        found = swept(own, work)
        more = {"swept_s": [each for each, _ in found], "swept_e4": [total for _, total in found]}
    gapwork.tell(work, "vectorbt", seconds, trades, version=vectorbt.__version__, **more)


main()

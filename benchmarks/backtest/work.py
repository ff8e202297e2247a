"""The one work that all contestants run, as arrays on disk: prices, the close each gap is measured against, the rule.

Written in plain numpy from the dataset's columns, without the program's own scan: what a contestant trades is its own
reading of the rule. Prices are dollars in float64, as every peer takes them; NaN where there is no bar.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from finagent.backtest.dataset import ABSENT, Dataset
from finagent.domain.market import Session

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Arrays = Mapping[str, npt.NDArray[np.generic]]
E4, E6 = 10_000, 1_000_000
PRICES = ("open", "high", "low", "close")
BAD_ACTION_GAP = 0.25
"""On the day of a dividend or split a larger gap is taken for a wrong entry in the data; nobody trades it."""
MISMATCH = 0.10
"""Nor a symbol whose first minute opens so far from its daily bar: two companies under one name."""
MINUTES = 390
FLATTEN_MINUTES = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Buy what opens ``gap`` or more above its adjusted previous close, for ``notional`` in whole shares.

    The stop is ``stop`` below the reference, rounded to the cent towards it; the target ``target_r`` times as far
    above; where rounding leaves no room for one, there is no trade. Both are checked in the bar of the entry too; where
    a bar holds both, the stop comes first; a bar that opens beyond one fills at its open. Daily bars: reference and
    entry are the open, what is left is sold at the close. Minutes: the decision falls when the 09:30 bar has ended, its
    close is the reference and the next bar's open the entry; what is left is sold at the first open of the last 15
    minutes. ``fee`` is paid a share and a fill.
    """

    gap: float = 0.02
    stop: float = 0.02
    target_r: float = 2.0
    notional: float = 10_000.0
    fee: float = 0.01


def write_daily(
    folder: Path,
    dataset: Dataset,
    sessions: Sequence[Session],
    rule: Rule,
    sets: Sequence[tuple[float, float, float]] = (),
) -> None:
    """OHLC, volume and the previous close as [sessions, symbols]; ``sets``: (gap, stop, target_r) of a sweep."""
    rows = [dataset.rows[session.date] for session in sessions]
    daily = dataset.daily
    absent = np.asarray(daily.volume)[rows] == ABSENT
    columns = (daily.open_e4, daily.high_e4, daily.low_e4, daily.close_e4)
    arrays: dict[str, npt.NDArray[np.generic]] = {
        name: dollars(np.asarray(column)[rows], absent) for name, column in zip(PRICES, columns, strict=True)
    }
    arrays["volume"] = np.asarray(daily.volume)[rows]
    arrays.update(previous_closes(dataset, rows, arrays["open"]))
    if sets:
        arrays["sets"] = np.asarray(sets)
    write(folder, arrays, dataset.symbols, rule)


def write_minutes(folder: Path, dataset: Dataset, sessions: Sequence[Session], rule: Rule) -> None:
    """OHLC as [sessions, 390, symbols], NaN in minutes without a trade, and the previous close as [sessions, symbols].

    Only symbols that have minutes.
    """
    rows = [dataset.rows[session.date] for session in sessions]
    traded = np.zeros(len(dataset.symbols), np.bool_)
    shape = (len(rows), MINUTES, len(dataset.symbols))
    found = {name: np.full(shape, np.nan) for name in PRICES}
    minutes = dataset.minutes
    columns = (minutes.open_e4, minutes.high_e4, minutes.low_e4, minutes.close_e4)
    for place, row in enumerate(rows):
        offsets = np.asarray(minutes.offsets[int(minutes.rows_of[row])])
        traded |= np.diff(offsets) > 0
        for symbol in np.flatnonzero(np.diff(offsets)).tolist():
            own = slice(int(offsets[symbol]), int(offsets[symbol + 1]))
            at = np.asarray(minutes.minute[own])
            regular = (at >= 0) & (at < MINUTES)
            for name, column in zip(PRICES, columns, strict=True):
                found[name][place, at[regular], symbol] = np.asarray(column[own])[regular] / E4
    closes = previous_closes(dataset, rows, found["open"][:, 0, :])
    daily = dollars(np.asarray(dataset.daily.open_e4)[rows], np.asarray(dataset.daily.volume)[rows] == ABSENT)
    with np.errstate(invalid="ignore"):
        closes["prev"][np.abs(found["open"][:, 0, :] / daily - 1) > MISMATCH] = np.nan
    arrays = {name: np.ascontiguousarray(values[..., traded]) for name, values in {**found, **closes}.items()}
    names = [name for name, is_traded in zip(dataset.symbols, traded.tolist(), strict=True) if is_traded]
    write(folder, arrays, names, rule)


def dollars(prices_e4: npt.NDArray[np.generic], absent: Flags) -> Floats:
    """Prices as peers take them."""
    found: Floats = np.where(absent, np.nan, prices_e4.astype(np.float64) / E4)
    return found


def previous_closes(
    dataset: Dataset, rows: Sequence[int], opened: npt.NDArray[np.generic]
) -> dict[str, npt.NDArray[np.generic]]:
    """(close of the session before - dividend) / split ratio, NaN where there is none or the action is wrong.

    ``prev`` is that in dollars; ``prev_over`` / ``prev_under`` the same without rounding, in 1e-4.
    """
    before = np.asarray(rows) - 1
    known = (np.asarray(dataset.daily.volume)[before] != ABSENT) & (before >= 0)[:, None]
    over = np.asarray(dataset.daily.close_e4)[before].astype(np.int64) * E6
    under = np.full(over.shape, E6, np.int64)
    for place, row in enumerate(rows):
        for symbol, action in dataset.actions_on.get(dataset.sessions[row].date, {}).items():
            at = (place, dataset.numbers[symbol])
            over[at] -= action.dividend_e4 * E6
            under[at] = action.split_ratio_e6
            gap = float(opened[at]) * under[at] * E4 / over[at] - 1 if over[at] > 0 else np.inf
            known[at] &= bool(abs(gap) < BAD_ACTION_GAP)
    with np.errstate(divide="ignore", invalid="ignore"):
        prev = np.where(known, over / under / E4, np.nan)
    return {"prev": prev, "prev_over": over, "prev_under": under}


def write(folder: Path, arrays: Arrays, symbols: Sequence[str], rule: Rule) -> None:
    """Arrays as they are, names and numbers as JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values)
    (folder / "work.json").write_text(json.dumps({"rule": asdict(rule), "symbols": list(symbols)}))


def read(folder: Path) -> dict[str, npt.NDArray[np.generic]]:
    """The arrays of a work, without the trades that contestants left beside them."""
    return {path.stem: np.load(path) for path in folder.glob("*.npy") if not path.stem.startswith("of_")}

"""Statistics of trades, live, replayed or backtested, by kind, and without those that broke a rule."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from finagent.adapters.sqlite.views_research import read_researched_trades
from finagent.backtest import intervals
from finagent.backtest.gap_groups import SIZES_E6, UNKNOWN, WEEKDAYS, bucket_names, gap_catalyst
from finagent.backtest.gaps import GapQuestion, find_gaps
from finagent.backtest.running import Bars
from finagent.backtest.trade_stats import TradeFigures, TradeStats, trade_stats
from finagent.bootstrap.backtest_store import load_result
from finagent.bootstrap.backtests import DATASETS, refused
from finagent.bootstrap.homes import database_path
from finagent.bootstrap.readers import open_stored
from finagent.context import Document, ExitCode, Json, SurfaceError
from finagent.domain.money import MONEY_SCALE, RATIO_SCALE, money_text, parse_scaled
from finagent.settings import Settings

EXCHANGE = ZoneInfo("America/New_York")
BY_HAND = ("manual", "kill")
AS_PLANNED = "as-planned"
"""Kept by a trade whose plan nobody revised and that no person closed."""
WORD = re.compile(r"\b(kept|broke):\s*([\w-]+)", re.IGNORECASE)
KEPT, BROKEN = "kept", "broken"
WITHOUT = (
    "the same trades less those that broke the rule; sizes, limits and other trades stay as they were,"
    " so this is arithmetic, not what would have happened"
)
LOW, HIGH = "0000-00-00", "9999-99-99"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatsRequest:
    """Whose trades (a run, a stored backtest, else the agent's own), of which sessions, grouped how, without what."""

    by: str = "setup"
    run: str | None = None
    backtest: str | None = None
    first: str | None = None
    last: str | None = None
    without: str | None = None


async def trade_research(settings: Settings, home: Path, request: StatsRequest) -> Document:
    """Win rate, expectancy, profit factor, MAE and MFE by kind of trade, with intervals.

    SurfaceError for a range that runs backwards, an unknown run or result, a rule that no trade speaks of.
    """
    first, last = request.first or LOW, request.last or request.first or HIGH
    if last < first:
        raise SurfaceError(
            f"--to {last} is before --from {first}", hint="swap them", code="usage", exit_code=ExitCode.USAGE
        )
    source, trades = await _trades(home, request, first, last)
    rules = {str(trade["trade_id"]): rules_of(trade) for trade in trades}
    left = trades
    if request.without is not None:
        known = sorted({rule for each in rules.values() for rule in each})
        if trades and request.without not in known:
            raise SurfaceError(
                f"no trade here kept or broke a rule {request.without}",
                hint=f"known here: {', '.join(known)}; a note says others: finagent journal note"
                f' "broke: {request.without}" --ref ID',
                code="unknown_rule",
            )
        left = [t for t in trades if rules[str(t["trade_id"])].get(request.without) != BROKEN]
    named = _named(request.by, left, rules)
    return {
        "source": source,
        "from": min((str(trade["session"]) for trade in trades), default=None),
        "to": max((str(trade["session"]) for trade in trades), default=None),
        "by": request.by,
        "without": None if request.without is None else _without(request.without, trades, left),
        "n": len(left),
        "confidence": 0.95,
        "intervals": {kind: intervals.SOURCES[kind] for kind in ("rate", "mean", "ratio")},
        "small": intervals.SMALL,
        "all": _figures("all", left) if left else None,
        "groups": [_figures(name, rows) for name, rows in named.items() if rows],
    }


def rules_of(trade: Document) -> dict[str, str]:
    """By rule whether the trade kept or broke it: ``as-planned`` by what happened, others by what notes say."""
    is_planned = trade.get("exit_reason") not in BY_HAND and not trade.get("is_revised")
    found = {AS_PLANNED: KEPT if is_planned else BROKEN}
    notes = trade.get("notes")
    for note in notes if isinstance(notes, list) else ():
        for verb, rule in WORD.findall(str(note)):
            found[rule.lower()] = KEPT if verb.lower() == "kept" else BROKEN
    return found


async def _trades(home: Path, request: StatsRequest, first: str, last: str) -> tuple[Json, list[Document]]:
    """Where they come from, and the trades in the order they ended."""
    if request.backtest is not None:
        result = load_result(home, request.backtest)
        listed = result.get("trades")
        trades = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
        trades = [trade for trade in trades if first <= str(trade["session"]) <= last]
        if request.by in ("gap", "catalyst"):
            trades = _with_market(home, result, trades)
        return {"kind": "backtest", "id": result["result_id"], "partial": result.get("partial")}, trades
    path = database_path(home, request.run)
    database = await open_stored(home, path, request.run)
    try:
        trades = await database.read_fn(lambda conn: read_researched_trades(conn, first, last))
    finally:
        await database.close()
    kind, name = ("agent", None) if request.run is None else ("run", path.parent.name)
    return {"kind": kind, "id": name, "partial": None}, trades


def _with_market(home: Path, result: Document, trades: Sequence[Document]) -> list[Document]:
    """Gap and catalyst of each trade, looked up in the data that were tested; unknown where these are others now."""
    from finagent.adapters.vendors.calendar import load_calendar
    from finagent.backtest.building import find_or_build
    from finagent.bootstrap.stored import StoredMarket

    with refused():
        dataset = find_or_build(StoredMarket(home), load_calendar(home), home / DATASETS)
    if dataset.dataset_id != result.get("dataset_id"):
        return list(trades)
    bars = Bars(str(result.get("bars", Bars.AUTO.value)))
    by_session: dict[str, list[Document]] = {}
    for trade in trades:
        by_session.setdefault(str(trade["session"]), []).append(trade)
    found = []
    for day, rows in by_session.items():
        symbols = tuple(sorted({str(row["symbol"]) for row in rows}))
        question = GapQuestion(min_gap_e6=1, stop_e6=RATIO_SCALE, bars=bars, symbols=symbols)
        gaps = find_gaps(dataset, [dataset.sessions[dataset.rows[day]]], question).gaps
        sizes = dict(zip(gaps.symbol.tolist(), gaps.gap_e6.tolist(), strict=True))
        for row in rows:
            symbol = str(row["symbol"])
            gap_e6 = sizes.get(dataset.numbers[symbol])
            sign = 1 if row["direction"] == "long" else -1
            catalyst = gap_catalyst(dataset, dataset.rows[day], symbol, sign=sign)
            gap_pct = None if gap_e6 is None else gap_e6 / 10_000
            found.append({**row, "gap_pct": gap_pct, "catalyst": catalyst})
    return found


def _named(
    by: str, trades: Sequence[Document], rules: dict[str, dict[str, str]]
) -> dict[str, list[Document]]:
    """Groups in the order in which they are shown; by rule a trade stands in one group of each rule it speaks of."""
    if by == "rule-kept":
        every = sorted({rule for each in rules.values() for rule in each}, key=lambda r: (r != AS_PLANNED, r))
        return {
            f"{rule} {word}": [t for t in trades if rules[str(t["trade_id"])].get(rule) == word]
            for rule in every
            for word in (KEPT, BROKEN)
        }
    order, name_of = WAYS[by]
    groups: dict[str, list[Document]] = {name: [] for name in order}
    for trade in sorted(trades, key=name_of) if not order else trades:
        groups.setdefault(name_of(trade), []).append(trade)
    return groups


def _word(key: str) -> Callable[[Document], str]:
    def of(trade: Document) -> str:
        return str(trade.get(key) or UNKNOWN)

    return of


def _hour(trade: Document) -> str:
    """The half hour of the entry, in exchange time."""
    at = datetime.fromisoformat(str(trade["entry_ts"]).replace("Z", "+00:00")).astimezone(EXCHANGE)
    half = 0 if at.minute < 30 else 30
    return f"{at.hour:02}:{half:02} to {at.hour:02}:{half + 29}"


def _weekday(trade: Document) -> str:
    return WEEKDAYS[date.fromisoformat(str(trade["session"])).weekday()]


SIZES = bucket_names(SIZES_E6, " %", RATIO_SCALE // 100)


def _size(trade: Document) -> str:
    gap = trade.get("gap_pct")
    if not isinstance(gap, int | float):
        return UNKNOWN
    return SIZES[sum(abs(round(gap * 10_000)) >= edge for edge in SIZES_E6)]


WAYS: dict[str, tuple[Iterable[str], Callable[[Document], str]]] = {
    "setup": ((), _word("setup")),
    "gap": (SIZES, _size),
    "hour": ((), _hour),
    "weekday": (WEEKDAYS, _weekday),
    "catalyst": ((), _word("catalyst")),
    "exit": ((), _word("exit_reason")),
}


def _figures(name: str, trades: Sequence[Document]) -> Document:
    stats = trade_stats([_of(trade) for trade in trades])
    return {
        "group": name,
        "n": stats.n,
        "sessions": stats.sessions,
        "is_small": stats.is_small,
        "pnl": money_text(stats.pnl_e8),
        **{
            key: _shown(stats, key) for key in ("win_rate", "expectancy_r", "profit_factor", "mae_r", "mfe_r")
        },
    }


def _shown(stats: TradeStats, key: str) -> Json:
    found = getattr(stats, key)
    return {"value": found.value, "low": found.low, "high": found.high}


def _of(trade: Document) -> TradeFigures:
    return TradeFigures(
        session=str(trade["session"]),
        pnl_e8=parse_scaled(str(trade["pnl"]), len(str(MONEY_SCALE)) - 1),
        r=float(str(trade["r_multiple"])),
        mae_r=float(str(trade["mae_r"])),
        mfe_r=float(str(trade["mfe_r"])),
    )


def _without(rule: str, trades: Sequence[Document], left: Sequence[Document]) -> Json:
    """What was taken out, and the figures before."""
    return {
        "rule": rule,
        "removed": len(trades) - len(left),
        "means": WITHOUT,
        "before": _figures("all", trades) if trades else None,
    }

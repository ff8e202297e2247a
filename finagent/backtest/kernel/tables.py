"""Parameters, sessions and candidates as the kernel's tables; what the kernel does not declare is named here."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from finagent.backtest.candidates import CandidateMonth
from finagent.backtest.daily import SCAN
from finagent.backtest.dataset import Dataset
from finagent.backtest.kernel import columns as c
from finagent.backtest.market import Flags
from finagent.backtest.parameters import Lines, Parameters
from finagent.backtest.source import Ints
from finagent.domain.book import settlement_days
from finagent.domain.costs import SEC_CENTS_PER_MILLION, TAF_E8
from finagent.domain.fills import Ambiguity
from finagent.domain.market import MINUTE_MS, Session
from finagent.domain.money import RATIO_SCALE
from finagent.domain.setups import Setup

SETTLING = 2
"""Sales of at most so many sessions before have not settled."""
MOST_TOP = 1_000
AMBIGUITIES = (Ambiguity.STOP_FIRST, Ambiguity.TARGET_FIRST, Ambiguity.PATH, Ambiguity.MINUTES)
_SEC_DATES = [date for date, _ in SEC_CENTS_PER_MILLION]
_TAF_DATES = [date for date, _, _ in TAF_E8]


def undeclared(rules: Parameters) -> str:
    """Which rule the kernel does not declare on daily bars; empty where it declares them all."""
    planning = rules.planning
    if planning.preset != "classic" or planning.entry_setup is not Setup.NEXT_OPEN:
        return "planning.preset and classic_entry: the kernel has classic with next_open"
    if rules.costs.slippage_range_e6 or rules.costs.slippage_impact_e6:
        return "execution.slippage_range_pct and slippage_impact_bps: the kernel has slippage_bps alone"
    if rules.buying_power_e6 < RATIO_SCALE:
        return "buying power below the equity"
    if not 0 <= rules.top <= MOST_TOP:
        return f"scan.top {rules.top}"
    for name, value, most in _bounds(rules):
        if value is not None and not 0 <= value <= most:
            return f"{name} {value}: the kernel's integers hold 0 to {most}"
    return ""


def _bounds(rules: Parameters) -> Iterator[tuple[str, int | None, int]]:
    """Values whose products must stay within 64 bits."""
    profile, costs, weights = rules.profile, rules.costs, rules.weights
    ratios = {
        "stop_e6": rules.planning.stop_e6,
        "stop_atr_e6": rules.planning.stop_atr_e6,
        "target_r_e6": rules.planning.target_r_e6,
        "max_position_e6": profile.max_position_e6,
        "max_exposure_e6": profile.max_exposure_e6,
        "price_band_e6": profile.price_band_e6,
        "commission_max_e6": costs.commission_max_e6,
    }
    shares = {
        "risk_per_trade_e6": profile.risk_per_trade_e6,
        "flatten_loss_e6": profile.flatten_loss_e6,
        "max_adv_share_e6": profile.max_adv_share_e6,
        "worst_case_extra_r_e6": profile.worst_case_extra_r_e6,
        "participation_e6": costs.participation_e6,
        "slippage_e6": costs.slippage_e6 * costs.open_multiplier,
        "open_slippage_e6": rules.open_slippage_e6,
        "weights": max(
            weights.volatility_e6, weights.catalyst_e6, weights.sentiment_e6, weights.liquidity_e6
        ),
        "least weight": min(
            weights.volatility_e6, weights.catalyst_e6, weights.sentiment_e6, weights.liquidity_e6
        ),
    }
    money = {
        "max_position_notional_e8": profile.max_position_notional_e8,
        "max_order_notional_e8": profile.max_order_notional_e8,
        "flatten_loss_e8": profile.flatten_loss_e8,
        "bankroll_e8": profile.bankroll_e8,
        "start_equity_e8": rules.start_equity_e8,
        "commission_min_e8": costs.commission_min_e8,
    }
    yield from ((name, value, c.MOST_RATIO_E6) for name, value in ratios.items())
    yield from ((name, value, RATIO_SCALE) for name, value in shares.items())
    yield from ((name, value, c.MOST_EQUITY_E8) for name, value in money.items())
    yield "commission_per_share_e8", costs.commission_per_share_e8, 10**9
    yield "lot_e4", profile.lot_e4 - 1, 10**8


def set_row(rules: Parameters) -> list[int]:
    """A parameter set as the kernel reads it."""
    gap, weights, planning = rules.gap, rules.weights, rules.planning
    profile, costs = rules.profile, rules.costs
    return [
        gap.min_gap_e6, gap.min_price_e4, gap.max_price_e4, gap.min_adv_usd, gap.min_rvol_e6, gap.max_spread_e6,
        gap.min_premarket_volume, int(gap.keep_unknown), rules.top,
        weights.volatility_e6, weights.catalyst_e6, weights.sentiment_e6, weights.liquidity_e6,
        planning.stop_e6, planning.stop_atr_e6, planning.target_r_e6,
        profile.risk_per_trade_e6, _or_off(profile.max_position_e6), _or_off(profile.max_position_notional_e8),
        _or_off(profile.max_order_notional_e8), profile.max_open_positions, profile.max_trades_per_day,
        _or_off(profile.flatten_loss_e6), _or_off(profile.flatten_loss_e8), profile.max_adv_share_e6,
        _or_off(profile.max_exposure_e6), profile.max_orders_per_minute, profile.lot_e4, int(profile.allow_shorts),
        profile.worst_case_extra_r_e6, int(profile.day_trade_rule == "cash_settled"),
        int(profile.day_trade_rule == "intraday_margin"), _or_off(profile.bankroll_e8), _or_off(profile.price_band_e6),
        costs.slippage_e6, costs.open_multiplier, costs.open_minutes, costs.participation_e6,
        costs.commission_per_share_e8, costs.commission_min_e8, _or_off(costs.commission_max_e6),
        int(costs.has_regulatory_fees), AMBIGUITIES.index(rules.ambiguity), rules.open_slippage_e6,
        max(rules.slippage_bound_e6, rules.open_slippage_e6), rules.max_price_age_ms, rules.entry_ttl_ms,
        _or_off(planning.time_stop_minutes), planning.time_stop_min_r_e6, _or_off(planning.trail_after_r_e6),
        planning.trail_distance_atr_e6 or 0, _or_off(profile.pause_loss_e6), _or_off(profile.pause_loss_e8),
        _or_off(profile.max_losses_in_a_row), costs.close_penalty_e6, rules.slippage_bound_e6,
        0, 0, 0, 0, 0, 0,
    ]  # fmt: skip


def _or_off(value: int | None) -> int:
    return c.OFF if value is None else value


def candidate_rows(
    dataset: Dataset, months: Mapping[str, CandidateMonth], sessions: Sequence[Session], rules: Parameters
) -> tuple[Ints, Ints]:
    """The candidates of the sessions with each one's daily bar, and where each session's begin; with the end.

    Symbols that the rules exclude, or do not name where they name some, are left out.
    """
    columns = {name: np.asarray(month.columns) for name, month in months.items()}
    parts, counts, at = [], [], [dataset.rows[session.date] for session in sessions]
    for session, row in zip(sessions, at, strict=True):
        month = months[session.date[:7]]
        first, last = month.offsets[row - month.first_row : row - month.first_row + 2].tolist()
        parts.append(columns[session.date[:7]][first:last])
        counts.append(last - first)
    known = np.concatenate(parts) if parts else np.empty((0, c.OPEN), np.int64)
    session_of = np.repeat(np.arange(len(sessions)), counts)
    is_wanted = wanted_symbols(dataset, rules)[known[:, c.SYMBOL]]
    if not is_wanted.all():
        known, session_of = known[is_wanted], session_of[is_wanted]
    where = np.asarray(at, np.int64)[session_of]
    table = np.zeros((len(known), c.ROW_WIDTH), np.int64)
    table[:, : c.OPEN] = known
    daily = dataset.daily
    values = (daily.open_e4, daily.high_e4, daily.low_e4, daily.close_e4, daily.volume)
    for place, column in zip(range(c.OPEN, c.VOLUME + 1), values, strict=True):
        table[:, place] = np.asarray(column)[where, known[:, c.SYMBOL]]
    return table, np.searchsorted(session_of, np.arange(len(sessions) + 1))


def beyond(table: Ints) -> Flags:
    """The candidates of which a product could pass 2^62, or whose bar holds what is no price."""
    positive = table[:, [c.INDICATION, c.OPEN, c.HIGH, c.LOW, c.CLOSE]]
    prices = table[:, [c.INDICATION, c.OPEN, c.HIGH, c.LOW, c.CLOSE, c.ATR]]
    volumes = table[:, [c.VOLUME, c.ADV_SHARES]]
    is_beyond: Flags = np.any(positive <= 0, axis=1) | np.any(prices > c.MOST_PRICE_E4, axis=1)
    is_beyond |= np.any(volumes > c.MOST_VOLUME, axis=1) | np.less(table[:, c.VOLUME], 0)
    return is_beyond


def wanted_symbols(dataset: Dataset, rules: Parameters) -> Flags:
    """By symbol whether the rules look at it."""
    wanted: Flags = np.full(len(dataset.symbols), rules.symbols is None, np.bool_)
    for symbol in rules.symbols or ():
        wanted[dataset.numbers[symbol]] = True
    for symbol in rules.gap.exclude:
        if symbol in dataset.numbers:
            wanted[dataset.numbers[symbol]] = False
    return wanted


def day_rows(
    dataset: Dataset,
    asked: Sequence[tuple[Session, bool]],
    spans: Sequence[tuple[int, int]],
    lines: Lines,
    sold_before: Mapping[str, int],
) -> Ints:
    """The sessions, each with whether it is played on minutes, as the kernel reads them.

    ``spans``: each one's candidates, or lines; ``sold_before``: by date what sales before the first session brought.
    """
    rows = [dataset.rows[session.date] for session, _ in asked]
    table: list[list[int]] = []
    for place, (session, is_on_minutes) in enumerate(asked):
        due = lines(session)
        sec, taf = bisect_right(_SEC_DATES, session.date) - 1, bisect_right(_TAF_DATES, session.date) - 1
        reach = rows[place] - (settlement_days(session.date) - 1)
        since = dataset.sessions[max(0, reach)].date
        unsettled = sum(sold for date, sold in sold_before.items() if since <= date < session.date)
        own = [0] * c.DAY_WIDTH
        own[c.FIRST], own[c.LAST] = spans[place]
        own[c.IS_ON_MINUTES] = int(is_on_minutes)
        own[c.STAGE] = _stage(session, due.windows, planned_scan(session, lines)[0] is not None)
        own[c.IS_NO_TRADE] = int(any(start <= session.open_ms < end for start, end in due.no_trade))
        own[c.CLOSE_MINUTE] = session.minutes - 1
        own[c.SEC_CENTS] = SEC_CENTS_PER_MILLION[sec][1] if sec >= 0 else 0
        own[c.TAF_RATE], own[c.TAF_CAP] = TAF_E8[taf][1:] if taf >= 0 else (0, 0)
        own[c.UNSETTLED_DAYS] = sum(row >= reach for row in rows[max(0, place - SETTLING) : place])
        own[c.UNSETTLED] = unsettled
        table.append(own)
    return np.asarray(table, np.int64).reshape(-1, c.DAY_WIDTH)


def planned_scan(session: Session, lines: Lines) -> tuple[str | None, tuple[str, ...]]:
    """Name of the scan that a session on daily bars plans with; None and the reason where it is skipped."""
    scans = lines(session).scans
    for line in scans:
        if line.kind == "plan" and line.at_ms > session.open_ms:
            return line.name, ()
    reason = next((line.skipped for line in scans if line.skipped is not None), None)
    return (SCAN, ()) if reason is None else (None, (reason,))


def _stage(session: Session, windows: Sequence[tuple[int, int]], is_scanned: bool) -> int:
    """How far a day goes: plans are made when its first minute has ended, inside an entry window."""
    if not is_scanned:
        return c.SKIPPED
    now_ms = session.open_ms + MINUTE_MS
    first = next((each for each in sorted(windows) if max(now_ms, each[0]) < each[1]), None)
    return c.PLANNED if first is not None and first[0] <= now_ms else c.SCANNED

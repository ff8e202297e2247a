"""Small made-up markets on daily bars, rules of every kind that the kernel declares, and both engines over them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from finagent.backtest.candidates import find_or_build_month
from finagent.backtest.checking import facts
from finagent.backtest.dataset import Dataset
from finagent.backtest.kernel.gathering import Asked, Tables, gather
from finagent.backtest.kernel.minute_tables import lines_of
from finagent.backtest.kernel.tables import set_row
from finagent.backtest.parameters import DayLines, Lines, Parameters, ScanLine
from finagent.backtest.running import Bars, Engine, Result, run_backtest
from finagent.domain.costs import CostRules
from finagent.domain.fills import Ambiguity
from finagent.domain.gap import GapRules, GapStyle
from finagent.domain.market import MINUTE_MS, CorporateAction, Headline, Session
from finagent.domain.planning_rules import PlanningRules
from finagent.domain.risk_profile import RiskProfile
from finagent.domain.scoring import ScoreWeights
from tests.conformance.made_up import MadeUp, MadeUpCalendar, weekdays
from tests.conformance.trading import lines as usual_lines

QUIET, PLAYED = 16, 4
FIRSTS = ("2018-01-01", "2016-02-01")
"""Sales settled in two sessions and in three."""
SYMBOLS = ("AAA", "BBB", "CCC", "DDD", "EEE")
WORDS = ("beats estimates and raises guidance", "fraud probe widens", "opens a new office")

PRICES = st.sampled_from((8_000, 99_000, 250_000, 1_000_000, 1_000_000, 3_333_300, 7_777_700))
GAPS_E6 = st.sampled_from(
    (-90_000, -50_000, -40_000, -20_000, 20_000, 39_900, 40_000, 50_000, 60_000, 60_000, 90_000)
)
MOVES_E6 = st.sampled_from((0, 2_500, 9_000, 20_000, 30_000, 30_000, 30_000, 45_000, 90_000, 130_000))
WIDTHS_E6 = st.sampled_from((0, 0, 9_000, 45_000))
VOLUMES = st.one_of(st.integers(0, 60).map(lambda hundreds: hundreds * 97), st.just(2_000_000))
PATIENT = settings(
    deadline=None, suppress_health_check=list(HealthCheck), report_multiple_bugs=False, database=None
)
"""A case is a whole market: drawing it takes longer than Hypothesis is used to."""


@dataclass(frozen=True)
class Case:
    """What is stored, and some rules with their schedules."""

    stored: MadeUp
    asked: tuple[tuple[Parameters, Lines], ...]

    @property
    def played(self) -> tuple[str, str]:
        """First and last session that are played."""
        sessions = self.stored.calendar.all
        return sessions[QUIET].date, sessions[QUIET + PLAYED - 1].date


@st.composite
def markets(draw: st.DrawFn) -> MadeUp:
    """Quiet sessions, then some in which every symbol gaps, reaches this far up and down, and closes somewhere."""
    first = draw(st.sampled_from(FIRSTS))
    half_day = weekdays(first, QUIET + 3)[-1]
    stored = MadeUp(MadeUpCalendar(first, QUIET + PLAYED, half_days=(half_day,)))
    begin = stored.calendar.all[QUIET].date
    for symbol in SYMBOLS[: draw(st.integers(2, len(SYMBOLS)))]:
        close = draw(PRICES)
        volume, width = draw(st.sampled_from((2_000_000, 60_000_000))), draw(WIDTHS_E6)
        for session in stored.calendar.all[draw(st.sampled_from((0, 0, 0, 4, 12))) : QUIET]:
            high = close + close * width // 1_000_000
            stored.days[session.date, symbol] = _row(close, high, close, close, volume)
        for session in stored.calendar.all[QUIET:]:
            opened = max(1, close + close * draw(GAPS_E6) // 1_000_000)
            high = opened + opened * draw(MOVES_E6) // 1_000_000
            low = max(1, opened - opened * draw(MOVES_E6) // 1_000_000)
            if draw(st.integers(0, 3)) == 0:  # to the tick where stops and targets of 3 % are
                high, low = draw(st.sampled_from(((103, 100), (100, 97), (103, 97))))
                high, low = opened * high // 100, opened * low // 100
            close = draw(st.sampled_from((low, opened, high, (low + high) // 2)))
            if symbol == SYMBOLS[0] or draw(st.integers(0, 20)):
                stored.days[session.date, symbol] = _row(opened, high, low, close, draw(VOLUMES))
    for symbol in draw(st.sets(st.sampled_from(SYMBOLS), max_size=2)):
        action = CorporateAction(
            ex_session=begin,
            dividend_e4=draw(st.sampled_from((0, 1_234))),
            split_ratio_e6=draw(st.sampled_from((1_000_000, 1_010_000))),
        )
        stored.splits[symbol] = [action]
        at_ms = stored.calendar.all[QUIET].open_ms - 3_600_000
        stored.texts.append(
            Headline(
                symbol=symbol,
                published_ms=at_ms,
                known_at_ms=at_ms,
                text=draw(st.sampled_from(WORDS)),
                source="made up",
            )
        )
    return stored


def _row(opened: int, high: int, low: int, close: int, volume: int) -> tuple[str, str, str, str, int]:
    prices = [f"{price // 10_000}.{price % 10_000:04d}" for price in (opened, high, low, close)]
    return prices[0], prices[1], prices[2], prices[3], volume


def optional(*values: int) -> st.SearchStrategy[int | None]:
    """One of some limits; mostly none, so that each of them binds alone now and then."""
    return st.sampled_from((None,) * 3 * len(values) + values)


@st.composite
def rules(draw: st.DrawFn) -> Parameters:
    """Rules that the kernel declares."""
    rule = draw(st.sampled_from(("none", "intraday_margin", "cash_settled")))
    shorts = rule != "cash_settled" and draw(st.booleans())
    weights = draw(
        st.sampled_from(((400, 300, 200, 100), (0, 1000, 0, 0), (0, 0, 0, 1000), (333, 333, 333, 1)))
    )
    equity = draw(st.sampled_from((1_900, 25_000, 100_000))) * 10**8
    return Parameters(
        gap=GapRules(
            min_gap_e6=draw(st.sampled_from((10_000, 20_000, 40_000))),
            style=draw(st.sampled_from(tuple(GapStyle))),
            min_price_e4=draw(st.sampled_from((0, 0, 20_000))),
            max_price_e4=draw(st.sampled_from((1_040_000, 10_000_000))),
            min_adv_usd=draw(st.sampled_from((0, 0, 20_000_000))),
            keep_unknown=draw(st.integers(0, 15)) > 0,
            exclude=draw(st.sampled_from(((), (), (), ("BBB",)))),
        ),
        weights=ScoreWeights(
            volatility_e6=weights[0] * 1_000, catalyst_e6=weights[1] * 1_000,
            liquidity_e6=weights[2] * 1_000, sentiment_e6=weights[3] * 1_000,
        ),
        planning=PlanningRules(
            stop_e6=draw(st.sampled_from((3, 9_000, 30_000, 30_000, 100_000))),
            stop_atr_e6=draw(st.sampled_from((250_000, 2_000_000))),
            target_r_e6=draw(st.sampled_from((700_000, 1_000_000, 1_000_000, 3_000_000))),
        ),
        profile=draw(profiles(rule, shorts)),
        costs=CostRules(
            slippage_e6=draw(st.sampled_from((0, 500, 3_333))),
            open_minutes=draw(st.sampled_from((0, 5, 400))),
            participation_e6=draw(st.sampled_from((50_000, 50_000, 7_000, 1_000_000))),
            commission_per_share_e8=draw(st.sampled_from((0, 500_000))),
            commission_min_e8=draw(st.sampled_from((0, 100_000_000))),
            commission_max_e6=draw(optional(5_000)),
            has_regulatory_fees=draw(st.booleans()),
        ),
        ambiguity=draw(st.sampled_from(tuple(Ambiguity))),
        start_equity_e8=equity,
        top=draw(st.sampled_from((1, 3, 5, 5))),
        open_slippage_e6=draw(st.sampled_from((0, 2_000))),
        symbols=draw(st.sampled_from((None, None, None, ("AAA",)))),
    )  # fmt: skip


@st.composite
def profiles(draw: st.DrawFn, rule: str, shorts: bool) -> RiskProfile:
    """Limits of an account, each of them small enough now and then to bind."""
    dollars = 10**8
    if draw(st.integers(0, 4)) == 0:  # hardly any limit: what is left of them binds
        return RiskProfile(
            risk_per_trade_e6=200_000,
            max_position_e6=draw(st.sampled_from((None, 400_000))),
            max_exposure_e6=None,
            flatten_loss_e6=None,
            max_adv_share_e6=1_000_000,
            lot_e4=draw(st.sampled_from((1, 10_000))),
            allow_shorts=shorts,
            day_trade_rule=rule,
            bankroll_e8=draw(optional(3_000 * dollars)),
            price_band_e6=draw(st.sampled_from((None, 1, 100_000))),
        )
    return RiskProfile(
        risk_per_trade_e6=draw(st.sampled_from((1_000, 10_000, 100_000))),
        max_position_e6=draw(st.sampled_from((None, 200_000, 1_000_000))),
        max_position_notional_e8=draw(optional(777 * dollars, 20_000 * dollars)),
        max_order_notional_e8=draw(optional(5_000 * dollars)),
        max_open_positions=draw(st.sampled_from((1, 2, 3, 5))),
        max_trades_per_day=draw(st.sampled_from((2, 5, 5))),
        flatten_loss_e6=draw(optional(1_000, 20_000)),
        flatten_loss_e8=draw(optional(120 * dollars)),
        max_adv_share_e6=draw(st.sampled_from((20, 5_000, 5_000))),
        max_exposure_e6=draw(st.sampled_from((None, 300_000, 1_000_000, 2_500_000))),
        max_orders_per_minute=draw(st.sampled_from((1, 10, 10))),
        lot_e4=draw(st.sampled_from((1, 10_000, 10_000))),
        allow_shorts=shorts,
        worst_case_extra_r_e6=draw(st.sampled_from((0, 500_000))),
        day_trade_rule=rule,
        bankroll_e8=draw(st.sampled_from((None, None, 3_000 * dollars))),
        price_band_e6=draw(st.sampled_from((None, 1, 100_000))),
    )


@st.composite
def schedules(draw: st.DrawFn) -> Lines:
    """The usual day; now and then no scan, an entry window that opens later, or a time without entries."""
    kind = draw(st.sampled_from(("usual",) * 9 + ("skipped", "late", "closed")))

    def lines(session: Session) -> DayLines:
        usual = usual_lines(session)
        if kind == "skipped":
            skipped = ScanLine(usual.scans[0].at_ms, "open", "", "holiday of the agent")
            return replace(usual, scans=(skipped,))
        if kind == "late":
            return replace(usual, windows=((session.open_ms + 5 * MINUTE_MS, session.close_ms),))
        if kind == "closed":
            return replace(usual, no_trade=((session.open_ms, session.open_ms + 1),))
        return usual

    return lines


def cases() -> st.SearchStrategy[Case]:
    """A market, and eight kinds of rules each with a schedule."""
    return st.builds(Case, markets(), st.tuples(*[st.tuples(rules(), schedules())] * 8))


def tight(case: Case) -> Case:
    """The same where amounts of money bind first and then the account: its exposure, its loss, its risk."""
    dollars = 10**8
    limits = (
        {"max_exposure_e6": 30_000, "flatten_loss_e8": None, "risk_per_trade_e6": 100_000},
        {"max_exposure_e6": None, "flatten_loss_e8": 12 * dollars, "risk_per_trade_e6": 100_000},
        {"max_exposure_e6": None, "flatten_loss_e8": None, "risk_per_trade_e6": 100},
    )
    common = {"max_position_notional_e8": 300 * dollars, "max_open_positions": 5, "flatten_loss_e6": None}
    asked = [
        (
            replace(
                rules,
                start_equity_e8=25_000 * dollars,
                profile=replace(rules.profile, **common, **limits[number % len(limits)]),
            ),
            lines,
        )
        for number, (rules, lines) in enumerate(case.asked)
    ]
    return replace(case, asked=tuple(asked))


def run(
    case: Case, dataset: Dataset, number: int, engine: Engine, bars: Bars = Bars.DAILY, check: int = 0
) -> Result:
    """The sessions after the quiet ones under some of the rules; one that fails fails the test."""
    asked, lines = case.asked[number]
    sessions = dataset.between(*case.played)
    result = run_backtest(dataset, asked, lines, sessions, bars=bars, engine=engine, check=check)
    assert result.failure is None, result.failure
    return result


def tables(
    case: Case, dataset: Dataset, number: int, bars: Bars = Bars.DAILY
) -> tuple[Tables, list[int], int]:
    """What the kernel is given for some of the rules: sessions, parameters, equity."""
    rules, lines = case.asked[number]
    asked = [
        Asked(each, lines_of(dataset, each, lines(each)) if is_on_minutes(dataset, each, bars) else None)
        for each in dataset.between(*case.played)
    ]
    months = {
        (month, minute): find_or_build_month(dataset, rules, month, minute=minute)
        for each in asked
        for month in (each.session.date[:7],)
        for minute in ({None} if each.lines is None else {line.minute for line in each.lines if line.name})
    }
    found, _ = gather(dataset, asked, rules, lines, months, {})
    return found, set_row(rules), rules.start_equity_e8


def is_on_minutes(dataset: Dataset, session: Session, bars: Bars) -> bool:
    """Whether a session is played on minutes."""
    return bars is not Bars.DAILY and dataset.has_minutes(dataset.rows[session.date])


def told(result: Result) -> dict[str, object]:
    """Everything that both engines tell, with a name that says where it stands."""
    dates = [session.date for session in result.sessions]
    return {f"{date} {name}": value for date in dates for name, value in facts(result.ledger, date)}


def first_difference(kernel: Result, reference: Result) -> str | None:
    """What differs first, None where nothing does."""
    ours, theirs = told(kernel), told(reference)
    for name in [*ours, *theirs]:
        if ours.get(name) != theirs.get(name):
            return f"{name}: {ours.get(name)} by the kernel, {theirs.get(name)} by the reference"
    return None


@contextmanager
def dataset_of(case: Case) -> Iterator[Dataset]:
    """The case's dataset, on disk for as long as it is looked at."""
    with TemporaryDirectory() as folder:
        yield case.stored.dataset(Path(folder))

"""The desk: one session under way, its prices, its account, and risk asked about a plan."""

from dataclasses import dataclass, field

from finagent.backtest.agenda import Agenda
from finagent.backtest.dataset import Dataset
from finagent.backtest.ledger import Ledger
from finagent.backtest.market import LastPrice, SessionMarket, open_session
from finagent.backtest.parameters import DayLines, Parameters
from finagent.backtest.venue import Venue
from finagent.domain.book import Book, Marked, OpenPosition, Reservation, account_of, marked, settlement_days
from finagent.domain.market import Bar, Direction, Session
from finagent.domain.plan import Plan
from finagent.domain.risk import AccountState, RiskDecision, decide
from finagent.domain.rows import replace
from finagent.domain.scoring import ScoredCandidate
from finagent.domain.shorts import UNKNOWN, ShortNow, is_restricted_now

_LONG = Direction.LONG
BID_AGE_MS = 60_000
"""An older bid says nothing of where a restricted short may be priced."""


_Verdict = tuple[Plan, int, int, bool, RiskDecision]
"""On which plan, when, after how many changes of the ledger, whether the rate of entries was reached, and what."""


@dataclass(slots=True, eq=False)
class Desk:
    """Everything the steps of one session share; ``now_ms`` is the instant under way."""

    dataset: Dataset
    rules: Parameters
    ledger: Ledger
    venue: Venue
    agenda: Agenda
    market: SessionMarket
    lines: DayLines
    now_ms: int
    scored: dict[str, dict[str, tuple[int, ScoredCandidate]]] = field(default_factory=dict)
    """By scan tick the chosen candidates with their rank."""
    candidates: set[str] = field(default_factory=set)
    skipped: list[str] = field(default_factory=list)
    entry_slippage_e6: int = 0
    """What entries may slip beyond the usual."""
    day_bars: dict[str, Bar] = field(default_factory=dict)
    """Where only daily bars are known: the day of each symbol as one bar."""
    day_prices: dict[str, LastPrice] = field(default_factory=dict)
    """The opens of these bars."""
    _sums: tuple[tuple[OpenPosition, ...], tuple[Reservation, ...], dict[str, int], Marked] | None = None
    """What the account was last summed from, and the sums."""
    _verdicts: dict[str, _Verdict] = field(default_factory=dict)
    """By plan the newest."""

    session: Session = field(init=False)
    """The session under way."""
    _slippage_bound_e6: int = field(init=False)
    _unsettled_from: str = field(init=False)
    """The first session whose sales are not settled on the morning of this one."""

    def __post_init__(self) -> None:
        self.session, self._slippage_bound_e6 = self.market.session, self.rules.slippage_bound_e6
        row = self.market.row - (settlement_days(self.session.date) - 1)
        self._unsettled_from = self.dataset.sessions[max(0, row)].date

    def last_price(self, symbol: str) -> LastPrice | None:
        """The newest price known now; of daily bars the open, which is assumed known."""
        return self.day_prices.get(symbol) or self.market.last_price(symbol, self.now_ms)

    def account(self, *, without: str = "") -> AccountState:
        """The account marked at last prices; ``without`` leaves out one plan's own reservation."""
        book = self.ledger.book(self.session.date, now_ms=self.now_ms, unsettled_from=self._unsettled_from)
        marks: dict[str, int] = {}
        for held in book.positions:
            price = self.last_price(held.plan.symbol)
            if price is not None:
                marks[held.plan.symbol] = price.price_e4
        account = account_of(book, self._summed(book, marks), without=without)
        excluded, is_no_trade_time = self.rules.gap.exclude, self._is_no_trade_time()
        if not excluded and not is_no_trade_time:
            return account
        return replace(account, excluded_symbols=excluded, is_no_trade_time=is_no_trade_time)

    def _summed(self, book: Book, marks: dict[str, int]) -> Marked:
        """Its sums; many plans ask between two changes of what is held and reserved."""
        known = self._sums
        if (
            known is None
            or known[0] is not book.positions
            or known[1] is not book.reservations
            or known[2] != marks
        ):
            sums = marked(book, marks, self.rules.profile)
            known = self._sums = (book.positions, book.reservations, marks, sums)
        return known[3]

    def _is_no_trade_time(self) -> bool:
        return any(start <= self.now_ms < end for start, end in self.lines.no_trade)

    def short_now(self, plan: Plan, price: LastPrice | None) -> ShortNow:
        """What is known of a short sale now: nothing of the borrow, the restriction, a fresh bid."""
        if plan.direction is _LONG:
            return UNKNOWN
        bars = self.market.bars(plan.symbol, self.now_ms)
        lows = [bar.low_e4 for bar in bars if bar.start_ms >= self.session.open_ms]
        quote = price.quote if price is not None else None
        is_fresh = quote is not None and quote.bid_e4 > 0 and self.now_ms - quote.at_ms <= BID_AGE_MS
        return ShortNow(
            is_restricted=is_restricted_now(plan.short, min(lows, default=None)),
            bid_e4=quote.bid_e4 if quote is not None and is_fresh else None,
        )

    def decide(self, plan: Plan, account: AccountState, price: LastPrice | None) -> RiskDecision:
        """The decision at the worse of the plan's reference and the last price.

        One at or behind the stop stands as it is: the plan is refused, however good its reference was.
        """
        sign = plan.direction.sign
        price_e4 = seen_e4 = price.price_e4 if price is not None else plan.reference_e4
        if sign * (seen_e4 - plan.stop_e4) > 0:
            price_e4 = max(sign * plan.reference_e4, sign * seen_e4) * sign
        return decide(
            plan,
            account,
            self.rules.profile,
            price_e4=price_e4,
            slippage_bound_e6=max(self._slippage_bound_e6, self.entry_slippage_e6),
            now_ms=self.now_ms,
            short=self.short_now(plan, price),
        )

    def recheck(self, plan: Plan) -> tuple[RiskDecision, LastPrice | None]:
        """Risk again for one sized plan, its own reservation left out; the quantity can only shrink.

        Asked twice at one instant of the same plan and account, as for a yes and for what it sends, it is the same
        answer: other entries that left meanwhile count for their rate alone.
        """
        now_ms, changes, price = self.now_ms, self.ledger.changes, self.last_price(plan.symbol)
        most = self.rules.profile.max_orders_per_minute
        is_full = self.ledger.orders_last_minute(self.session.date, now_ms=now_ms) >= most
        known = self._verdicts.get(plan.plan_id)
        if known is None or known[0] is not plan or known[1:4] != (now_ms, changes, is_full):
            decision = self.decide(plan, self.account(without=plan.plan_id), price)
            known = self._verdicts[plan.plan_id] = (plan, now_ms, changes, is_full, decision)
        return known[4], price

    def bars_of(self, plan: Plan) -> tuple[Bar, ...]:
        """A plan's minute bars of its own session, as far as they had ended; else its day as one bar."""
        if plan.symbol in self.day_bars:
            return (self.day_bars[plan.symbol],)
        market = self.market
        if plan.session != self.session.date:
            own = self.dataset.session(plan.session)
            assert own is not None
            market = open_session(self.dataset, own, use_minutes=self.market.has_minutes)
        return market.bars(plan.symbol, self.now_ms)

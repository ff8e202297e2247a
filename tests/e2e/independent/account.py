"""The account folded a second time from the journal: limits at every intent, losses at every minute."""

from dataclasses import dataclass, field
from fractions import Fraction
from math import floor

from tests.e2e.independent.fill_model import SHARE
from tests.e2e.independent.market import MINUTE_MS, RawMarket, clock_ms
from tests.e2e.independent.run_file import Entry, Row, RunFile

START = 100_000 * 10**8
EXTRA_R = Fraction(1, 2)


@dataclass(frozen=True)
class Limits:
    """The profile ``standard``, as shares of day-start equity."""

    risk: Fraction = Fraction(5, 1000)
    position: Fraction = Fraction(20, 100)
    adv: Fraction = Fraction(5, 1000)
    pause: Fraction = Fraction(15, 1000)
    flatten: Fraction = Fraction(20, 1000)
    open_positions: int = 3
    trades: int = 5


@dataclass
class Held:
    """A plan from its intent on; money in 1e-8."""

    plan: Row
    asked: int
    bought: int = 0
    sold: int = 0
    flow: int = 0
    paid: int = 0
    fees: int = 0
    is_over: bool = False

    @property
    def shares(self) -> int:
        """Shares open now, in 1e-4."""
        return self.bought - self.sold

    @property
    def risk(self) -> int:
        """|reference - stop| in 1e-4."""
        return int(self.plan["reference_e4"] - self.plan["stop_e4"])

    @property
    def is_live(self) -> bool:
        """Whether it takes from the limits: shares are open, or the entry may still fill."""
        return not self.is_over

    def worst_case(self) -> Fraction:
        """Loss at the stop and half an R beyond; an entry not filled yet counts at its reference."""
        least = self.plan["stop_e4"] - EXTRA_R * self.risk
        to_come = 0 if self.sold else max(self.asked - self.bought, 0)
        cost = Fraction(self.paid * self.shares, self.bought) if self.bought else Fraction(0)
        return max(cost - least * self.shares, Fraction(0)) + to_come * (self.plan["reference_e4"] - least)


@dataclass
class Account:
    """The account as the journal tells it, entry after entry; every breach of a limit is written down."""

    run: RunFile
    limits: Limits
    realised: int = 0
    day_start: int = START
    session: str = ""
    day: dict[str, Held] = field(default_factory=dict)
    breaches: list[str] = field(default_factory=list)
    intents: int = 0

    def fold(self) -> "Account":
        """Read the whole journal."""
        owner = {order["client_order_id"]: order for order in self.run.orders}
        for entry in self.run.journal:
            if entry.kind == "intent":
                self._intent(entry)
            elif entry.kind == "fill":
                self._fill(entry, owner[entry.ref])
            elif entry.kind in ("cancelled", "order_ended") and owner[entry.ref]["leg"] == "entry":
                held = self.day[owner[entry.ref]["plan_id"]]
                held.asked = held.bought
            elif entry.kind == "trade":
                self.day[entry.data["plan"]].is_over = True
            elif entry.kind == "plan_ended" and entry.ref in self.day:
                self.day[entry.ref].is_over = True
        return self

    def _begin(self, session: str) -> None:
        self.session, self.day = session, {}
        self.day_start = START + self.realised

    def _intent(self, entry: Entry) -> None:
        plan = self.run.plans[entry.ref]
        if plan["session"] != self.session:
            self._begin(plan["session"])
        asked = next(order["quantity_e4"] for order in entry.data["orders"] if order["leg"] == "entry")
        others = list(self.day.values())
        self._require(all(held.plan["symbol"] != plan["symbol"] for held in others), entry, "one per symbol")
        self.day[entry.ref] = Held(plan, asked)
        self.intents += 1
        live = [held for held in self.day.values() if held.is_live]
        self._require(len(live) <= self.limits.open_positions, entry, f"{len(live)} open positions")
        self._require(len(self.day) <= self.limits.trades, entry, f"{len(self.day)} trades")
        notional = asked * plan["reference_e4"]
        self._require(notional <= self.limits.position * self.day_start, entry, f"notional {notional}")
        risk = asked * (plan["reference_e4"] - plan["stop_e4"])
        self._require(risk <= self.limits.risk * self.day_start, entry, f"risk {risk}")
        if plan["adv_shares"] is not None:
            self._require(
                asked <= self.limits.adv * plan["adv_shares"] * SHARE, entry, f"{asked} against its ADV"
            )
        lost = max(0, -sum(held.flow - held.fees for held in self.day.values() if held.is_over))
        worst = sum((held.worst_case() for held in live), Fraction(lost))
        self._require(worst <= self.limits.flatten * self.day_start, entry, f"worst case {floor(worst)}")

    def _fill(self, entry: Entry, order: Row) -> None:
        held, data = self.day[order["plan_id"]], entry.data
        money = data["quantity_e4"] * data["price_e4"]
        if data["side"] == "buy":
            held.bought += data["quantity_e4"]
            held.flow -= money
            held.paid += money
        else:
            held.sold += data["quantity_e4"]
            held.flow += money
        held.fees += data["fees_e8"]
        self.realised += (money if data["side"] == "sell" else -money) - data["fees_e8"]

    def _require(self, is_kept: bool, entry: Entry, what: str) -> None:
        if not is_kept:
            plan = self.run.plans[entry.ref]
            self.breaches.append(f"{plan['session']} {plan['symbol']} journal {entry.seq}: {what}")


def loss_tiers(market: RawMarket, run: RunFile, limits: Limits) -> dict[str, dict[str, int]]:
    """For each session the first instants at which the day's loss reached a tier.

    The day's profit and loss by the fills known so far, open positions at the close of their last ended bar,
    against day-start equity.
    """
    start, found = START, {}
    symbols = {order["client_order_id"]: order["symbol"] for order in run.orders}
    for row in run.rows("SELECT session FROM day ORDER BY session"):
        session = row["session"]
        opened, closed = clock_ms(session, "09:30"), clock_ms(session, "16:00")
        fills = [e for e in run.journal if e.kind == "fill" and opened <= e.at <= closed]
        closes = {
            symbol: {bar.end: bar.close for bar in market.regular(session, symbol)}
            for symbol in {symbols[fill.ref] for fill in fills}
        }
        marks: dict[str, int] = {}
        tiers: dict[str, int] = {}
        day = 0
        for now in range(opened + MINUTE_MS, closed + 1, MINUTE_MS):
            marks.update({symbol: bars[now] for symbol, bars in closes.items() if now in bars})
            day = sum(_value(fill, marks[symbols[fill.ref]]) for fill in fills if fill.at <= now)
            for tier, share in (("pause", limits.pause), ("flatten", limits.flatten)):
                if tier not in tiers and -day >= share * start:
                    tiers[tier] = now
        found[session] = tiers
        start += day
    return found


def _value(fill: Entry, mark: int) -> int:
    """What a fill has earned at a mark, net of its fees."""
    sign = 1 if fill.data["side"] == "buy" else -1
    return int(sign * fill.data["quantity_e4"] * (mark - fill.data["price_e4"]) - fill.data["fees_e8"])

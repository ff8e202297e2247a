"""From a stored plan and the raw bars: what the plan must have said, and every fill and figure of its trade."""

from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, floor

from tests.e2e.independent.fill_model import SHARE, Bracket, Costs, Expected, play, tick
from tests.e2e.independent.market import MINUTE_MS, Minute, RawMarket, clock_ms
from tests.e2e.independent.run_file import Row

NEVER = 1 << 62


@dataclass(frozen=True)
class Manner:
    """How plans are made and managed: the documented defaults of ``classic``."""

    stop_share: Fraction = Fraction(3, 100)
    stop_atrs: int = 2
    target_r: Fraction = Fraction(3)
    entry_ttl_ms: int = 300_000
    time_stop_minutes: int = 60
    time_stop_r: Fraction = Fraction(1, 2)


@dataclass(frozen=True)
class Prices:
    """What a classic long plan says, in 1e-4."""

    reference: int
    stop: int
    target: int


def half_even(value: Fraction) -> int:
    """To the nearest integer, ties to even."""
    return round(value)


def classic_prices(market: RawMarket, session: str, symbol: str, decided: int, manner: Manner) -> Prices:
    """Reference: the last ended bar's close. Stop: the tighter of 3 % and 2 ATR; target: 3 R, both inward."""
    reference = [bar for bar in market.regular(session, symbol) if bar.end <= decided][-1].close
    widths = [reference * manner.stop_share]
    atr = market.average_true_range(symbol, session)
    if atr is not None:
        widths.append(atr * manner.stop_atrs)
    stop = Fraction(reference) - min(widths)
    stop_e4 = ceil(stop / tick(int(stop))) * tick(int(stop))
    target = reference + manner.target_r * (reference - stop_e4)
    return Prices(reference, stop_e4, floor(target / tick(int(target))) * tick(int(target)))


def expected_fills(
    market: RawMarket, plan: Row, quantity: int, *, costs: Costs, manner: Manner, flattened: int | None = None
) -> list[Expected]:
    """Every fill of a sized, approved ``next_open`` plan of a full session; ``flattened``: an earlier flatten."""
    assert plan["setup"] == "next_open", f"teach the checker {plan['setup']}"
    assert plan["direction"] == "long", "teach the checker shorts"
    session, accepted = plan["session"], plan["decided_at_ms"]
    bars = market.regular(session, plan["symbol"])
    ladder = min(clock_ms(session, "15:45"), flattened or NEVER)
    order = Bracket(
        quantity=quantity,
        stops=((0, plan["stop_e4"]),),
        targets=tuple(_targets(plan, quantity)),
        accepted=accepted,
        entry_until=accepted + manner.entry_ttl_ms,
        leave_at=ladder,
        leave_reason="flatten",
        opened=clock_ms(session, "09:30"),
        closed=clock_ms(session, "16:00"),
    )
    entries = [fill for fill in play(order, bars, session, costs) if fill.leg == "entry"]
    if not entries:
        return []
    times_up = time_stop(plan, entries, bars, manner)
    if times_up < ladder:
        order = replace(order, leave_at=times_up, leave_reason="time")
    return play(order, bars, session, costs)


def time_stop(plan: Row, entries: list[Expected], bars: list[Minute], manner: Manner) -> int:
    """The end of the first bar from so many minutes after the first fill on, while no half R was seen."""
    shares = sum(fill.quantity for fill in entries)
    average = half_even(Fraction(sum(fill.quantity * fill.price for fill in entries), shares))
    wanted = average + manner.time_stop_r * (plan["reference_e4"] - plan["stop_e4"])
    opened = entries[0].at
    best = average
    for bar in bars:
        if bar.start >= opened:
            best = max(best, bar.high)
            if bar.end >= opened + manner.time_stop_minutes * MINUTE_MS and best < wanted:
                return bar.end
    return NEVER


def _targets(plan: Row, quantity: int) -> list[tuple[str, int, int]]:
    """(leg, price, shares); shares are cut to whole ones, the last target takes the rest."""
    found, left = [], quantity
    for index, target in enumerate(plan["targets"]):
        is_last = index == len(plan["targets"]) - 1
        shares = left if is_last else floor(Fraction(quantity * target["share_e6"], 1_000_000))
        left -= shares
        found.append((target["leg"], target["price_e4"], shares))
    return found


def expected_trade(plan: Row, fills: list[Expected], bars: list[Minute]) -> Row:
    """The figures of the closed round trip, by the names of the stored trade."""
    entries = [fill for fill in fills if fill.leg == "entry"]
    exits = [fill for fill in fills if fill.leg != "entry"]
    shares = sum(fill.quantity for fill in entries)
    paid = sum(fill.quantity * fill.price for fill in entries)
    got = sum(fill.quantity * fill.price for fill in exits)
    fees = sum(fill.fees for fill in fills)
    pnl = (got - paid) * SHARE - fees
    risk = plan["reference_e4"] - plan["stop_e4"]
    held = [bar for bar in bars if bar.start >= entries[0].at and bar.end <= exits[-1].at]
    average = Fraction(paid, shares)
    low = min([Fraction(bar.low) - average for bar in held] + [Fraction(0)])
    high = max([Fraction(bar.high) - average for bar in held] + [Fraction(0)])
    return {
        "quantity_e4": shares * SHARE,
        "entry_at_ms": entries[0].at,
        "entry_e8": paid * SHARE,
        "entry_price_e4": half_even(average),
        "exit_at_ms": exits[-1].at,
        "exit_e8": got * SHARE,
        "exit_price_e4": half_even(Fraction(got, shares)),
        "exit_reason": exits[-1].reason,
        "fees_e8": fees,
        "pnl_e8": pnl,
        "r_multiple_e6": half_even(Fraction(pnl, shares * SHARE * risk) * 1_000_000),
        "mae_r_e6": half_even(low / risk * 1_000_000),
        "mfe_r_e6": half_even(high / risk * 1_000_000),
        "is_ambiguous": any(fill.is_ambiguous for fill in fills),
    }

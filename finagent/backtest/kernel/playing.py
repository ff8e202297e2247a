"""Sessions on daily bars, days outer and parameter sets inner, each set with the state of its own account.

The order of a day is the reference engine's: all plans are decided in rank, then approved, then executed, each seeing
what the others reserve; then the open, the day, the close. Sets that choose alike share the ranking of a day, and those
that differ in nothing but their gap also what the plans came to.
"""

from finagent.backtest.kernel import columns as c
from finagent.backtest.kernel.choosing import gapping, rank, score_of
from finagent.backtest.kernel.compiling import compiled
from finagent.backtest.kernel.sizing import caps, cash_of, may_leave, reserve, size, still_fits
from finagent.backtest.kernel.summing import carry_plan, play_together, prepare


@compiled
def play(
    first: int,
    last: int,
    days: list[list[int]],
    rows: list[list[int]],
    bars: list[list[int]],
    sets: list[list[int]],
    states: list[list[int]],
    gains: list[list[int]],
    tallies: list[list[int]],
    plans: list[list[int]],
    ranks: list[list[int]],
    kept: list[list[int]],
    fills: list[list[int]],
    is_by_day: bool,
) -> None:
    """Play the days from first to last (excluded) with every set; ``gains[place][day]`` in 1e-8, tallies by day (for
    one set) or by set.

    ``plans`` and ``ranks`` are room for one day's candidates. A set whose sums could pass 2^62 stops there and is
    marked.
    """
    for number in range(first, last):
        day = days[number]
        ranked, passed, family, added, most = -1, 0, 0, 0, 0
        for each in range(len(sets)):
            p, state = sets[each], states[each]
            if p[c.IS_ALIKE] == 0:
                ranked = -1
            if p[c.IS_KIN] == 0:
                family, added, most = number * len(sets) + each + 1, 0, len(plans)
            if abs(state[c.EQUITY]) > c.MOST_EQUITY_E8 and state[c.IS_BEYOND] == 0:
                state[c.IS_BEYOND], state[c.STOPPED] = c.BEYOND, number
            if state[c.IS_BEYOND] > 0:
                continue
            gained = sold = 0
            if day[c.STAGE] != c.SKIPPED:
                if ranked < 0:
                    ranked, passed = rank(day[c.FIRST], day[c.LAST], rows, p, ranks)
                tally = tallies[number] if is_by_day else tallies[each]
                tally[c.CANDIDATES] += gapping(passed, p[c.MIN_GAP], ranks[c.R_PASSED])
                if day[c.STAGE] == c.PLANNED and ranked > 0:
                    is_done = False
                    if p[c.HAS_KIN] == 1 and len(kept) == 0:
                        is_done, gained, sold, added, most = play_together(
                            day,
                            rows,
                            bars,
                            p,
                            state,
                            tally,
                            plans,
                            ranks,
                            fills,
                            (ranked, family, added, most),
                        )
                    count = 0
                    if not is_done:
                        count = _choose(ranked, day[c.FIRST], rows, p, tally, plans, ranks, family)
                    if count > 0 and day[c.IS_NO_TRADE] == 0:
                        gained, sold = _play_day(
                            number, day, rows, bars, p, state, tally, plans, ranks[c.R_CHOSEN], count, kept, fills,
                        )  # fmt: skip
                if state[c.IS_BEYOND] > 0:
                    state[c.STOPPED] = number
                    continue
            gains[p[c.PLACE]][number] = gained
            state[c.EQUITY] += gained
            state[c.SOLD_EARLIER] = state[c.SOLD_BEFORE]
            state[c.SOLD_BEFORE] = sold


@compiled
def _choose(
    ranked: int,
    first: int,
    rows: list[list[int]],
    p: list[int],
    tally: list[int],
    plans: list[list[int]],
    ranks: list[list[int]],
    family: int,
) -> int:
    """The best that gap enough; of how many there is a plan: their places among the day's candidates."""
    gaps, chosen = ranks[c.R_GAP], ranks[c.R_CHOSEN]
    least_gap, left = p[c.MIN_GAP], p[c.TOP]
    count = shorts = 0
    for place in range(ranked):
        if gaps[place] < least_gap:
            continue
        if left == 0:
            break
        left -= 1
        plan = plans[ranks[c.R_ROW][place] - first]
        if plan[c.D_FAMILY] != family:
            prepare(plan, ranks[c.R_ROW][place], rows, p, family)
        if plan[c.D_IS_PLAN] == 1:
            plan[c.P_SCORE] = score_of(ranks[c.R_KEY][place])
            chosen[count] = ranks[c.R_ROW][place] - first
            count += 1
            if rows[plan[c.P_ROW]][c.DIRECTION] < 0:
                shorts += 1
    tally[c.PLANS] += count
    tally[c.SHORT_PLANS] += shorts
    return count


@compiled
def _play_day(
    number: int,
    day: list[int],
    rows: list[list[int]],
    bars: list[list[int]],
    p: list[int],
    state: list[int],
    tally: list[int],
    plans: list[list[int]],
    chosen: list[int],
    count: int,
    kept: list[list[int]],
    fills: list[list[int]],
) -> tuple[int, int]:
    """What a set's plans gain and what their sales bring."""
    own, cash = caps(p, state[c.EQUITY]), cash_of(day, p, state)
    if _decide(rows, p, state, own, cash, plans, chosen, count):
        _send(rows, tally, own, plans, chosen, count)
    else:
        _approve(rows, p, state, tally, own, cash, plans, chosen, count)
        _execute(rows, p, state, tally, own, cash, plans, chosen, count)
    gained = sold = 0
    for place in range(count):
        plan = plans[chosen[place]]
        if plan[c.P_STATE] == c.EXECUTED:
            write_down(number, plan, state, kept)
            if plan[c.P_QUANTITY] != plan[c.D_PLAYED] or len(fills) > 0:
                carry_plan(plan, rows[plan[c.P_ROW]], bars, day, p, state, tally, fills)
            else:
                _carry_alike(plan, tally)
            gained, sold = gained + plan[c.D_GAINED], sold + plan[c.D_SOLD]
    return gained, sold


@compiled
def _decide(
    rows: list[list[int]],
    p: list[int],
    state: list[int],
    own: tuple[int, int, int, int, int],
    cash: int,
    plans: list[list[int]],
    chosen: list[int],
    count: int,
) -> bool:
    """Risk in rank: each plan sees what those before it reserve. Whether all fit as they are, so that none of them has
    to be sized again.
    """
    stake_e8, position_e8, exposure_e8, room_e8, _ = own
    most = min(p[c.MOST_POSITIONS], p[c.MOST_TRADES]) if p[c.MOST_ORDERS] > 0 else 0
    funds = cash if exposure_e8 < 0 else min(cash, exposure_e8)
    taken = worst = others = 0
    for place in range(count):
        plan = plans[chosen[place]]
        if (
            plan[c.D_AMOUNTS] > 0
            and others < most
            and plan[c.D_STAKE] <= stake_e8
            and plan[c.D_NOTIONAL] <= min(position_e8, funds - taken)
            and (room_e8 < 0 or plan[c.D_WORST] <= room_e8 - worst)
        ):  # the account allows what the amounts allow
            plan[c.P_QUANTITY], plan[c.P_NOTIONAL] = plan[c.D_AMOUNTS], plan[c.D_NOTIONAL]
            plan[c.P_WORST] = plan[c.D_WORST]
        else:
            row = rows[plan[c.P_ROW]]
            besides = (taken, worst, others, others, 0)
            quantity = size(plan, row, p, own, cash - taken, besides, state[c.EQUITY])
            if quantity == 0:
                plan[c.P_STATE] = c.NO_PLAN
                continue
            reserve(plan, row, p, quantity)
        plan[c.P_STATE] = c.PENDING
        taken, worst, others = taken + plan[c.P_NOTIONAL], worst + plan[c.P_WORST], others + 1
    is_fitting = taken <= funds and (room_e8 < 0 or worst <= room_e8)
    return is_fitting and others <= most and others <= p[c.MOST_ORDERS]


@compiled
def _send(
    rows: list[list[int]],
    tally: list[int],
    own: tuple[int, int, int, int, int],
    plans: list[list[int]],
    chosen: list[int],
    count: int,
) -> None:
    """Approve and execute plans that all fit."""
    for place in range(count):
        plan = plans[chosen[place]]
        if plan[c.P_STATE] != c.PENDING:
            continue
        tally[c.APPROVED] += 1
        if may_leave(rows[plan[c.P_ROW]], own, plan[c.P_QUANTITY]):
            plan[c.P_STATE] = c.EXECUTED
            tally[c.ORDERS] += 3
        else:
            plan[c.P_STATE] = c.NO_PLAN


@compiled
def _again(
    place: int,
    rows: list[list[int]],
    p: list[int],
    state: list[int],
    own: tuple[int, int, int, int, int],
    cash: int,
    plans: list[list[int]],
    chosen: list[int],
    count: int,
) -> int:
    """The quantity that risk still allows a sized plan when all others keep what they reserve."""
    taken = worst = others = orders = 0
    for other in range(count):
        its = plans[chosen[other]]
        if other != place and its[c.P_STATE] != c.NO_PLAN:
            taken += its[c.P_NOTIONAL]
            worst += its[c.P_WORST]
            others += 1
            orders += 1 if its[c.P_STATE] == c.EXECUTED else 0
    funds = max(cash - taken, 0)
    plan = plans[chosen[place]]
    besides = (taken, worst, others, others, orders)
    if still_fits(plan, p, own, funds, besides):
        return plan[c.P_QUANTITY]
    quantity = size(plan, rows[plan[c.P_ROW]], p, own, funds, besides, state[c.EQUITY])
    return min(quantity, plan[c.P_QUANTITY])


@compiled
def _approve(
    rows: list[list[int]],
    p: list[int],
    state: list[int],
    tally: list[int],
    own: tuple[int, int, int, int, int],
    cash: int,
    plans: list[list[int]],
    chosen: list[int],
    count: int,
) -> None:
    """The policy's yes, unless the account no longer allows it."""
    for place in range(count):
        plan = plans[chosen[place]]
        if plan[c.P_STATE] != c.PENDING:
            continue
        if _again(place, rows, p, state, own, cash, plans, chosen, count) == 0:
            plan[c.P_STATE] = c.NO_PLAN
            continue
        plan[c.P_STATE] = c.APPROVED_PLAN
        tally[c.APPROVED] += 1


@compiled
def _execute(
    rows: list[list[int]],
    p: list[int],
    state: list[int],
    tally: list[int],
    own: tuple[int, int, int, int, int],
    cash: int,
    plans: list[list[int]],
    chosen: list[int],
    count: int,
) -> None:
    """Orders leave with what risk still allows: an entry, its stop and its target."""
    for place in range(count):
        plan = plans[chosen[place]]
        if plan[c.P_STATE] != c.APPROVED_PLAN:
            continue
        row = rows[plan[c.P_ROW]]
        quantity = _again(place, rows, p, state, own, cash, plans, chosen, count)
        if quantity == 0 or not may_leave(row, own, quantity):
            plan[c.P_STATE] = c.NO_PLAN
            continue
        reserve(plan, row, p, quantity)
        plan[c.P_STATE] = c.EXECUTED
        tally[c.ORDERS] += 3


@compiled
def _carry_alike(plan: list[int], tally: list[int]) -> None:
    """What the plan came to when it was played for the same quantity."""
    tally[c.FEES] += plan[c.D_FEES]
    tally[c.GAINED] += plan[c.D_GAINED]
    tally[c.FILLS] += plan[c.D_FILLS]
    tally[c.ORDERS] += plan[c.D_ORDERS]
    tally[c.TRADES] += plan[c.D_TRADES]
    tally[c.WINS] += plan[c.D_WINS]
    tally[c.AMBIGUOUS] += plan[c.D_AMBIGUOUS]


@compiled
def write_down(number: int, plan: list[int], state: list[int], kept: list[list[int]]) -> None:
    """Keep an executed plan where there is room for plans at all."""
    place = state[c.PLANS_KEPT]
    if place >= len(kept):
        return
    state[c.PLANS_KEPT] = place + 1
    kept[place][c.K_DAY] = number
    kept[place][c.K_ROW] = plan[c.P_ROW]
    kept[place][c.K_SCORE] = plan[c.P_SCORE]
    kept[place][c.K_STOP] = plan[c.P_STOP]
    kept[place][c.K_TARGET] = plan[c.P_TARGET]
    kept[place][c.K_QUANTITY] = plan[c.P_QUANTITY]
    kept[place][c.K_LINE] = 0

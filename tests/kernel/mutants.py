"""Bugs for the kernel's text: each is one line that a person could write wrong."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """A text of one module and what stands there instead; the text must be there exactly once."""

    module: str
    right: str
    wrong: str


DAILY_MUTANTS = {
    "a buy slips down": Mutant(
        "arithmetic",
        "return -(-price_e4 * (RATIO + slippage_e6) // (RATIO * 100)) * 100",
        "return price_e4 * (RATIO + slippage_e6) // (RATIO * 100) * 100",
    ),
    "a sale slips up": Mutant(
        "arithmetic",
        "max(price_e4 * (RATIO - slippage_e6) // (RATIO * 100) * 100, 100)",
        "max(-(-price_e4 * (RATIO - slippage_e6) // (RATIO * 100)) * 100, 100)",
    ),
    "a cent below a dollar": Mutant("arithmetic", "return 100 if price_e4 >= DOLLAR_E4 else 1", "return 100"),
    "stops widen": Mutant(
        "arithmetic",
        "return -(-numerator // (RATIO * 100)) * 100 if",
        "return numerator // (RATIO * 100) * 100 if",
    ),
    "stops and targets below a dollar stand on cents": Mutant(
        "arithmetic", "has_cents = numerator >= DOLLAR_E4 * RATIO", "has_cents = True"
    ),
    "a part of a share goes free": Mutant("arithmetic", "charge += -(-rest * p", "charge += 0 * (-rest * p"),
    "buys pay the fees of sales": Mutant(
        "arithmetic", "if is_buy or p[c.HAS_REGULATORY] == 0", "if p[c.HAS_REGULATORY] == 0"
    ),
    "no least commission": Mutant(
        "arithmetic", "charge = max(charge, p[c.FEE_MIN])", "charge = max(charge, 0)"
    ),
    "an order's parts pay for each other": Mutant("arithmetic", "if filled_e4 > 0:", "if filled_e4 < 0:"),
    "the second part of an entry pays as if it were the first": Mutant(
        "filling", "more, price, bought, entry_e8)", "more, price, 0, 0)"
    ),
    "one step of division too few": Mutant(
        "arithmetic",
        "for _ in range(3):\n        rest *= 100\n        digit",
        "for _ in range(3):\n        rest *= 10\n        digit",
    ),
    "a tie at the limit is no gap": Mutant(
        "choosing", "if row[c.GAP] < p[c.LEAST_GAP]:", "if row[c.GAP] <= p[c.LEAST_GAP]:"
    ),
    "unknown values are dropped": Mutant("choosing", "if p[c.KEEPS_UNKNOWN] == 0 and (", "if ("),
    "ties go by symbol backwards": Mutant(
        "choosing",
        "return score(row, p) * TIES - row[c.SYMBOL]",
        "return (score(row, p) - 1) * TIES + row[c.SYMBOL] + 1",
    ),
    "the lowest score first": Mutant("choosing", "if keys[middle] > key:", "if keys[middle] < key:"),
    "the wider stop": Mutant(
        "sizing",
        "width = min(width, row[c.ATR] * p[c.STOP_ATR])",
        "width = max(width, row[c.ATR] * p[c.STOP_ATR])",
    ),
    "the day's loss is no cap": Mutant(
        "sizing", "if room_e8 >= 0 and (not is_small", "if room_e8 < 0 and (not is_small"
    ),
    "exposure counts from nothing": Mutant(
        "sizing",
        "most_e8 = min(most_e8, exposure_e8 - notional_e8)",
        "most_e8 = min(most_e8, exposure_e8)",
    ),
    "one position too many": Mutant(
        "sizing",
        "if positions >= p[c.MOST_POSITIONS] or trades >= p[c.MOST_TRADES] or orders >= p[c.MOST_ORDERS]:\n"
        "        return 0",
        "if positions > p[c.MOST_POSITIONS] or trades >= p[c.MOST_TRADES] or orders >= p[c.MOST_ORDERS]:\n"
        "        return 0",
    ),
    "orders of a minute uncounted": Mutant(
        "playing", "orders += 1 if its[c.P_STATE] == c.EXECUTED else 0", "orders += 0"
    ),
    "shorts in odd lots": Mutant(
        "sizing", "return max(p[c.LOT], SHARE_E4) if row[c.DIRECTION] < 0 else p[c.LOT]", "return p[c.LOT]"
    ),
    "a restricted short": Mutant(
        "sizing", "p[c.IS_CASH_SETTLED] == 1 or row[c.RESTRICTED] == 1", "p[c.IS_CASH_SETTLED] == 1"
    ),
    "sizes without slippage": Mutant(
        "sizing",
        "affordable(most_e8, price * (RATIO + p[c.SIZING_SLIPPAGE]))",
        "affordable(most_e8, price * RATIO)",
    ),
    "a fat finger passes": Mutant(
        "sizing", "and quantity_e4 * row[c.LAST_PRICE] <= own[4]", "and quantity_e4 > 0"
    ),
    "the day begins with no volume left": Mutant(
        "filling", "held, budget - more", "held, budget - bought - more"
    ),
    "the rest of an entry is forgotten": Mutant(
        "filling", "more = min(plan[c.P_QUANTITY] - bought, budget)", "more = 0"
    ),
    "the target first": Mutant(
        "filling", "return ambiguity == c.TARGET_FIRST", "return ambiguity == c.STOP_FIRST"
    ),
    "the path backwards": Mutant("filling", "return high >= target and high > stop", "return False"),
    "bounds of a short upside down": Mutant("filling", "else (doubt, low, high,", "else (doubt, high, low,"),
    "a target reached is passed": Mutant(
        "filling", "highest >= plan[c.P_TARGET]", "highest > plan[c.P_TARGET]"
    ),
    "the close of a short first minutes": Mutant("filling", "p[c.SLIPPAGE] * times)", "p[c.SLIPPAGE])"),
    "an exit at the close is no order": Mutant(
        "filling", "        tally[c.ORDERS] += 1\n", "        tally[c.ORDERS] += 0\n"
    ),
    "all is said to fit": Mutant(
        "playing", "return is_fitting and others <= most and others <= p[c.MOST_ORDERS]", "return True"
    ),
    "equity stands still": Mutant("playing", "state[c.EQUITY] += gained", "state[c.EQUITY] += 0"),
    "sales settle in a day": Mutant("sizing", "total += state[c.SOLD_EARLIER]", "total += 0"),
    "sales of yesterday are spent": Mutant(
        "sizing", "cash = min(cash, cash - unsettled(day, state))", "cash = min(cash, cash)"
    ),
    "entries in a time without": Mutant(
        "playing", "and day[c.IS_NO_TRADE] == 0", "and day[c.IS_NO_TRADE] >= 0"
    ),
    "plans outside the window": Mutant(
        "playing", "if day[c.STAGE] == c.PLANNED and", "if day[c.STAGE] != c.SKIPPED and"
    ),
}


AMOUNT_MUTANTS = {
    "what the amounts allow is always risked": Mutant(
        "playing", "and plan[c.D_STAKE] <= stake_e8", "and plan[c.D_STAKE] >= 0"
    ),
    "what the amounts allow is always paid": Mutant(
        "playing", "min(position_e8, funds - taken)\n", "position_e8\n"
    ),
    "what the amounts allow may always be lost": Mutant(
        "playing", "(room_e8 < 0 or plan[c.D_WORST] <= room_e8 - worst)\n        )", "plan[c.D_WORST] >= 0)"
    ),
}


MINUTE_MUTANTS = {
    "each part of an entry pays the least": Mutant(
        "working", "price, plan[c.P_FILLED], plan[c.P_IN])", "price, 0, 0)"
    ),
    "each part of a stop pays the least": Mutant(
        "working", "plan[c.P_STOPPED], plan[c.P_STOPPED_E8] = filled +", "filled, filled_e8 = filled +"
    ),
    "each part of a target pays the least": Mutant(
        "working", "elif fill[0] == c.TARGET_LEG:", "elif fill[0] > c.EXIT_LEG:"
    ),
    "a stop pays for the target's parts": Mutant(
        "working", "= plan[c.P_STOPPED], plan[c.P_STOPPED_E8]\n", "= plan[c.P_GONE], plan[c.P_OUT]\n"
    ),
    "the first minutes slip like others": Mutant(
        "working", "slippage = p[c.SLIPPAGE] * times", "slippage = p[c.SLIPPAGE]"
    ),
    "a closing order takes its share of the volume": Mutant(
        "working",
        "    if plan[c.P_EXIT] > 0:  # nothing",
        "    if plan[c.P_EXIT] > 0 and bar[c.B_VOLUME] > 0:  # nothing",
    ),
    "the entry's own bar is not checked at its open": Mutant(
        "working",
        "slippage, budget - bought)",
        "slippage, budget - bought) if plan[c.P_FILLED] > bought else budget",
    ),
    "the entry's own bar is not checked": Mutant(
        "working",
        "    if plan[c.P_HELD] == 0:\n        return\n    is_long, high",
        "    if plan[c.P_HELD] == 0 or plan[c.P_SINCE] == bar[c.B_MINUTE]:\n        return\n    is_long, high",
    ),
    "a stop that was passed fills at its price": Mutant(
        "working",
        "price = slipped(not is_long, opened, slippage)",
        "price = slipped(not is_long, plan[c.P_LEVEL], slippage)",
    ),
    "a target that was passed fills at its price": Mutant(
        "working", "(c.TARGET_LEG, gone, opened, 0)", "(c.TARGET_LEG, gone, plan[c.P_TARGET], 0)"
    ),
    "the rest of a stop waits for its price": Mutant(
        "working",
        "plan[c.P_IS_TRIGGERED] == 1 or _is_stop(plan, opened, is_long)",
        "_is_stop(plan, opened, is_long)",
    ),
    "an exit leaves the entry at work": Mutant(
        "working", "    end_entry(plan)\n    _book_exit", "    _book_exit"
    ),
    "a minute's share is used twice": Mutant("working", "budget -= gone\n    if", "budget -= 0\n    if"),
    "no share is left for the exit": Mutant("working", "slippage, budget - bought)", "slippage, 0)"),
    "bounds where nothing is in doubt": Mutant(
        "working", "if is_stopped and is_reached else", "if is_stopped or is_reached else"
    ),
    "a forced close slips as usual": Mutant("working", "mark, p[c.CLOSE_PENALTY])", "mark, p[c.SLIPPAGE])"),
    "a filled entry still reserves": Mutant(
        "working", "    if left == 0:\n        end_entry(plan)\n    else:", "    if left > 0:"
    ),
    "a moved stop is an ordinary one": Mutant(
        "working", "plan[c.P_LEVEL] == plan[c.P_STOP] else", "plan[c.P_LEVEL] > 0 else"
    ),
    "the entry's bar has no best price": Mutant(
        "working", "plan[c.P_BEST] = bar[c.B_HIGH] if is_long else bar[c.B_LOW]", "plan[c.P_BEST] = price"
    ),
    "the time stop is a minute late": Mutant(
        "watching", "p[c.TIME_STOP]\n    distance", "p[c.TIME_STOP] + 1\n    distance"
    ),
    "a trade that ran is timed out": Mutant(
        "watching", "if is_due and gained < p[c.TIME_MIN_R] * plan[c.P_RISK]:", "if is_due:"
    ),
    "a stop trails from the start": Mutant(
        "watching", "distance > 0 and gained >= p[c.TRAIL_R] * plan[c.P_RISK]", "distance > 0"
    ),
    "a stop trails beyond the price": Mutant(
        "watching", "< sign * stop < sign * bar[c.B_CLOSE]:", "< sign * stop:"
    ),
    "a trailing stop is rounded away": Mutant(
        "watching", "signed // tick * tick", "-(-signed // tick) * tick"
    ),
    "a moved stop is no order": Mutant(
        "watching", "tally[c.ORDERS] += 1\n        plan[c.P_STOPS] += 1", "plan[c.P_STOPS] += 1"
    ),
    "a moved stop keeps its number": Mutant(
        "watching", "plan[c.P_GENERATION] = plan[c.P_STOPS]", "plan[c.P_GENERATION] = 1"
    ),
    "open positions lose nothing": Mutant(
        "watching",
        "plan[c.P_HELD] * plan[c.P_MARK])",
        "plan[c.P_HELD] * plan[c.P_IN] // max(plan[c.P_FILLED], 1))",
    ),
    "a loss to the cent is none": Mutant(
        "watching", "if 0 <= flatten <= -gain:", "if 0 <= 2 * flatten <= -gain:"
    ),
    "no pause": Mutant("watching", "return 1 if 0 <= pause <= -gain else 0", "return 0"),
    "who was a candidate is counted again": Mutant("looking", "1 if before < 0 else 0", "1"),
    "the second look goes by the score": Mutant(
        "looking", "if due[c.L_KIND] == c.PLAN_LINE:", "if due[c.L_KIND] >= c.PLAN_LINE:"
    ),
    "the second look counts empty places": Mutant("looking", "before += is_taken", "before += 1"),
    "the smaller gap first": Mutant("looking", "return own < theirs", "return own > theirs"),
    "entries in a time without": Mutant("entering", "due[c.L_IS_NO_TRADE] == 1", "due[c.L_IS_NO_TRADE] == 2"),
    "what is held is no exposure": Mutant(
        "entering", "plan[c.P_HELD] * plan[c.P_MARK] + plan[c.P_NOTIONAL]\n    ", "plan[c.P_NOTIONAL]\n    "
    ),
    "what is held has no worst case": Mutant(
        "entering", "worst += _worst_case(plan, p, is_long)", "worst += 0"
    ),
    "what was lost is not lost": Mutant("entering", "worst + max(0, -realised)", "worst"),
    "a symbol twice a day": Mutant(
        "entering", "quantity == 0 or _is_of_today(plan, rows, state, plans)", "quantity == 0"
    ),
    "an old price will do": Mutant("entering", "if is_old or", "if"),
    "today's purchases are not spent": Mutant(
        "entering", "cash -= (plan[c.P_IN] if is_long else plan[c.P_OUT]) +", "cash -="
    ),
    "closed trades are none of the day": Mutant(
        "entering", "            trades += 1\n", "            trades += 0\n"
    ),
    "the bar of the decision fills": Mutant(
        "entering", "bars[middle][c.B_MINUTE] < now:", "bars[middle][c.B_MINUTE] < now - 1:"
    ),
    "entries live a minute longer": Mutant("entering", "now * 60_000 + life", "now * 60_000 + life + 60_000"),
    "the ladder sees what was just bought": Mutant(
        "minutes", "_flatten(tally, state, plans, 1)", "_flatten(tally, state, plans, 0)"
    ),
    "the day's loss closes nothing": Mutant("minutes", "if lost == 2 and", "if lost == 3 and"),
    "a bar's time stop is passed over": Mutant(
        "minutes",
        "is_moved or plan[c.P_MOVE] > 0 or plan[c.P_IS_TIME_UP] == 1",
        "is_moved or plan[c.P_MOVE] > 0",
    ),
    "without a trailing stop nothing is watched": Mutant(
        "minutes", "is_watched = p[c.TIME_STOP] >= 0 or p[c.TRAIL_R] >= 0", "is_watched = p[c.TRAIL_R] >= 0"
    ),
    "a pause alone is no limit": Mutant(
        "watching",
        "max(max(p[c.PAUSE_SHARE], p[c.PAUSE_E8]), max(p[c.FLATTEN_SHARE], p[c.FLATTEN_E8])) >= 0",
        "max(p[c.FLATTEN_SHARE], p[c.FLATTEN_E8]) >= 0",
    ),
    "a pause ends with the loss": Mutant("minutes", "if lost > 0:", "if lost > 1:"),
    "plans of yesterday are sold again": Mutant(
        "minutes",
        "if plan[c.P_STATE] == c.CLOSED_PLAN:\n            sold",
        "if plan[c.P_STATE] >= 0:\n            sold",
    ),
    "the last price is the decision's": Mutant(
        "minutes",
        "plan[c.P_MARK] = bar[c.B_CLOSE]\n            if",
        "plan[c.P_MARK] = row[c.LAST_PRICE]\n            if",
    ),
}


DRILL_MUTANTS = {
    "no minute is asked": Mutant("filling", "p[c.AMBIGUITY] == c.BY_MINUTES:", "p[c.AMBIGUITY] < 0:"),
    "the last minute at the stop": Mutant("filling", "if stopped < 0 and (low <= stop", "if (low <= stop"),
    "one level is enough": Mutant(
        "filling",
        "    if stopped < 0 or reached < 0:\n",
        "    stopped = reached if stopped < 0 else stopped\n"
        "    reached = stopped if reached < 0 else reached\n    if stopped < 0:\n",
    ),
    "a minute with both is the stop's": Mutant(
        "filling",
        "if stopped == reached and not is_target and not is_stop:",
        "if stopped == reached and False:",
    ),
    "a minute with both is never told by its open": Mutant(
        "filling", "if stopped == reached and not is_target and not is_stop:", "if stopped == reached:"
    ),
    "a gap within the day fills at the stop": Mutant(
        "filling", "min(opened, stop) if is_long else max(opened, stop)", "stop"
    ),
    "a gap within the day fills at the target": Mutant(
        "filling", "max(opened, target) if is_long else min(opened, target)", "target"
    ),
    "a drilled stop slips by nothing": Mutant(
        "filling", "leg, price = c.STOP_LEG, slipped(not is_long, level, p[c.SLIPPAGE])", "leg = c.STOP_LEG"
    ),
    "what is drilled stays doubtful": Mutant(
        "filling", "doubt, leg, price, reference = c.DRILLED,", "doubt, leg, price, reference = c.DOUBTFUL,"
    ),
}


SUM_MUTANTS = {
    "sums take plans below a set's gap": Mutant(
        "summing", "wanted = gapping(ranked, p[c.MIN_GAP], ranks[c.R_GAPS])", "wanted = ranked"
    ),
    "more plans than a set may have": Mutant(
        "summing", "if wanted > min(p[c.TOP], most):", "if wanted > most:"
    ),
    "the first sum goes on with the day before": Mutant(
        "summing", "                plan[column] = 0\n        else:", "                pass\n        else:"
    ),
    "a sum begins anew with each plan": Mutant(
        "summing", "plan[column] = before[column]", "plan[column] = 0"
    ),
    "the last stake is the largest": Mutant(
        "summing", "max(plan[c.S_STAKE], plan[c.D_STAKE])", "plan[c.D_STAKE]"
    ),
    "no shorts are counted": Mutant("summing", "1 if row[c.DIRECTION] < 0 else 0", "0"),
    "any number of positions": Mutant("summing", "total[c.S_COUNT] > most or", ""),
    "any stake": Mutant("summing", " or total[c.S_STAKE] > stake_e8", ""),
    "money that is not there": Mutant(
        "summing",
        "if total[c.S_NOTIONAL] > (cash if exposure_e8 < 0 else min(cash, exposure_e8)):",
        "if False:",
    ),
    "any loss": Mutant("summing", " and (room_e8 < 0 or total[c.S_WORST] <= room_e8)", ""),
    "one look at the account a plan": Mutant(
        "summing", "tally[c.ORDERS] += 3 * count", "tally[c.ORDERS] += 2 * count"
    ),
    "sums on a day without trades": Mutant("summing", " or day[c.IS_NO_TRADE] == 1", ""),
    "only the last plan's notional": Mutant(
        "summing", "plan[c.S_NOTIONAL] += plan", "plan[c.S_NOTIONAL] = plan"
    ),
    "only the last plan's worst": Mutant("summing", "plan[c.S_WORST] += plan", "plan[c.S_WORST] = plan"),
    "only the last plan's gained": Mutant("summing", "plan[c.S_GAINED] += plan", "plan[c.S_GAINED] = plan"),
    "only the last plan's sold": Mutant("summing", "plan[c.S_SOLD] += plan", "plan[c.S_SOLD] = plan"),
    "only the last plan's fees": Mutant("summing", "plan[c.S_FEES] += plan", "plan[c.S_FEES] = plan"),
    "only the last plan's fills": Mutant("summing", "plan[c.S_FILLS] += plan", "plan[c.S_FILLS] = plan"),
    "only the last plan's orders": Mutant("summing", "plan[c.S_ORDERS] += plan", "plan[c.S_ORDERS] = plan"),
    "only the last plan's trades": Mutant("summing", "plan[c.S_TRADES] += plan", "plan[c.S_TRADES] = plan"),
    "only the last plan's wins": Mutant("summing", "plan[c.S_WINS] += plan", "plan[c.S_WINS] = plan"),
    "only the last plan's ambiguous": Mutant(
        "summing", "plan[c.S_AMBIGUOUS] += plan", "plan[c.S_AMBIGUOUS] = plan"
    ),
}

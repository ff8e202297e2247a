"""What the columns of the kernel's tables are: each table is a matrix of 64-bit integers, one row a thing."""

OFF = -1
"""A limit that is off."""
MOST = 2**62
MOST_EQUITY_E8 = MOST // 100
"""With more, a share of the equity could pass 2^62."""
MOST_PRICE_E4 = 2 * 10**10
MOST_VOLUME = 4 * 10**14
MOST_RATIO_E6 = 10**8

# ---------------------------------------------------------------- a candidate and its day
(
    SYMBOL, DIRECTION, GAP, INDICATION, LAST_PRICE, ADV_USD, ADV_SHARES, RVOL, SPREAD, ATR, RESTRICTED, PREMARKET,
    PREMARKET_VOLUME, VOLATILITY, CATALYST, SENTIMENT, LIQUIDITY,
) = range(17)  # fmt: skip
"""As the index keeps them: known at the decision."""
OPEN, HIGH, LOW, CLOSE, VOLUME = range(17, 22)
"""The day's bar: what came after."""
AGE, BEFORE, BAR_FIRST, BAR_LAST, HIGHEST = range(17, 22)
"""On minutes instead: age of the last price in ms, the symbol's row in the session's scan before (OFF: none), its bars,
and the highest price in them, negative where it is halted at the close."""
DRILL_FIRST, DRILL_LAST = 22, 23
"""On daily bars: the minutes inside the bar among the bars, where they are to tell the order of its events."""
LOOKS_FIRST, LOOKS_GAP = 22, 27
"""Places in the second look among all that were scanned, the best 0: five keys, then the size of the gap."""
ROW_WIDTH = 28

# ---------------------------------------------------------------- a session
(
    FIRST, LAST, STAGE, IS_NO_TRADE, CLOSE_MINUTE, SEC_CENTS, TAF_RATE, TAF_CAP, UNSETTLED_DAYS, UNSETTLED,
    IS_ON_MINUTES,
) = range(11)  # fmt: skip
"""Its candidates (on minutes its lines), how far the day goes (below), whether entries are refused, the minute of its
last bar, its fees, and of how many sessions before the sales have not settled, with those before the first."""
DAY_WIDTH = 11
SKIPPED, SCANNED, PLANNED = range(3)
"""No scan; a scan outside every entry window; a scan that plans."""

# ---------------------------------------------------------------- a line of a session on minutes, and a bar
L_MINUTE, L_KIND, L_FIRST, L_LAST, L_IS_OPEN, L_IS_NO_TRADE = range(6)
"""When, in minutes since the open; a scan's candidates; whether an entry window is open, and entries are refused."""
LINE_WIDTH = 6
FLATTEN_LINE, WATCH_LINE, PLAN_LINE, LOOK_LINE = range(4)
B_MINUTE, B_OPEN, B_HIGH, B_LOW, B_CLOSE, B_VOLUME = range(6)
BAR_WIDTH = 6

# ---------------------------------------------------------------- a parameter set
(
    MIN_GAP, MIN_PRICE, MAX_PRICE, MIN_ADV, MIN_RVOL, MAX_SPREAD, MIN_PREMARKET, KEEPS_UNKNOWN, TOP,
    W_VOLATILITY, W_CATALYST, W_SENTIMENT, W_LIQUIDITY, STOP_WIDTH, STOP_ATR, TARGET_R,
    RISK_PER_TRADE, MAX_POSITION, MAX_POSITION_E8, MAX_ORDER_E8, MOST_POSITIONS, MOST_TRADES, FLATTEN_SHARE,
    FLATTEN_E8, MAX_ADV_SHARE, MAX_EXPOSURE, MOST_ORDERS, LOT, ALLOWS_SHORTS, EXTRA_R, IS_CASH_SETTLED,
    NEEDS_MARGIN, BANKROLL, PRICE_BAND, SLIPPAGE, OPEN_MULTIPLIER, OPEN_MINUTES, PARTICIPATION, FEE_SHARE, FEE_MIN,
    FEE_MAX, HAS_REGULATORY, AMBIGUITY, OPEN_SLIPPAGE, SIZING_SLIPPAGE, MAX_AGE, ENTRY_LIFE, TIME_STOP, TIME_MIN_R,
    TRAIL_R, TRAIL_ATR, PAUSE_SHARE, PAUSE_E8, MOST_LOSSES, CLOSE_PENALTY, MINUTE_SIZING,
    IS_ALIKE, IS_KIN, LEAST_GAP, HAS_MORE_GAPS, HAS_KIN, PLACE,
) = range(62)  # fmt: skip
SET_WIDTH = 62
"""``MINUTE_SIZING`` stands in the place of ``SIZING_SLIPPAGE`` on minutes. Of sets that are played together:
``IS_ALIKE``, the set before chooses alike but for the gap; ``IS_KIN``, it differs in nothing but the gap;
``LEAST_GAP`` of all that choose alike, and whether some have a larger one; ``HAS_KIN``, the set before or the next one
differs in nothing but the gap. ``PLACE``: the row of its gains."""
CHOOSING = (*range(MIN_PRICE, W_LIQUIDITY + 1), ALLOWS_SHORTS)
"""What decides whom a set chooses, beside its least gap."""
SHARED = (*range(1, IS_ALIKE),)
"""All but the least gap."""
STOP_FIRST, TARGET_FIRST, ALONG_PATH, BY_MINUTES = range(4)

# ---------------------------------------------------------------- what a set's account has come to
EQUITY, SOLD_BEFORE, SOLD_EARLIER, PLANS_KEPT, FILLS_KEPT, IS_BEYOND, STOPPED = range(7)
"""Equity before the day; sales of the last session and the one before; rows written; whether a sum could pass 2^62 or a
session is not the kernel's (then ``STOPPED`` is its number, and no later one is played)."""
COUNT, BANKED, IS_SHUT, IS_OVER = range(7, 11)
"""Of a session on minutes under way: plans so far, what closed trades gained, whether entries are over, whether the
day's loss has closed everything."""
STATE_WIDTH = 11
BEYOND, NOT_ITS_OWN = 1, 2

# ---------------------------------------------------------------- counts of a day, or of all days of a set
CANDIDATES, PLANS, SHORT_PLANS, APPROVED, ORDERS, FILLS, TRADES, WINS, FEES, GAINED, AMBIGUOUS = range(11)
TALLY_WIDTH = 11

# ---------------------------------------------------------------- a plan under way (of the day)
P_ROW, P_SCORE, P_STOP, P_TARGET, P_RISK, P_QUANTITY, P_NOTIONAL, P_WORST, P_STATE = range(9)
(
    P_KEPT, P_BAR, P_LEFT, P_FILLED, P_HELD, P_GONE, P_IN, P_OUT, P_FEES, P_LEVEL, P_IS_TRIGGERED, P_GENERATION,
    P_STOPS, P_EXIT, P_REASON, P_BEST, P_IS_SEEN, P_SINCE, P_MARK, P_DUE, P_IS_AMBIGUOUS, P_UNTIL, P_MOVE, P_IS_TIME_UP,
    P_WAS_HELD, P_STOPPED, P_STOPPED_E8,
) = range(9, 36)  # fmt: skip
"""On minutes: its place among the kept, its next bar; what of the entry still works, was filled, is held, has left; the
money of both sides and the fees; the stop's price, whether it has become a market order, its generation and how many
there were; a closing order's quantity and reason; the best price and whether it was looked at; the minute of the entry;
the newest price; when the entry ends in ms; the minute of the last exit; where the stop is to go, whether the time is
up, and whether it was held before this minute; what has left by the stop, and its money."""
PLAN_WIDTH = 36
NO_PLAN, PENDING, APPROVED_PLAN, EXECUTED, CLOSED_PLAN, NOT_FILLED = range(6)

# ---------------------------------------------------------------- the same on daily bars
(
    D_FAMILY, D_IS_PLAN, D_AMOUNTS, D_STAKE, D_NOTIONAL, D_WORST, D_PLAYED, D_GAINED, D_SOLD, D_FEES, D_FILLS,
    D_ORDERS, D_TRADES, D_WINS, D_AMBIGUOUS,
) = range(9, 24)  # fmt: skip
(
    S_COUNT, S_SHORTS, S_NOTIONAL, S_WORST, S_STAKE, S_POSITION, S_WORTH, S_GAINED, S_SOLD, S_FEES, S_FILLS, S_ORDERS,
    S_TRADES, S_WINS, S_AMBIGUOUS,
) = range(24, 39)  # fmt: skip
"""What sets share that differ in nothing but their gap and their account: for which of them it was drawn up, whether
there is a plan, the quantity by those caps that no account changes (OFF: ask the account), its risk and what it takes
from the limits; and the quantity that was played last (0: none), with what it came to. ``S_``: the same of all plans
whose gap is as large or larger, at those quantities: how many, how many shorts, what they take, the largest risk,
notional and worth, and what they came to."""
DAILY_PLAN_WIDTH = 39

# ---------------------------------------------------------------- candidates in rank
R_KEY, R_ROW, R_GAP, R_SPARE_KEY, R_SPARE_ROW, R_PASSED, R_CHOSEN, R_BY_GAP, R_GAPS = range(9)
"""A row each: keys to sort by and rows of the best first, with their gaps; room to sort; the gaps of all that pass,
largest first; whom a set chose, as places among the day's candidates; rows of all that are tradable, the largest gap
first, with their gaps."""
RANK_ROWS = 9

# ---------------------------------------------------------------- what is kept of an executed plan, and of a fill
K_DAY, K_ROW, K_SCORE, K_STOP, K_TARGET, K_QUANTITY, K_LINE = range(7)
KEPT_WIDTH = 7
(
    F_PLAN, F_PHASE, F_LEG, F_QUANTITY, F_PRICE, F_REFERENCE, F_FEES, F_AMBIGUOUS, F_BEST, F_WORST, F_MINUTE,
    F_GENERATION, F_REASON,
) = range(13)  # fmt: skip
"""``F_PHASE`` says when in the day it was booked: on minutes the minute that had ended then. ``F_AMBIGUOUS`` is
``DRILLED`` where the minute ``F_MINUTE`` inside a daily bar told the order."""
UNDOUBTED, DOUBTFUL, DRILLED = range(3)
FILL_WIDTH = 13
AT_OPEN, IN_DAY, AT_CLOSE = range(3)
ENTRY_LEG, STOP_LEG, TARGET_LEG, EXIT_LEG = range(4)
BY_NOTHING, BY_STOP, BY_TARGET, BY_TRAILING, BY_TIME, BY_FLATTEN, BY_CLOSE = range(7)
FILLS_A_PLAN = 4

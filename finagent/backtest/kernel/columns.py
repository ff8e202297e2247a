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
ROW_WIDTH = 22

# ---------------------------------------------------------------- a session
FIRST, LAST, STAGE, IS_NO_TRADE, CLOSE_MINUTE, SEC_CENTS, TAF_RATE, TAF_CAP, UNSETTLED_DAYS, UNSETTLED = (
    range(10)
)
"""Its candidates, how far the day goes (below), whether entries are refused, the minute of its last bar, its fees, and
of how many sessions before the sales have not settled, with those before the first."""
DAY_WIDTH = 10
SKIPPED, SCANNED, PLANNED = range(3)
"""No scan; a scan outside every entry window; a scan that plans."""

# ---------------------------------------------------------------- a parameter set
(
    MIN_GAP, MIN_PRICE, MAX_PRICE, MIN_ADV, MIN_RVOL, MAX_SPREAD, MIN_PREMARKET, KEEPS_UNKNOWN, TOP,
    W_VOLATILITY, W_CATALYST, W_SENTIMENT, W_LIQUIDITY, STOP_WIDTH, STOP_ATR, TARGET_R,
    RISK_PER_TRADE, MAX_POSITION, MAX_POSITION_E8, MAX_ORDER_E8, MOST_POSITIONS, MOST_TRADES, FLATTEN_SHARE,
    FLATTEN_E8, MAX_ADV_SHARE, MAX_EXPOSURE, MOST_ORDERS, LOT, ALLOWS_SHORTS, EXTRA_R, IS_CASH_SETTLED,
    NEEDS_MARGIN, BANKROLL, PRICE_BAND, SLIPPAGE, OPEN_MULTIPLIER, OPEN_MINUTES, PARTICIPATION, FEE_SHARE, FEE_MIN,
    FEE_MAX, HAS_REGULATORY, AMBIGUITY, OPEN_SLIPPAGE, SIZING_SLIPPAGE,
) = range(45)  # fmt: skip
SET_WIDTH = 45
STOP_FIRST, TARGET_FIRST, ALONG_PATH = range(3)

# ---------------------------------------------------------------- what a set's account has come to
EQUITY, SOLD_BEFORE, SOLD_EARLIER, PLANS_KEPT, FILLS_KEPT, IS_BEYOND = range(6)
"""Equity before the day; sales of the last session and the one before; rows written; a sum that could pass 2^62."""
STATE_WIDTH = 6

# ---------------------------------------------------------------- counts of a day, or of all days of a set
CANDIDATES, PLANS, SHORT_PLANS, APPROVED, ORDERS, FILLS, TRADES, WINS, FEES, GAINED, AMBIGUOUS = range(11)
TALLY_WIDTH = 11

# ---------------------------------------------------------------- a plan under way (of the day)
P_ROW, P_SCORE, P_STOP, P_TARGET, P_RISK, P_QUANTITY, P_NOTIONAL, P_WORST, P_STATE = range(9)
PLAN_WIDTH = 9
NO_PLAN, PENDING, APPROVED_PLAN, EXECUTED = range(4)

# ---------------------------------------------------------------- what is kept of an executed plan, and of a fill
K_DAY, K_ROW, K_SCORE, K_STOP, K_TARGET, K_QUANTITY = range(6)
KEPT_WIDTH = 6
F_PLAN, F_PHASE, F_LEG, F_QUANTITY, F_PRICE, F_REFERENCE, F_FEES, F_AMBIGUOUS, F_BEST, F_WORST = range(10)
FILL_WIDTH = 10
AT_OPEN, IN_DAY, AT_CLOSE = range(3)
ENTRY_LEG, STOP_LEG, TARGET_LEG, EXIT_LEG = range(4)
FILLS_A_PLAN = 4

"""Whom a scan chooses: its limits, the score, and the candidates in the order of their scores.

The formulas are those of ``gap_filters`` and ``scoring`` of the domain.
"""

from finagent.backtest.kernel import columns as c
from finagent.backtest.kernel.arithmetic import RATIO, half_even
from finagent.backtest.kernel.compiling import compiled

TIES = 2**24
"""A score and a symbol's number, of which there are fewer, are one number to sort by."""


@compiled
def passes(row: list[int], p: list[int]) -> bool:
    """Whether a candidate of the index is one under these limits."""
    if row[c.INDICATION] < p[c.MIN_PRICE] or row[c.INDICATION] > p[c.MAX_PRICE]:
        return False
    if p[c.KEEPS_UNKNOWN] == 0 and (row[c.ADV_USD] < 0 or row[c.RVOL] < 0 or row[c.SPREAD] < 0):
        return False
    if 0 <= row[c.ADV_USD] < p[c.MIN_ADV] or 0 <= row[c.RVOL] < p[c.MIN_RVOL]:
        return False
    if row[c.PREMARKET] == 1 and max(row[c.PREMARKET_VOLUME], 0) < p[c.MIN_PREMARKET]:
        return False
    return row[c.SPREAD] <= p[c.MAX_SPREAD]


@compiled
def score(row: list[int], p: list[int]) -> int:
    """The weighted sum of the factors."""
    return half_even(
        row[c.VOLATILITY] * p[c.W_VOLATILITY]
        + row[c.CATALYST] * p[c.W_CATALYST]
        + row[c.SENTIMENT] * p[c.W_SENTIMENT]
        + row[c.LIQUIDITY] * p[c.W_LIQUIDITY],
        RATIO,
    )


@compiled
def sort_key(row: list[int], p: list[int]) -> int:
    """The larger the better: by score, then by symbol."""
    return score(row, p) * TIES - row[c.SYMBOL]


@compiled
def score_of(key: int) -> int:
    """The score in a key."""
    return -(-key // TIES)


@compiled
def insert(key: int, number: int, keys: list[int], numbers: list[int], count: int, most: int) -> int:
    """A candidate among those ranked so far, of which the best ``most`` are kept; gives how many there are now."""
    if count >= most and (most == 0 or key < keys[most - 1]):
        return count
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if keys[middle] > key:
            low = middle + 1
        else:
            high = middle
    count = min(count + 1, most)
    for place in range(count - 1, low, -1):
        keys[place] = keys[place - 1]
        numbers[place] = numbers[place - 1]
    keys[low] = key
    numbers[low] = number
    return count


@compiled
def rank(
    first: int, last: int, rows: list[list[int]], p: list[int], ranks: list[list[int]]
) -> tuple[int, int]:
    """The tradable candidates that gap enough for any set that chooses alike, best first; gives how many these are and
    how many pass at all.

    Where all these sets have one gap only the best are kept, otherwise all, since a larger gap chooses from further
    down.
    """
    keys, numbers, gaps, passed_gaps = ranks[c.R_KEY], ranks[c.R_ROW], ranks[c.R_GAP], ranks[c.R_PASSED]
    by_gap, tradable_gaps = ranks[c.R_BY_GAP], ranks[c.R_GAPS]
    count = passed = tradable = 0
    for number in range(first, last):
        row = rows[number]
        if row[c.GAP] < p[c.LEAST_GAP]:  # the largest gap comes first
            break
        if not passes(row, p):
            continue
        passed_gaps[passed] = row[c.GAP]
        passed += 1
        if row[c.DIRECTION] < 0 and p[c.ALLOWS_SHORTS] == 0:
            continue
        by_gap[tradable], tradable_gaps[tradable] = number, row[c.GAP]
        tradable += 1
        if p[c.HAS_MORE_GAPS] == 0:
            count = insert(sort_key(row, p), number, keys, numbers, count, p[c.TOP])
        else:
            keys[count] = sort_key(row, p)
            numbers[count] = number
            count += 1
    if p[c.HAS_MORE_GAPS] == 1:
        _sort(count, ranks)
    for place in range(count):
        gaps[place] = rows[ranks[c.R_ROW][place]][c.GAP]
    return count, passed


@compiled
def gapping(count: int, least_gap: int, gaps: list[int]) -> int:
    """How many of the gaps, the largest first, are large enough."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if gaps[middle] >= least_gap:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def _sort(count: int, ranks: list[list[int]]) -> None:
    """Largest key first, by merging ever longer runs to and fro."""
    keys, numbers = ranks[c.R_KEY], ranks[c.R_ROW]
    other_keys, other_numbers = ranks[c.R_SPARE_KEY], ranks[c.R_SPARE_ROW]
    length, is_moved = 1, False
    while length < count:
        for start in range(0, count, 2 * length):
            middle, end = min(start + length, count), min(start + 2 * length, count)
            left, right = start, middle
            for place in range(start, end):
                if right >= end or (left < middle and keys[left] > keys[right]):
                    other_keys[place], other_numbers[place] = keys[left], numbers[left]
                    left += 1
                else:
                    other_keys[place], other_numbers[place] = keys[right], numbers[right]
                    right += 1
        keys, other_keys = other_keys, keys
        numbers, other_numbers = other_numbers, numbers
        length, is_moved = 2 * length, not is_moved
    if is_moved:
        for place in range(count):
            other_keys[place], other_numbers[place] = keys[place], numbers[place]

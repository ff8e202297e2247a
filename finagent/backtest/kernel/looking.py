"""A scan on minutes: who is a candidate, and whom it chooses; the second look ranks by places."""

from finagent.backtest.kernel import columns as c
from finagent.backtest.kernel.choosing import insert, passes, score_of, sort_key
from finagent.backtest.kernel.compiling import compiled


@compiled
def count_candidates(due: list[int], rows: list[list[int]], p: list[int], tally: list[int]) -> None:
    """Count the scan's candidates that no scan of the session before it had."""
    for number in range(due[c.L_FIRST], due[c.L_LAST]):
        row = rows[number]
        if row[c.GAP] < p[c.MIN_GAP]:
            break
        if passes(row, p):
            before = row[c.BEFORE]
            while before >= 0 and not is_candidate(rows[before], p):
                before = rows[before][c.BEFORE]
            tally[c.CANDIDATES] += 1 if before < 0 else 0


@compiled
def is_candidate(row: list[int], p: list[int]) -> bool:
    """Whether a row of the index is a candidate under these limits."""
    return row[c.GAP] >= p[c.MIN_GAP] and passes(row, p)


@compiled
def choose_at(
    due: list[int],
    rows: list[list[int]],
    p: list[int],
    plans: list[list[int]],
    looks: list[list[int]],
    ranks: list[list[int]],
) -> int:
    """The best tradable candidates of a scan into ``plans``, best score first; gives how many.

    A second look chooses by its places and goes on in the order of the score.
    """
    keys, numbers = ranks[c.R_KEY], ranks[c.R_ROW]
    count = 0
    if due[c.L_KIND] == c.PLAN_LINE:
        count = _by_score(due, rows, p, keys, numbers)
    else:
        found = _tradable(due, rows, p, looks)
        if found > p[c.TOP]:
            _rank(due, rows, p, looks, found)
        for place in range(min(found, p[c.TOP])):
            number = looks[place][0]
            count = insert(sort_key(rows[number], p), number, keys, numbers, count, p[c.TOP])
    for place in range(count):
        plans[place][c.P_ROW] = numbers[place]
        plans[place][c.P_SCORE] = score_of(keys[place])
    return count


@compiled
def _by_score(
    due: list[int], rows: list[list[int]], p: list[int], keys: list[int], numbers: list[int]
) -> int:
    count = 0
    for number in range(due[c.L_FIRST], due[c.L_LAST]):
        row = rows[number]
        if row[c.GAP] < p[c.MIN_GAP]:
            break
        if passes(row, p) and (row[c.DIRECTION] > 0 or p[c.ALLOWS_SHORTS] == 1):
            count = insert(sort_key(row, p), number, keys, numbers, count, p[c.TOP])
    return count


@compiled
def _tradable(due: list[int], rows: list[list[int]], p: list[int], looks: list[list[int]]) -> int:
    """The tradable candidates, in ``looks``."""
    found = 0
    for number in range(due[c.L_FIRST], due[c.L_LAST]):
        row = rows[number]
        if row[c.GAP] < p[c.MIN_GAP]:
            break
        if passes(row, p) and (row[c.DIRECTION] > 0 or p[c.ALLOWS_SHORTS] == 1):
            looks[found][0] = number
            looks[found][1] = 0
            found += 1
    return found


@compiled
def _rank(due: list[int], rows: list[list[int]], p: list[int], looks: list[list[int]], found: int) -> None:
    """Order the tradable ones by the sum of their five places among all candidates, the gap, the symbol."""
    for key in range(c.LOOKS_FIRST, c.LOOKS_GAP):
        for each in range(due[c.L_FIRST], due[c.L_LAST]):
            looks[each - due[c.L_FIRST]][2] = 0
        for number in range(due[c.L_FIRST], due[c.L_LAST]):
            if is_candidate(rows[number], p):
                looks[rows[number][key]][2] = 1
        before = 0
        for each in range(due[c.L_LAST] - due[c.L_FIRST]):
            is_taken = looks[each][2]
            looks[each][2] = before
            before += is_taken
        for place in range(found):
            looks[place][1] += looks[rows[looks[place][0]][key]][2]
    for place in range(1, found):
        number, total = looks[place][0], looks[place][1]
        at = place
        while at > 0 and _is_better(number, total, looks[at - 1], rows):
            looks[at][0], looks[at][1] = looks[at - 1][0], looks[at - 1][1]
            at -= 1
        looks[at][0], looks[at][1] = number, total


@compiled
def _is_better(number: int, total: int, other: list[int], rows: list[list[int]]) -> bool:
    if total != other[1]:
        return total < other[1]
    own, theirs = rows[number][c.LOOKS_GAP], rows[other[0]][c.LOOKS_GAP]
    if own != theirs:
        return own < theirs
    return rows[number][c.SYMBOL] < rows[other[0]][c.SYMBOL]

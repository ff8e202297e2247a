"""What must hold of a database after any step, and after a day; read with plain SQL, but for the journal."""

import itertools
import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from finagent.bootstrap.journal_proof import Selection, replay_journal, verify_journal
from finagent.domain.journal import verify_chain

TERMINAL_PLANS = "('closed', 'refused', 'rejected', 'expired', 'cancelled', 'not_filled', 'superseded')"
TERMINAL_ORDERS = "('filled', 'cancelled', 'rejected', 'expired', 'never_arrived')"
Check = Callable[[sqlite3.Connection], Iterator[str]]


def forged(path: Path) -> Path:
    """The mark of a database whose rows a test has changed behind the journal's back."""
    return path.with_name("forged")


def violations(path: Path, *, is_day_over: bool = False, flat: bool = True) -> list[str]:
    """Every broken promise, in words; ``is_day_over`` adds what only a finished day owes."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as conn:
        checks: tuple[Check, ...] = (
            _integrity, _journal, _no_floats, _positions, _exits, _generations, _intents, _approved, _venue,
            _approvals, _reservations, _trades,
        )  # fmt: skip
        found = [text for check in checks for text in check(conn)]
        found += _decided_again(path)
        if is_day_over:
            found += [text for check in (_jobs, _plans, _orders) for text in check(conn)]
            if flat:
                found += list(_flat(conn))
    return found


def _integrity(conn: sqlite3.Connection) -> Iterator[str]:
    if conn.execute("PRAGMA integrity_check").fetchone()[0] != "ok":
        yield "integrity_check"
    yield from (f"foreign key {row}" for row in conn.execute("PRAGMA foreign_key_check"))


def _journal(conn: sqlite3.Connection) -> Iterator[str]:
    rows = conn.execute("SELECT seq, at, kind, ref, data, inputs, hash FROM journal ORDER BY seq").fetchall()
    if rows and (rows[0][0] != 1 or verify_chain(rows) != len(rows)):
        yield "the journal's chain"
    if any(first[1] > then[1] for first, then in itertools.pairwise(rows)):
        yield "the journal goes back in time"


def _decided_again(path: Path) -> list[str]:
    """Every entry with its inputs, every state row with its entry, and every decision the same once more."""
    verified, again = verify_journal(path), replay_journal(path, Selection())
    is_sound = verified["valid"] or forged(path).exists()
    found = [] if is_sound else [f"the journal: {verified['detail']}"]
    if again["different"] or again["not_replayable"]:
        found.append(f"decided again: {again['differences']} {again['reasons']}")
    return found


def _no_floats(conn: sqlite3.Connection) -> Iterator[str]:
    tables = [name for (name,) in conn.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    for table in tables:
        for column in conn.execute(f"PRAGMA table_info({table})"):
            if column[2].upper() not in ("INTEGER", "TEXT", "BLOB", ""):
                yield f"{table}.{column[1]} is {column[2]}"
    for table in ("plan", "fill", "trade", "broker_order", "position", "risk_decision", "journal"):
        column = "data" if table == "journal" else "body"
        for (body,) in conn.execute(f"SELECT {column} FROM {table}"):
            if any(isinstance(leaf, float) for leaf in _leaves(json.loads(body))):
                yield f"a float in {table}: {body}"


def _leaves(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        for each in value.values():
            yield from _leaves(each)
    elif isinstance(value, list):
        for each in value:
            yield from _leaves(each)
    else:
        yield value


SIGNED = "(CASE json_extract(f.body, '$.side') WHEN 'buy' THEN 1 ELSE -1 END) * json_extract(f.body, '$.quantity_e4')"


def _positions(conn: sqlite3.Connection) -> Iterator[str]:
    """Sum of fills = position, in the journal, at the venue, and between both once all events are told."""
    for plan_id, quantity, filled in conn.execute(
        f"SELECT p.plan_id, p.quantity, (SELECT coalesce(sum({SIGNED}), 0) FROM fill f"
        " WHERE f.plan_id = p.plan_id) FROM position p"
    ):
        if quantity != filled:
            yield f"position {plan_id} is {quantity}, its fills add up to {filled}"
    for order_id, filled, told in conn.execute(
        "SELECT o.client_order_id, o.filled, (SELECT coalesce(sum(json_extract(f.body, '$.quantity_e4')), 0)"
        " FROM fill f WHERE f.client_order_id = o.client_order_id) FROM broker_order o"
    ):
        if filled != told:
            yield f"order {order_id} says {filled} filled, its fills add up to {told}"
    for symbol, quantity, filled in conn.execute(
        "SELECT p.symbol, p.quantity, (SELECT coalesce(sum(CASE f.side WHEN 'buy' THEN f.quantity"
        " ELSE -f.quantity END), 0) FROM venue_fill f WHERE f.symbol = p.symbol) FROM venue_position p"
    ):
        if quantity != filled:
            yield f"the venue holds {quantity} {symbol}, its fills add up to {filled}"
    if not _is_quiet(conn):
        return
    ours = dict(
        conn.execute("SELECT symbol, sum(quantity) FROM position GROUP BY symbol HAVING sum(quantity) <> 0")
    )
    theirs = dict(conn.execute("SELECT symbol, quantity FROM venue_position WHERE quantity <> 0"))
    if ours != theirs:
        yield f"journal holds {ours}, the venue {theirs}"


def _is_quiet(conn: sqlite3.Connection) -> bool:
    sql = "SELECT count(*) FROM job_queue WHERE type = 'broker_event' AND status NOT IN ('done', 'cancelled')"
    return conn.execute(sql).fetchone() == (0,)


def _exits(conn: sqlite3.Connection) -> Iterator[str]:
    """What the venue could still sell of a symbol at once is never more than what is held."""
    held = dict(conn.execute("SELECT symbol, abs(quantity) FROM venue_position"))
    for symbol, alone in conn.execute(
        "SELECT symbol, sum(quantity - filled) FROM venue_order WHERE is_exit AND parent_id IS NULL"
        " AND ended_at IS NULL GROUP BY symbol"
    ):
        if alone > held.get(symbol, 0):
            yield f"open exits of {symbol} are {alone}, held are {held.get(symbol, 0)}"
    for parent, kind, resting, armed, to_come in conn.execute(
        "SELECT v.parent_id, v.type, sum(v.quantity - v.filled), max(v.armed), (SELECT CASE WHEN p.ended_at IS NULL"
        " THEN p.quantity - p.filled ELSE 0 END FROM venue_order p WHERE p.client_order_id = v.parent_id)"
        " FROM venue_order v WHERE v.parent_id IS NOT NULL AND v.ended_at IS NULL GROUP BY v.parent_id, v.type"
    ):
        if resting > armed + to_come:
            yield f"{kind} legs of {parent} are {resting}, protected are {armed} + {to_come}"


def _generations(conn: sqlite3.Connection) -> Iterator[str]:
    sql = "SELECT plan_id, leg, generation, count(*) FROM broker_order GROUP BY 1, 2, 3 HAVING count(*) > 1"
    yield from (f"more than one order of {row}" for row in conn.execute(sql))
    for plan_id, leg, generations in conn.execute(
        "SELECT plan_id, leg, group_concat(generation) FROM"
        " (SELECT * FROM broker_order ORDER BY plan_id, leg, generation) GROUP BY plan_id, leg"
    ):
        numbers = [int(number) for number in generations.split(",")]
        if numbers != list(range(1, len(numbers) + 1)):
            yield f"generations of {plan_id} {leg} are {numbers}"


def _intents(conn: sqlite3.Connection) -> Iterator[str]:
    """Every order at the broker has its intent, and was sent as it was written."""
    for order_id, quantity, asked, body in conn.execute(
        "SELECT v.client_order_id, o.quantity, v.asked, o.body FROM venue_order v"
        " LEFT JOIN broker_order o USING (client_order_id)"
    ):
        if body is None:
            yield f"order {order_id} at the broker has no intent"
        elif quantity != asked:
            yield f"order {order_id} was written for {quantity} and sent for {asked}"


def _approved(conn: sqlite3.Connection) -> Iterator[str]:
    """Each entry that left has an approved risk decision and an approval in the journal before it."""
    for order_id, plan_id in conn.execute(
        "SELECT client_order_id, plan_id FROM broker_order WHERE leg = 'entry'"
        " AND client_order_id IN (SELECT client_order_id FROM venue_order)"
    ):
        decided = conn.execute(
            "SELECT is_approved FROM risk_decision WHERE plan_id = ?", (plan_id,)
        ).fetchone()
        if decided != (1,):
            yield f"entry {order_id} left without an approved decision"
        if not conn.execute(
            "SELECT 1 FROM journal WHERE kind = 'approved' AND ref = ?", (plan_id,)
        ).fetchone():
            yield f"entry {order_id} left without an approval"


def _venue(conn: sqlite3.Connection) -> Iterator[str]:
    """Cash + positions + fees balance: start equity less what was paid."""
    account = conn.execute("SELECT start_equity, cash FROM venue_account").fetchone()
    if account is None:
        return
    spent, fees = conn.execute(
        "SELECT coalesce(sum(CASE side WHEN 'buy' THEN 1 ELSE -1 END * quantity * price), 0), coalesce(sum(fees), 0)"
        " FROM venue_fill"
    ).fetchone()
    if account[0] - spent - fees != account[1]:
        yield f"cash is {account[1]}, start {account[0]} less trades {spent} and fees {fees}"


def _approvals(conn: sqlite3.Connection) -> Iterator[str]:
    for plan_id, state, plan_state in conn.execute(
        "SELECT a.plan_id, a.state, p.state FROM approval a JOIN plan p USING (plan_id)"
    ):
        if (state == "pending") != (plan_state == "pending"):
            yield f"approval of {plan_id} is {state} while the plan is {plan_state}"
        if plan_state in ("approved", "armed", "entering", "open", "closed") and state != "approved":
            yield f"plan {plan_id} is {plan_state} with an approval that is {state}"
    for plan_id, asked, sealed in conn.execute(
        "SELECT plan_id, a.plan_hash, p.plan_hash FROM approval a JOIN plan p USING (plan_id)"
    ):
        if asked != sealed:
            yield f"approval of {plan_id} is for another body than the one sealed"


def _reservations(conn: sqlite3.Connection) -> Iterator[str]:
    sql = (
        "SELECT r.plan_id, p.state FROM reservation r JOIN plan p USING (plan_id)"
        f" WHERE r.released_at IS NULL AND p.state IN {TERMINAL_PLANS}"
    )
    yield from (f"plan {plan_id} is {state} and still reserves" for plan_id, state in conn.execute(sql))


def _trades(conn: sqlite3.Connection) -> Iterator[str]:
    """A trade is its fills: profit = money out - money in - fees, recomputed here."""
    for trade_id, plan_id, pnl, fees in conn.execute("SELECT trade_id, plan_id, pnl, fees FROM trade"):
        money = paid = 0
        for (body,) in conn.execute("SELECT body FROM fill WHERE plan_id = ?", (plan_id,)):
            fill = json.loads(body)
            sign = 1 if fill["side"] == "sell" else -1
            money += sign * fill["quantity_e4"] * fill["price_e4"]
            paid += fill["fees_e8"]
        if (pnl, fees) != (money - paid, paid):
            yield f"trade {trade_id} says {pnl} with fees {fees}, its fills {money - paid} with {paid}"


def _jobs(conn: sqlite3.Connection) -> Iterator[str]:
    for row in conn.execute(
        "SELECT type, idem_key, status, error FROM job_queue WHERE status NOT IN ('done', 'cancelled')"
    ):
        yield f"job {row}"


def _plans(conn: sqlite3.Connection) -> Iterator[str]:
    sql = f"SELECT plan_id, symbol, state FROM plan WHERE state NOT IN {TERMINAL_PLANS}"
    yield from (f"plan {row} has not ended" for row in conn.execute(sql))


def _orders(conn: sqlite3.Connection) -> Iterator[str]:
    sql = f"SELECT client_order_id, state FROM broker_order WHERE state NOT IN {TERMINAL_ORDERS}"
    yield from (f"order {row} has not ended" for row in conn.execute(sql))
    sql = "SELECT client_order_id, state FROM venue_order WHERE ended_at IS NULL"
    yield from (f"order {row} still rests at the venue" for row in conn.execute(sql))


def _flat(conn: sqlite3.Connection) -> Iterator[str]:
    yield from (
        f"not flat: {row}"
        for row in conn.execute("SELECT symbol, quantity FROM position WHERE quantity <> 0")
    )
    yield from (f"day {row} is not flat" for row in conn.execute("SELECT session FROM day WHERE is_flat = 0"))

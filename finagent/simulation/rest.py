"""What must hold at rest: at the close of a calm session, and at the end, when all faults are over."""

import hashlib
import sqlite3
from collections.abc import Callable, Collection

from finagent.domain.market import Session
from finagent.simulation.exchange import Exchange
from finagent.simulation.judge import OVER, PLAN_OVER, Judge
from finagent.simulation.witness import SHARE_E4, Ledger, Witness

Broken = Callable[[str, str], None]


def judge_close(
    connection: sqlite3.Connection,
    exchange: Exchange,
    session: Session,
    exempt: Collection[str],
    broken: Broken,
) -> None:
    """Nothing of ours is open after the close, but what could not trade."""
    for symbol, e4 in exchange.ours_e4().items():
        if symbol not in exempt:
            broken("flat_at_close", f"{symbol} {e4 // SHARE_E4} after the close of {session.date}")
    sql = "SELECT symbol, sum(quantity) FROM position GROUP BY symbol"
    told: dict[str, int] = dict(connection.execute(sql).fetchall())
    ours = exchange.ours_e4()
    for symbol in sorted({*told, *ours}):
        if symbol not in exempt and told.get(symbol, 0) != ours.get(symbol, 0):
            broken(
                "position_is_brokers",
                f"{symbol}: journal {told.get(symbol, 0)}, broker {ours.get(symbol, 0)}",
            )


def fingerprint(connection: sqlite3.Connection) -> str:
    """Everything that a fill told again could change."""
    total = hashlib.sha256()
    for sql in (
        "SELECT plan_id, quantity, stop, body FROM position ORDER BY plan_id",
        "SELECT client_order_id, state, filled FROM broker_order ORDER BY client_order_id",
        "SELECT execution_id, client_order_id, body FROM fill ORDER BY execution_id",
        "SELECT trade_id, pnl, body FROM trade ORDER BY trade_id",
        "SELECT plan_id, state FROM plan ORDER BY plan_id",
    ):
        total.update(repr(connection.execute(sql).fetchall()).encode())
    return total.hexdigest()


def judge_rest(
    connection: sqlite3.Connection, exchange: Exchange, witness: Witness, judge: Judge, broken: Broken
) -> None:
    """Everything has ended, nothing is lost, and the agent's books say what the broker's statements say."""
    for plan_id, symbol, state in connection.execute(
        f"SELECT plan_id, symbol, state FROM plan WHERE state NOT IN {PLAN_OVER}"
    ):
        broken("plan_ends", f"{plan_id} {symbol} is {state}")
    for order_id, state in connection.execute(
        f"SELECT client_order_id, state FROM broker_order WHERE state NOT IN {OVER}"
    ):
        broken("order_ends", f"{order_id} is {state}")
    for order_id, resting in exchange.books.orders.items():
        if resting.is_open and order_id in witness.sent:
            broken("order_ends", f"{order_id} works at the broker")
    for symbol, quantity in connection.execute("SELECT symbol, quantity FROM position WHERE quantity <> 0"):
        broken("flat_at_end", f"{symbol} {quantity // SHARE_E4} in the journal")
    for symbol, e4 in exchange.ours_e4().items():
        broken("flat_at_end", f"{symbol} {e4 // SHARE_E4} at the broker")
    for plan_id in connection.execute("SELECT plan_id FROM reservation WHERE released_at IS NULL"):
        broken("reservation_ends", f"{plan_id[0]} still reserves")
    for plan_id in connection.execute("SELECT plan_id FROM approval WHERE state = 'pending'"):
        broken("approval_ends", f"{plan_id[0]} still waits")
    _jobs(connection, judge, broken)
    _money(connection, witness, broken)


def _jobs(connection: sqlite3.Connection, judge: Judge, broken: Broken) -> None:
    """Published = done + dead + cancelled + live; at rest nothing lives and nothing died."""
    rows = connection.execute("SELECT status, count(*) FROM job_queue GROUP BY status").fetchall()
    counts: dict[str, int] = dict(rows)
    kept = sum(counts.values())
    pruned = connection.execute("SELECT count(*) FROM job_key").fetchone()[0]
    if judge.jobs_inserted != kept + pruned or judge.jobs_deleted != pruned:
        broken("queue_conserved", f"{judge.jobs_inserted} published, {kept} kept, {pruned} pruned")
    for kind, key, status, error in connection.execute(
        "SELECT type, idem_key, status, error FROM job_queue WHERE status IN ('ready', 'leased', 'dead')"
    ):
        broken("queue_rests", f"{kind} {key} is {status}: {error}")


def _money(connection: sqlite3.Connection, witness: Witness, broken: Broken) -> None:
    """Each closed plan's trade says what its executions at the broker add up to."""
    booked = dict(connection.execute("SELECT plan_id, pnl FROM trade").fetchall())
    for plan_id, ledger in sorted(witness.by_plan.items()):
        if ledger.held():
            continue
        told = _told(connection, plan_id)
        if told.shares_e4 != ledger.shares_e4 or told.money_e8 != ledger.money_e8:
            broken("fills_told", f"{plan_id}: the broker says {ledger}, the journal {told}")
        if plan_id not in booked:
            broken("trade_booked", f"{plan_id} was traded and has no trade")
        elif booked[plan_id] != ledger.money_e8 - ledger.fees_e8 and told.money_e8 == ledger.money_e8:
            broken(
                "trade_money",
                f"{plan_id}: trade {booked[plan_id]}, executions {ledger.money_e8 - ledger.fees_e8}",
            )


def _told(connection: sqlite3.Connection, plan_id: str) -> Ledger:
    """What the journal's fills of a plan add up to."""
    total = Ledger()
    for symbol, side, quantity, price, fees in connection.execute(
        "SELECT json_extract(body, '$.symbol'), json_extract(body, '$.side'), json_extract(body, '$.quantity_e4'),"
        " json_extract(body, '$.price_e4'), json_extract(body, '$.fees_e8') FROM fill WHERE plan_id = ?",
        (plan_id,),
    ):
        sign = 1 if side == "buy" else -1
        total.shares_e4[symbol] = total.shares_e4.get(symbol, 0) + sign * quantity
        total.money_e8 -= sign * quantity * price
        total.fees_e8 += fees
    return total

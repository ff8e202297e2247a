"""The day's loss as an auditor reckons it from the journal's rows: what is lost, and what may be lost at worst."""

import json
import sqlite3
from collections.abc import Iterable
from itertools import accumulate

from finagent.domain.orders import BrokerCashFlow

FLATTEN_SHARE = 50
"""The flatten tier is a fiftieth (2 %) of the equity at the start of the day."""
OPEN = """
SELECT p.body, p.stop, plan.body FROM position p JOIN plan USING (plan_id) WHERE p.quantity <> 0"""


def spent_e8(connection: sqlite3.Connection, session: str) -> int:
    """Lost today, plus what open positions and reservations lose at their stops and half an R beyond, in 1e-8."""
    booked: int = connection.execute(
        "SELECT coalesce(sum(pnl), 0) FROM trade WHERE exit_session = ?", (session,)
    ).fetchone()[0]
    reserved: int = connection.execute(
        "SELECT coalesce(sum(worst_case), 0) FROM reservation WHERE released_at IS NULL"
    ).fetchone()[0]
    open_e8 = 0
    for body, stop_e4, plan_body in connection.execute(OPEN):
        held, plan = json.loads(body), json.loads(plan_body)
        quantity_e4 = held["bought_e4"] - held["sold_e4"]
        sign = 1 if plan["direction"] == "long" else -1
        half_r_e4 = abs(plan["reference_e4"] - plan["stop_e4"]) // 2
        exit_e4 = stop_e4 - sign * half_r_e4
        worth_e8 = held["sold_e8"] - held["bought_e8"] + quantity_e4 * exit_e4 - held["fees_e8"]
        open_e8 += max(0, -worth_e8)
    return -booked + reserved + open_e8


def allowed_e8(
    connection: sqlite3.Connection, session: str, start_e8: int, flows: Iterable[tuple[str, BrokerCashFlow]]
) -> int:
    """The flatten tier of a session, in 1e-8, by what was there at first, what was won and lost, and the flows since.

    When in a session its capital is taken is the agent's affair: the most there was on its day is allowed.
    """
    before: int = connection.execute(
        "SELECT coalesce(sum(pnl), 0) FROM trade WHERE exit_session < ?", (session,)
    ).fetchone()[0]
    moved = list(flows)
    capital_e8 = start_e8 + before + sum(flow.amount_e8 for date, flow in moved if date < session)
    today = accumulate((flow.amount_e8 for date, flow in moved if date == session), initial=capital_e8)
    return max(today) // FLATTEN_SHARE

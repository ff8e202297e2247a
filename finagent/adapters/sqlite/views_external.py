"""What broker and journal disagree on, and the holdings that are not ours, as documents."""

import sqlite3

from finagent.adapters.sqlite.views_values import Document, instant, listed, maybe_instant
from finagent.domain.external import ExternalHolding
from finagent.domain.money import quantity_number
from finagent.domain.reconcile import DifferenceKind

HOLDINGS = """
SELECT symbol, quantity, acknowledged, first_seen_at, acknowledged_at, acknowledged_by
FROM external_holding ORDER BY symbol"""
CLOSING = """
SELECT symbol FROM external_order WHERE ended_at IS NULL
UNION SELECT json_extract(payload, '$.symbol') FROM job_queue
WHERE type = 'sell_external' AND status IN ('scheduled', 'ready', 'leased') ORDER BY 1"""
DIFFERENCES = "SELECT kind, ref, detail, since FROM reconcile_difference ORDER BY since, kind, ref LIMIT 50"
COMPARE = "compare finagent orders and finagent positions with the broker's list"
MENDS = {
    DifferenceKind.STRANDED: "it is closed at the next open",
    DifferenceKind.UNREACHABLE: "finagent doctor",
    DifferenceKind.RECOVERED: "the agent cancels and closes it while the market is open, then finagent rearm",
}


def read_external(conn: sqlite3.Connection) -> Document:
    """Holdings that finagent did not open, by symbol; ``closing`` are those that a person has ordered to sell."""
    return {
        "closing": [symbol for (symbol,) in conn.execute(CLOSING).fetchall()],
        "external": listed(
            {
                "symbol": symbol,
                "quantity": quantity_number(quantity),
                "acknowledged_quantity": quantity_number(acknowledged) if at is not None else None,
                "is_acknowledged": ExternalHolding(
                    symbol=symbol, quantity_e4=quantity, acknowledged_e4=acknowledged
                ).is_acknowledged,
                "first_seen_at": instant(first_seen),
                "acknowledged_at": maybe_instant(at),
                "acknowledged_by": by or None,
            }
            for symbol, quantity, acknowledged, first_seen, at, by in conn.execute(HOLDINGS).fetchall()
        ),
    }


def difference_words(kind: str, ref: str, detail: str) -> tuple[str, str]:
    """A difference for a person: what it is, and the mend."""
    if kind == DifferenceKind.EXTERNAL:
        return f"The account holds {ref}: {detail}", f"finagent external ack {ref}"
    return f"Broker and journal differ ({kind}): {ref}, {detail}", MENDS.get(DifferenceKind(kind), COMPARE)

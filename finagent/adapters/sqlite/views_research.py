"""Closed trades with what is known around them, for statistics: gap, catalyst, a person's hand and notes."""

import json
import sqlite3

from finagent.adapters.sqlite.codec import decode
from finagent.adapters.sqlite.views_orders import trade_document
from finagent.adapters.sqlite.views_values import Document, loads, percent, texts
from finagent.domain.gap import Candidate
from finagent.domain.positions import Trade
from finagent.domain.scoring import ScoredCandidate

TRADES = """
SELECT t.body, c.body, c.factors,
       EXISTS (SELECT 1 FROM journal j WHERE j.ref = t.plan_id AND j.kind = 'plan_revised')
FROM trade t JOIN plan p USING (plan_id)
LEFT JOIN candidate c ON c.session = p.session AND c.tick = p.tick AND c.symbol = p.symbol
WHERE t.session BETWEEN ?1 AND ?2 ORDER BY t.exit_at, t.symbol, t.trade_id"""
NOTES = "SELECT ref, data FROM journal WHERE kind = 'note' AND ref <> '' ORDER BY seq"
LEAST_REF = 6
"""So many letters of an id say which trade a note is about."""


def read_researched_trades(conn: sqlite3.Connection, first: str, last: str) -> list[Document]:
    """Trades of some sessions in the order they ended; ``gap_pct`` and ``catalyst`` are null where unknown."""
    notes = [(str(ref), _text(data)) for ref, data in conn.execute(NOTES)]
    found: list[Document] = []
    for body, candidate, factors, is_revised in conn.execute(TRADES, (first, last)):
        trade = decode(Trade, body)
        scored = decode(ScoredCandidate, factors) if factors is not None else None
        seen = scored.candidate if scored is not None else decode(Candidate, candidate) if candidate else None
        ids = (trade.trade_id, trade.plan_id)
        found.append(
            {
                **trade_document(trade),
                "gap_pct": None if seen is None else percent(seen.gap_e6),
                "catalyst": None if scored is None else _catalyst(scored),
                "is_revised": bool(is_revised),
                "notes": texts(text for ref, text in notes if len(ref) >= LEAST_REF and _begins(ids, ref)),
            }
        )
    return found


def _begins(ids: tuple[str, ...], ref: str) -> bool:
    return any(each.startswith(ref) for each in ids)


def _text(data: object) -> str:
    found = loads(json.dumps(data) if not isinstance(data, str) else data)
    return str(found.get("text", "")) if isinstance(found, dict) else ""


def _catalyst(scored: ScoredCandidate) -> str:
    """The strongest event behind the score, by its name: the explanation begins with it."""
    factor = next(factor for factor in scored.factors if factor.name == "catalyst")
    if not factor.has_data:
        return "none known"
    name, found, _ = factor.explanation.partition(":")
    return "earnings date" if name.startswith("earnings of ") or not found else name

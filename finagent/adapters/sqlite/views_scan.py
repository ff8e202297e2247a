"""Scans as documents, computed or stored, and why one symbol was kept or dropped."""

import sqlite3
from collections.abc import Mapping, Sequence

from finagent.adapters.sqlite.codec import decode
from finagent.adapters.sqlite.views_values import (
    OF_SESSION,
    Document,
    Json,
    UnknownRecordError,
    basis_points,
    bounded,
    instant,
    listed,
    loads,
    maybe_price,
    percent,
    ratio,
    texts,
)
from finagent.domain.gap import Candidate, GapScan, Levels
from finagent.domain.gap_scan import explain
from finagent.domain.money import money_text, price_text, ratio_number
from finagent.domain.scoring import Factor, ScoredCandidate

DEFAULT_SCANS = 100


def scan_document(
    scan: GapScan, scored: Sequence[ScoredCandidate], *, tick: str | None, elapsed_ms: int | None
) -> Document:
    """The ``scan`` document of a computed scan; scored candidates stand in their rank, others as scanned."""
    ranks = {item.candidate.symbol: (rank, item) for rank, item in enumerate(scored, 1)}
    rows = [_candidate(c, ranks.get(c.symbol)) for c in scan.candidates]
    dropped: dict[str, int] = {}
    for drop in scan.dropped:
        dropped[drop.reason] = dropped.get(drop.reason, 0) + 1
    issues = [[issue.symbol, issue.kind, issue.detail] for issue in scan.data_issues]
    return {
        "session": scan.session,
        "tick": tick,
        "as_of": instant(scan.as_of_ms),
        "universe": scan.universe,
        "elapsed_ms": elapsed_ms,
        "market": _market(scan.market),
        "candidates": listed(sorted(rows, key=_by_rank)),
        "dropped": {reason: dropped[reason] for reason in sorted(dropped)},
        "data_issues": _issues(issues),
    }


def explain_document(symbol: str, scan: GapScan, scored: Sequence[ScoredCandidate]) -> Document:
    """Why one symbol was kept or dropped: ``{symbol, session, as_of, reasons, measured}``."""
    reasons = [*explain(symbol, scan)]
    found = next(((rank, s) for rank, s in enumerate(scored, 1) if s.candidate.symbol == symbol), None)
    if found is not None:
        rank, item = found
        reasons.append(f"score {ratio_number(item.score_e6)}, rank {rank} of {len(scored)}")
        reasons += [_factor_line(factor) for factor in item.factors]
    return {
        "symbol": symbol,
        "session": scan.session,
        "as_of": instant(scan.as_of_ms),
        "reasons": texts(reasons),
        "measured": _measured(symbol, scan, found),
    }


def _measured(symbol: str, scan: GapScan, found: tuple[int, ScoredCandidate] | None) -> Document:
    """A candidate's measures; of a symbol left out the value that the filter saw."""
    for candidate in scan.candidates:
        if candidate.symbol == symbol:
            return _candidate(candidate, found)
    for drop in scan.dropped:
        if drop.symbol == symbol:
            return {"filter": drop.reason, "seen": drop.detail}
    for issue in scan.data_issues:
        if issue.symbol == symbol:
            return {"data_issue": issue.kind, "seen": issue.detail}
    return {}


def _factor_line(factor: Factor) -> str:
    value, weight = ratio_number(factor.value_e6), ratio_number(factor.weight_e6)
    return f"{factor.name} {value} x {weight}: {factor.explanation}"


def _candidate(candidate: Candidate, found: tuple[int, ScoredCandidate] | None) -> Document:
    """A candidate with its measures; rank, score and factors are null until it is scored."""
    instrument = candidate.instrument
    return {
        "symbol": candidate.symbol,
        "rank": found[0] if found is not None else None,
        "gap_pct": percent(candidate.gap_e6),
        "indication": price_text(candidate.indication_e4),
        "indication_source": candidate.indication_source.value,
        "last_price": price_text(candidate.last_price_e4),
        "prev_close": price_text(candidate.prev_close_e4),
        "prev_close_adjusted": money_text(candidate.prev_close_adjusted_e8),
        "direction": candidate.direction.value,
        "volume": candidate.volume,
        "premarket_volume": candidate.premarket_volume,
        "adv_usd": candidate.adv_usd,
        "adv_shares": candidate.adv_shares,
        "rvol": ratio(candidate.rvol_e6),
        "atr": maybe_price(candidate.atr_e4),
        "atr_pct": percent(candidate.atr_pct_e6),
        "spread_bps": basis_points(candidate.spread_e6),
        "move_from_open_pct": percent(candidate.move_from_open_e6),
        "float_shares": instrument.float_shares,
        "sector": instrument.sector,
        "shortable": instrument.shortable,
        "ssr": candidate.is_short_restricted,
        "feed": candidate.feed or None,
        "levels": _levels(candidate.levels),
        "score": ratio(found[1].score_e6) if found is not None else None,
        "factors": {f.name: _factor(f) for f in found[1].factors} if found is not None else None,
        "flags": texts(candidate.flags),
    }


def _levels(levels: Levels) -> Document:
    return {
        "premarket_high": maybe_price(levels.premarket_high_e4),
        "premarket_low": maybe_price(levels.premarket_low_e4),
        "prev_high": maybe_price(levels.prev_high_e4),
        "prev_low": maybe_price(levels.prev_low_e4),
        "half_gap": maybe_price(levels.half_gap_e4),
        "gap_fill": maybe_price(levels.gap_fill_e4),
        "vwap": maybe_price(levels.vwap_e4),
        "day_high": maybe_price(levels.day_high_e4),
        "day_low": maybe_price(levels.day_low_e4),
    }


def _factor(factor: Factor) -> Document:
    """A factor without input has the value null, though it counts as 0 in the score."""
    return {
        "value": ratio(factor.value_e6) if factor.has_data else None,
        "weight": ratio(factor.weight_e6),
        "explanation": factor.explanation,
        "has_data": factor.has_data,
    }


def _market(market: Mapping[str, Json | int | None]) -> Document:
    gap, breadth = market.get("spy_gap_e6"), market.get("breadth_e6")
    return {
        "spy_gap_pct": percent(gap) if isinstance(gap, int) else None,
        "breadth": ratio(breadth) if isinstance(breadth, int) else None,
    }


def _issues(issues: Json | Sequence[Sequence[str]]) -> list[Json]:
    rows = issues if isinstance(issues, list) else []
    return [
        {"symbol": str(row[0]), "kind": str(row[1]), "detail": str(row[2])}
        for row in rows
        if isinstance(row, list)
    ]


def _by_rank(row: Document) -> int:
    rank = row["rank"]
    return rank if isinstance(rank, int) else 1 << 30


# ---------------------------------------------------------------- stored scans
SCANS = f"""
SELECT session, tick, kind, as_of, universe, candidates, json_extract(body, '$.dropped'),
       json_extract(body, '$.data_issues'), json_extract(body, '$.market')
FROM scan WHERE {OF_SESSION} ORDER BY session DESC, as_of DESC, tick DESC LIMIT ?2"""
NEWEST = f"""
SELECT session, tick, kind, as_of, universe, body FROM scan
WHERE {OF_SESSION} AND (?2 IS NULL OR tick = ?2)
ORDER BY session DESC, as_of DESC, tick DESC LIMIT 1"""
TICKS = f"SELECT tick FROM scan WHERE {OF_SESSION} ORDER BY session DESC, as_of DESC LIMIT 8"
CANDIDATES = """
SELECT place, rank, is_selected, outcome, body, factors FROM candidate
WHERE session = ? AND tick = ? ORDER BY rank IS NULL, rank, place"""


def read_scans(conn: sqlite3.Connection, session: str | None, *, limit: int = DEFAULT_SCANS) -> Document:
    """The scans that were stored, newest first, without their candidates."""
    rows = conn.execute(SCANS, (session, bounded(limit))).fetchall()
    return {
        "scans": [
            {
                "session": day,
                "tick": tick,
                "kind": kind,
                "as_of": instant(as_of),
                "universe": universe,
                "candidates": count,
                "dropped": loads(dropped),
                "data_issues": _issues(loads(issues)),
                "market": _market(_mapping(loads(market))),
            }
            for day, tick, kind, as_of, universe, count, dropped, issues, market in rows
        ]
    }


def read_candidates(conn: sqlite3.Connection, session: str | None, tick: str | None) -> Document:
    """One stored scan in the shape of ``scan``; nothing but nulls where none was made yet."""
    row = conn.execute(NEWEST, (session, tick)).fetchone()
    if row is None:
        return _no_scan(conn, session, tick)
    day, tick, kind, as_of, universe, text = row
    body = _mapping(loads(text))
    return {
        "session": day,
        "tick": tick,
        "kind": kind,
        "as_of": instant(as_of),
        "universe": universe,
        "elapsed_ms": None,
        "market": _market(_mapping(body.get("market"))),
        "candidates": listed(_stored(row) for row in conn.execute(CANDIDATES, (day, tick)).fetchall()),
        "dropped": body.get("dropped"),
        "data_issues": _issues(body.get("data_issues")),
        "why": body.get("why"),
    }


def _no_scan(conn: sqlite3.Connection, session: str | None, tick: str | None) -> Document:
    if tick is not None:
        found = [str(name) for (name,) in conn.execute(TICKS, (session,)).fetchall()]
        where = f" of {session}" if session else ""
        hint = f"Scans{where}: {', '.join(dict.fromkeys(found))}" if found else "No scan was made yet"
        raise UnknownRecordError(f"there is no scan {tick!r}{where}", hint)
    return {
        "session": session,
        "tick": None,
        "kind": None,
        "as_of": None,
        "universe": None,
        "elapsed_ms": None,
        "market": _market({}),
        "candidates": [],
        "dropped": {},
        "data_issues": [],
        "why": {},
    }


def _stored(row: Sequence[object]) -> Document:
    _, rank, is_selected, outcome, body, factors = row
    if factors is not None and isinstance(rank, int):
        scored = decode(ScoredCandidate, factors)
        document = _candidate(scored.candidate, (rank, scored))
    else:
        document = _candidate(decode(Candidate, body), None)
    document["is_selected"] = bool(is_selected)
    document["outcome"] = str(outcome) or None
    return document


def _mapping(value: Json) -> Document:
    return value if isinstance(value, dict) else {}

"""The candidate index: what gapped in each session with all that was known at the decision, kept beside the dataset.

It is scanned once with every limit open that a run may set; a run compares the numbers kept here. They are those of
``Candidate``: a ratio that a lower limit judges is rounded down, one that an upper limit judges up, so that comparing
the integers is comparing the exact fractions by cross-multiplication. The factors are those of ``domain.scoring``.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

import finagent.domain
from finagent.backtest import averages, market, scanning
from finagent.backtest.columns import ColumnWriter
from finagent.backtest.dataset import ABSENT, Dataset
from finagent.backtest.errors import DatasetChangedError
from finagent.backtest.market import SessionMarket, open_session
from finagent.backtest.parameters import Parameters
from finagent.backtest.sealing import open_sealed, settle, write_list
from finagent.backtest.source import Ints
from finagent.domain.gap import GapRules, IndicationSource
from finagent.domain.gap_scan import second_look_places
from finagent.domain.market import MINUTE_MS
from finagent.domain.money import MAX_INT64, RATIO_SCALE
from finagent.domain.scoring import ScoredCandidate

FOLDER = "candidates"
LIST, IDENTITY = "candidates.json", "index_id"
FORMAT = 1
FLOOR_E6 = 20_000
"""Gaps below are not kept, unless a run asks for smaller ones: then another index is built."""
UNKNOWN = -1
COLUMNS = (
    "symbol", "direction", "gap", "indication", "last_price", "adv_usd", "adv_shares", "rvol", "spread", "atr",
    "restricted", "premarket", "premarket_volume", "volatility", "catalyst", "sentiment", "liquidity",
)  # fmt: skip
"""Each an integer: direction 1 or -1, gap the size of the exact ratio in 1e-6 rounded down, restricted and premarket
0 or 1, the last four 1e-6 of a score; ``UNKNOWN`` where a value is not known, atr 0.
"""
MINUTE_COLUMNS = (*COLUMNS, "age", "move", "filled", "activity", "vwap", "extreme", "size")
"""On minutes also the age of the last price in ms, and places in the second look, by its five keys and by the size of
the gap, the best of all that were scanned 0."""

Told = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class CandidateMonth:
    """The candidates of one calendar month: those of its session s are the rows ``offsets[s]`` to ``offsets[s + 1]``.

    On daily bars as ``COLUMNS``, at a minute of sessions with minutes as ``MINUTE_COLUMNS``. Within a session the
    largest gap comes first, then by symbol.
    """

    first_row: int
    """Row of the dataset's first session of the month."""
    offsets: Ints
    columns: Ints
    """One row a candidate."""
    index_id: str


def index_key(dataset: Dataset, rules: Parameters) -> str:
    """16 hex digits over everything that decides what an index holds: data, rules that cannot be judged later, code."""
    style, *rest = measured(rules)
    parts = [FORMAT, dataset.dataset_id, _rules_id(), style, floor_e6(rules.gap), *rest]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def measured(rules: Parameters) -> tuple[object, ...]:
    """What rules have measured of every symbol, its style first: those that agree on it look at the same candidates."""
    gap = rules.gap
    return (
        gap.style.value, gap.adv_sessions, gap.atr_sessions, gap.rvol_min_sessions, gap.max_indication_age_ms,
        gap.min_premarket_trades, rules.lookback_days,
    )  # fmt: skip


def floor_e6(gap: GapRules) -> int:
    """The smallest gap that the index of these rules holds."""
    return min(FLOOR_E6, gap.min_gap_e6)


def find_or_build_month(
    dataset: Dataset, rules: Parameters, month: str, *, minute: int | None = None, told: Told | None = None
) -> CandidateMonth:
    """The candidates of a month's sessions, scanned where they are not kept yet.

    On daily bars, or as of a ``minute`` since the open of the sessions with minutes.

    DatasetChangedError where what is kept was tampered with. A build that is killed leaves nothing that counts.
    """
    key = index_key(dataset, rules)
    root = dataset.path / FOLDER
    name = month if minute is None else f"{month}@{minute}"
    path = root / f"{key}-{name}"
    if not path.exists():
        root.mkdir(parents=True, exist_ok=True)
        scratch = root / f".building-{os.getpid()}-{path.name}"
        shutil.rmtree(scratch, ignore_errors=True)
        try:
            scratch.mkdir()
            _build(scratch, dataset, rules, (key, name), minute, told)
            settle(scratch, path)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return open_month(path, key, name)


def open_month(path: Path, key: str, month: str) -> CandidateMonth:
    """Map what is kept of a month; DatasetChangedError where it is not what was written."""
    found = open_sealed(path, list_name=LIST, identity=IDENTITY)
    document = found.document
    if (document["key"], document["month"]) != (key, month):
        raise DatasetChangedError(f"{path} holds candidates of another question")
    return CandidateMonth(
        first_row=int(str(document["first_row"])),
        offsets=found.arrays["offsets"],
        columns=found.arrays["candidates"].reshape(-1, len(MINUTE_COLUMNS if "@" in month else COLUMNS)),
        index_id=str(document[IDENTITY]),
    )


def _build(
    folder: Path,
    dataset: Dataset,
    rules: Parameters,
    names: tuple[str, str],
    minute: int | None,
    told: Told | None,
) -> None:
    key, month = names
    rows = [row for row, session in enumerate(dataset.sessions) if session.date[:7] == month[:7]]
    wide = replace(rules, gap=_opened(rules.gap))
    offsets, found = [0], []
    for row in rows:
        if told is not None:
            told(dataset.sessions[row].date)
        found += _scan(dataset, row, wide) if minute is None else _scan_at(dataset, row, wide, minute)
        offsets.append(len(found))
    columns = []
    for name, values in (("offsets", offsets), ("candidates", found)):
        with ColumnWriter(folder, name, "<i8") as writer:
            writer.append(np.asarray(values, np.int64).reshape(-1))
            columns.append(writer.close())
    document: dict[str, object] = {
        "format": FORMAT,
        "key": key,
        "month": month,
        "dataset_id": dataset.dataset_id,
        "first_row": rows[0],
        "names": list(COLUMNS if minute is None else MINUTE_COLUMNS),
    }
    write_list(folder, columns, document, list_name=LIST, identity=IDENTITY)


def _opened(gap: GapRules) -> GapRules:
    """The same scan with every limit open that can be judged afterwards."""
    return replace(
        gap,
        min_gap_e6=floor_e6(gap),
        min_price_e4=0,
        max_price_e4=MAX_INT64,
        min_adv_usd=0,
        min_premarket_volume=0,
        min_rvol_e6=0,
        max_spread_e6=MAX_INT64,
        keep_unknown=True,
        exclude=(),
    )


def _scan(dataset: Dataset, row: int, rules: Parameters) -> list[list[int]]:
    """The candidates of a session's daily bars when its open is known."""
    session = dataset.sessions[row]
    if not (dataset.daily.volume[row] != ABSENT).any():
        return []
    seen = open_session(dataset, session, use_minutes=False)
    as_of_ms = session.open_ms + MINUTE_MS
    candidates = scanning.scan_session(seen, as_of_ms, rules.gap).candidates
    scored = scanning.score_candidates(
        seen,
        candidates,
        rules.weights,
        as_of_ms=as_of_ms,
        lookback_days=rules.lookback_days,
        is_explained=False,
    )
    found = [_as_row(seen, item) for item in scored]
    return sorted(found, key=lambda each: (-each[2], each[0]))


def _scan_at(dataset: Dataset, row: int, rules: Parameters, minute: int) -> list[list[int]]:
    """The candidates of a session's minutes at one of them."""
    if not dataset.has_minutes(row):
        return []
    session = dataset.sessions[row]
    seen, as_of_ms = open_session(dataset, session), session.open_ms + minute * MINUTE_MS
    candidates = scanning.scan_session(seen, as_of_ms, rules.gap).candidates
    scored = scanning.score_candidates(
        seen,
        candidates,
        rules.weights,
        as_of_ms=as_of_ms,
        lookback_days=rules.lookback_days,
        is_explained=False,
    )
    places = second_look_places([item.candidate for item in scored])
    found = []
    for item, own in zip(scored, places, strict=True):
        price = seen.last_price(item.candidate.symbol, as_of_ms)
        age_ms = UNKNOWN if price is None else as_of_ms - price.at_ms
        found.append([*_as_row(seen, item), age_ms, *own])
    return sorted(found, key=lambda each: (-each[2], each[0]))


def _as_row(seen: SessionMarket, item: ScoredCandidate) -> list[int]:
    candidate = item.candidate
    difference = candidate.indication_e4 * candidate.adjusted_denominator - candidate.adjusted_numerator
    known = (
        candidate.adv_usd,
        candidate.adv_shares,
        candidate.rvol_e6,
        candidate.spread_e6,
    )
    return [
        seen.dataset.numbers[candidate.symbol],
        candidate.direction.sign,
        abs(difference) * RATIO_SCALE // candidate.adjusted_numerator,
        candidate.indication_e4,
        candidate.last_price_e4,
        *(UNKNOWN if value is None else value for value in known),
        candidate.atr_e4 or 0,
        UNKNOWN if candidate.is_short_restricted is None else int(candidate.is_short_restricted),
        int(candidate.indication_source is IndicationSource.PREMARKET),
        UNKNOWN if candidate.premarket_volume is None else candidate.premarket_volume,
        *(factor.value_e6 for factor in item.factors),
    ]


@cache
def _rules_id() -> str:
    """Hash over the text of the rules themselves: an index made by other rules is another index."""
    total = hashlib.sha256()
    for path in _rule_files():
        total.update(path.name.encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


def _rule_files() -> Sequence[Path]:
    domain = sorted(Path(str(finagent.domain.__file__)).parent.glob("*.py"))
    return [*domain, *(Path(str(module.__file__)) for module in (averages, market, scanning)), Path(__file__)]

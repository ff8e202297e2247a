"""Two results held against each other: what was asked otherwise, and trade by trade what came of it and why."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

from finagent.backtest.pages.reading import exchange_time
from finagent.bootstrap.backtest_report import summary_of
from finagent.context import Document, Json

ASKED = ("from", "to", "bars", "engine", "symbols", "at", "dataset_id", "version", "assumptions")
SIZES = frozenset({"quantity", "fees", "pnl", "exits", "slippage_bps"})
"""Fields of a trade that follow from its size, given the same prices."""


@dataclass(frozen=True, slots=True)
class _Side:
    """One result, looked up by trade and by session."""

    document: Document
    trades: dict[str, Document]
    sessions: dict[str, Document]
    equity: dict[str, Decimal] = field(default_factory=dict)
    """By session what the account held before it."""

    @classmethod
    def of(cls, document: Document) -> "_Side":
        sessions = {str(row["session"]): row for row in _rows(document, "sessions")}
        totals = document.get("totals")
        level = Decimal(str(totals.get("start_equity") or 0)) if isinstance(totals, dict) else Decimal(0)
        equity = {}
        for date, row in sessions.items():
            equity[date] = level
            level += Decimal(str(row.get("pnl") or 0))
        trades = {str(row["trade_id"]): row for row in _rows(document, "trades")}
        return cls(document, trades, sessions, equity)


def compare_results(first: Document, second: Document) -> Document:
    """``{equal, a, b, settings, same, only_a, only_b, different}``; each difference with why it is there.

    Trades are the same where they have one id: session, scan and symbol. ``settings`` holds whatever was asked
    otherwise, down to single keys.
    """
    a, b = _Side.of(first), _Side.of(second)
    settings = [*_asked(first, second)]
    both = [key for key in a.trades if key in b.trades]
    different = [row for key in both if (row := _difference(a, b, key)) is not None]
    only_a = [_only(a, b, row) for key, row in a.trades.items() if key not in b.trades]
    only_b = [_only(b, a, row) for key, row in b.trades.items() if key not in a.trades]
    return {
        "equal": not (different or only_a or only_b),
        "a": summary_of(first),
        "b": summary_of(second),
        "settings": list(settings),
        "same": len(both) - len(different),
        "only_a": list(only_a),
        "only_b": list(only_b),
        "different": list(different),
    }


def _asked(first: Document, second: Document) -> Iterator[Json]:
    """What was asked or taken for granted otherwise, and the settings key by key."""
    for key in ASKED:
        if first.get(key) != second.get(key):
            yield {"key": key, "a": first.get(key), "b": second.get(key)}
    ours, theirs = settings_of(first), settings_of(second)
    for key in sorted(ours.keys() | theirs.keys()):
        if plain(ours.get(key)) != plain(theirs.get(key)):
            yield {"key": key, "a": ours.get(key), "b": theirs.get(key)}
    for name, document in (("a", first), ("b", second)):
        if "settings" not in document:
            yield {"key": f"settings of {name}", "a": None, "b": "not stored: an older version made it"}


def settings_of(document: Document) -> dict[str, Json]:
    """The settings that a result followed, by ``section.key``."""
    return dict(_flat(document.get("settings")))


def plain(value: Json) -> Json:
    """A value to be compared: 0.3 and 0.30 are one number, however they were written."""
    if not isinstance(value, str):
        return value
    try:
        number = Decimal(value)
    except InvalidOperation:
        return value
    return f"{number.normalize():f}" if number.is_finite() else value


def _flat(value: Json, prefix: str = "") -> Iterator[tuple[str, Json]]:
    if not isinstance(value, dict):
        if prefix:
            yield prefix, value
        return
    for key, inner in value.items():
        yield from _flat(inner, f"{prefix}.{key}" if prefix else key)


def _difference(a: _Side, b: _Side, key: str) -> Document | None:
    """A trade that both made otherwise; None where they agree."""
    ours, theirs = a.trades[key], b.trades[key]
    names = [name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)]
    names = sorted(name for name in names if name != "plan_id")
    if not names:
        return None
    session = str(ours["session"])
    return {
        **{name: ours.get(name) for name in ("trade_id", "session", "symbol", "setup", "direction")},
        "fields": [{"field": name, "a": ours.get(name), "b": theirs.get(name)} for name in names],
        "because": [*_causes(a, b, session, names, ours, theirs)] or ["nothing that is stored says why"],
    }


def _causes(
    a: _Side, b: _Side, session: str, names: list[str], ours: Document, theirs: Document
) -> Iterator[Json]:
    """What the fields say about where the two went apart: plan, entry, exit, size."""
    changed = set(names)
    plan = [name for name in ("setup", "direction", "reference", "stop", "target") if name in changed]
    if plan:
        yield f"planned otherwise: {', '.join(plan)}"
    if a.sessions.get(session, {}).get("bars") != b.sessions.get(session, {}).get("bars"):
        yield (
            f"the session ran on {a.sessions[session].get('bars')} bars in A,"
            f" on {b.sessions[session].get('bars')} bars in B"
        )
    if "entry_price" in changed or "entry_ts" in changed:
        yield f"entered at {ours.get('entry_price')} in A, at {theirs.get('entry_price')} in B"
    if changed & {"exit_reason", "exit_ts", "exit_price"}:
        yield (
            f"left by {ours.get('exit_reason')} at {ours.get('exit_price')} in A,"
            f" by {theirs.get('exit_reason')} at {theirs.get('exit_price')} in B"
        )
    if "drilled" in changed:
        minutes = [exchange_time(row, "drilled", session) or "none" for row in (ours, theirs)]
        yield f"of the day's minutes {minutes[0]} decided in A, {minutes[1]} in B"
    if "quantity" in changed:
        before = (a.equity.get(session), b.equity.get(session))
        if before[0] != before[1]:
            yield f"the account held {before[0]:,.2f} before the session in A, {before[1]:,.2f} in B"
        else:
            yield "sized otherwise from the same account: risk or its limits"
    elif changed <= SIZES:
        yield "costs or slippage"


def _only(own: _Side, other: _Side, trade: Document) -> Document:
    """A trade that the other result has not, and what can be said of why."""
    shown = ("trade_id", "session", "symbol", "setup", "direction", "quantity", "r_multiple", "pnl")
    return {**{name: trade.get(name) for name in shown}, "because": _absence(own, other, trade)}


def _absence(own: _Side, other: _Side, trade: Document) -> str:
    session, symbol = str(trade["session"]), str(trade["symbol"])
    partial = other.document.get("partial")
    row = other.sessions.get(session)
    symbols = other.document.get("symbols")
    if row is None:
        if isinstance(partial, dict):
            return f"the other stopped in {partial.get('session')}"
        return f"the other ran {other.document.get('from')} to {other.document.get('to')}"
    if isinstance(symbols, list) and symbols and symbol not in symbols:
        return f"the other looked at {', '.join(map(str, symbols[:5]))} alone"
    skipped = row.get("skipped")
    if isinstance(skipped, list) and skipped:
        return f"skipped in the other: {', '.join(map(str, skipped))}"
    held = [each for each in other.trades.values() if each["session"] == session]
    there = [each for each in held if each["symbol"] == symbol]
    if there:
        return f"the other traded {symbol} from another scan of that session"
    counts = {
        key: (own.sessions.get(session, {}).get(key), row.get(key))
        for key in ("candidates", "plans", "approved")
    }
    changed = [
        f"{key} {ours} here, {theirs} in the other"
        for key, (ours, theirs) in counts.items()
        if ours != theirs
    ]
    if row.get("bars") != own.sessions[session].get("bars"):
        changed.insert(
            0, f"{own.sessions[session].get('bars')} bars here, {row.get('bars')} bars in the other"
        )
    if changed:
        return "; ".join(changed)
    if held:
        return f"the other took {', '.join(sorted(str(each['symbol']) for each in held)[:5])} in that session"
    return "planned in both; its entry did not fill in the other"


def _rows(document: Mapping[str, Json], key: str) -> list[Document]:
    value = document.get(key)
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []

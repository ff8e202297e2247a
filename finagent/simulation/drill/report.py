"""The drill's one page: what was done, what was found, and how long coming back took; as a document and as HTML."""

import html
import platform
import sqlite3
from collections.abc import Mapping, Sequence
from statistics import median

from finagent import __version__
from finagent.context import Document, Json
from finagent.simulation.drill.play import DrillOutcome, Tally

MOST_FINDINGS = 50
BAR_WIDTH = 240
FAULTS = {
    "answer": "answered with an error", "drop_before": "request lost", "drop_reply": "reply lost",
    "stream_close": "stream closed", "stream_duplicate": "stream told twice", "stream_mute": "stream silent",
    "stream_shuffle": "stream out of order",
}  # fmt: skip
"""What the broker's faults are called on the page."""


def document(outcome: DrillOutcome) -> Document:
    """``{seed, kills, lost, duplicate, orphan, other, ...}``: counts, findings and figures."""
    tally, verdict = outcome.tally, outcome.verdict
    findings: dict[str, Json] = {
        name: list(rows[:MOST_FINDINGS])
        for name, rows in (
            ("lost", verdict.lost),
            ("duplicate", verdict.duplicate),
            ("orphan", verdict.orphan),
            ("other", verdict.other),
        )
    }
    return {
        "seed": outcome.request.seed,
        "command": f"finagent drill crash --kills {outcome.request.kills} --seed {outcome.request.seed}",
        "kills": tally.total,
        "kills_by_kind": _counts(tally.kills),
        "lost": len(verdict.lost),
        "duplicate": len(verdict.duplicate),
        "orphan": len(verdict.orphan),
        "other": len(verdict.other),
        "findings": findings,
        "passed": verdict.is_clean and tally.total > 0,
        "starts": tally.starts,
        "clean_stops": tally.clean_stops,
        "sessions": list(tally.sessions),
        "approvals_acknowledged": tally.acknowledged,
        "orders_at_broker": verdict.orders,
        "fills": verdict.fills,
        "plans": _counts(verdict.plans),
        "steps_killed_at": _counts(tally.points),
        "steps_killed_at_in_recovery": _counts(+tally.recovering),
        "steps_not_reached": list(tally.not_reached),
        "broker_faults": _counts(tally.faults),
        "ready_s": _spread(tally),
        "elapsed_s": round(tally.elapsed_s, 1),
        "version": __version__,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "machine": f"{platform.system()} {platform.machine()}",
    }


def page(document: Document) -> str:
    """The document as one self-contained page."""
    verdict = "passed" if document["passed"] else "FAILED"
    rows = "".join(
        f"<tr><td>{label}<td class=n>{html.escape(str(document[key]))}"
        for label, key in (
            ("kills", "kills"), ("lost", "lost"), ("duplicate", "duplicate"), ("orphan", "orphan"),
            ("other findings", "other"), ("approvals acknowledged", "approvals_acknowledged"),
            ("orders at the broker", "orders_at_broker"), ("fills", "fills"), ("starts", "starts"),
        )
    )  # fmt: skip
    findings = document["findings"]
    told = [
        f"<li><b>{name}</b> {html.escape(str(row))}"
        for name, found in (findings.items() if isinstance(findings, dict) else ())
        if isinstance(found, list)
        for row in found
    ]
    style = (
        "body{font:15px/1.5 system-ui;max-width:48rem;margin:2rem auto;padding:0 1rem;color:#1b1f24}"
        "table{border-collapse:collapse;margin:1rem 0}td{padding:.15rem .8rem .15rem 0;vertical-align:top}"
        ".n{text-align:right;font-variant-numeric:tabular-nums}.bar{fill:#3b6ea8}h2{margin-top:2rem}"
        ".chart td:first-child{min-width:19rem;overflow-wrap:anywhere}code{background:#f2f4f7;padding:.1rem .3rem}"
        ".passed{color:#1a7f37}.FAILED{color:#b42318}"
    )
    return (
        f"<!doctype html><meta charset=utf-8><title>finagent crash drill</title><style>{style}</style>"
        f"<h1>Crash drill: <span class={verdict}>{verdict}</span></h1>"
        f"<p>An agent at work on a made-up market was killed with SIGKILL {document['kills']} times. A broker server "
        "in a process of its own wrote down every order it accepted; a person outside wrote down every approval that "
        f"was acknowledged. Seed {document['seed']}, sessions {html.escape(_names(document['sessions']))}, "
        f"{document['elapsed_s']} s.</p><table>{rows}</table>"
        f"{'<h2>Findings</h2><ul>' + ''.join(told) + '</ul>' if told else ''}"
        f"{_chart('How it was killed', document['kills_by_kind'])}"
        f"{_chart('Named steps it died at', document['steps_killed_at'])}<p>{html.escape(_steps(document))}</p>"
        f"{_not_reached(document)}"
        f"{_chart('What the broker did wrong', _faults(document))}"
        f"{_chart('How its plans ended', document['plans'])}"
        f"<h2>Ready again</h2><p>{html.escape(_spread_text(document['ready_s']))} from the start of the process.</p>"
        f"<h2>Again</h2><p>The same draws: <code>{html.escape(str(document['command']))}</code>, in another home or "
        f"after <code>drills/{document['seed']}</code> was deleted. How far an agent came by then differs.</p>"
        f"<p>finagent {document['version']}, Python {document['python']}, SQLite {document['sqlite']}, "
        f"{html.escape(str(document['machine']))}.</p>"
    )


def summary(document: Document) -> str:
    """The document as text for a terminal."""
    findings = document["findings"]
    told = [
        f"  {name}: {row}"
        for name, found in (findings.items() if isinstance(findings, dict) else ())
        if isinstance(found, list)
        for row in found
    ]
    kinds = ", ".join(f"{name} {count}" for name, count in _map(document["kills_by_kind"]).items())
    lines = [
        f"Crash drill {'passed' if document['passed'] else 'FAILED'} (seed {document['seed']})",
        f"  kills      {document['kills']} ({kinds})",
        f"  steps      {_steps(document)}",
        (
            f"  lost {document['lost']}, duplicate {document['duplicate']}, orphan {document['orphan']}, "
            f"other {document['other']}"
        ),
        (
            f"  seen       {document['approvals_acknowledged']} approvals, {document['orders_at_broker']} orders, "
            f"{document['fills']} fills in {_names(document['sessions'])}"
        ),
        f"  broker     {_told_faults(document)}",
        f"  ready      {_spread_text(document['ready_s'])} after a start",
        f"  took       {document['elapsed_s']} s",
        f"  again      {document['command']}",
    ]
    return "\n".join([*lines, *(["Findings", *told] if told else [])])


def _faults(document: Document) -> dict[str, Json]:
    return {FAULTS.get(name, name): count for name, count in _map(document["broker_faults"]).items()}


def _told_faults(document: Document) -> str:
    """What the broker did wrong, in words."""
    told = ", ".join(f"{name} {count}" for name, count in _faults(document).items())
    return told or "did nothing wrong"


def _steps(document: Document) -> str:
    """How many of the named steps an agent died at."""
    died, again = _map(document["steps_killed_at"]), _map(document["steps_killed_at_in_recovery"])
    left = document["steps_not_reached"]
    whole = len(died) + (len(left) if isinstance(left, list) else 0)
    return f"{len(died)} of {whole} named steps, {len(again)} of them in a recovery"


def _not_reached(document: Document) -> str:
    """The other steps, folded: they may be many."""
    left = document["steps_not_reached"]
    if not isinstance(left, list) or not left:
        return ""
    return (
        f"<details><summary>{len(left)} never came to</summary>{html.escape(_names(document['steps_not_reached']))}"
        "</details>"
    )


def _chart(title: str, counts: Json) -> str:
    """Bars with their numbers below a heading; "none" where nothing was counted."""
    found = _map(counts)
    return f"<h2>{title}</h2>{_bars(found) if found else '<p>none</p>'}"


def _bars(counts: Mapping[str, int]) -> str:
    most = max(counts.values())
    rows = "".join(
        f"<tr><td>{html.escape(name)}<td class=n>{count}<td><svg width={BAR_WIDTH} height=12>"
        f"<rect class=bar width={max(1, BAR_WIDTH * count // most)} height=10 /></svg>"
        for name, count in counts.items()
    )
    return f"<table class=chart>{rows}</table>"


def _spread(tally: Tally) -> Document:
    times = sorted(tally.ready_s)
    if not times:
        return {"count": 0, "median": None, "max": None}
    return {"count": len(times), "median": round(median(times), 2), "max": round(times[-1], 2)}


def _spread_text(spread: Json) -> str:
    values = spread if isinstance(spread, dict) else {}
    if not values.get("count"):
        return "no start was timed"
    return f"{values['median']} s (median of {values['count']}), {values['max']} s at most"


def _counts(counts: Mapping[str, int]) -> dict[str, Json]:
    return {name: counts[name] for name in sorted(counts)}


def _map(value: Json) -> dict[str, int]:
    return {name: int(str(count)) for name, count in value.items()} if isinstance(value, dict) else {}


def _names(value: Json) -> str:
    names: Sequence[Json] = value if isinstance(value, list) else []
    return ", ".join(str(name) for name in names)

"""Documents of operations as pages: status, journal, market data, doctor, replay."""

from decimal import Decimal

from finagent.cli.fields import clean, counts, flag, number, rows, section, text, words
from finagent.cli.page import UNKNOWN, Column, Page
from finagent.cli.render_day import trades as trades_page
from finagent.cli.values import clock, left, moment, money, percent, profit, quantity, seconds, share
from finagent.context import Document, Json

SESSIONS_SHOWN = 8
ISSUES_NAMED = 4
_AT_WORK = ("entries_working", "exits_working", "exits_attached")
_SHADES = {
    "ok": "green",
    "warn": "yellow",
    "warning": "yellow",
    "fail": "red",
    "critical": "red",
    "error": "red",
}


def status(document: Document, page: Page) -> str:
    """Problems first, then mode, clock, account, limits, counts and what comes next."""
    session, account = section(document, "session"), section(document, "account")
    control = section(document, "control")
    time = section(document, "clock")
    rehearsal = " rehearsal" if text(time, "kind") == "virtual" else ""
    head = f"finagent {text(document, 'mode')}{rehearsal}  {clock(time, 'now')} ET  {_session(session)}"
    problems = [_problem(row, page) for row in rows(document, "problems")]
    facts = [
        ("Equity", f"{money(number(account, 'equity'))} {text(account, 'currency')}".strip()),
        ("Day P&L", profit(page, account, "day_pnl")),
        ("Entries", _gate(control)),
        ("Locked", ", ".join(words(control, "locked_symbols"))),
        ("Today", _today(document)),
        ("Agent", _agent(document)),
        ("Services", _services(rows(document, "services"))),
        ("Journal", text(document, "journal_head")),
    ]
    parts = [page.heading(head), *(problems or [page.paint("No problems.", "green")]), "", page.pairs(facts)]
    upcoming = [_next(row) for row in rows(document, "next_jobs")[:5]]
    if upcoming:
        parts += ["", page.heading("Next"), *upcoming]
    return "\n".join(parts)


def _agent(document: Document) -> str:
    state = text(document, "engine_state")
    return "none runs" if state == "stopped" else state


def _today(document: Document) -> str:
    """Counts that are not zero; of the open orders what they do."""
    found = section(document, "counts")
    hidden = "orders_open" if _AT_WORK[0] in found else ""
    some: Document = {_counted(key, value): value for key, value in found.items() if value and key != hidden}
    return counts({"counts": some}, "counts").replace("_", " ") or ("nothing yet" if found else "")


def _counted(name: str, count: Json) -> str:
    """``exits_attached`` as ``exit_attached`` where there is one."""
    if count != 1 or name not in _AT_WORK:
        return name
    what, does = name.split("_")
    return f"{'entry' if what == 'entries' else what.removesuffix('s')}_{does}"


def _session(session: Document) -> str:
    phase = text(session, "phase", "state")
    hours = f"{clock(session, 'open', 'opens_at')} to {clock(session, 'close', 'closes_at')} ET"
    return f"session {text(session, 'session', 'date')} ({', '.join(filter(None, [phase, hours]))})"


def _problem(row: Document, page: Page) -> str:
    level = text(row, "severity", "level") or "problem"
    mend = text(row, "mend", "hint")
    words_ = f"{level}: {text(row, 'message', 'detail')}" + (f". {mend}" if mend else "")
    return page.paragraph(words_, _SHADES.get(level, "yellow"))


def _gate(control: Document) -> str:
    if flag(control, "killed", "is_killed"):
        return "killed (finagent rearm opens them again)"
    reason = text(control, "gate_reason", "entry_gate_reason", "reason", "pause_reason")
    if flag(control, "needs_rearm"):
        why = text(control, "pause_reason") or reason
        return f"closed{': ' + why if why else ''} (finagent rearm)"
    if flag(control, "paused", "is_paused"):
        is_of_the_day = text(control, "paused_by") == "risk"
        mend = "until the next session" if is_of_the_day else "finagent resume"
        return f"paused{': ' + reason if reason else ''} ({mend})"
    return f"closed: {reason}" if reason else "open"


def _services(found: list[Document]) -> str:
    ill = [
        f"{text(row, 'name')} {text(row, 'state')} {text(row, 'detail', 'error')}".strip()
        for row in found
        if text(row, "state") not in ("healthy", "running", "ok", "up", "ready")
    ]
    return "; ".join(ill) if ill else (f"{len(found)} healthy" if found else "")


def _next(row: Document) -> str:
    name = text(row, "name", "type")
    return f"  {moment(text(row, 'at', 'run_at', 'fire_at'), '%a %H:%M')}  {name}"


def journal(document: Document, page: Page) -> str:
    """Entries in order; the data as one wrapped cell."""
    columns = (
        Column("Seq", right=True),
        Column("Time"),
        Column("Kind"),
        Column("Ref", rank=1),
        Column("Data", flexible=True, rank=2),
    )
    cells = [
        [
            quantity(number(row, "seq")),
            moment(text(row, "at"), "%m-%d %H:%M:%S"),
            text(row, "kind"),
            text(row, "ref")[:12],
            _facts(row.get("data")),
        ]
        for row in rows(document, "entries")
    ]
    table = page.table(columns, cells) or "No entries."
    following = number(document, "next_after")
    return f"{table}\n\nMore: --after {following}" if following is not None else table


def _facts(value: Json) -> str:
    if isinstance(value, dict):
        shown = [
            f"{clean(key)}={_plain(inner)}" for key, inner in value.items() if inner not in (None, "", [], {})
        ]
        line = " ".join(shown)
    else:
        line = _plain(value)
    return line if len(line) <= 160 else line[:159] + "…"


def _plain(value: Json) -> str:
    if value is None:
        return UNKNOWN
    if isinstance(value, dict | list):
        return f"({len(value)})"
    return clean(value)


def doctor(document: Document, page: Page) -> str:
    """Checks with a mend for each that is not well."""
    lines = []
    for row in rows(document, "checks"):
        state = text(row, "status")
        mark = page.paint(state.upper().ljust(4), _SHADES.get(state, "red"))
        lines.append(f"{mark}  {text(row, 'name')}: {text(row, 'detail')}")
        if state != "ok" and text(row, "mend"):
            lines.append(f"      {text(row, 'mend')}")
    return "\n".join(lines) or "Nothing was checked."


def imported(document: Document, page: Page) -> str:
    """Files with their counts, and what was wrong in them."""
    columns = (
        Column("File", flexible=True),
        Column("Kind"),
        Column("Rows", right=True),
        Column("Accepted", right=True),
        Column("Rejected", right=True),
        Column("Duplicates", right=True, rank=1),
    )
    cells = [
        [
            text(row, "file"),
            text(row, "kind") or UNKNOWN,
            *(quantity(number(row, key)) for key in ("rows", "accepted", "rejected", "duplicates")),
        ]
        for row in rows(document, "files")
    ]
    parts = [page.table(columns, cells) or "No files."]
    issues = rows(document, "issues")
    parts += [_issues(issues, page)]
    parts += [page.paragraph(problem, "yellow") for problem in words(document, "problems")]
    outcome = "nothing was written (--dry-run)" if flag(document, "dry_run") else ""
    outcome = outcome or ("" if document.get("changed") is not False else "nothing new")
    tally = f"{quantity(number(document, 'symbols'))} symbols"
    if issues:
        kinds = len({text(row, "kind") for row in issues})
        tally += f", {len(issues)} issues of {kinds} kind{'' if kinds == 1 else 's'}"
        where = text(document, "issues_file")
        outcome = "; ".join(filter(None, [outcome, f"each of them: {where or '--json'}"]))
    parts.append(f"{tally}; {outcome}" if outcome else tally)
    return "\n\n".join(part for part in parts if part)


def _issues(issues: list[Document], page: Page) -> str:
    """Issues by kind: in how many rows and symbols, and the one that counts most as an example."""
    columns = (
        Column("Issue"),
        Column("Rows", right=True),
        Column("Symbols", right=True, rank=1),
        Column("Most in", rank=2, flexible=True, is_cut=True),
        Column("Example", flexible=True, rank=3, is_cut=True),
    )
    cells = []
    for kind in sorted({text(row, "kind") for row in issues}):
        of_kind = [row for row in issues if text(row, "kind") == kind]
        total = sum((number(row, "count") or Decimal(0) for row in of_kind), Decimal(0))
        names = {text(row, "symbol") for row in of_kind if text(row, "symbol")}
        most = sorted(of_kind, key=lambda row: (-(number(row, "count") or 0), text(row, "symbol")))
        examples = ", ".join(filter(None, (text(row, "symbol") for row in most[:ISSUES_NAMED])))
        cells.append(
            [kind, quantity(total), quantity(Decimal(len(names))), examples, text(most[0], "example")]
        )
    return page.table(columns, cells)


def listing(document: Document, page: Page) -> str:
    """Any document of lists, as tables of its own keys: what the market data are."""
    parts = []
    for key, value in document.items():
        name = clean(key)
        if isinstance(value, list) and value and isinstance(value[0], dict):
            parts.append(
                page.heading(name.replace("_", " ").capitalize()) + "\n" + _generic(rows(document, key), page)
            )
        elif isinstance(value, dict):
            shown = [(clean(key), _facts(inner)) for key, inner in value.items()]
            parts.append(page.heading(name.replace("_", " ").capitalize()) + "\n" + page.pairs(shown))
        elif not isinstance(value, list) or value:
            parts.append(page.pairs([(name.replace("_", " "), _facts(value))]))
    return "\n\n".join(parts) or "Nothing."


def _generic(found: list[Document], page: Page) -> str:
    keys = list(dict.fromkeys(key for row in found for key in row))
    numeric = {
        key: all(number(row, key) is not None or row.get(key) is None for row in found) for key in keys
    }
    columns = [
        Column(clean(key).replace("_", " "), right=numeric[key], rank=place) for place, key in enumerate(keys)
    ]
    return page.table(columns, [[_facts(row.get(key)) for key in keys] for row in found])


def replayed(document: Document, page: Page) -> str:
    """Sessions of a replay, its trades, totals and identity."""
    columns = (
        Column("Session"),
        Column("Cand.", right=True, rank=1),
        Column("Plans", right=True),
        Column("Appr.", right=True, rank=2),
        Column("Orders", right=True, rank=3),
        Column("Trades", right=True),
        Column("P&L", right=True),
        Column("Flat"),
    )
    cells = [
        [
            text(row, "session"),
            *(quantity(number(row, key)) for key in ("candidates", "plans", "approved", "orders", "trades")),
            profit(page, row, "pnl"),
            "yes" if flag(row, "flat") else page.paint("NO", "red"),
        ]
        for row in rows(document, "sessions")
    ]
    totals = section(document, "totals")
    summary = page.pairs(
        [
            ("P&L", f"{profit(page, totals, 'pnl')} after {money(number(totals, 'fees'))} fees"),
            ("Win rate", share(number(totals, "win_rate"))),
            ("Drawdown", _drawdown(totals)),
            ("Jobs", counts(document, "jobs")),
            ("Result", text(document, "result_id")),
            ("Outcome", text(document, "outcome_hash")),
            ("Took", seconds((number(document, "elapsed_ms") or Decimal(0)) / 1000)),
        ]
    )
    parts = [
        page.table(columns, cells),
        trades_page(document, page),
        _without_minutes(document, page),
        summary,
    ]
    return "\n\n".join(part for part in parts if part)


def _without_minutes(document: Document, page: Page) -> str:
    """Which sessions could not be traded for want of minute bars, and the mend."""
    found = rows(document, "without_minutes")
    if not found:
        return ""
    shown = [f"{text(row, 'session')} ({', '.join(words(row, 'symbols'))})" for row in found[:SESSIONS_SHOWN]]
    more = f" and {len(found) - SESSIONS_SHOWN} more" if len(found) > SESSIONS_SHOWN else ""
    noun = "1 session" if len(found) == 1 else f"{len(found)} sessions"
    return page.paragraph(
        f"Daily bars alone in {noun}: {', '.join(shown)}{more}. No fill can be told without minutes, so nothing"
        " was planned there. Import minute bars (finagent data import DIR), then replay with --fresh;"
        " finagent data list shows what is held.",
        "yellow",
    )


def _drawdown(totals: Document) -> str:
    value = number(totals, "max_drawdown")
    if value is None:
        return ""
    return percent(value * 100) if 0 < value < 1 else money(value)


def countdown(row: Document) -> str:
    """Minutes and seconds that a plan waits for its answer."""
    return left(number(row, "seconds_left"))

"""Documents of the queue as pages: jobs, one job, counts and times, and the live table."""

import json
from collections.abc import Sequence
from decimal import Decimal

from finagent.cli.fields import clean, counts, number, rows, section, text
from finagent.cli.page import UNKNOWN, Column, Page, wrap
from finagent.cli.values import moment, quantity, seconds, share
from finagent.context import Document

STAMP = "%m-%d %H:%M:%S"
SHADES = {"dead": "red", "failed": "red", "leased": "cyan", "ready": "yellow", "done": "green"}
STATUSES = ("ready", "leased", "scheduled", "dead", "done", "cancelled")
RUNNING_SHOWN = 8
FAILED_SHOWN = 5
JOB_COLUMNS = (
    Column("ID", right=True),
    Column("Type"),
    Column("Status"),
    Column("Tries", right=True, rank=1),
    Column("Age", right=True, rank=2),
    Column("Wait", right=True, rank=5),
    Column("Run at", rank=6),
    Column("Key", rank=4, flexible=True, is_cut=True),
    Column("Error", rank=3, flexible=True, is_cut=True),
)


def jobs(document: Document, page: Page) -> str:
    """Jobs, newest first, each on one line, and how many more match."""
    found = rows(document, "jobs")
    if not found:
        types = document.get("types")
        known = [clean(name) for name in types] if isinstance(types, list) else []
        return "No jobs." + (f" Types here: {', '.join(known)}" if known else "")
    table = page.table(JOB_COLUMNS, [_job_row(row, page) for row in found])
    more = int(number(document, "matching") or 0) - len(found)
    return f"{table}\n\n{more:,} more match: --limit shows more, filters fewer" if more > 0 else table


def _job_row(row: Document, page: Page) -> list[str]:
    return [
        text(row, "id", "job_id"),
        text(row, "type"),
        _status(row, page),
        _tries(row),
        span(number(row, "age_s")),
        span(number(row, "wait_s")),
        moment(text(row, "run_at"), STAMP),
        text(row, "idempotency_key", "key"),
        text(row, "last_error", "error"),
    ]


def _status(row: Document, page: Page) -> str:
    state = text(row, "status")
    return page.paint(state, SHADES[state]) if state in SHADES else state


def _tries(row: Document) -> str:
    most = text(row, "max_attempts")
    return f"{text(row, 'attempts')}/{most}" if most else text(row, "attempts")


def job(document: Document, page: Page) -> str:
    """Everything of one job: its life, payload, kin, and each attempt."""
    head = page.heading(f"Job {text(document, 'id')} {text(document, 'type')}")
    facts = [
        ("Status", _status(document, page)),
        ("Error", text(document, "last_error")),
        ("Attempts", f"{text(document, 'tries')} of {text(document, 'max_attempts')}, {_failures(document)}"),
        ("Key", text(document, "key")),
        ("Idempotency", text(document, "idempotency_key")),
        ("Priority", text(document, "priority")),
        ("Created", _when(document, "created_at", "age_s", "age")),
        ("Run at", _when(document, "run_at")),
        ("Started", _when(document, "started_at", "wait_s", "waited")),
        ("Finished", _when(document, "finished_at")),
        ("Deadline", _when(document, "deadline_at")),
        ("Lease", _lease(section(document, "lease"))),
        ("Progress", how_far(document)),
        ("Trace", text(document, "trace_id")),
        ("Parent", _kin(section(document, "parent"))),
    ]
    parts = [f"{head}\n{page.pairs(facts)}", _children(document, page), _payload(document, page)]
    return "\n\n".join(part for part in [*parts, _attempts(document, page)] if part)


def _failures(document: Document) -> str:
    return f"{text(document, 'failures') or 0} failed"


def span(value: Decimal | None) -> str:
    """A span of a job: milliseconds below a second."""
    return f"{value * 1000:.0f} ms" if value is not None and value < 1 else seconds(value)


def _when(document: Document, key: str, length_key: str = "", words: str = "") -> str:
    if not text(document, key):
        return ""
    at = moment(text(document, key), "%Y-%m-%d %H:%M:%S ET")
    length = number(document, length_key) if length_key else None
    return at if length is None else f"{at} ({words} {span(length)})"


def _lease(lease: Document) -> str:
    if not lease:
        return ""
    left = number(lease, "left_s")
    until = "" if left is None else f", {span(left)} left" if left >= 0 else ", overdue"
    pid = f", process {text(lease, 'pid')}" if text(lease, "pid") else ""
    return f"boot {text(lease, 'boot')}{pid}, number {text(lease, 'number')}{until}"


def _kin(row: Document) -> str:
    return " ".join(filter(None, [text(row, "id"), text(row, "type"), text(row, "status")]))


def _children(document: Document, page: Page) -> str:
    found = rows(document, "children")
    if not found:
        return ""
    columns = (
        Column("Child", right=True),
        Column("Type"),
        Column("Status"),
        Column("Key", rank=1, flexible=True),
    )
    cells = [
        [text(row, "id"), text(row, "type"), _status(row, page), text(row, "idempotency_key")]
        for row in found
    ]
    more = int(number(document, "children_count") or 0) - len(found)
    return page.table(columns, cells) + (f"\nand {more:,} more" if more > 0 else "")


def _payload(document: Document, page: Page) -> str:
    payload = document.get("payload")
    if not payload:
        return ""
    lines = json.dumps(payload, indent=2, ensure_ascii=False, sort_keys=True).splitlines()
    shown = [part for line in lines for part in wrap(clean(line), page.width)]
    return "\n".join([page.heading("Payload"), *shown])


def _attempts(document: Document, page: Page) -> str:
    columns = (
        Column("Try", right=True),
        Column("Boot", right=True, rank=3),
        Column("Started"),
        Column("Ended", rank=2),
        Column("Took", right=True, rank=1),
        Column("Outcome"),
        Column("Error", flexible=True),
    )
    cells = [
        [
            text(row, "attempt", "number"),
            text(row, "boot"),
            moment(text(row, "started_at", "at"), STAMP),
            moment(text(row, "finished_at"), STAMP),
            span(number(row, "duration_s")),
            text(row, "outcome"),
            text(row, "error", "detail"),
        ]
        for row in rows(document, "attempts")
    ]
    omitted = int(number(document, "attempts_omitted") or 0)
    note = f"{omitted:,} older attempts are not shown\n" if omitted > 0 else ""
    return note + page.table(columns, cells) if cells else "No attempt yet."


def jobs_stats(document: Document, page: Page) -> str:
    """Counts by status and type, times and attempts by outcome, and what is dead."""
    lines = [
        ("Jobs", counts(document, "by_status") or "none"),
        ("Oldest ready", span(number(document, "oldest_ready_s"))),
    ]
    by_type = section(document, "by_type")
    attempts, times = section(document, "attempts"), section(document, "times")
    columns = (
        Column("Type"),
        Column("Jobs", flexible=True),
        Column("Attempts", flexible=True, rank=2),
        Column("Wait p50", right=True, rank=3),
        Column("p95", right=True, rank=3),
        Column("Run p50", right=True, rank=1),
        Column("p95", right=True, rank=1),
    )
    cells = [
        [
            clean(name),
            counts(by_type, name) or clean(by_type[name]),
            _troubles(section(attempts, name)),
            *(
                span(number(section(times, name), key))
                for key in ("wait_p50_s", "wait_p95_s", "run_p50_s", "run_p95_s")
            ),
        ]
        for name in by_type
    ]
    parts = [page.pairs(lines), page.table(columns, cells)]
    dead = rows(document, "dead")
    if dead:
        parts.append(page.paint("Dead", "red") + "\n" + jobs({"jobs": list(dead)}, page))
    return "\n\n".join(part for part in parts if part)


def _troubles(outcomes: Document) -> str:
    """Attempts that were not done: a job that is done was tried once more than these."""
    some: Document = {name: count for name, count in outcomes.items() if name != "done"}
    return counts({"a": some}, "a")


# ---------------------------------------------------------------- the live table
def watched(document: Document, page: Page, *, height: int | None = None) -> str:
    """One snapshot of the queue: what is where, what runs, what failed last; about ``height`` lines if given."""
    head, rest = _pulse(document, page), [_running(document, page), _failed(document, page)]
    taken = sum(part.count("\n") + 2 for part in (head, *rest) if part)
    most = None if height is None else max(1, height - taken - 3)
    return "\n\n".join(part for part in (head, _table(document, page, most), *rest) if part)


def _pulse(document: Document, page: Page) -> str:
    per_s = section(document, "per_s")
    facts = [
        f"oldest ready {span(number(document, 'oldest_ready_s'))}",
        f"wal {_bytes(document, 'wal_bytes')}",
        f"db {_bytes(document, 'database_bytes')}",
    ]
    if per_s:
        facts.insert(0, f"done {number(per_s, 'done') or 0:.1f}/s")
        facts[1:1] = [
            f"{name} {value:.1f}/s" for name in ("dead", "cancelled") if (value := number(per_s, name))
        ]
    if text(document, "next_run_at"):
        facts.append(f"next run {moment(text(document, 'next_run_at'), STAMP)}")
    note = text(document, "note")
    head = page.heading(f"{moment(text(document, 'now'), '%Y-%m-%d %H:%M:%S')} ET")
    lines = [head, page.paragraph(", ".join(facts), "dim")]
    return "\n".join([*lines, page.paragraph(note, "yellow")] if note else lines)


def _bytes(document: Document, key: str) -> str:
    size = number(document, key)
    if size is None:
        return UNKNOWN
    return f"{size / (1 << 20):.1f} MiB" if size >= 1 << 20 else f"{size / 1024:.0f} KiB"


def _table(document: Document, page: Page, most: int | None) -> str:
    """Counts by type: where something waits, runs or is dead first, so that a low screen cuts the idle ones."""
    by_type = section(document, "by_type")
    if not by_type:
        return "No jobs yet."
    columns = (
        Column("Type"),
        Column("Ready", right=True),
        Column("Running", right=True),
        Column("Scheduled", right=True, rank=2),
        Column("Dead", right=True),
        Column("Done", right=True, rank=1),
        Column("Cancelled", right=True, rank=3),
    )
    names = sorted(by_type, key=lambda name: (not _is_live(section(by_type, name)), name))
    shown = names if most is None or len(names) <= most else names[: most - 1]
    cells = [_type_row(clean(name), section(by_type, name), page) for name in shown]
    cells.append(_type_row("all", section(document, "by_status"), page))
    rest = len(names) - len(shown)
    return page.table(columns, cells) + (f"\nand {rest} types more" if rest else "")


def _is_live(found: Document) -> bool:
    return any(number(found, status) for status in ("ready", "leased", "scheduled", "dead"))


def _type_row(name: str, found: Document, page: Page) -> list[str]:
    cells = [name]
    for status in STATUSES:
        count = number(found, status)
        words = quantity(count) if count else "·"
        cells.append(page.paint(words, SHADES[status]) if count and status in ("dead", "leased") else words)
    return cells


def _running(document: Document, page: Page) -> str:
    columns = (
        Column("Running", right=True),
        Column("Type"),
        Column("For", right=True),
        Column("Tries", right=True, rank=1),
        Column("Progress", rank=1),
        Column("Key", rank=2, flexible=True, is_cut=True),
    )
    found = rows(document, "running")
    cells = [
        [
            text(row, "id"),
            text(row, "type"),
            span(number(row, "running_s")),
            _tries(row),
            how_far(row),
            text(row, "idempotency_key"),
        ]
        for row in found[:RUNNING_SHOWN]
    ]
    return page.table(columns, cells) + _rest(found, RUNNING_SHOWN)


def how_far(row: Document) -> str:
    """The newest report of a job that computes, empty for any other."""
    told = section(row, "progress")
    return f"{share(number(told, 'fraction'))} {text(told, 'text')}".strip() if told else ""


def _failed(document: Document, page: Page) -> str:
    columns = (
        Column("Failed", right=True),
        Column("Type"),
        Column("Status"),
        Column("Tries", right=True, rank=2),
        Column("At", rank=1),
        Column("Error", flexible=True, is_cut=True),
    )
    found = rows(document, "failed")
    cells = [
        [
            text(row, "id"),
            text(row, "type"),
            _status(row, page),
            _tries(row),
            moment(text(row, "at"), STAMP),
            text(row, "error"),
        ]
        for row in found[:FAILED_SHOWN]
    ]
    return page.table(columns, cells) + _rest(found, FAILED_SHOWN)


def _rest(found: Sequence[Document], shown: int) -> str:
    return f"\nand {len(found) - shown} more" if len(found) > shown else ""

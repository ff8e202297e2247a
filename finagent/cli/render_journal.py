"""The journal's proofs as pages: whether it is whole, and whether its decisions come out the same again."""

from finagent.cli.fields import clean, flag, number, rows, section, text, words
from finagent.cli.page import Column, Page
from finagent.cli.values import quantity
from finagent.context import Document, Json

FAULTS_SHOWN = 10
DIFFERENCES_SHOWN = 20


def verification(document: Document, page: Page) -> str:
    """What was looked at, and its verdict; what is wrong, one line each."""
    inputs, state = section(document, "inputs"), section(document, "state")
    facts = [
        ("Chain", f"{quantity(number(document, 'entries'))} entries"),
        ("Inputs", _inputs(inputs)),
        ("State", "the rows are what the journal leads to" if not words(state, "faults") else ""),
        ("Head", text(document, "head") or "none"),
    ]
    if flag(document, "valid"):
        return f"{page.pairs(facts)}\n\n{page.paint('The journal is whole.', 'green')}"
    faults = [*words(inputs, "faults"), *words(state, "faults")]
    lines = [each for each in (_chain(document), text(document, "anchor")) if each] + faults
    shown = "\n".join(f"  {clean(line)}" for line in lines[:FAULTS_SHOWN])
    more = f"\n  and {len(lines) - FAULTS_SHOWN} more" if len(lines) > FAULTS_SHOWN else ""
    return f"{page.paint('The journal is NOT whole.', 'red')}\n{shown}{more}"


def _chain(document: Document) -> str:
    seq = text(document, "first_bad_seq")
    return f"the chain breaks at entry {seq}: {text(document, 'detail')}" if seq else ""


def _inputs(inputs: Document) -> str:
    size = f"{quantity(number(inputs, 'texts'))} texts, {int(number(inputs, 'bytes') or 0) >> 10} KiB"
    without = int(number(inputs, "entries_without") or 0)
    return f"{size}; {without} entries were written without inputs" if without else size


def replayed(document: Document, page: Page) -> str:
    """Counts by kind, then every difference field by field."""
    columns = (
        Column("Kind"),
        *(Column(name, right=True) for name in ("Same", "Different", "Told", "Not replayable")),
    )
    kinds = section(document, "kinds")
    cells = [[kind, *(_count(section(kinds, kind), name) for name in OUTCOMES)] for kind in kinds]
    table = page.table(columns, cells) or "No entries."
    verdict = (
        f"{text(document, 'same')} entries decided again: the same."
        if not number(document, "different")
        else f"{text(document, 'different')} entries are decided differently now."
    )
    parts = [table, page.paint(verdict, "red" if number(document, "different") else "green")]
    for reason, count in section(document, "reasons").items():
        parts.append(f"{count} not decided again: {clean(reason)}.")
    if number(document, "told"):
        parts.append(f"{text(document, 'told')} tell what happened outside: nothing was decided.")
    shown = rows(document, "differences")[:DIFFERENCES_SHOWN]
    parts += [_difference(row, text(document, "code")) for row in shown]
    return "\n".join(parts)


OUTCOMES = ("same", "different", "told", "not_replayable")


def _count(counts: Document, name: str) -> str:
    found = number(counts, name)
    return quantity(found) if found else ""


def _difference(row: Document, code: str) -> str:
    decided = text(row, "code")
    by = "" if decided in ("", code) else f" (decided by {decided}, this is {code})"
    head = f"entry {text(row, 'seq')} {text(row, 'kind')} {text(row, 'ref')}{by}"
    reason = text(row, "reason")
    if reason:
        return f"{head}\n  {reason}"
    return f"{head}\n  {text(row, 'field')}: {_said(row.get('journal'))} in the journal, {_said(row.get('again'))} now"


def _said(value: Json) -> str:
    said = clean(str(value if value is not None else "nothing"))
    return said if len(said) <= 120 else f"{said[:117]}..."

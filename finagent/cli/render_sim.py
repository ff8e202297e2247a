"""What a simulation showed, as a page."""

from finagent.cli.fields import number, rows, section, text, words
from finagent.cli.page import Page
from finagent.context import Document

VIOLATIONS_SHOWN = 20


def sim(document: Document, page: Page) -> str:
    """Violations first, then what was tried."""
    found = rows(document, "violations")
    lines = [
        page.paint(f"seed {text(row, 'seed')} step {text(row, 'step')}  {text(row, 'invariant')}", "red")
        + f"  {text(row, 'detail')}"
        for row in found[:VIOLATIONS_SHOWN]
    ]
    if len(found) > VIOLATIONS_SHOWN:
        lines.append(f"and {len(found) - VIOLATIONS_SHOWN} more")
    if found:
        lines += [f"Again, line by line: finagent sim --seed {text(found[0], 'seed')} --trace", ""]
    elif not document.get("partial"):
        lines.append(page.paint("No promise was broken.", "green"))
    if document.get("partial"):
        done = ", ".join(words(document, "seeds_done")) or "none"
        said = f"PARTIAL: stopped after {text(document, 'seeds')} of {text(document, 'asked')} seeds ({done})"
        lines.append(page.paragraph(f"{said}; the others were not run.", "yellow"))
    facts = [
        ("Seeds", f"{text(document, 'seeds')}, {number(document, 'seeds_per_s') or 0:.1f} a second"),
        ("Crashes", text(document, "crashes")),
        ("Virtual hours", f"{number(document, 'virtual_hours') or 0:.0f}"),
    ]
    fired = section(document, "faults_fired")
    if fired:
        facts.append(("Faults", ", ".join(f"{name} {count}" for name, count in fired.items())))
    return "\n".join([*lines, page.pairs(facts)])

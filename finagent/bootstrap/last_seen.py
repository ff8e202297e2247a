"""Last seen: how far a home's database had come, kept beside it, so that an older one copied in by hand is noticed."""

import json
import logging
import sqlite3
from pathlib import Path

from finagent.adapters.sqlite import durable
from finagent.bootstrap.engine import Engine
from finagent.bootstrap.starting import shut_gate

LOG = logging.getLogger(__name__)
FILE = "last-seen.json"
OLDER = "older_database"
"""Why the gate is shut: nothing opens it but a restore, which takes over what the lost time did."""
LAST = "SELECT coalesce(max(seq), 0), coalesce((SELECT hash FROM journal ORDER BY seq DESC LIMIT 1), '') FROM journal"
AT = "SELECT hash FROM journal WHERE seq = ?"


async def refuse_older(engine: Engine, home: Path) -> str | None:
    """Shut the entry gate where the database is not the one this home ran with last, or is older; gives what it is.

    Otherwise remember how far it has come. A home whose generation is another one began anew.
    """
    found = await _older(engine, home)
    if found is None:
        await remember(engine, home)
        return None
    LOG.critical("start.older_database", extra={"detail": found, "mend": "finagent db restore FILE"})
    await shut_gate(
        engine, OLDER, f"{found}; stop the agent and bring the backup back by finagent db restore FILE"
    )
    await engine.queue.note(OLDER, {"detail": found})
    return found


async def remember(engine: Engine, home: Path) -> None:
    """Write down how far the database has come; what cannot be written only makes the next start less watchful."""
    try:
        if OLDER in (await engine.store.control()).gate_reasons:
            return
        ((entries, head),) = await engine.database.read(LAST)
        seen = {
            "generation": engine.options.scope.generation,
            "epoch": engine.queue.epoch,
            "entries": entries,
            "head": head,
        }
        durable.write_whole(home / FILE, json.dumps(seen) + "\n")
    except (OSError, sqlite3.Error) as error:
        LOG.warning("last_seen.not_written", extra={"error": str(error)})


async def _older(engine: Engine, home: Path) -> str | None:
    try:
        seen = json.loads((home / FILE).read_text(encoding="utf-8"))
        generation, head = str(seen["generation"]), str(seen["head"])
        epoch, entries = int(seen["epoch"]), int(seen["entries"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if generation != engine.options.scope.generation:
        return None
    if engine.queue.epoch <= epoch:
        return (
            f"the database has seen {engine.queue.epoch - 1} starts, this home {epoch}: it is an older copy"
        )
    rows = await engine.database.read(AT, (entries,)) if entries else [(head,)]
    if not rows:
        return f"the database's journal ends before entry {entries}, which this home has seen: it is an older copy"
    if rows[0][0] != head:
        return f"entry {entries} of the database's journal is another than this home has seen: it is another copy"
    return None

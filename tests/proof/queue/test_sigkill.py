"""Processes killed with SIGKILL at random instants: what a witness outside the database saw is what the file holds."""

import random
from collections.abc import Callable
from pathlib import Path

from tests.proof.queue.family import BULK, CHILDREN, WAYS, rows
from tests.proof.queue.nursery import Nursery
from tests.proof.queue.witness import read_witness

HAS_TABLES = "SELECT 1 FROM sqlite_schema WHERE name = 'job_queue'"
NOT_ONCE = "SELECT key FROM meta WHERE length(value) <> 1 AND key LIKE '%:%'"
FACTS = "SELECT key FROM meta WHERE key LIKE '%:%'"
NO_FACTS = "silent:"
HALF_CALLS = f"""
SELECT substr(idem_key, 1, instr(idem_key, '.')) AS call FROM job_queue
WHERE type IN ('bulk', 'group') GROUP BY type, call HAVING count(*) <> {BULK}"""
STORED = "SELECT type || ':' || idem_key FROM job_queue"
FAMILIES = """
SELECT parent.idem_key FROM job_queue parent LEFT JOIN job_queue child ON child.parent_id = parent.id
WHERE parent.type = 'parent' AND parent.status = ? GROUP BY parent.id HAVING count(child.id) <> ?"""


def names(path: Path, sql: str) -> set[str]:
    return {name for (name,) in rows(path, sql)}


def check(path: Path, witness: Path) -> None:
    """Q1, Q2 and Q4 of a file whose process is dead, before anybody else has opened it."""
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]
    seen, stored = read_witness(witness), names(path, STORED)
    done = names(path, f"{STORED} WHERE status = 'done'")
    assert set(seen.get("published", ())) <= stored, "an acknowledged job is lost"
    assert set(seen.get("done", ())) <= done, "an acknowledged completion is lost"
    assert done <= set(seen.get("effect", ())), "a job is done whose handler never ran"
    with_facts = {name for name in done if not name.startswith(NO_FACTS)}
    assert names(path, FACTS) == with_facts, "effects and completions are not the same set"
    assert names(path, HALF_CALLS) == set(), "half of a publish_many is stored"
    assert names(path, NOT_ONCE) == set(), "an effect was applied twice"
    for status, children in (("done", CHILDREN), ("ready", 0), ("leased", 0), ("scheduled", 0)):
        sql = FAMILIES.replace("?", f"'{status}'", 1).replace("?", str(children))
        assert names(path, sql) == set(), f"a {status} parent has not {children} children"


def test_killed_processes_lose_nothing_and_repeat_nothing(
    tmp_path: Path, kills: int, chance: random.Random, record_property: Callable[[str, object], None]
) -> None:
    """Every published job is there after every kill, and done once when the killing stops."""
    path, witness = tmp_path / "jobs.db", tmp_path / "witness"
    with Nursery(tmp_path) as nursery:
        for number in range(kills):
            nursery.order("family", path=path, witness=witness, name=number)
            (pid,) = nursery.hear("pid")
            if chance.random() < 0.8:  # the others die while they start
                nursery.hear("ready")
            nursery.line(chance.uniform(0.001, 0.08))
            nursery.kill(int(pid))
            if path.exists() and rows(path, HAS_TABLES):
                check(path, witness)
        nursery.order("family", path=path, witness=witness, name="drain", drain=True)
        nursery.hear("pid")
        nursery.hear("ready")
        assert nursery.hear("ended")[1] == "0", nursery.errors()
    check(path, witness)
    assert rows(path, "SELECT DISTINCT status FROM job_queue") == [("done",)]
    seen = read_witness(witness)
    done_types = {name.partition(":")[0] for name in names(path, STORED)}
    assert done_types == {name for way in WAYS for name in way.policies}, "a way of working was never killed"
    assert seen["done"], "no completion was witnessed: WitnessedQueue no longer sees them"
    repeats = sum(seen["effect"].values()) - len(seen["effect"])
    done = len(names(path, STORED))
    print(
        f"{kills} kills: {len(seen['published'])} acknowledged, {done} done once, {repeats} handlers ran again"
    )
    record_property("proof.kills survived", kills)
    record_property("proof.jobs done once under kills", done)

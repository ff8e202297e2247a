"""What was told from outside is journalled with the facts that follow from it."""

import json

from finagent.domain.facts import ControlChanged, Journalled
from finagent.domain.told import told


def test_facts_come_first_and_the_row_holds_them() -> None:
    fact = ControlChanged(gate_reason="damage")
    first, row = told("gate", "damage", {"detail": "x"}, [fact])
    assert first is fact
    assert isinstance(row, Journalled)
    assert (row.kind, row.ref, row.data) == ("gate", "damage", {"detail": "x"})
    assert row.evidence is not None
    head = json.loads(row.evidence.texts[row.evidence.head])
    assert head["told"] == "gate"
    assert head["facts"][0][0] == "ControlChanged"
    assert head["facts"][0][1]["gate_reason"] == "damage"
    (alone,) = told("token_made", "t1", {})
    assert isinstance(alone, Journalled)

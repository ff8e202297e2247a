"""What was told from outside is journalled with the facts that follow from it."""

import json

from finagent.domain.facts import ControlChanged, Journalled
from finagent.domain.told import told, with_rows


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


def test_facts_that_nobody_recorded_get_a_row_or_its_row_gets_evidence() -> None:
    """No fact is committed without a journal row that holds it."""
    fact = ControlChanged(is_paused=True)
    first, row = with_rows([fact])
    assert (first, isinstance(row, Journalled)) == (fact, True)
    assert isinstance(row, Journalled)
    assert (row.kind, row.data) == ("state", {"facts": ["ControlChanged"]})
    said = Journalled(kind="pause", ref="x", data={"a": 1})
    kept, sealed = with_rows([fact, said])
    assert kept is fact
    assert isinstance(sealed, Journalled)
    assert sealed.evidence is not None
    assert "ControlChanged" in sealed.evidence.texts[sealed.evidence.head]
    assert (sealed.kind, sealed.ref, sealed.data) == ("pause", "x", {"a": 1})


def test_what_has_its_evidence_is_left_alone() -> None:
    whole = told("gate", "damage", {}, [ControlChanged(gate_reason="damage")])
    assert with_rows(whole) is whole
    assert with_rows([]) == []
    late = Journalled(kind="note", ref="", data={})
    *_, added = with_rows([*whole, late])
    assert isinstance(added, Journalled)
    assert added.evidence is not None
    assert "gate_reason" not in added.evidence.texts[added.evidence.head], "its facts belong to the other row"


def test_a_value_without_plain_form_is_left_to_the_store_to_refuse() -> None:
    odd = [object()]
    assert with_rows(odd) is odd

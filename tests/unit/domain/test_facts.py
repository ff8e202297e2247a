"""Facts are plain frozen values: a step can only say what is to be stored, never change what was said."""

import dataclasses
import inspect

import pytest

from finagent.domain import facts

KINDS = [
    kind
    for _, kind in inspect.getmembers(facts, inspect.isclass)
    if kind.__module__ == "finagent.domain.facts"
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_fact_is_a_frozen_slotted_value_said_by_keywords(kind: type) -> None:
    assert dataclasses.is_dataclass(kind)
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert "__slots__" in vars(kind)
    assert all(field.kw_only for field in dataclasses.fields(kind))
    assert kind.__doc__


def test_controls_leave_what_they_do_not_name() -> None:
    assert set(dataclasses.astuple(facts.ControlChanged())) == {None}

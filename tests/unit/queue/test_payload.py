"""Payloads come back exactly as the standard library would give them, or are refused."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from finagent.queue.payload import dumps, loads

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
)


def exact(value: object) -> list[object]:
    """What JSON alone tells apart: 1 from 1.0 and from True, 0.0 from -0.0."""
    text = json.dumps(value, sort_keys=True)
    return [text, json.loads(text)]


@given(VALUES)
@example({"huge": 2**64, "tiny": -(2**63) - 1, "edge": 2**64 - 1, "float": 1e22})
@example({"lone": "\ud800", "\ud800": None})
@example([-0.0, 1e-7, 1.5, 1e16, 123456789012345678])
def test_value_comes_back_exactly(value: object) -> None:
    assert exact(loads(dumps(value))) == exact(value)


@given(VALUES)
def test_text_is_one_for_one_value_and_sorted(value: object) -> None:
    text = dumps(value)
    assert dumps(loads(text)) == text
    assert json.loads(text) == loads(text)


@pytest.mark.parametrize(
    "value", [{"a": float("nan")}, [float("inf")], {"a": -float("inf")}, {"b": b"x"}, {"s": {1}}, object()]
)
def test_what_is_no_json_is_refused(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        dumps(value)


def test_circle_and_depth_are_refused_or_kept() -> None:
    circle: list[object] = []
    circle.append(circle)
    with pytest.raises((ValueError, RecursionError)):
        dumps(circle)
    deep: list[object] = []
    for _ in range(300):
        deep = [deep]
    assert loads(dumps(deep)) == deep


@pytest.mark.parametrize("text", ["", " ", "{", " {", '{"a":NaN}'])
def test_text_that_is_no_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        loads(text)

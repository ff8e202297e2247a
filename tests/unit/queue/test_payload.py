"""Payloads come back exactly as the standard library would give them, or are refused."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from finagent.queue.payload import MAX_DEPTH, dumps, loads

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


@pytest.mark.parametrize("depth", [10, 200, 249, 250, 251, 252, 253, 254, 255, 300, 5_000])
@pytest.mark.parametrize("core", [1, 2**70])
def test_deep_value_comes_back_or_is_refused(depth: int, core: int) -> None:
    """Nothing is taken that could not be read again."""
    deep: object = core
    for _ in range(depth):
        deep = [deep]
    try:
        text = dumps(deep)
    except ValueError as error:
        assert depth > MAX_DEPTH
        assert "nested deeper" in str(error)  # noqa: PT017
    else:
        assert depth < 255
        assert loads(text) == deep


def test_circle_is_refused() -> None:
    circle: list[object] = []
    circle.append(circle)
    with pytest.raises(ValueError, match="nested"):
        dumps(circle)


@pytest.mark.parametrize("key", [1, None, True, 1.5, (1, 2)])
def test_key_that_is_no_text_is_refused(key: object) -> None:
    with pytest.raises(TypeError, match="no text"):
        dumps({"in": [{key: 1}]})


@pytest.mark.parametrize("text", ["", " ", "{", " {", '{"a":NaN}'])
def test_text_that_is_no_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        loads(text)

"""Journal: canonical texts, the hash chain and the identity of an outcome."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finagent.domain.errors import ChainBrokenError
from finagent.domain.journal import (
    GENESIS,
    JournalEntry,
    JournalRow,
    canonical_json,
    digest,
    entry_hash,
    outcome_hash,
    verify_chain,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def chain(*texts: str) -> list[JournalRow]:
    rows: list[JournalRow] = []
    previous = GENESIS
    for seq, text in enumerate(texts, 1):
        inputs = "ab" * 32 if seq % 2 else ""
        previous = entry_hash(previous, seq, 1_000 + seq, "plan", f"pl_{seq}", text, inputs)
        rows.append((seq, 1_000 + seq, "plan", f"pl_{seq}", text, inputs, previous))
    return rows


def test_keys_are_sorted_and_nothing_is_padded():
    assert canonical_json({"b": (1, None), "a": {"d": True, "c": "é"}}) == (
        '{"a":{"c":"\\u00e9","d":true},"b":[1,null]}'
    )


@given(JSON)
def test_canonical_text_reads_back_as_the_same_value(data):
    assert json.loads(canonical_json(data)) == data


@pytest.mark.parametrize("bad", [1.0, {"a": [0.5]}, b"x", {1, 2}, {1: "a"}, {"a": {None: 1}}, float("nan")])
def test_floats_bytes_sets_and_keys_that_are_no_text_are_refused(bad):
    with pytest.raises(TypeError, match="use"):
        canonical_json(bad)


def test_refusal_names_the_place_of_the_float():
    with pytest.raises(TypeError, match=r"data\.prices\[1\] is 2\.5 \(float\)"):
        canonical_json({"prices": [1, 2.5]})


@given(st.lists(st.text(max_size=3), max_size=4), st.lists(st.text(max_size=3), max_size=4))
def test_different_lists_never_share_a_digest(left, right):
    assert (digest(*left) == digest(*right)) == (left == right)


@given(st.lists(JSON | st.integers() | st.text(), max_size=5))
def test_a_digest_is_that_of_the_canonical_text(parts):
    assert digest(*parts) == hashlib.sha256(canonical_json(parts).encode("ascii")).hexdigest()


def test_entry_holds_what_was_decided_and_when():
    entry = JournalEntry(5, "plan", "pl_1", {"reason": "no_setup"})
    assert (entry.at_ms, entry.kind, entry.ref, entry.data["reason"]) == (5, "plan", "pl_1", "no_setup")


def test_whole_chain_verifies_and_is_counted():
    assert verify_chain([]) == 0
    assert verify_chain(chain("{}", '{"a":1}', "{}")) == 3


def test_later_part_verifies_from_the_hash_before_it():
    rows = chain("{}", '{"a":1}', "{}")
    assert verify_chain(rows[1:], previous_hash=rows[0][6]) == 2
    with pytest.raises(ChainBrokenError, match="entry 2 was changed"):
        verify_chain(rows[1:])


@given(st.integers(0, 3), st.integers(0, 6))
def test_any_changed_field_is_found_at_its_row(index, field):
    rows = chain("{}", '{"a":1}', "[]", "{}")
    changed = list(rows[index])
    changed[field] = f"{changed[field]}x" if isinstance(changed[field], str) else 777
    rows[index] = tuple(changed)
    with pytest.raises(ChainBrokenError, match=r"777|missing" if field == 0 else f"entry {index + 1} "):
        verify_chain(rows)


def test_missing_row_is_named():
    rows = chain("{}", "{}", "{}")
    with pytest.raises(ChainBrokenError, match="entry 2 is missing: 3 follows"):
        verify_chain([rows[0], rows[2]])


def test_swapped_fields_do_not_share_a_hash():
    assert entry_hash(GENESIS, 1, 2, "ab", "c", "{}") != entry_hash(GENESIS, 1, 2, "a", "bc", "{}")


def test_outcome_depends_on_every_part_and_its_order():
    row, other = {"a": 1}, {"a": 2}
    base = outcome_hash([row, other], [row], [row], [row])
    assert base == outcome_hash(iter([row, other]), [row], [row], [row])
    variants = [
        ([other, row], [row], [row], [row]),
        ([row], [other, row], [row], [row]),
        ([row, other], [], [row], [row]),
        ([row, other], [row, row], [], [row]),
        ([row, other], [row], [row, row], []),
        ([row, other], [row], [row], [other]),
    ]
    hashes = {outcome_hash(*variant) for variant in variants}
    assert len(hashes) == len(variants)
    assert base not in hashes

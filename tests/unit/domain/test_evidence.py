"""Evidence: texts by their hash, questions with their answers, and the way back."""

import hashlib
import json

import pytest

from finagent.domain.errors import PlainDataError
from finagent.domain.evidence import (
    APART,
    TEXTS,
    EvidenceWriter,
    Raised,
    Read,
    canonical_text,
    resolved,
    shortened,
    text_hash,
)
from finagent.domain.journal import canonical_json
from finagent.domain.market import Bar
from finagent.domain.plain import LONG

BARS = tuple(Bar(n, 1, 1, 1, 1, n) for n in range(LONG))


def test_a_text_is_named_by_its_sha256() -> None:
    text = canonical_text({"b": (1, None), "a": "é"})
    assert text == canonical_json({"b": (1, None), "a": "é"})
    assert text_hash(text) == hashlib.sha256(text.encode()).hexdigest()


def test_the_head_lists_every_other_text_and_bars_are_kept_once() -> None:
    writer = EvidenceWriter()
    head = {"one": writer.plain(BARS), "two": writer.plain(BARS)}
    evidence = writer.finish(head, (text_hash('"rules"'), '"rules"'))
    told = json.loads(evidence.texts[evidence.head])
    assert (
        told["one"] == told["two"] == {APART: text_hash(canonical_text([list(_of(each)) for each in BARS]))}
    )
    assert told[TEXTS] == sorted(set(evidence.texts) - {evidence.head})
    assert len(evidence.texts) == 3
    assert all(text_hash(text) == name for name, text in evidence.texts.items())


def _of(each: Bar) -> tuple[int, ...]:
    return (each.start_ms, each.open_e4, each.high_e4, each.low_e4, each.close_e4, each.volume)


def test_questions_answered_alike_are_listed_once_and_others_in_order() -> None:
    same = (1, 2)
    reads = EvidenceWriter().reads(
        [
            Read("Clock.now_ms", [], 5),
            Read("Store.plan", ["pl_1"], same),
            Read("Clock.now_ms", [], 5),
            Read("Store.plan", ["pl_1"], same),
            Read("Store.plan", ["pl_2"], None),
            Read("Broker.find", ["x"], None),
            Read("Broker.find", ["x"], same),
            Read("Broker.find", ["x"], Raised("DomainError", ("gone",))),
        ]
    )
    assert reads == [
        ["Clock.now_ms", [], [5]],
        ["Store.plan", ["pl_1"], [[1, 2]]],
        ["Store.plan", ["pl_2"], [None]],
        ["Broker.find", ["x"], [None, [1, 2], {"!": "DomainError", "parts": ["gone"]}]],
    ]


def test_long_arguments_are_named_by_their_hash() -> None:
    assert shortened(["pl_1"]) == ["pl_1"]
    long = ["x" * 500]
    assert shortened(long) == {"sha256": text_hash(canonical_text(long))}


def test_what_was_kept_apart_comes_back_in_its_place() -> None:
    texts = {"h1": [1, {APART: "h2"}], "h2": "deep"}
    assert resolved({"a": {APART: "h1"}, "b": ("x", 2)}, texts.__getitem__) == {
        "a": [1, "deep"],
        "b": ["x", 2],
    }
    with pytest.raises(PlainDataError, match="names no text"):
        resolved({APART: 5}, texts.__getitem__)

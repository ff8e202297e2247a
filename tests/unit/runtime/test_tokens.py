"""Tokens: shown once, kept as a hash, one name at a time, void once expired, revoked or damaged."""

import multiprocessing
from pathlib import Path

import pytest

from finagent.runtime.denials import MOST_KINDS, Denials
from finagent.runtime.metrics import Metrics
from finagent.runtime.tokens import (
    MOST_TOKENS,
    LogDamagedError,
    TokenBook,
    TokenError,
    TokenScope,
    folded,
    hash_of,
)

READ, APPROVE, TRADE, ADMIN = TokenScope


def made(book: TokenBook, name: str = "ann", *scopes: TokenScope, **more: int) -> str:
    return book.create(name, scopes or (APPROVE,), by="cli:me", now_ms=1_000, **more)[1]


def test_token_is_found_by_its_text_and_the_file_holds_only_its_hash(tmp_path: Path) -> None:
    book = TokenBook(tmp_path)
    text = made(book)
    token = book.find(text)
    assert token is not None
    assert (token.name, token.scopes, token.hash, token.created_by) == (
        "ann", (APPROVE,), hash_of(text), "cli:me",
    )  # fmt: skip
    assert text not in book.path.read_text()
    assert len(text) >= 43
    assert book.path.stat().st_mode & 0o777 == 0o600
    assert book.find(text + "x") is None
    assert book.find("") is None


def test_file_that_others_could_read_becomes_its_owners_alone(tmp_path: Path) -> None:
    book = TokenBook(tmp_path)
    book.path.touch(mode=0o644)
    made(book)
    assert book.path.stat().st_mode & 0o777 == 0o600


def test_each_scope_contains_the_ones_before_it(tmp_path: Path) -> None:
    book = TokenBook(tmp_path)
    for number, scope in enumerate(TokenScope):
        token = book.find(made(book, scope.value, scope))
        assert token is not None
        assert [token.allows(each) for each in TokenScope] == [n <= number for n in range(4)]


def test_token_ends_at_its_time_and_when_it_is_revoked(tmp_path: Path) -> None:
    book = TokenBook(tmp_path)
    short, long = made(book, expires_at_ms=5_000), made(book, "bob")
    assert book.find(short).state(4_999) == "active"  # type: ignore[union-attr]
    assert book.find(short).state(5_000) == "expired"  # type: ignore[union-attr]
    assert book.revoke("bob", by="cli:me", now_ms=2_000).revoked_by == "cli:me"
    assert book.find(long).state(2_000) == "revoked"  # type: ignore[union-attr]
    with pytest.raises(TokenError, match="revoked already"):
        book.revoke("bob", by="cli:me", now_ms=3_000)
    with pytest.raises(TokenError, match="no token carl"):
        book.revoke("carl", by="cli:me", now_ms=3_000)


def test_name_is_free_again_once_its_token_is_over_and_the_id_names_the_old_one(tmp_path: Path) -> None:
    book = TokenBook(tmp_path)
    old = book.create("ann", (READ,), by="me", now_ms=1, expires_at_ms=10)[0]
    with pytest.raises(TokenError, match="there is a token ann already"):
        book.create("ann", (READ,), by="me", now_ms=9)
    new = book.create("ann", (READ,), by="me", now_ms=10)[0]
    assert book.revoke("ann", by="me", now_ms=11).id == new.id
    assert book.revoke(old.id, by="me", now_ms=12).id == old.id


@pytest.mark.parametrize("name", ["", "Ann", "-x", "a b", "a" * 33, "ann\n", "änn"])
def test_odd_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(TokenError, match="is no name of a token"):
        made(TokenBook(tmp_path), name)


def test_token_without_scope_and_one_too_many_are_refused(tmp_path: Path) -> None:
    book = TokenBook(tmp_path)
    with pytest.raises(TokenError, match="needs a scope"):
        book.create("ann", (), by="me", now_ms=1)
    line = {"event": "created", "scopes": ["read"], "at_ms": 1, "by": "me", "expires_at_ms": None}
    for number in range(MOST_TOKENS):
        book._log.append({**line, "id": f"tk_{number}", "name": f"n{number}", "hash": "0"})
    with pytest.raises(TokenError, match="tokens are in force"):
        made(book)


def test_what_another_process_wrote_is_seen_at_the_next_look(tmp_path: Path) -> None:
    reading, writing = TokenBook(tmp_path), TokenBook(tmp_path)
    assert reading.tokens() == ()
    text = made(writing)
    assert reading.find(text) is not None
    writing.revoke("ann", by="me", now_ms=2_000)
    assert reading.find(text).state(2_000) == "revoked"  # type: ignore[union-attr]
    writing.path.unlink()
    assert reading.find(text) is None


def test_torn_last_line_was_never_promised_and_a_changed_one_voids_all(tmp_path: Path) -> None:
    book = TokenBook(tmp_path)
    text = made(book)
    with book.path.open("ab") as file:
        file.write(b"12345678 {torn")
    assert TokenBook(tmp_path).find(text) is not None
    other = made(TokenBook(tmp_path), "bob")
    assert TokenBook(tmp_path).find(other) is not None
    book.path.write_bytes(book.path.read_bytes().replace(b'"approve"', b'"admin"  '))
    with pytest.raises(LogDamagedError, match="damaged in line 1"):
        TokenBook(tmp_path).find(text)


def test_event_of_a_later_version_changes_nothing(tmp_path: Path) -> None:
    book = TokenBook(tmp_path)
    made(book)
    book._log.append({"event": "renamed", "id": book.tokens()[0].id, "at_ms": 1, "by": "me"})
    book._log.append({"event": "revoked", "id": "tk_unknown", "at_ms": 1, "by": "me"})
    assert [token.name for token in folded(book.events())] == ["ann"]


def _create(home: Path, name: str, start: object) -> None:
    start.wait()  # type: ignore[attr-defined]
    made(TokenBook(home), name)


def test_processes_that_make_tokens_at_once_lose_none(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    start = context.Barrier(4)
    workers = [context.Process(target=_create, args=(tmp_path, f"n{n}", start)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
        assert worker.exitcode == 0
    assert sorted(token.name for token in TokenBook(tmp_path).tokens()) == ["n0", "n1", "n2", "n3"]


def test_denials_are_counted_and_what_waits_for_the_journal_is_bounded() -> None:
    denials = Denials(Metrics().api_refused_total)
    denials.note("token_wrong")
    denials.note("token_wrong")
    denials.note("scope_missing", "ann")
    assert denials.take() == {("token_wrong", ""): 2, ("scope_missing", "ann"): 1}
    assert denials.take() == {}
    for number in range(MOST_KINDS + 10):
        denials.note("scope_missing", f"n{number}")
    assert len(denials.take()) == MOST_KINDS

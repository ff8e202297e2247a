"""Tokens at the command line: made once, listed without their text, revoked, and every mistake with its mend."""

import io
import json
from pathlib import Path

import pytest

from finagent.cli.root import run
from finagent.runtime.tokens import TokenBook

Capture = pytest.CaptureFixture[str]


def token(home: Path, *words: str) -> int:
    return run(["--home", str(home), "user", "token", *words])


def document(capsys: Capture) -> dict[str, object]:
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def test_token_is_printed_once_and_never_listed(tmp_path: Path, capsys: Capture) -> None:
    assert token(tmp_path, "create", "ann", "--scope", "approve,read", "--expires", "30d", "--json") == 0
    made = document(capsys)
    assert made["scopes"] == ["read", "approve"]
    assert TokenBook(tmp_path).find(str(made["token"])) is not None
    assert token(tmp_path, "list", "--all", "--json") == 0
    (listed,) = document(capsys)["tokens"]  # type: ignore[misc]
    assert "token" not in listed
    assert (listed["name"], listed["state"], listed["expires_at"]) == ("ann", "active", made["expires_at"])
    assert token(tmp_path, "list") == 0
    shown = capsys.readouterr().out
    assert "ann" in shown
    assert str(made["token"]) not in shown


def test_person_sees_the_token_on_a_line_of_its_own(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    assert token(tmp_path, "create", "ann") == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert TokenBook(tmp_path).find(first) is not None


def test_revoked_token_is_over(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert token(tmp_path, "create", "ann", "--scope", "trade") == 0
    assert token(tmp_path, "revoke", "ann") == 2
    assert token(tmp_path, "revoke", "ann", "--dry-run") == 0
    assert TokenBook(tmp_path).tokens()[0].revoked_at_ms is None
    assert token(tmp_path, "revoke", "ann", "--yes") == 0
    capsys.readouterr()
    assert token(tmp_path, "list") == 0
    assert capsys.readouterr().out.startswith("No tokens.")
    assert token(tmp_path, "list", "--all") == 0
    assert "revoked" in capsys.readouterr().out


def test_dry_run_of_create_judges_and_makes_nothing(tmp_path: Path, capsys: Capture) -> None:
    assert token(tmp_path, "create", "ann", "--dry-run") == 0
    assert token(tmp_path, "create", "Ann", "--dry-run") == 1
    assert TokenBook(tmp_path).tokens() == ()


MISTAKES = (
    (("create", "Bob"), 1, "'Bob' is no name of a token. Use 1 to 32"),
    (("create", "bob", "--scope", "god"), 2, "is none of read, approve, trade, admin. Use --scope approve"),
    (("create", "bob", "--scope", ","), 2, "is none of read"),
    (("create", "bob", "--expires", "soon"), 2, "is neither a span nor a date. Write 30d or 2027-01-31"),
    (("create", "bob", "--expires", "30m"), 2, "is neither a span nor a date"),
    (("create", "bob", "--expires", "2020-01-01"), 2, "is over already"),
    (("create", "bob", "--expires", "0d"), 2, "is over already"),
    (("create",), 2, "missing argument"),
    (("revoke", "bob", "--yes"), 1, "there is no token bob. finagent user token list"),
)


@pytest.mark.parametrize(("words", "code", "said"), MISTAKES, ids=[" ".join(each[0]) for each in MISTAKES])
def test_mistake_is_one_line_with_the_mend(
    tmp_path: Path, capsys: Capture, words: tuple[str, ...], code: int, said: str
) -> None:
    assert token(tmp_path, *words) == code
    shown = capsys.readouterr().err
    assert shown.startswith("error: ")
    assert said in shown
    assert shown.count("\n") == 1


def test_wrong_folder_and_damaged_file_are_named(tmp_path: Path, capsys: Capture) -> None:
    assert token(tmp_path / "none", "create", "ann") == 1
    assert "there is no home at" in capsys.readouterr().err
    (tmp_path / "tokens.log").write_bytes(b"00000000 {}\n")
    for words in (("list",), ("create", "ann"), ("revoke", "ann", "--yes")):
        assert token(tmp_path, *words) == 1
        assert "cannot be read" in capsys.readouterr().err

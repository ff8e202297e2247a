"""The drill's judge: each kind of damage is seen, and an honest end is clean."""

import sqlite3
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from finagent.simulation.drill.judge import Accepted, Evidence, Execution, Verdict, judge

ENTRY, STOP, EXIT = "fa-20261103-YZK-entry-1-aa", "fa-20261103-YZK-stop-1-bb", "fa-20261103-YZK-exit-1-cc"
TEN = Decimal(10)
TABLES = f"""
CREATE TABLE plan (plan_id, state, symbol, session);
CREATE TABLE broker_order (client_order_id, plan_id, leg, generation, state, filled);
CREATE TABLE fill (execution_id);
CREATE TABLE position (symbol, quantity);
INSERT INTO plan VALUES ('p1', 'closed', 'YZK', '2026-11-03');
INSERT INTO broker_order VALUES ('{ENTRY}', 'p1', 'entry', 1, 'filled', 100000);
INSERT INTO broker_order VALUES ('{STOP}', 'p1', 'stop', 1, 'cancelled', 0);
INSERT INTO broker_order VALUES ('{EXIT}', 'p1', 'exit', 1, 'filled', 100000);
INSERT INTO fill VALUES ('x1'), ('x2');
INSERT INTO position VALUES ('YZK', 0);
"""
HONEST = Evidence(
    accepted=[Accepted(client_order_id=order_id, symbol="YZK") for order_id in (ENTRY, STOP, EXIT)],
    executions=[
        Execution(client_order_id=ENTRY, symbol="YZK", side="buy", quantity=TEN),
        Execution(client_order_id=EXIT, symbol="YZK", side="sell", quantity=TEN),
    ],
    open_ids=[],
    positions={},
    acknowledged=["p1"],
)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "finagent.db"
    change(path, TABLES)
    return path


def change(path: Path, sql: str) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(sql)
    connection.close()


def found(verdict: Verdict) -> dict[str, list[str]]:
    names = ("lost", "duplicate", "orphan", "other")
    return {name: getattr(verdict, name) for name in names if getattr(verdict, name)}


def test_honest_day_is_clean(database: Path) -> None:
    verdict = judge(database, HONEST, is_over=True)
    assert found(verdict) == {}
    assert (verdict.is_clean, verdict.orders, verdict.fills, verdict.plans) == (True, 3, 2, {"closed": 1})


@pytest.mark.parametrize(
    ("sql", "kind", "words"),
    [
        ("DELETE FROM broker_order WHERE leg = 'stop'", "orphan", STOP),
        ("DELETE FROM plan", "lost", "p1: acknowledged, now gone"),
        ("UPDATE plan SET state = 'pending'", "lost", "p1: acknowledged, now pending"),
        ("UPDATE plan SET state = 'entering'", "lost", "p1: entering at the end"),
        ("UPDATE broker_order SET filled = 0 WHERE leg = 'exit'", "lost", "10 filled at the broker, 0 here"),
        ("UPDATE broker_order SET state = 'accepted' WHERE leg = 'stop'", "other", "accepted at the end"),
        ("UPDATE position SET quantity = 100000", "other", "YZK: 10 held in the file at the end"),
        (
            "INSERT INTO broker_order VALUES ('fa-x', 'p1', 'exit', 2, 'filled', 0)",
            "lost",
            "fa-x: filled here, unknown at the broker",
        ),
    ],
)
def test_damage_in_the_file_is_seen(database: Path, sql: str, kind: str, words: str) -> None:
    change(database, sql)
    verdict = judge(database, HONEST, is_over=True)
    assert not verdict.is_clean
    assert any(words in row for row in found(verdict).get(kind, [])), found(verdict)


def test_second_entry_of_a_signal_under_another_id_is_a_duplicate(database: Path) -> None:
    again = Accepted(client_order_id=ENTRY.replace("aa", "dd"), symbol="YZK")
    verdict = judge(database, replace(HONEST, accepted=[*HONEST.accepted, again]), is_over=True)
    assert verdict.duplicate == ["20261103 YZK: 2 entries"]
    assert verdict.orphan == [again.client_order_id]


def test_one_id_accepted_twice_is_a_duplicate(database: Path) -> None:
    verdict = judge(database, replace(HONEST, accepted=[*HONEST.accepted, HONEST.accepted[1]]), is_over=True)
    assert f"{STOP}: accepted 2 times" in verdict.duplicate


def test_more_sold_than_held_at_any_instant_is_seen(database: Path) -> None:
    backwards = replace(HONEST, executions=list(reversed(HONEST.executions)))
    assert judge(database, backwards, is_over=True).other == ["YZK: 10 sold that were not held"]


def test_what_is_left_at_the_broker_is_seen(database: Path) -> None:
    left = replace(HONEST, open_ids=[STOP], positions={"YZK": TEN})
    rows = judge(database, left, is_over=True).other
    assert rows == [f"{STOP}: rests at the broker at the end", "YZK: 10 held at the broker at the end"]


def test_before_the_end_open_things_are_no_damage(database: Path) -> None:
    change(database, "UPDATE plan SET state = 'open'; UPDATE position SET quantity = 100000;")
    assert judge(database, replace(HONEST, open_ids=[STOP]), is_over=False).is_clean

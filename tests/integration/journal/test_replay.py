"""Same inputs, same decision: a day decided again from what the journal kept, and what betrays a cheat."""

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from finagent.adapters.sqlite.codec import pack, unpack
from finagent.bootstrap.journal_proof import Selection, replay_journal
from finagent.domain.account import AccountState
from finagent.domain.evidence import text_hash
from finagent.domain.plan import Plan
from finagent.domain.risk import RiskDecision
from finagent.ports import LastPrice
from finagent.services.planner import PlannerService
from finagent.services.risk import RiskDesk
from finagent.services.scoring import ScoringService
from tests.integration.journal.damage import value
from tests.integration.services.world import DAY, Stage


def test_whole_day_is_decided_the_same_again(played: Path) -> None:
    told: list[int] = []
    found = replay_journal(played, Selection(), progress=lambda _, done, __: told.append(done))
    assert found["entries"] == value(played, "SELECT count(*) FROM journal") == found["same"]
    assert (found["different"], found["told"], found["not_replayable"]) == (0, 0, 0)
    assert found["differences"] == []
    kinds = found["kinds"]
    assert isinstance(kinds, dict)
    assert {
        "scan",
        "score",
        "plan",
        "risk",
        "approved",
        "intent",
        "accepted",
        "fill",
        "trade",
    } <= kinds.keys()
    assert {"position_due", "exit", "pause", "note", "day_report"} <= kinds.keys()
    assert told == sorted(told)


def test_one_plan_one_kind_or_a_range_is_decided_alone(played: Path) -> None:
    plan_id = str(value(played, "SELECT plan_id FROM plan WHERE symbol = 'AAA'"))
    count = value(played, "SELECT count(*) FROM journal WHERE ref = ?", plan_id)
    by_ref = replay_journal(played, Selection(ref=plan_id))
    assert by_ref["entries"] == by_ref["same"] == count
    by_kind = replay_journal(played, Selection(kind="risk"))
    assert by_kind["kinds"] == {"risk": {"same": 3}}
    assert by_kind["steps"] == 1, "risk decides a tick's plans in one step"
    in_range = replay_journal(played, Selection(first=4, last=6))
    assert in_range["entries"] == in_range["same"] == 3
    assert replay_journal(played, Selection(ref="nothing"))["entries"] == 0


def _forge(path: Path, kind: str, change: Any) -> None:
    """Rewrite the evidence of a step, hash it anew and name it in its rows: only a new decision can find it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript("DROP TRIGGER journal_no_update")
        (name,) = connection.execute("SELECT inputs FROM journal WHERE kind = ?", (kind,)).fetchone()
        (body,) = connection.execute(
            "SELECT body FROM journal_input WHERE hash = ?", (bytes.fromhex(name),)
        ).fetchone()
        head = json.loads(unpack(body))
        change(head)
        text = json.dumps(head, sort_keys=True, separators=(",", ":"))
        connection.execute(
            "INSERT INTO journal_input (hash, body) VALUES (?, ?)",
            (bytes.fromhex(text_hash(text)), pack(text)),
        )
        connection.execute("UPDATE journal SET inputs = ? WHERE inputs = ?", (text_hash(text), name))


def _price(head: Any) -> None:
    for name, _, answers in head["reads"]:
        if name == "MarketDataPort.last_prices":
            for price in answers[0].values():
                price[1] = 1_000_000 - 31_000


def test_decision_that_does_not_follow_from_its_inputs_is_named_field_by_field(copy: Path) -> None:
    _forge(copy, "risk", _price)
    found = replay_journal(copy, Selection(kind="risk"))
    assert found["different"] == 3
    differences = found["differences"]
    assert isinstance(differences, list)
    fields = {row["field"] for row in differences if isinstance(row, dict)}
    assert {"rows[0].data.approved", "rows[0].data.reasons[0]"} <= fields


def _other_code(head: Any) -> None:
    head["code"] = "0.0.1+000000000000"
    _price(head)


def test_difference_names_the_program_that_decided_first(copy: Path) -> None:
    _forge(copy, "risk", _other_code)
    found = replay_journal(copy, Selection(kind="risk"))
    row = found["differences"][0]  # type: ignore[index]
    assert row["code"] == "0.0.1+000000000000"  # type: ignore[index,call-overload]
    assert found["code"] != "0.0.1+000000000000"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda head: head["reads"].pop(), "it asks what it was not told"),
        (lambda head: head.update(service="finagent.services.risk:OracleService"), "has no service"),
        (lambda head: head.update(service="os:system"), "has no service"),
        (lambda head: head.update(values="00" * 32), "is missing"),
    ],
)
def test_step_that_cannot_be_decided_again_says_why(copy: Path, change: Any, said: str) -> None:
    _forge(copy, "risk", change)
    found = replay_journal(copy, Selection(kind="risk"))
    assert found["different"] == 3
    assert said in str(found["differences"])


def test_entries_of_an_older_program_are_told_as_not_replayable(copy: Path) -> None:
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        connection.executescript("DROP TRIGGER journal_no_update")
        connection.execute("UPDATE journal SET inputs = '' WHERE kind = 'score'")
    found = replay_journal(copy, Selection(kind="score"))
    assert (found["not_replayable"], found["different"]) == (1, 0)
    assert found["reasons"] == {"it was written without its inputs": 1}


# ------------------------------------------------------------ planted bugs
MOOD = {"offset": 0}
"""What no journal holds."""


async def _day(folder: Path) -> Path:
    async with Stage(folder, is_checked=False) as stage:
        stage.market.day("AAA", DAY, {"09:45": (100, 110, 99, 100)})
        await stage.finish()
        return stage.path


async def test_decision_that_remembers_something_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A planner that looks at a variable of its module decides otherwise once that has changed."""
    planned = PlannerService._hand_on

    def moody(self: PlannerService, tx: Any, date: str, tick: str, plans: Any, version: int) -> None:
        moved = [replace(plan, stop_e4=plan.stop_e4 - MOOD["offset"]) for plan in plans]
        planned(self, tx, date, tick, moved, version)

    monkeypatch.setattr(PlannerService, "_hand_on", moody)
    monkeypatch.setitem(MOOD, "offset", 100)
    path = await _day(tmp_path)
    assert replay_journal(path, Selection())["different"] == 0, "the same mood, the same decision"
    monkeypatch.setitem(MOOD, "offset", 200)
    found = replay_journal(path, Selection())
    assert found["kinds"]["plan"] == {"different": 1}  # type: ignore[index,call-overload]
    assert "rows[0].data.stop_e4" in str(found["differences"])


async def test_decision_that_asks_past_its_ports_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Risk that looks at a price in its pocket instead of the one it is handed."""
    pocket: list[LastPrice] = []
    decided = RiskDesk.decide

    def peeking(
        self: RiskDesk, plan: Plan, account: AccountState, price: LastPrice | None, *more: Any
    ) -> RiskDecision:
        return decided(self, plan, account, pocket[0] if pocket else price, *more)

    monkeypatch.setattr(RiskDesk, "decide", peeking)
    path = await _day(tmp_path)
    assert replay_journal(path, Selection())["different"] == 0
    pocket.append(LastPrice("AAA", 960_000, 0))
    found = replay_journal(path, Selection(kind="risk"))
    assert found["different"] == 1
    assert "rows[0].data.approved" in str(found["differences"])


async def test_decision_by_the_computers_clock_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The score hangs on how often it was asked for, as it would on any clock that is no port."""
    calls = [0]
    choose = ScoringService._choose

    def counting(self: ScoringService, scored: Any) -> tuple[str, ...]:
        calls[0] += 1
        return choose(self, scored) if calls[0] == 1 else ()

    monkeypatch.setattr(ScoringService, "_choose", counting)
    path = await _day(tmp_path)
    found = replay_journal(path, Selection(kind="score"))
    assert found["different"] == 1
    assert "chosen" in str(found["differences"])

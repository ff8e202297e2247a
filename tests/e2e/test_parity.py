"""finagent parity: a replay is its backtest; what people, revised prices or a bug change is found, and named or not."""

import asyncio
import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from finagent.adapters.bars.importer import import_folder
from finagent.adapters.vendors.calendar import load_calendar
from finagent.bootstrap.runs import RunPlan, drive, open_run, run_path, run_replay
from finagent.bootstrap.sessions import chosen_sessions
from finagent.bootstrap.world import load_world
from finagent.cli.root import run
from finagent.runtime.timeline import ImmediatePacer
from finagent.settings import load_settings

FIRST, LAST, DAY = "2018-02-20", "2018-02-23", "2018-02-23"
GAP = "FINAGENT__SCAN__MIN_GAP_PCT"
Change = Callable[[sqlite3.Connection, str], None]


@pytest.fixture(scope="module")
def home(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with some months of the real data, and a replay of four sessions with smaller gaps than by default."""
    folder, own = tmp_path_factory.mktemp("some"), tmp_path_factory.mktemp("home")
    minutes = pq.read_table(real_data / "equities_minute_2018.parquet")
    symbols = pc.unique(minutes["symbol"])
    daily = pq.read_table(real_data / "equities_daily.parquet")
    recent = pc.and_(
        pc.is_in(daily["symbol"], symbols), pc.greater(pc.cast(daily["date"], "string"), "2017-09")
    )
    pq.write_table(daily.filter(recent), folder / "daily.parquet")
    early = pc.less(pc.cast(pc.cast(minutes["ts"], "timestamp[ms]"), "string"), "2018-02-24")
    pq.write_table(minutes.filter(early), folder / "minutes.parquet")
    shutil.copy(real_data / "corporate_actions.parquet", folder)
    import_folder(folder, own, calendar=load_calendar(own))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(GAP, "2")
        asyncio.run(run_replay(load_settings(), own, first=FIRST, last=LAST))
    return own


@pytest.fixture
def copy(home: Path, tmp_path: Path) -> Path:
    """The same home with a run of its own to tamper with."""
    for name in home.iterdir():
        if name.name != "runs":
            (tmp_path / name.name).symlink_to(name)
    shutil.copytree(home / "runs", tmp_path / "runs")
    return tmp_path


def file_of(home: Path) -> Path:
    (found,) = (home / "runs").glob("*/finagent.db")
    return found


def told(home: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit status and document of one command line, in this process."""
    status = run(["--home", str(home), "parity", *arguments, "--json"])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return status, found


def roots(document: dict[str, Any]) -> list[tuple[str, str | None]]:
    """Stage and cause of each difference that follows from no other; None where it is unexplained."""
    return [
        (each["stage"], None if each["cause"] is None else each["cause"]["code"])
        for each in document["differences"]
        if each["follows"] is None
    ]


@pytest.mark.parametrize("session", ["2018-02-20", "2018-02-21", "2018-02-22", "2018-02-23"])
def test_a_replay_is_its_backtest_by_the_rules_of_its_day(
    home: Path, capsys: pytest.CaptureFixture[str], session: str
) -> None:
    """No row differs, though the settings of today look for larger gaps; that is told."""
    status, document = told(home, capsys, session, "--run", "last")
    assert (status, document["differences"], document["unexplained"]) == (0, [], 0)
    assert document["equal"] == sum(document["rows"].values()) > 20
    assert {"name": "gap.min_gap_e6", "then": "20000", "today": "40000"} in document["settings"]
    assert document["notes"] == []
    if session == DAY:
        assert document["rows"]["trade"] >= 2
        assert set(document["rows"]) >= {
            "scan",
            "candidate",
            "score",
            "plan",
            "risk",
            "approval",
            "order",
            "fill",
        }


# ---------------------------------------------------------------- planted changes
def dearer(file: sqlite3.Connection, plan: str) -> None:
    """An entry filled one cent higher than the model has it."""
    body = json.loads(
        file.execute("SELECT body FROM fill WHERE plan_id = ? AND leg = 'entry'", (plan,)).fetchone()[0]
    )
    body["price_e4"] += 100
    file.execute("UPDATE fill SET body = ? WHERE execution_id = ?", (json.dumps(body), body["execution_id"]))


def poorer(file: sqlite3.Connection, plan: str) -> None:
    """A trade that earned a cent less than its fills say."""
    body = json.loads(file.execute("SELECT body FROM trade WHERE plan_id = ?", (plan,)).fetchone()[0])
    body["pnl_e8"] -= 10**6
    file.execute("UPDATE trade SET body = ? WHERE plan_id = ?", (json.dumps(body), plan))


def larger(file: sqlite3.Connection, plan: str) -> None:
    """Risk allowed a share more."""
    body = json.loads(file.execute("SELECT body FROM risk_decision WHERE plan_id = ?", (plan,)).fetchone()[0])
    body["quantity_e4"] += 10_000
    file.execute("UPDATE risk_decision SET body = ? WHERE plan_id = ?", (json.dumps(body), plan))


def nearer(file: sqlite3.Connection, plan: str) -> None:
    """A stop that stands a cent elsewhere in the plan."""
    body = json.loads(file.execute("SELECT body FROM plan WHERE plan_id = ?", (plan,)).fetchone()[0])
    body["stop_e4"] += 100
    file.execute("UPDATE plan SET body = ? WHERE plan_id = ?", (json.dumps(body), plan))


def better(file: sqlite3.Connection, plan: str) -> None:
    """A score that its factors do not make."""
    row = file.execute(
        "SELECT c.session, c.tick, c.symbol, c.factors FROM candidate c JOIN plan p"
        " ON p.session = c.session AND p.tick = c.tick AND p.symbol = c.symbol WHERE p.plan_id = ?", (plan,)
    ).fetchone()  # fmt: skip
    body = json.loads(row[3])
    body["score_e6"] += 1
    file.execute(
        "UPDATE candidate SET factors = ? WHERE (session, tick, symbol) = (?, ?, ?)",
        (json.dumps(body), *row[:3]),
    )


def miscounted(file: sqlite3.Connection, plan: str) -> None:
    """A scan that dropped one symbol more."""
    seq, data = file.execute(
        "SELECT seq, data FROM journal WHERE kind = 'scan' AND ref = ?", (f"{DAY}/open",)
    ).fetchone()
    body = json.loads(data)
    body["dropped"]["gap_below_min"] += 1
    file.execute("UPDATE journal SET data = ? WHERE seq = ?", (json.dumps(body), seq))


def rejected(file: sqlite3.Connection, plan: str) -> None:
    """A person said no: no order, no fill, no trade."""
    ended(file, plan, "rejected")
    answer(file, plan, "rejected", "cli")


def unanswered(file: sqlite3.Connection, plan: str) -> None:
    """Nobody said anything."""
    ended(file, plan, "expired")
    answer(file, plan, "expired", "")


def paused(file: sqlite3.Connection, plan: str) -> None:
    """A person had paused entries before."""
    ended(file, plan, "refused")
    file.execute("UPDATE plan SET reason = 'paused' WHERE plan_id = ?", (plan,))
    body = json.loads(file.execute("SELECT body FROM risk_decision WHERE plan_id = ?", (plan,)).fetchone()[0])
    body.update(is_approved=False, reasons=["paused"], quantity_e4=0)
    file.execute("UPDATE risk_decision SET body = ? WHERE plan_id = ?", (json.dumps(body), plan))
    at = file.execute("SELECT min(at) FROM journal WHERE ref LIKE ?", (f"{DAY}%",)).fetchone()[0]
    file.execute(
        "INSERT INTO journal (at, kind, ref, data, hash) VALUES (?, 'pause', 'by cli:ann', '{}', '')", (at,)
    )


def late(file: sqlite3.Connection, plan: str) -> None:
    """A person took two minutes; the order left after that."""
    answer(file, plan, "approved", "cli", by_ms=120_000)
    file.execute("UPDATE journal SET at = at + 120000 WHERE kind = 'approved' AND ref = ?", (plan,))
    for order, text in file.execute(
        "SELECT client_order_id, body FROM broker_order WHERE plan_id = ?", (plan,)
    ).fetchall():
        body = json.loads(text)
        body["created_at_ms"] += 120_000
        file.execute("UPDATE broker_order SET body = ? WHERE client_order_id = ?", (json.dumps(body), order))


def by_hand(file: sqlite3.Connection, plan: str) -> None:
    """A person closed it."""
    body = json.loads(file.execute("SELECT body FROM trade WHERE plan_id = ?", (plan,)).fetchone()[0])
    body["exit_reason"] = "manual"
    file.execute("UPDATE trade SET body = ? WHERE plan_id = ?", (json.dumps(body), plan))


def unfinished(file: sqlite3.Connection, plan: str) -> None:
    """The agent was stopped before this trade was booked and the day closed."""
    file.execute("DELETE FROM day WHERE session = ?", (DAY,))
    file.execute("DELETE FROM trade WHERE plan_id = ?", (plan,))


def ended(file: sqlite3.Connection, plan: str, state: str) -> None:
    for table in ("trade", "position", "fill", "broker_order"):
        file.execute(f"DELETE FROM {table} WHERE plan_id = ?", (plan,))
    file.execute("UPDATE plan SET state = ? WHERE plan_id = ?", (state, plan))
    kinds = "('approved', 'intent', 'exit', 'move_stop')"
    file.execute(f"DELETE FROM journal WHERE ref = ? AND kind IN {kinds}", (plan,))


def answer(file: sqlite3.Connection, plan: str, state: str, channel: str, *, by_ms: int = 0) -> None:
    created = file.execute("SELECT created_at FROM plan WHERE plan_id = ?", (plan,)).fetchone()[0]
    file.execute(
        "INSERT OR REPLACE INTO approval VALUES (?, '', 'n', ?, ?, ?, ?, ?, '')",
        (plan, state, created, created + 600_000, created + by_ms, channel),
    )


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (dearer, {("fill", None)}),
        (poorer, {("trade", None)}),
        (larger, {("risk", None)}),
        (nearer, {("plan", None)}),
        (better, {("score", None)}),
        (miscounted, {("scan", None)}),
        (rejected, {("approval", "rejected"), ("plan_end", "rejected")}),
        (unanswered, {("approval", "not_answered"), ("plan_end", "not_answered")}),
        (paused, {("risk", "refused_there"), ("plan_end", "refused_there")}),
        (late, {("approval", "answered_late")}),
        (by_hand, {("trade", "closed_by_person")}),
        (unfinished, {("trade", "unfinished")}),
    ],
)
def test_a_change_is_found_and_named_or_not(
    copy: Path, capsys: pytest.CaptureFixture[str], change: Change, wanted: set[tuple[str, str | None]]
) -> None:
    """What a bug would change is unexplained and ends with 1; what a person did is named; the rest follows from it."""
    with sqlite3.connect(file_of(copy)) as file:
        file.execute("PRAGMA foreign_keys = OFF")
        for name in ("journal_no_update", "journal_no_delete"):
            file.execute(f"DROP TRIGGER {name}")
        (plan,) = file.execute(
            "SELECT plan_id FROM trade WHERE session = ? ORDER BY exit_at LIMIT 1", (DAY,)
        ).fetchone()
        change(file, plan)
    file.close()
    status, document = told(copy, capsys, DAY, "--run", "last")
    assert set(roots(document)) == wanted
    unexplained = sum(cause is None for _, cause in roots(document))
    assert (document["unexplained"], status) == (unexplained, int(unexplained > 0))


def traded(home: Path) -> tuple[str, int]:
    """The symbol of the day's first trade, and when its plan was decided."""
    with sqlite3.connect(file_of(home)) as file:
        symbol, at_ms = file.execute(
            "SELECT p.symbol, json_extract(p.body, '$.decided_at_ms') FROM plan p JOIN trade t USING (plan_id)"
            " WHERE t.session = ? ORDER BY t.exit_at LIMIT 1", (DAY,)
        ).fetchone()  # fmt: skip
    file.close()
    return symbol, at_ms


def store_otherwise(home: Path, symbol: str, start_ms: int) -> None:
    """Add ten cents to the close of one minute that is stored."""
    bars = home / "bars"
    stored = bars.resolve()
    bars.unlink()
    shutil.copytree(stored, bars)
    part = bars / "minute" / f"{DAY}.parquet"
    table = pq.read_table(part)
    columns = table.to_pydict()
    rows = zip(columns["symbol"], columns["start_ms"], strict=True)
    place = next(n for n, row in enumerate(rows) if row == (symbol, start_ms))
    columns["close_e4"][place] += 1_000
    columns["high_e4"][place] += 1_000
    pq.write_table(pa.table(columns, schema=table.schema), part, compression="NONE")


def test_prices_that_were_revised_since_are_named(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The minute on which a plan rests is stored otherwise by now: what differs is explained by it, told as it was."""
    symbol, at_ms = traded(copy)
    store_otherwise(copy, symbol, at_ms - 60_000)
    status, document = told(copy, capsys, DAY, "--run", "last")
    assert (status, document["unexplained"]) == (0, 0)
    assert {cause for _, cause in roots(document)} == {"data_revised"}
    assert {each["symbol"] for each in document["differences"] if each["cause"]} >= {symbol}
    assert "the agent saw close of a minute as" in str(document["differences"])


def test_revised_prices_explain_nothing_of_other_symbols_or_of_before(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bug in the score of the symbol, which was made before the revised minute, stays unexplained."""
    symbol, at_ms = traded(copy)
    store_otherwise(copy, symbol, at_ms)
    with sqlite3.connect(file_of(copy)) as file:
        (plan,) = file.execute(
            "SELECT plan_id FROM plan WHERE session = ? AND symbol = ?", (DAY, symbol)
        ).fetchone()
        better(file, plan)
    file.close()
    status, document = told(copy, capsys, DAY, "--run", "last")
    assert (status, document["unexplained"]) == (1, 1)
    assert ("score", None) in roots(document)


def test_a_session_that_nobody_answered_is_explained_by_that(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent itself, asking a person who is not there: its plans expire, the policy's would have been entered."""
    monkeypatch.setenv(GAP, "2")
    settings = load_settings()
    world = load_world(settings, home, vendor="replay")
    name = "a5ed" * 4
    plan = RunPlan(
        sessions=chosen_sessions(world.calendar, DAY, DAY), result_id=name, path=run_path(home, name)
    )
    plan.path.parent.mkdir(parents=True, exist_ok=True)

    async def play() -> None:
        engine = await open_run(settings, world, plan, approval_mode=lambda: "approve")
        try:
            await drive(engine, plan, ImmediatePacer(), progress=None)
        finally:
            await engine.close()

    asyncio.run(play())
    status, document = told(home, capsys, DAY, "--run", name)
    shutil.rmtree(plan.path.parent)
    assert (status, document["unexplained"]) == (0, 0)
    assert ("plan_end", "not_answered") in roots(document)
    assert {cause for _, cause in roots(document)} == {"not_answered"}
    assert "trade" in {each["stage"] for each in document["differences"] if each["kind"] == "only_backtest"}


@pytest.mark.full
@pytest.mark.parametrize(
    ("environment", "at", "note"),
    [
        ({"FINAGENT__EXECUTION__EXITS": "separate"}, None, "exits were orders of their own there"),
        ({"FINAGENT__APPROVAL__SIMULATED_DELAY_S": "150"}, "10:05", ""),
    ],
    ids=["separate exits", "another instant"],
)
def test_runs_of_other_shapes_are_their_backtests_too(
    copy: Path,
    capsys: pytest.CaptureFixture[str],
    environment: dict[str, str],
    at: str | None,
    note: str,
) -> None:
    """Exits as orders of their own, whose fills are the same; another scan and a slow approval, as they were then."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {GAP: "2", **environment}.items():
            patch.setenv(name, value)
        played = asyncio.run(run_replay(load_settings(), copy, first=DAY, last=DAY, at=at))
    status, document = told(copy, capsys, DAY, "--run", str(played["result_id"]))
    assert (status, document["differences"]) == (0, [])
    assert document["rows"]["fill"] >= 4
    assert note in " ".join(document["notes"])


def test_the_page_fits_a_narrow_terminal_and_says_what_is_open(
    copy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixty columns; an unexplained difference in capitals, and how many there are."""
    with sqlite3.connect(file_of(copy)) as file:
        (plan,) = file.execute(
            "SELECT plan_id FROM trade WHERE session = ? ORDER BY exit_at LIMIT 1", (DAY,)
        ).fetchone()
        dearer(file, plan)
        poorer(file, plan)
    file.close()
    monkeypatch.setenv("COLUMNS", "60")
    assert run(["--home", str(copy), "parity", DAY, "--run", "last"]) == 1
    page = capsys.readouterr().out
    assert max(map(len, page.splitlines())) <= 60, page
    assert "UNEXPLAINED" in page
    assert "1 unexplained" in " ".join(page.split())


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("2018-02-24",), 2, "2018-02-24 is no session"),
        (("yesterday",), 2, "yesterday is no date"),
        (("2018-02-23", "--run", "zz"), 1, "no run with id"),
        (("2018-02-16", "--run", "last"), 1, "holds no scan of 2018-02-16"),
        (("2018-02-23",), 1, "no database at"),
    ],
)
def test_a_mistake_is_one_line_with_its_mend(
    home: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], status: int, words: str
) -> None:
    """No traceback, the exit code of its kind, and a hint."""
    ended, document = told(home, capsys, *arguments)
    assert ended == status
    assert words in document["error"]["message"]
    assert document["error"]["hint"]

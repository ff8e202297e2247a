"""The replay of twenty real sessions, judged by checkers that share no rule with the program."""

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from finagent.bootstrap.journal_proof import Selection, replay_journal, verify_journal
from finagent.bootstrap.runs import run_path, run_replay
from finagent.settings import load_settings
from tests.e2e.independent.account import Account, loss_tiers
from tests.e2e.independent.brackets import classic_prices, expected_fills, expected_trade
from tests.e2e.independent.fill_model import SHARE, Expected
from tests.e2e.independent.market import MINUTE_MS, RawMarket, clock_ms
from tests.e2e.independent.replays import HARDER, OTHERS, SETTINGS, Replayed, Setting
from tests.e2e.independent.run_file import Row, RunFile

ROOT = Path(__file__).resolve().parents[2]
FIRST, LAST = "2018-02-16", "2018-03-16"


@pytest.fixture(
    scope="module",
    params=[
        *(pytest.param(each, id=each.name) for each in SETTINGS),
        *(pytest.param(each, id=each.name, marks=pytest.mark.full) for each in HARDER),
    ],
)
def replayed(
    request: pytest.FixtureRequest, real_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Replayed]:
    """All twenty sessions with the defaults and with a threshold of 2 %, in a home that shares the bars."""
    found = run(request.param, real_home, tmp_path_factory.mktemp("replay"))
    yield found
    found.file.close()


def run(setting: Setting, real_home: Path, home: Path) -> Replayed:
    """Replay all twenty sessions in a home of its own."""
    (home / "bars").symlink_to(real_home / "bars")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in setting.environment.items():
            patch.setenv(name, value)
        document = asyncio.run(run_replay(load_settings(), home, first=FIRST, last=LAST))
    return Replayed(setting, home, document, RunFile(run_path(home, str(document["result_id"]))))


def flattened_by_limit(replayed: Replayed, market: RawMarket) -> dict[str, int]:
    """When each session was flattened for its loss, by our own reckoning."""
    tiers = loss_tiers(market, replayed.file, replayed.setting.limits)
    return {session: found["flatten"] for session, found in tiers.items() if "flatten" in found}


def sized(replayed: Replayed) -> list[tuple[Row, int]]:
    """Plans whose entry was sent, with the shares asked for."""
    entries = [order for order in replayed.file.orders if order["leg"] == "entry"]
    return [(replayed.file.plans[order["plan_id"]], order["quantity"] // SHARE) for order in entries]


def expected_of(replayed: Replayed, market: RawMarket) -> dict[str, list[Expected]]:
    """By plan every fill that the bars command."""
    limits = flattened_by_limit(replayed, market)
    return {
        plan["plan_id"]: expected_fills(
            market,
            plan,
            quantity,
            costs=replayed.setting.costs,
            manner=replayed.setting.manner,
            flattened=limits.get(plan["session"]),
        )
        for plan, quantity in sized(replayed)
    }


def test_enough_trades(replayed: Replayed) -> None:
    """5 with the defaults, 20 with a threshold of 2 %."""
    assert len(replayed.trades) >= replayed.setting.least_trades
    assert len(replayed.trades) == len(replayed.file.trades)
    assert replayed.setting.kinds <= {trade["exit_reason"] for trade in replayed.trades}


def test_every_session_ends_flat(replayed: Replayed, raw_market: RawMarket) -> None:
    """Twenty sessions, each flat; by the document and by the shares of the fills."""
    assert [row["session"] for row in replayed.sessions] == list(raw_market.sessions(FIRST, LAST))
    assert all(row["flat"] and row["held_over"] == [] for row in replayed.sessions)
    shares: Counter[tuple[str, str]] = Counter()
    for fill in replayed.file.venue_fills:
        sign = 1 if fill["side"] == "buy" else -1
        shares[fill["session"], fill["symbol"]] += sign * fill["quantity"]
        assert fill["at"] <= clock_ms(fill["session"], "16:00")
    assert shares
    assert not any(shares.values())


def test_no_job_is_dead_or_live_at_the_end(replayed: Replayed) -> None:
    """Every job came to an end that counts as done."""
    counts = replayed.file.rows("SELECT status, count(*) AS n FROM job_queue GROUP BY status")
    statuses = {row["status"]: row["n"] for row in counts}
    assert set(statuses) <= {"done", "cancelled"}
    jobs: Row = replayed.document["jobs"]  # type: ignore[assignment]
    assert jobs["dead"] == jobs["live"] == 0
    assert jobs["done"] == statuses["done"] > 0


def test_every_plan_says_what_the_bars_say(replayed: Replayed, raw_market: RawMarket) -> None:
    """Reference, stop and target of each plan, also of those that risk refused."""
    assert replayed.file.plans
    for plan in replayed.file.plans.values():
        wanted = classic_prices(
            raw_market, plan["session"], plan["symbol"], plan["decided_at_ms"], replayed.setting.manner
        )
        seen = (plan["reference_e4"], plan["stop_e4"], plan["targets"][0]["price_e4"])
        assert seen == (wanted.reference, wanted.stop, wanted.target), (plan["session"], plan["symbol"])
        gaps = raw_market.opening_gaps(plan["session"]).gaps
        assert gaps[plan["symbol"]] >= replayed.setting.min_gap


def test_every_fill_is_what_the_bars_command(replayed: Replayed, raw_market: RawMarket) -> None:
    """Leg, shares, price, instant, fees and reason of every fill, at the agent's and at the venue's."""
    expected = expected_of(replayed, raw_market)
    legs = {order["client_order_id"]: order["leg"] for order in replayed.file.orders}
    plans = {order["client_order_id"]: order["plan_id"] for order in replayed.file.orders}
    at_venue: dict[str, list[tuple[object, ...]]] = {plan_id: [] for plan_id in expected}
    for fill in replayed.file.venue_fills:
        order = fill["client_order_id"]
        row = (legs[order], fill["quantity"], fill["price"], fill["at"], fill["fees"])
        at_venue[plans[order]].append((*row, bool(fill["is_ambiguous"])))
    at_agent: dict[str, list[tuple[object, ...]]] = {plan_id: [] for plan_id in expected}
    for fill in replayed.file.fills:
        row = (fill["row"]["leg"], fill["quantity_e4"], fill["price_e4"], fill["at_ms"], fill["fees_e8"])
        at_agent[fill["row"]["plan_id"]].append((*row, fill["is_ambiguous"]))
        reason = None if fill["row"]["reason"] is None else str(fill["row"]["reason"])
        assert reason in [f.reason for f in expected[fill["row"]["plan_id"]] if f.at == fill["at_ms"]]
    for plan_id, fills in expected.items():
        wanted = [(f.leg, f.quantity * SHARE, f.price, f.at, f.fees, f.is_ambiguous) for f in fills]
        plan = replayed.file.plans[plan_id]
        assert at_venue[plan_id] == wanted, (plan["session"], plan["symbol"])
        assert at_agent[plan_id] == wanted, (plan["session"], plan["symbol"])


def test_every_trade_is_recomputed_to_the_last_unit(replayed: Replayed, raw_market: RawMarket) -> None:
    """Prices, quantities, fees, profit, R, MAE and MFE from the raw minute bars."""
    expected = expected_of(replayed, raw_market)
    stored = {trade["plan_id"]: trade for trade in replayed.file.trades}
    assert set(stored) == {plan_id for plan_id, fills in expected.items() if fills}
    for plan_id, trade in stored.items():
        plan = replayed.file.plans[plan_id]
        bars = raw_market.regular(plan["session"], plan["symbol"])
        wanted = expected_trade(plan, expected[plan_id], bars)
        at_once = {fill.reason for fill in expected[plan_id] if fill.at == wanted["exit_at_ms"]}
        if trade["exit_reason"] in at_once:  # of exits that filled at one instant any may stand last
            wanted["exit_reason"] = trade["exit_reason"]
        assert {name: trade[name] for name in wanted} == wanted, (plan["session"], plan["symbol"])


def test_the_document_tells_the_trades_as_they_are(replayed: Replayed) -> None:
    """Money and prices as decimal strings that equal the stored integers; totals are their sums."""
    stored = {trade["trade_id"]: trade for trade in replayed.file.trades}
    for told in replayed.trades:
        trade = stored[told["trade_id"]]
        assert Decimal(str(told["quantity"])) * SHARE == trade["quantity_e4"]
        for name in ("entry_price", "exit_price", "stop", "target", "risk_per_share"):
            assert Decimal(told[name]) * 10**4 == trade[f"{name}_e4"], name
        for name in ("fees", "pnl"):
            assert Decimal(told[name]) * 10**8 == trade[f"{name}_e8"], name
        assert told["exit_reason"] == trade["exit_reason"]
        assert sum(Decimal(str(leg["quantity"])) for leg in told["exits"]) * SHARE == trade["quantity_e4"]
    totals: Row = replayed.document["totals"]  # type: ignore[assignment]
    assert totals["trades"] == len(stored)
    assert Decimal(totals["pnl"]) * 10**8 == sum(trade["pnl_e8"] for trade in stored.values())
    assert Decimal(totals["fees"]) * 10**8 == sum(trade["fees_e8"] for trade in stored.values())
    assert totals["win_rate"] == pytest.approx(
        sum(trade["pnl_e8"] > 0 for trade in stored.values()) / len(stored)
    )
    for row in replayed.sessions:
        own = [trade for trade in stored.values() if trade["session"] == row["session"]]
        assert row["trades"] == len(own)
        assert Decimal(row["pnl"]) * 10**8 == sum(trade["pnl_e8"] for trade in own)


def test_the_drawdown_is_that_of_the_closed_trades(replayed: Replayed) -> None:
    """Largest fall of the summed profit from its highest point so far, trades in the order they closed."""
    peak = total = worst = 0
    for trade in sorted(replayed.file.trades, key=lambda t: (t["exit_at_ms"], t["symbol"])):
        total += trade["pnl_e8"]
        peak = max(peak, total)
        worst = max(worst, peak - total)
    totals: Row = replayed.document["totals"]  # type: ignore[assignment]
    assert Decimal(totals["max_drawdown"]) * 10**8 == worst


def test_the_limits_hold_at_every_intent(replayed: Replayed) -> None:
    """Open positions, trades a day, one per symbol, notional, risk, ADV, worst case plus realised loss."""
    account = Account(replayed.file, replayed.setting.limits).fold()
    assert account.breaches == []
    assert account.intents == len(sized(replayed)) > 0


def test_the_loss_tiers_are_journalled_when_they_are_reached(
    replayed: Replayed, raw_market: RawMarket
) -> None:
    """-1.5 % and -2 % of day-start equity, open positions at ended bars, at the minute; no entry behind.

    Where both are reached at once the harder one is told.
    """
    tiers = loss_tiers(raw_market, replayed.file, replayed.setting.limits)
    never = 1 << 62
    reached = [(found["flatten"], "flatten") for found in tiers.values() if "flatten" in found]
    reached += [
        (found["pause"], "pause")
        for found in tiers.values()
        if found.get("pause", never) < found.get("flatten", never)
    ]
    told = sorted((e.at, e.data["tier"]) for e in replayed.file.journal if e.kind == "limit")
    assert told == sorted(reached)
    for plan, _ in sized(replayed):
        stop = min(tiers[plan["session"]].values(), default=1 << 62)
        assert plan["decided_at_ms"] < stop


def test_the_venues_account_balances(replayed: Replayed) -> None:
    """Cash is the start plus every sale less every purchase and fee; nothing is held; equity is cash."""
    account = replayed.file.rows("SELECT * FROM venue_account")[0]
    cash = account["start_equity"]
    for fill in replayed.file.venue_fills:
        sign = 1 if fill["side"] == "sell" else -1
        cash += sign * fill["quantity"] * fill["price"] - fill["fees"]
    assert account["cash"] == cash
    assert account["start_equity"] == replayed.setting.start_equity * 10**8
    assert all(row["quantity"] == 0 for row in replayed.file.rows("SELECT quantity FROM venue_position"))
    assert cash - account["start_equity"] == sum(trade["pnl_e8"] for trade in replayed.file.trades)


def test_positions_are_the_sums_of_their_fills(replayed: Replayed) -> None:
    """At the agent's, per plan; and every fill of the venue is recorded once, alike."""
    for position in replayed.file.bodies("position", "plan_id"):
        own = [fill for fill in replayed.file.fills if fill["row"]["plan_id"] == position["plan_id"]]
        bought = sum(fill["quantity_e4"] for fill in own if fill["side"] == "buy")
        sold = sum(fill["quantity_e4"] for fill in own if fill["side"] == "sell")
        assert (position["bought_e4"], position["sold_e4"]) == (bought, sold)
        assert position["row"]["quantity"] == bought - sold == 0
        assert position["fees_e8"] == sum(fill["fees_e8"] for fill in own)
    filled: Counter[str] = Counter()
    for fill in replayed.file.fills:
        filled[fill["client_order_id"]] += fill["quantity_e4"]
    for order in replayed.file.orders:
        assert order["filled"] == filled[order["client_order_id"]] <= order["quantity"]
        assert order["ended_at"] is not None
    mine = {f["execution_id"]: (f["quantity_e4"], f["price_e4"], f["fees_e8"]) for f in replayed.file.fills}
    venue = {f["execution_id"]: (f["quantity"], f["price"], f["fees"]) for f in replayed.file.venue_fills}
    assert mine == venue


def test_no_entry_without_decision_and_approval(replayed: Replayed) -> None:
    """In the journal's order: approved risk, approval of the very plan, intent; fills are told at a bar's end."""
    seen: dict[str, set[str]] = {}
    for entry in replayed.file.journal:
        steps = seen.setdefault(entry.ref, set())
        if entry.kind == "risk" and entry.data["approved"]:
            steps.add("risk")
        elif entry.kind == "approved":
            assert "risk" in steps
            assert entry.data["plan_hash"] == replayed.file.plans[entry.ref]["row"]["plan_hash"]
            steps.add("approved")
        elif entry.kind == "intent":
            assert steps == {"risk", "approved"}
            steps.add("intent")
        elif entry.kind == "fill":
            assert entry.at - entry.data["at_ms"] in (0, MINUTE_MS)
    assert {ref for ref, steps in seen.items() if "intent" in steps} == {
        plan["plan_id"] for plan, _ in sized(replayed)
    }


def test_every_plan_ends_in_one_terminal_state(replayed: Replayed) -> None:
    """No plan is left behind, and a closed one has its trade."""
    closed = {trade["plan_id"] for trade in replayed.file.trades}
    for plan_id, plan in replayed.file.plans.items():
        state = plan["row"]["state"]
        assert state in ("closed", "refused", "rejected", "expired", "cancelled", "not_filled", "superseded")
        assert (state == "closed") == (plan_id in closed)


def test_the_journal_chain_verifies(replayed: Replayed) -> None:
    """By our own hashing of every row."""
    assert replayed.file.journal
    assert replayed.file.broken_links() == []


def test_open_exits_never_exceed_what_is_held(replayed: Replayed) -> None:
    """Sold so far never exceeds bought so far, in every symbol and session, in the venue's order."""
    held: Counter[tuple[str, str]] = Counter()
    for fill in replayed.file.venue_fills:
        key = (fill["session"], fill["symbol"])
        held[key] += fill["quantity"] if fill["side"] == "buy" else -fill["quantity"]
        assert held[key] >= 0
    generations = Counter((o["plan_id"], o["leg"], o["generation"]) for o in replayed.file.orders)
    assert set(generations.values()) == {1}


def again(replayed: Replayed, hash_seed: str) -> Row:
    """The same replay afresh, in a process with another hash seed."""
    environment = {**os.environ, **replayed.setting.environment}
    environment |= {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    child = [sys.executable, "-m", "tests.e2e.independent.replay_child", str(replayed.home), FIRST, LAST]
    done = subprocess.run(child, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    document: Row = json.loads(done.stdout.splitlines()[-1])
    return document


def test_the_same_outcome_again(replayed: Replayed) -> None:
    """Afresh, in another process, with another hash seed; only how long it took may differ."""
    other = again(replayed, "1")
    first = {key: value for key, value in replayed.document.items() if key != "elapsed_ms"}
    assert {key: value for key, value in other.items() if key != "elapsed_ms"} == first


@pytest.mark.full
@pytest.mark.parametrize("hash_seed", ["2", "77"])
def test_the_same_outcome_with_more_hash_seeds(replayed: Replayed, hash_seed: str) -> None:
    """Set order reaches no output."""
    assert again(replayed, hash_seed)["outcome_hash"] == replayed.document["outcome_hash"]


def test_every_decision_of_the_run_is_made_again_from_the_journal(
    replayed: Replayed, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twenty sessions: every entry from its stored inputs, the same; and chain, inputs and state are whole."""
    path = run_path(replayed.home, str(replayed.document["result_id"]))
    whole, again = verify_journal(path), replay_journal(path, Selection())
    (entries,) = replayed.file.rows("SELECT count(*) AS n FROM journal")
    assert (whole["valid"], whole["detail"]) == (True, None)
    assert again["same"] == again["entries"] == entries["n"]
    assert (again["different"], again["told"], again["not_replayable"]) == (0, 0, 0)
    assert whole["head"] == replayed.document["journal_head"]
    inputs = whole["inputs"]
    assert isinstance(inputs, dict)
    size_kib = int(str(inputs["bytes"])) >> 10
    with capsys.disabled():
        name = replayed.setting.name
        print(f"\n{name}: {again['same']} entries decided the same again, {size_kib} KiB of inputs")


def test_a_finished_run_is_told_again_without_running(replayed: Replayed) -> None:
    """The same command once more, not afresh, changes nothing in the file."""
    before = replayed.file.rows("SELECT count(*) AS n FROM journal")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in replayed.setting.environment.items():
            patch.setenv(name, value)
        document = asyncio.run(run_replay(load_settings(), replayed.home, first=FIRST, last=LAST))
    assert {**document, "elapsed_ms": 0} == {**replayed.document, "elapsed_ms": 0}
    assert replayed.file.rows("SELECT count(*) AS n FROM journal") == before


@pytest.mark.full
@pytest.mark.parametrize("setting", OTHERS, ids=lambda setting: setting.name)
def test_other_ways_to_trade_end_flat_and_balanced(
    setting: Setting, real_home: Path, raw_market: RawMarket, tmp_path: Path
) -> None:
    """Presets, profiles and manners whose fills no checker recomputes: what must hold for all of them."""
    found = run(setting, real_home, tmp_path)
    test_enough_trades(found)
    test_every_session_ends_flat(found, raw_market)
    for check in (
        test_no_job_is_dead_or_live_at_the_end,
        test_the_document_tells_the_trades_as_they_are,
        test_the_drawdown_is_that_of_the_closed_trades,
        test_the_venues_account_balances,
        test_positions_are_the_sums_of_their_fills,
        test_no_entry_without_decision_and_approval,
        test_every_plan_ends_in_one_terminal_state,
        test_the_journal_chain_verifies,
        test_open_exits_never_exceed_what_is_held,
    ):
        check(found)
    found.file.close()


SOLD = "sequence = (SELECT max(sequence) FROM venue_fill WHERE side = 'sell')"
PNL = "json_set(body, '$.pnl_e8', json_extract(body, '$.pnl_e8') + 1)"
STOP = "json_set(body, '$.stop_e4', json_extract(body, '$.stop_e4') - 100)"
ENTRY_SHARES = "json_extract(data, '$.orders[0].quantity_e4')"
TAMPERINGS = {
    "a price a tick better": (
        f"UPDATE venue_fill SET price = price + 100 WHERE {SOLD}",
        "test_every_fill_is_what_the_bars_command",
    ),
    "a fee a unit lower": (
        f"UPDATE venue_fill SET fees = fees - 1 WHERE {SOLD}",
        "test_every_fill_is_what_the_bars_command",
    ),
    "a fill a minute late": (
        f"UPDATE venue_fill SET at = at + 60000 WHERE {SOLD}",
        "test_every_fill_is_what_the_bars_command",
    ),
    "a share too many": (
        f"UPDATE venue_fill SET quantity = quantity + 10000 WHERE {SOLD}",
        "test_every_session_ends_flat",
    ),
    "a profit a unit higher": (
        f"UPDATE trade SET body = {PNL} WHERE trade_id = (SELECT max(trade_id) FROM trade)",
        "test_every_trade_is_recomputed_to_the_last_unit",
    ),
    "a stop a tick lower": (
        f"UPDATE plan SET body = {STOP} WHERE plan_id = (SELECT max(plan_id) FROM plan)",
        "test_every_plan_says_what_the_bars_say",
    ),
    "cash a unit higher": (
        "UPDATE venue_account SET cash = cash + 1",
        "test_the_venues_account_balances",
    ),
    "an entry twice as large": (
        (
            f"UPDATE journal SET data = json_set(data, '$.orders[0].quantity_e4', {ENTRY_SHARES} * 2)"
            " WHERE seq = (SELECT max(seq) FROM journal WHERE kind = 'intent')"
        ),
        "test_the_limits_hold_at_every_intent",
    ),
    "a journal row changed": (
        (
            "UPDATE journal SET data = replace(data, 'true', 'false')"
            " WHERE seq = (SELECT min(seq) FROM journal WHERE kind = 'risk' AND data LIKE '%true%')"
        ),
        "test_the_journal_chain_verifies",
    ),
    "an approval gone": (
        "UPDATE journal SET kind = 'noted' WHERE seq = (SELECT max(seq) FROM journal WHERE kind = 'approved')",
        "test_no_entry_without_decision_and_approval",
    ),
    "a limit that was never reached": (
        (
            "UPDATE journal SET kind = 'limit', data = '{\"tier\":\"pause\"}'"
            " WHERE seq = (SELECT max(seq) FROM journal WHERE kind = 'approved')"
        ),
        "test_the_loss_tiers_are_journalled_when_they_are_reached",
    ),
}


@pytest.mark.parametrize("what", TAMPERINGS)
def test_the_checkers_notice(replayed: Replayed, raw_market: RawMarket, tmp_path: Path, what: str) -> None:
    """Each planted error in a copy of the file is caught by the check named beside it."""
    statement, name = TAMPERINGS[what]
    source = sqlite3.connect(run_path(replayed.home, str(replayed.document["result_id"])))
    copy = sqlite3.connect(tmp_path / "copy.db")
    source.backup(copy)
    source.close()
    copy.execute("DROP TRIGGER journal_no_update")
    assert copy.execute(statement).rowcount == 1
    copy.commit()
    copy.close()
    tampered = replace(replayed, file=RunFile(tmp_path / "copy.db"))
    check = globals()[name]
    arguments = (tampered, raw_market) if "raw_market" in check.__annotations__ else (tampered,)
    with pytest.raises(AssertionError):
        check(*arguments)
    tampered.file.close()

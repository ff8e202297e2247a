"""Approvals against the real store: used once, by hash and nonce, in time, at a price that still holds."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from finagent.adapters.sqlite.codec import encode
from finagent.bootstrap.recording import in_journal
from finagent.domain.approvals import Verdict
from finagent.domain.facts import PlanMoved, ReservationReleased
from finagent.domain.plan import PlanState, with_size
from finagent.domain.told import told
from finagent.ports import Tx
from finagent.services.approval import Reply
from tests.integration.services.invariants import violations
from tests.integration.services.market import Prices, local
from tests.integration.services.world import DAY, Stage

SHARE = 10_000
REPRICE: Mapping[str, Mapping[str, Any]] = {
    "schedule": {"scans": [{"name": "reprice", "at": "09:25", "kind": "plan"}]},
    "scan": {"min_premarket_volume": 0, "min_premarket_trades": 1, "max_indication_age_s": 3600},
}


@asynccontextmanager
async def asked(
    home: Path, script: Mapping[str, Prices] | None = None, *, ends: bool = True, **day: Any
) -> AsyncIterator[Stage]:
    """A day at 09:32 with one plan that waits for its answer; it is run to its end and checked afterwards."""
    async with Stage(home, mode="approve") as stage:
        stage.market.day("AAA", DAY, script, **day)
        await stage.until("09:32")
        assert (await stage.plan()).state == "pending"
        yield stage
        if ends:
            await stage.finish()
    assert violations(stage.path, is_day_over=ends) == []


async def test_pending_plan_waits_and_leaves_when_a_person_says_yes(home: Path) -> None:
    async with asked(home) as stage:
        plan_id = (await stage.plan()).plan.plan_id
        assert await stage.order_states() == {}
        assert await stage.reserved() == ["AAA"]
        outcome = await stage.answer(plan_id)
        assert (outcome.code, outcome.plan_id) == ("approved", plan_id)
        approval = await stage.engine.store.approval(plan_id)
        assert approval is not None
        assert (approval.state, approval.channel, approval.identity) == ("approved", "cli", "ann")
        assert (await stage.order_states())["entry-1"] == "accepted"


async def test_second_answer_changes_nothing_over_any_channel(home: Path) -> None:
    async with asked(home) as stage:
        plan_id = (await stage.plan()).plan.plan_id
        await stage.answer(plan_id)
        again = await stage.answer(plan_id, Verdict.REJECT, channel="http", identity="bob")
        assert again.code == "already_answered"
        assert (await stage.plan()).state == "entering"
        assert len(await stage.journal("approved")) == 1


async def test_two_answers_at_once_have_one_winner(home: Path) -> None:
    async with asked(home) as stage:
        plan_id = (await stage.plan()).plan.plan_id
        outcomes = await asyncio.gather(*(stage.answer(plan_id, identity=f"p{n}") for n in range(5)))
        assert sorted(outcome.code for outcome in outcomes) == ["already_answered"] * 4 + ["approved"]
        assert await stage.value("SELECT count(*) FROM broker_order WHERE leg = 'entry'") == 1


async def test_question_expires_and_a_late_yes_is_refused(home: Path) -> None:
    async with asked(home) as stage:
        plan_id = (await stage.plan()).plan.plan_id
        await stage.until("09:41")
        assert await stage.states() == {"AAA": "expired approval_expired"}
        assert (await stage.answer(plan_id)).code == "already_answered"
        assert await stage.reserved() == []


async def test_question_about_a_plan_that_ended_meanwhile_is_closed_by_the_clock(home: Path) -> None:
    """Found in the simulated world (seed 4063): a flatten ended the plan in the instant in which it was asked about."""
    async with asked(home, ends=False) as stage:
        plan = (await stage.plan()).plan
        ended = PlanMoved(
            plan_id=plan.plan_id,
            from_states=(PlanState.PENDING,),
            to_state=PlanState.CANCELLED,
            reason="flatten",
        )
        freed, tx = ReservationReleased(plan_id=plan.plan_id), Tx()
        for fact in told(
            "plan_ended", plan.plan_id, {"state": "cancelled", "reason": "flatten"}, [ended, freed]
        ):
            tx.put(fact)
        await stage.engine.queue.commit(tx)
        await stage.until("09:41")
        approval = await stage.engine.store.approval(plan.plan_id)
        assert approval is not None
        assert approval.state == "expired"
        assert await stage.states() == {"AAA": "cancelled flatten"}


async def test_yes_after_the_time_but_before_the_clock_noticed_is_expired(home: Path) -> None:
    """The expiry is judged by the clock, not by whether its job has run."""
    async with asked(home, ends=False) as stage:
        plan_id = (await stage.plan()).plan.plan_id
        stage.clock.advance(stage.clock.now_ms() + 10 * 60_000)
        outcome = await stage.engine.approvals.answer(plan_id, _yes())
        assert outcome.code == "expired"


@pytest.mark.parametrize("nonce", ["0" * 32, ""])
async def test_wrong_nonce_is_refused_and_the_question_stays(home: Path, nonce: str) -> None:
    async with asked(home) as stage:
        plan_id = (await stage.plan()).plan.plan_id
        assert (await stage.answer(plan_id, nonce=nonce)).code == "nonce_mismatch"
        assert (await stage.plan()).state == "pending"


@pytest.mark.parametrize("plan_hash", ["0" * 64, ""])
async def test_answer_to_another_body_is_refused(home: Path, plan_hash: str) -> None:
    async with asked(home) as stage:
        plan_id = (await stage.plan()).plan.plan_id
        assert (await stage.answer(plan_id, plan_hash=plan_hash)).code == "hash_mismatch"
        assert (await stage.plan()).state == "pending"


async def test_unknown_plan_waits_for_no_answer(home: Path) -> None:
    async with asked(home) as stage:
        assert (await stage.answer("pl_nothing")).code == "not_pending"


async def test_price_that_ran_away_supersedes_the_plan_by_a_fresh_one(home: Path) -> None:
    """100.80 is more than 0.25 R (0.75) beyond 100; the next version is planned from there, and asked."""
    async with asked(home, {"09:31": (100, 100.8, 100, 100.8)}) as stage:
        first = (await stage.plan()).plan
        assert (await stage.answer(first.plan_id, stop_e4=1)).code == "stop_widens"
        assert (await stage.plan()).state == "pending"
        outcome = await stage.answer(first.plan_id)
        assert outcome.code == "price_moved"
        old, fresh = await stage.plans()
        assert (old.state, old.reason) == ("superseded", "price_moved")
        assert (fresh.state, fresh.plan.version, fresh.plan.reference_e4) == ("pending", 2, 1_008_000)
        assert (outcome.fresh_plan_id, outcome.fresh_at_ms) == (fresh.plan.plan_id, None)
        late = await stage.answer(first.plan_id)
        assert (late.code, late.fresh_plan_id) == ("already_answered", fresh.plan.plan_id)
        assert (await stage.engine.store.approval(first.plan_id)).state == "superseded"  # type: ignore[union-attr]
        assert (await stage.answer(fresh.plan.plan_id)).code == "approved"


async def test_price_past_the_stop_supersedes_too(home: Path) -> None:
    async with asked(home, {"09:31": (100, 100, 96.5, 96.5)}) as stage:
        assert (await stage.answer((await stage.plan()).plan.plan_id)).code == "past_stop"
        old = (await stage.plans())[0]
        assert (old.state, old.reason) == ("superseded", "past_stop")


async def test_price_a_little_higher_shrinks_the_order_and_keeps_the_yes(home: Path) -> None:
    """At 100.30 a share risks 3.30 to the stop: 151 shares instead of the 166 that were shown."""
    async with asked(home, {"09:31": (100, 100.3, 100, 100.3)}) as stage:
        plan = (await stage.plan()).plan
        assert plan.quantity_e4 == 166 * SHARE
        assert (await stage.answer(plan.plan_id)).code == "approved"
        assert (await stage.orders())["entry-1"].intent.quantity_e4 == 151 * SHARE


async def test_stale_price_is_refused_and_a_fresh_plan_follows(home: Path) -> None:
    async with asked(home, silent_from="09:31") as stage:
        await stage.until("09:34")
        plan_id = (await stage.plan()).plan.plan_id
        outcome = await stage.answer(plan_id)
        first = await stage.engine.store.plan(plan_id)
        assert first is not None
        assert (outcome.code, first.state) == ("stale_quote", "superseded")
        assert (await stage.plan()).plan.version == 2


async def test_rejected_plan_is_over_with_its_reason(home: Path) -> None:
    async with asked(home) as stage:
        plan_id = (await stage.plan()).plan.plan_id
        assert (await stage.answer(plan_id, Verdict.REJECT, reason="news smells")).code == "rejected"
        assert await stage.states() == {"AAA": "rejected news smells"}
        assert await stage.reserved() == []


async def test_smaller_quantity_makes_the_next_version_and_sends_that(home: Path) -> None:
    async with asked(home) as stage:
        first = (await stage.plan()).plan
        outcome = await stage.answer(first.plan_id, quantity_e4=50 * SHARE)
        old, fresh = await stage.plans()
        assert (outcome.code, outcome.plan_id) == ("approved", fresh.plan.plan_id)
        assert (old.state, old.reason) == ("superseded", "revised by cli")
        assert (fresh.plan.version, fresh.plan.quantity_e4) == (2, 50 * SHARE)
        assert (await stage.orders())["entry-1"].intent.quantity_e4 == 50 * SHARE
        assert [ref for ref, _ in await stage.journal("plan_revised")] == [fresh.plan.plan_id]


async def test_tighter_stop_makes_the_next_version(home: Path) -> None:
    async with asked(home) as stage:
        first = (await stage.plan()).plan
        outcome = await stage.answer(first.plan_id, stop_e4=985_000)
        assert outcome.code == "approved"
        assert (await stage.plan()).plan.stop_e4 == 985_000
        assert (await stage.orders())["stop-1"].intent.stop_e4 == 985_000


async def test_quantity_and_stop_of_the_plan_itself_are_no_edit(home: Path) -> None:
    async with asked(home) as stage:
        plan = (await stage.plan()).plan
        outcome = await stage.answer(plan.plan_id, quantity_e4=plan.quantity_e4, stop_e4=plan.stop_e4)
        assert (outcome.code, outcome.plan_id) == ("approved", plan.plan_id)
        assert len(await stage.plans()) == 1


async def test_stop_so_tight_that_the_price_has_moved_too_far_is_refused(home: Path) -> None:
    """At 100.50 the plan still holds (0.75 away); with the stop at 99 a quarter of R is 0.25."""
    async with asked(home, {"09:31": (100, 100.5, 100, 100.5)}) as stage:
        plan_id = (await stage.plan()).plan.plan_id
        assert (await stage.answer(plan_id, stop_e4=990_000)).code == "edit_too_tight"
        assert (await stage.plan()).state == "pending"
        assert (await stage.answer(plan_id)).code == "approved"


async def test_edit_after_the_auctions_cut_off_becomes_a_plan_for_the_next_setup(home: Path) -> None:
    async with Stage(home, mode="approve", settings=REPRICE) as stage:
        stage.market.day("AAA", DAY)
        stage.market.premarket("AAA", DAY, high=101, low=99.5, close=100)
        await stage.until("09:28")
        plan = (await stage.plan()).plan
        assert (await stage.plan()).state == "pending"
        slip = await stage.answer(plan.plan_id, quantity_e4=plan.quantity_e4 + SHARE)
        assert (slip.code, (await stage.plan()).state) == ("quantity_grows", "pending")
        outcome = await stage.answer(plan.plan_id, quantity_e4=10 * SHARE)
        assert (outcome.code, outcome.fresh_at_ms) == ("auction_missed", local(DAY, "09:31"))
        await stage.until("09:31")
        assert [each.state for each in await stage.plans()] == ["superseded", "pending"]
        assert outcome.fresh_plan_id == (await stage.plan()).plan.plan_id
        assert await stage.order_states() == {}


async def test_every_refused_answer_is_journalled_with_who_gave_it(home: Path) -> None:
    async with asked(home) as stage:
        plan_id = (await stage.plan()).plan.plan_id
        await stage.answer(plan_id, plan_hash="0" * 64, channel="http", identity="bob")
        await stage.answer(plan_id, quantity_e4=500 * SHARE, identity="carl")
        await stage.answer("pl_nothing", identity="dora")
        await stage.answer(plan_id)
        late = await stage.answer(plan_id, Verdict.REJECT, channel="http", identity="eve")
        assert late.detail == "ann approved it over cli"
        rows = [(ref, json.loads(data)) for ref, data in await stage.journal("answer_refused")]
        assert [(ref, row["reason"], row["channel"], row["identity"]) for ref, row in rows] == [
            (plan_id, "hash_mismatch", "http", "bob"),
            (plan_id, "quantity_grows", "cli", "carl"),
            ("pl_nothing", "not_pending", "cli", "dora"),
            (plan_id, "already_answered", "http", "eve"),
        ]
        assert all("nonce" not in row for _, row in rows)


async def test_yes_at_a_price_that_moved_is_journalled_with_who_gave_it(home: Path) -> None:
    async with asked(home, {"09:31": (100, 100.8, 100, 100.8)}) as stage:
        plan_id = (await stage.plan()).plan.plan_id
        await stage.answer(plan_id, identity="ann")
        ((ref, data),) = await stage.journal("answer_refused")
        assert (ref, json.loads(data)["reason"], json.loads(data)["identity"]) == (
            plan_id,
            "price_moved",
            "ann",
        )


async def test_larger_quantity_and_wider_stop_are_refused(home: Path) -> None:
    async with asked(home) as stage:
        plan_id = (await stage.plan()).plan.plan_id
        assert (await stage.answer(plan_id, quantity_e4=500 * SHARE)).code == "quantity_grows"
        assert (await stage.answer(plan_id, stop_e4=900_000)).code == "stop_widens"
        assert (await stage.plan()).state == "pending"


async def test_revision_that_risk_refuses_leaves_the_question(home: Path) -> None:
    """At 98.40 a stop of 98.50 is already behind the price."""
    async with asked(home, {"09:31": (100, 100, 98.4, 98.4)}) as stage:
        outcome = await stage.answer((await stage.plan()).plan.plan_id, stop_e4=985_000)
        assert (outcome.code, outcome.detail) == ("refused_by_risk", "past_stop")
        assert (await stage.plan()).state == "pending"


async def test_risk_has_the_last_word_at_the_answer(home: Path) -> None:
    async with asked(home) as stage:
        plan_id = (await stage.plan()).plan.plan_id
        await stage.control.lock("AAA", is_locked=True, identity="ann")
        outcome = await stage.answer(plan_id)
        assert (outcome.code, outcome.detail) == ("refused_by_risk", "symbol_locked")
        assert await stage.states() == {"AAA": "refused symbol_locked"}


async def test_mode_auto_asks_nobody_and_says_by_whom_it_was_approved(home: Path) -> None:
    async with Stage(home, mode="auto") as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:31")
        assert await stage.states() == {"AAA": "entering"}
        assert await stage.value("SELECT count(*) FROM approval") == 0
        ((_, row),) = await stage.journal("approved")
        assert json.loads(row)["identity"] == "policy"


async def test_alert_mode_only_tells(home: Path) -> None:
    async with Stage(home, mode="alert") as stage:
        stage.market.day("AAA", DAY)
        await stage.finish()
        assert await stage.states() == {"AAA": "expired alert_only"}
        assert await stage.order_states() == {}
    assert violations(stage.path, is_day_over=True) == []


async def test_answer_decides_again_when_the_account_changed_in_between(home: Path) -> None:
    """Between its read and its commit a person pauses: the yes is judged again and refused."""
    async with asked(home) as stage:
        plan_id = (await stage.plan()).plan.plan_id
        store = stage.engine.approvals.store
        reads = 0

        class Pausing:
            """The store, seen by somebody who is interrupted once after reading the approval."""

            def __getattr__(self, name: str) -> object:
                return getattr(store, name)

            async def approval(self, wanted: str) -> object:
                nonlocal reads
                reads += 1
                found = await store.approval(wanted)
                if reads == 1:
                    await stage.control.pause(reason="lunch", identity="bob")
                return found

        unrecorded = stage.engine.approvals.unrecorded  # type: ignore[attr-defined]
        approvals = in_journal(replace(unrecorded, store=Pausing()))
        outcome = await approvals.answer(plan_id, _yes())
        assert (outcome.code, outcome.detail, reads) == ("refused_by_risk", "paused", 2)


async def test_flatten_takes_the_question_back(home: Path) -> None:
    async with asked(home) as stage:
        plan_id = (await stage.plan()).plan.plan_id
        await stage.control.flatten(symbol=None, identity="ann")
        await stage.quiet()
        assert await stage.states() == {"AAA": "cancelled flatten"}
        assert (await stage.answer(plan_id)).code == "already_answered"


async def test_policy_refuses_what_ran_away_before_its_turn(home: Path) -> None:
    slow = {"approval": {"simulated_delay_s": 60}}
    async with Stage(home, settings=slow) as stage:
        stage.market.day("AAA", DAY, {"09:31": (100, 101, 100, 101)})
        stage.market.day("BBB", DAY, {"09:31": (100, 100, 96, 96)})
        await stage.finish()
        assert await stage.states() == {"AAA": "refused price_moved", "BBB": "refused past_stop"}
    assert violations(stage.path, is_day_over=True) == []


async def test_policy_asks_risk_again_after_its_delay(home: Path) -> None:
    slow = {"approval": {"simulated_delay_s": 60}}
    async with Stage(home, settings=slow) as stage:
        stage.market.day("AAA", DAY)
        await stage.until("09:31")
        await stage.control.pause(reason="lunch", identity="ann")
        await stage.finish()
        assert await stage.states() == {"AAA": "refused paused"}
    assert violations(stage.path, is_day_over=True) == []


async def test_approved_plan_is_decided_again_when_it_is_executed(home: Path) -> None:
    """Armed at 09:31, locked at 09:33: the trigger finds risk's no and nothing leaves."""
    structure = {"planning": {"preset": "structure", "structure_setup": "premarket_break"}}
    async with Stage(home, settings=structure) as stage:
        stage.market.day("AAA", DAY, {"09:40": (100, 101.5, 100, 101.05)})
        stage.market.premarket("AAA", DAY, high=101, low=99.5, close=100)
        await stage.until("09:33")
        await stage.control.lock("AAA", is_locked=True, identity="ann")
        await stage.finish()
        assert await stage.states() == {"AAA": "refused symbol_locked"}
        assert await stage.order_states() == {}
    assert violations(stage.path, is_day_over=True) == []


async def test_plan_whose_body_was_changed_after_the_yes_sends_nothing(home: Path) -> None:
    """Somebody doubles the quantity in the file while the plan waits for its trigger."""
    structure = {"planning": {"preset": "structure", "structure_setup": "premarket_break"}}
    async with Stage(home, mode="approve", settings=structure) as stage:
        stage.market.day("AAA", DAY, {"09:40": (100, 101.5, 100, 101.05)})
        stage.market.premarket("AAA", DAY, high=101, low=99.5, close=100)
        await stage.until("09:33")
        plan = (await stage.plan()).plan
        assert (await stage.answer(plan.plan_id)).code == "approved"
        body = encode(with_size(plan, 2 * plan.quantity_e4)).replace("'", "''")
        await stage.forge(f"UPDATE plan SET body = '{body}' WHERE plan_id = '{plan.plan_id}'")
        await stage.finish()
        assert await stage.states() == {"AAA": "refused plan_changed"}
        assert await stage.order_states() == {}
    assert violations(stage.path, is_day_over=True) == []


def _yes() -> Reply:
    return Reply(verdict=Verdict.APPROVE, channel="cli", identity="ann")

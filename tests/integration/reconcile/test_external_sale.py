"""What finagent did not open is sold only where a person asked for it by name, and then by one order each."""

import json
from pathlib import Path

from finagent.context import ExitCode
from finagent.domain.market import Side
from finagent.ports import OrderRejectedError, OutcomeUnknownError
from tests.integration.reconcile.app_broker import AppBroker
from tests.integration.reconcile.stage import AppStage
from tests.integration.services.test_answer_words import commands_of


async def with_holding(stage: AppStage) -> int:
    """A position of ours in AAA, five shares of ZZZ and seven of AAA that are not; gives our shares."""
    shares = await stage.bought()
    stage.app.by_hand("ZZZ", Side.BUY, 5)
    stage.app.by_hand("AAA", Side.BUY, 7)
    await stage.confirmed("seen")
    await commands_of(stage).acknowledge([], identity="ann")
    await stage.quiet()
    return shares


async def test_flatten_leaves_what_is_not_ours_unless_it_is_named(home: Path) -> None:
    async with AppStage(home) as stage:
        await with_holding(stage)
        await commands_of(stage).flatten(symbol=None, identity="ann")
        await stage.later(1)
        await stage.tell()
        assert stage.app.held() == {"AAA": 70_000, "ZZZ": 50_000}
        assert await stage.control.is_flat()
        result = await commands_of(stage).flatten(symbol=None, identity="ann", include_external=True)
        assert (result.code, result.exit_code) == ("flattening", ExitCode.DONE)
        await stage.later(10)
        assert stage.app.held() == {}
        sent = [each for each in stage.app.submitted if "-external-" in each]
        assert len(sent) == 2
        ((_, data),) = await stage.journal("external_included")
        assert json.loads(data)["quantities_e4"] == {"AAA": 70_000, "ZZZ": 50_000}
        assert [ref for ref, _ in await stage.journal("external_closed")] == []
        await stage.confirmed("after")
        assert await stage.found() == []
        assert await stage.engine.store.external() == []
        assert len(await stage.engine.store.trades("2018-02-20")) == 1


async def test_sale_in_one_symbol_leaves_the_others(home: Path) -> None:
    async with AppStage(home) as stage:
        shares = await with_holding(stage)
        await commands_of(stage).flatten(symbol="ZZZ", identity="ann", include_external=True)
        await stage.later(10)
        assert stage.app.held() == {"AAA": shares * 10_000 + 70_000}


async def test_kill_with_external_sells_all_and_order_lost_on_the_way_is_sent_again_once(home: Path) -> None:
    async with AppStage(home) as stage:
        await with_holding(stage)
        Losing.install(stage.app, drop=1, lose=1)
        await commands_of(stage).kill(reason="", identity="ann", include_external=True)
        await stage.later(30)
        await stage.tell()
        await stage.later(5)
        assert stage.app.held() == {}
        outside = [each for each in stage.app.known if "-external-" in each]
        assert sorted(each.rsplit("-", 2)[1] for each in outside) == ["1", "1"]


async def test_refused_sale_is_told_and_tried_no_more(home: Path) -> None:
    async with AppStage(home) as stage:
        await with_holding(stage)
        Losing.install(stage.app, refuse=True)
        await commands_of(stage).flatten(symbol="ZZZ", identity="ann", include_external=True)
        await stage.later(30)
        ((ref, data),) = await stage.journal("external_order_ended")
        assert (ref, json.loads(data)["state"]) == ("ZZZ", "rejected")
        assert stage.app.held()["ZZZ"] == 50_000


async def test_sale_killed_between_intent_and_order_goes_on_with_the_same_id(home: Path) -> None:
    async with AppStage(home) as stage:
        await with_holding(stage)
        Losing.install(stage.app, lose=1)
        await commands_of(stage).flatten(symbol="ZZZ", identity="ann", include_external=True)
        await stage.restart()
        await stage.later(30)
        outside = [each for each in stage.app.known if "-external-" in each]
        assert len(outside) == 1
        assert "ZZZ" not in stage.app.held()


class Losing:
    """The line to the broker misbehaves for orders that close what is not ours."""

    @staticmethod
    def install(app: AppBroker, *, drop: int = 0, lose: int = 0, refuse: bool = False) -> None:
        """Of these orders: requests dropped before the broker, then replies lost, or every one refused."""
        plain = app.submit
        left = {"drop": drop, "lose": lose}

        async def submit(intents):  # type: ignore[no-untyped-def]
            if intents[0].leg != "external":
                return await plain(intents)
            if refuse:
                raise OrderRejectedError("insufficient_quantity", "held for orders")
            if left["drop"]:
                left["drop"] -= 1
                raise OutcomeUnknownError("timeout")
            found = await plain(intents)
            if left["lose"]:
                left["lose"] -= 1
                raise OutcomeUnknownError("connection reset")
            return found

        app.submit = submit  # type: ignore[method-assign]

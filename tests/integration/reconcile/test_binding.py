"""The account a database belongs to is written once, and another one is refused at every start."""

from pathlib import Path

import pytest

from finagent.bootstrap.binding import check_binding
from finagent.context import SurfaceError
from finagent.domain.binding import AccountBinding
from finagent.domain.facts import AccountBound
from finagent.ports import Tx
from finagent.queue.errors import GuardFailedError
from tests.integration.services.world import Stage

PAPER = AccountBinding(broker="alpaca", account_id="PA3", endpoint="paper")
LIVE = AccountBinding(broker="alpaca", account_id="937", endpoint="live")


async def test_first_account_binds_the_database_and_another_is_refused_after_a_restart(home: Path) -> None:
    async with Stage(home) as stage:
        assert await stage.engine.store.binding() is None
        assert await check_binding(stage.engine, PAPER, identity="ann") is True
        await stage.restart()
        assert await stage.engine.store.binding() == PAPER
        assert await check_binding(stage.engine, PAPER, identity="ann") is True
        with pytest.raises(SurfaceError) as refused:
            await check_binding(stage.engine, LIVE, identity="ann")
        assert refused.value.code == "account_mismatch"
        assert "live account 937" in refused.value.message
        assert [ref for ref, _ in await stage.journal("account_bound")] == ["PA3"]


async def test_database_stays_unbound_where_it_may_not_be_bound_yet(home: Path) -> None:
    async with Stage(home) as stage:
        assert await check_binding(stage.engine, LIVE, identity="ann", may_bind=False) is False
        assert await stage.engine.store.binding() is None


async def test_bound_database_is_never_bound_again(home: Path) -> None:
    async with Stage(home) as stage:
        await check_binding(stage.engine, PAPER, identity="ann")
        tx = Tx()
        tx.put(AccountBound(binding=LIVE))
        with pytest.raises(GuardFailedError):
            await stage.engine.queue.commit(tx)
        assert await stage.engine.store.binding() == PAPER

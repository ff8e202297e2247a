"""The binding of a database to one account at the broker: made once, checked at every start."""

from finagent.bootstrap.engine import Engine
from finagent.context import SurfaceError
from finagent.domain.binding import AccountBinding, binding_fault
from finagent.domain.facts import AccountBound
from finagent.domain.journal import JsonData
from finagent.domain.told import told
from finagent.queue.port import Tx


async def check_binding(
    engine: Engine, found: AccountBinding, *, identity: str, may_bind: bool = True
) -> bool:
    """Whether the database is bound to the account the broker answers for; binds one that is bound to none yet.

    ``may_bind`` False leaves an unbound one as it is and gives False. SurfaceError (``account_mismatch``) where it
    belongs to another account: its orders and limits are not those of this one.
    """
    bound = await engine.store.binding()
    fault = binding_fault(bound, found)
    if fault is not None:
        raise SurfaceError(
            fault,
            hint="give --home a home of its own to each account, or mend the broker's keys and endpoint",
            code="account_mismatch",
        )
    if bound is None and may_bind:
        tx = Tx()
        data: dict[str, JsonData] = {"broker": found.broker, "endpoint": found.endpoint, "by": identity}
        for fact in told("account_bound", found.account_id, data, [AccountBound(binding=found)]):
            tx.put(fact)
        await engine.queue.commit(tx)
    return bound is not None or may_bind

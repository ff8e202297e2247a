"""The risk desk over a world: the limits in force, the calendar's no-trade times, and who knows of the borrow."""

from collections.abc import Awaitable, Callable

from finagent.bootstrap import rules
from finagent.bootstrap.world import World
from finagent.domain.risk import RiskProfile
from finagent.ports import Clock, Store
from finagent.services.risk import RiskDesk
from finagent.services.schedule import DaySchedule
from finagent.settings import Settings

Borrow = Callable[[str], Awaitable[bool | None]]


def risk_desk(
    settings: Settings,
    world: World,
    store: Store,
    clock: Clock,
    schedule: DaySchedule,
    *,
    profile: RiskProfile,
    borrow: Borrow | None,
) -> RiskDesk:
    """The desk; without a broker to ask (``borrow``) the instrument data say what is easy to borrow."""

    async def by_data(symbol: str) -> bool | None:
        instrument = world.market.instrument(symbol)
        return None if instrument is None else instrument.easy_to_borrow

    return RiskDesk(
        store,
        world.market,
        world.calendar,
        clock,
        profile,
        rules.cost_rules(settings).slippage_bound_e6,
        schedule.is_no_trade,
        tuple(sorted(settings.universe.exclude)),
        borrow or by_data,
        settings.approval.max_quote_age_s * 1000,
    )

"""What doctor says of the broker: prices that fit it, keys, account, clock, hours, consent."""

import os
from pathlib import Path

from finagent.adapters.brokers.alpaca import keys_from
from finagent.bootstrap.brokers import (
    BLOCKED,
    HOURS,
    MENDS,
    SKEW,
    Connection,
    asking,
    binding_of,
    connect,
    examine,
    refuse_currency,
    refuse_made_up_prices,
)
from finagent.bootstrap.by_hand import NOT_PROMISED
from finagent.bootstrap.going_live import stored_consent
from finagent.bootstrap.homes import home_clock
from finagent.context import Json, SurfaceError
from finagent.domain.binding import binding_fault, live_fault
from finagent.domain.money import money_text
from finagent.domain.orders import BrokerAccount
from finagent.ports import BrokerAccessError
from finagent.runtime.clock import SystemTicker
from finagent.runtime.logs import SecretKeeper
from finagent.runtime.metrics import Metrics
from finagent.settings import Settings, SettingsError

NAMES = {SKEW: "broker clock", HOURS: "broker hours", BLOCKED: "broker account"}


async def broker_checks(settings: Settings, home: Path) -> list[Json]:
    """A check each; nothing is asked of a broker whose keys are missing."""
    if not settings.broker.is_outside:
        is_by_hand = settings.broker.name == "manual"
        what = NOT_PROMISED if is_by_hand else "the paper venue, in the database"
        return [_check("broker", "warn" if is_by_hand else "ok", what)]
    found = [_prices(settings), _keys()]
    if any(
        isinstance(each, dict) and each["name"] == "broker keys" and each["status"] == "fail"
        for each in found
    ):
        return found
    from finagent.adapters.vendors.calendar import load_calendar

    calendar, clock = load_calendar(home), home_clock(settings, home, None)
    connection = connect(
        settings, calendar, clock=clock, ticker=SystemTicker(), metrics=Metrics(), keeper=SecretKeeper()
    )
    assert connection is not None, "the paper venue has been answered"
    try:
        with asking():
            account = await connection.broker.account()
            found += await _account(settings, home, connection, account)
            findings = {each.reason: each.detail for each in await examine(connection, calendar, clock)}
    except SurfaceError as error:
        return [*found, _check("broker", "fail", error.message, error.hint)]
    finally:
        await connection.close()
    found += [
        _check(NAMES[reason], "fail", findings[reason], MENDS[reason])
        if reason in findings
        else _check(NAMES[reason], "ok", "as here")
        for reason in (SKEW, HOURS)
    ]
    return found


def _prices(settings: Settings) -> Json:
    try:
        refuse_made_up_prices(settings)
    except SettingsError as error:
        return _check("broker prices", "fail", error.message, error.hint)
    return _check(
        "broker prices", "warn", f"{settings.data.vendor} prices against a simulated broker: a rehearsal"
    )


def _keys() -> Json:
    try:
        keys_from(os.environ)
    except BrokerAccessError as error:
        return _check("broker keys", "fail", str(error), error.mend)
    return _check("broker keys", "ok", "both are set")


async def _account(
    settings: Settings, home: Path, connection: Connection, account: BrokerAccount
) -> list[Json]:
    holds = f"{account.account_id}, {money_text(account.equity_e8)} {account.currency}"
    try:
        refuse_currency(account, settings)
    except SurfaceError as error:
        return [_check("broker account", "fail", error.message, error.hint)]
    if account.is_blocked:
        return [_check("broker account", "fail", f"{holds}: trading is blocked", MENDS[BLOCKED])]
    found = binding_of(connection, account)
    bound, allowed = await stored_consent(home)
    for fault, mend in (
        (binding_fault(bound, found), "give --home a home of its own to each account"),
        (live_fault(found, allowed), f"finagent live allow --account {account.account_id}"),
    ):
        if fault is not None:
            return [_check("broker account", "fail", fault, mend)]
    return [_check("broker account", "ok", f"{connection.kind} account {holds}")]


def _check(name: str, status: str, detail: str, mend: str = "") -> Json:
    return {"name": name, "status": status, "detail": detail, "mend": mend}

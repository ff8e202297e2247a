"""A database belongs to one account at one broker, and says so when another answers."""

import dataclasses

import pytest

from finagent.domain.binding import AccountBinding, binding_fault, live_fault

PAPER = AccountBinding(broker="alpaca", account_id="PA3", endpoint="paper")


def test_unbound_database_fits_every_account_and_a_bound_one_its_own() -> None:
    assert binding_fault(None, PAPER) is None
    assert binding_fault(PAPER, dataclasses.replace(PAPER)) is None


@pytest.mark.parametrize("change", [{"broker": "manual"}, {"account_id": "PA4"}, {"endpoint": "live"}])
def test_any_other_account_is_a_fault_that_names_both(change: dict[str, str]) -> None:
    other = dataclasses.replace(PAPER, **change)
    fault = binding_fault(PAPER, other)
    assert fault is not None
    for word in ("paper account PA3 at alpaca", *change.values()):
        assert word in fault


def test_live_trading_needs_a_person_s_word_for_this_very_account() -> None:
    live = dataclasses.replace(PAPER, account_id="937", endpoint="live")
    assert live_fault(PAPER, None) is None
    assert live_fault(live, "937") is None
    for allowed in (None, "938"):
        fault = live_fault(live, allowed)
        assert fault is not None
        assert "937" in fault

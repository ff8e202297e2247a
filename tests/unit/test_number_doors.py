"""Numbers that a person types: what is none, nothing, below nothing or too fine is refused with the value seen."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finagent.bootstrap.amounts import amount
from finagent.context import ExitCode, SurfaceError
from finagent.domain.money import PRICE_SCALE
from finagent.settings import SettingsError, load_settings

BAD = [
    "nan",
    "NaN",
    "inf",
    "-inf",
    "Infinity",
    "",
    " ",
    "x",
    "1e999",
    "0x10",
    "1,5",
    "--1",
    "0",
    "-0",
    "-5",
    "0.00001",
]


@pytest.mark.parametrize("text", BAD)
def test_quantity_or_stop_that_is_no_number_above_nothing_is_a_usage_error(text: str) -> None:
    with pytest.raises(SurfaceError) as caught:
        amount(text, PRICE_SCALE, "--qty")
    assert caught.value.exit_code is ExitCode.USAGE
    assert caught.value.message.startswith(f"--qty {text}")
    assert caught.value.hint


@given(st.text(max_size=20))
def test_any_text_is_a_whole_number_of_units_or_a_usage_error(text: str) -> None:
    try:
        found = amount(text, PRICE_SCALE, "--stop")
    except SurfaceError as error:
        found, code = None, error.exit_code
    else:
        code = ExitCode.USAGE
    assert code is ExitCode.USAGE
    assert found is None or (isinstance(found, int) and found > 0)


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf", "nan", "'1e999'", "-1", "0", "''", "[1]", "true"])
@pytest.mark.parametrize("key", ["risk_per_trade_pct", "max_order_usd", "max_open_positions"])
def test_limit_that_is_no_number_above_nothing_stops_the_settings(
    tmp_path: Path, key: str, value: str
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(f"risk: {{{key}: {value}}}\n")
    with pytest.raises(SettingsError, match=f"risk.{key}"):
        load_settings(file)

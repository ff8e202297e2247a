"""What is varied: names and bounds of settings.yaml, ranges and lists, and which sets that makes."""

from collections.abc import Callable
from decimal import Decimal

import pytest

from finagent.backtest.errors import BacktestError
from finagent.backtest.search.proposing import Grid, Sobol
from finagent.backtest.search.space import dimension, grid_size, grid_values, set_key
from finagent.settings import SettingsError, load_settings
from finagent.settings.tuning import tunable, value_of, with_values


@pytest.mark.parametrize(
    ("spec", "texts"),
    [
        ("scan.top=2:5", ("2", "3", "4", "5")),
        ("scan.min_gap_pct=2:3.2:0.5", ("2", "2.5", "3")),
        ("planning.target_r=1,2.5,3", ("1", "2.5", "3")),
        ("planning.time_stop_minutes=null,30", ("null", "30")),
        ("scan.style=gap_and_go,fade", ("gap_and_go", "fade")),
        ("risk.allow_shorts=false,true", ("false", "true")),
        ("planning.time_stop_min_r=-1:1:0.5", ("-1", "-0.5", "0", "0.5", "1")),
        ("scan.min_adv_usd=5000000:10000000:2500000", ("5000000", "7500000", "10000000")),
    ],
)
def test_values_are_in_order_as_they_are_written(spec: str, texts: tuple[str, ...]) -> None:
    """A whole number has steps of one, a list keeps its order, a step that overshoots stops before."""
    assert dimension(spec, value_of).texts == texts


def test_a_range_without_a_step_is_fine_as_far_as_the_settings_decimals_go() -> None:
    """A thousand values at least; basis points have two decimals."""
    wide = dimension("planning.stop_pct=1:6", value_of)
    assert (wide.is_fine, wide.texts[:3], len(wide.texts)) == (True, ("1", "1.001", "1.002"), 5001)
    narrow = dimension("execution.slippage_bps=0:1", value_of)
    assert (narrow.texts[:3], len(narrow.texts)) == (("0", "0.01", "0.02"), 101)
    with pytest.raises(
        BacktestError, match=r"planning\.stop_pct is a range without a step: a grid needs one"
    ):
        grid_size([wide])


@pytest.mark.parametrize(
    ("spec", "words", "hint"),
    [
        ("scan.min_gap=2:8", "there is no setting scan.min_gap", "did you mean scan.min_gap_pct?"),
        ("target_r=2:8", "there is no setting target_r", "did you mean planning.target_r?"),
        ("ops.log_level=info", "ops.log_level is no rule of a backtest", "those are in scan"),
        ("scan.min_gap_pct=0:8:1", "scan.min_gap_pct=0: Input should be greater than 0", "settings.yaml"),
        ("scan.top=1:99", "scan.top=99: Input should be less than or equal to 50", "settings.yaml"),
        ("scan.style=up,down", "scan.style=up: Input should be 'gap_and_go' or 'fade'", "settings.yaml"),
        ("execution.slippage_bps=1:2:0.001", "no more than 2 decimal places", "settings.yaml"),
        ("planning.opening_range_minutes=5,7", "must be 1, 5, 15 or 30", "settings.yaml"),
        ("scan.top", "no name and values", "section.key=low:high"),
        ("scan.top=", "no name and values", "section.key=low:high"),
        ("scan.top=1:x", "x is no number", "section.key=low:high"),
        ("scan.top=1:", "nothing is no number", "section.key=low:high"),
        ("scan.top=1:2:3:4", "4 numbers", "section.key=low:high"),
        ("scan.top=5:2", "5 is not below 2", "put the lower first"),
        ("scan.top=2:5:0", "a step of 0", "smaller"),
        ("scan.top=2:5:4", "a step of 4 within 2 to 5", "smaller"),
        ("scan.min_adv_usd=0:90000000", "over a million values", "larger step"),
        ("scan.top=3,3", "a value stands there twice", "once"),
        ("risk.allow_shorts=false:true", "false is no number", "section.key"),
    ],
)
def test_a_mistake_names_itself_and_its_mend(spec: str, words: str, hint: str) -> None:
    """Unknown names with the nearest, values with their bounds, ranges with their form."""
    with pytest.raises((BacktestError, SettingsError)) as caught:
        dimension(spec, value_of)
    assert isinstance(caught.value, BacktestError | SettingsError)
    assert words in caught.value.message
    assert hint in caught.value.hint


def test_every_tunable_setting_takes_its_own_default() -> None:
    """The names are those of settings.yaml, each with its own bounds."""
    settings = load_settings()
    for name in tunable():
        section, _, key = name.partition(".")
        default = getattr(getattr(settings, section), key)
        text = (
            "null" if default is None else str(default).lower() if isinstance(default, bool) else str(default)
        )
        assert value_of(name, text) == default, name
        assert with_values(settings, {name: text}) == settings


def test_values_that_do_not_fit_together_are_refused() -> None:
    """Each within its bounds; the section says why."""
    changed = with_values(load_settings(), {"scan.top": "3", "planning.target_r": "2.5"})
    assert (changed.scan.top, changed.planning.target_r) == (3, Decimal("2.5"))
    with pytest.raises(SettingsError, match=r"scoring: the weights sum to 0\.8"):
        with_values(load_settings(), {"scoring.volatility": "0.2"})


def read_anything(name: str, text: str) -> object:
    return Decimal(text)


def test_a_grid_tries_every_set_once_the_last_setting_first() -> None:
    """Two by three."""
    space = [dimension("a.a=1:2:1", read_anything), dimension("b.b=1,5,7", read_anything)]
    found = Grid(space).propose(0, grid_size(space))
    assert [(each["a.a"], each["b.b"]) for each in found] == [
        ("1", "1"), ("1", "5"), ("1", "7"), ("2", "1"), ("2", "5"), ("2", "7"),
    ]  # fmt: skip
    assert Grid(space).propose(4, 1) == [grid_values(space, 4)]


@pytest.mark.parametrize("count", [1, 2, 100, 256])
def test_sobol_points_cover_the_space_and_come_from_the_seed(count: int) -> None:
    """Of 2^k points each quarter of each setting has its share; the same seed gives the same ones, in any parts."""
    space = [dimension("a.a=0:15:1", read_anything), dimension("b.b=0:15:1", read_anything)]
    make: Callable[[int], Sobol] = lambda seed: Sobol(space, trials=count, seed=seed)  # noqa: E731
    points = make(3).propose(0, count)
    assert len(points) == count
    assert make(3).propose(0, count // 2) + make(3).propose(count // 2, count) == points
    if count == 256:
        assert make(4).propose(0, count) != points
        assert len(set(map(set_key, points))) == count
        for name, values in (("a.a", 16), ("b.b", 16)):
            counts = [sum(each[name] == str(value) for each in points) for value in range(values)]
            assert counts == [256 // values] * values


def test_sobol_never_proposes_a_set_twice() -> None:
    """Not where points fall together, nor where there are as many trials as sets: each is then there once."""
    space = [dimension("a.a=0:6:1", read_anything), dimension("b.b=x,y,z", read_anything_of_text)]
    for trials in (12, grid_size(space)):
        points = Sobol(space, trials=trials, seed=3).propose(0, trials)
        assert len(set(map(set_key, points))) == trials


def read_anything_of_text(name: str, text: str) -> object:
    return text

"""Rows made and copied quickly are frozen dataclasses in every other way."""

import copy
import dataclasses
import inspect
import pickle

import pytest

from finagent.domain.market import Bar
from finagent.domain.plan import Management
from finagent.domain.rows import maker, quick, replace


@quick
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Basket:
    """A row with each kind of default."""

    owner: str
    apples: int = 2
    others: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Slow:
    """The same without the decorator."""

    owner: str
    apples: int = 2
    others: list[str] = dataclasses.field(default_factory=list)


def test_a_quick_row_is_what_the_slow_one_is() -> None:
    row, slow = Basket(owner="Eve"), Slow(owner="Eve")
    assert dataclasses.asdict(row) == dataclasses.asdict(slow)
    assert repr(row).replace("Basket", "Slow") == repr(slow)
    assert inspect.signature(Basket) == inspect.signature(Slow)
    assert type(row) is Basket
    assert row == Basket(owner="Eve", apples=2, others=[])
    assert row != Basket(owner="Adam")
    assert Basket(owner="Eve").others is not row.others
    for twin in (pickle.loads(pickle.dumps(row)), copy.copy(row), copy.deepcopy(row)):
        assert (twin, type(twin)) == (row, Basket)
    assert hash(Bar(1, 2, 3, 4, 5, 6)) == hash(Bar(1, 2, 3, 4, 5, volume=6))


def test_a_quick_row_refuses_what_a_frozen_dataclass_refuses() -> None:
    row = Basket(owner="Eve")
    with pytest.raises(dataclasses.FrozenInstanceError):
        row.apples = 3  # type: ignore[misc]  # that is what is refused
    with pytest.raises(dataclasses.FrozenInstanceError):
        del row.apples
    with pytest.raises(TypeError, match="owner"):
        Basket()  # type: ignore[call-arg]  # as above
    with pytest.raises(TypeError, match="positional"):
        Basket("Eve")  # type: ignore[misc]  # as above
    with pytest.raises(TypeError, match="pears"):
        Basket(owner="Eve", pears=1)  # type: ignore[call-arg]  # as above


def test_a_copy_has_other_values_where_asked_and_leaves_the_row_alone() -> None:
    row = Basket(owner="Eve", apples=3, others=["pear"])
    copied = replace(row, apples=4)
    assert copied == dataclasses.replace(row, apples=4)
    assert (type(copied), row.apples) == (Basket, 3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        copied.apples = 5  # type: ignore[misc]  # that is what is refused
    with pytest.raises(AttributeError):
        replace(row, pears=1)  # type: ignore[call-arg]  # as above
    assert replace(Slow(owner="Eve"), apples=4) == Slow(owner="Eve", apples=4)
    assert replace(Management(), time_stop_minutes=5) == Management(time_stop_minutes=5)


def test_a_maker_gives_the_rows_of_its_class() -> None:
    make = maker(Basket)
    row = make(owner="Eve", apples=3)
    assert (row, type(row)) == (Basket(owner="Eve", apples=3), Basket)
    assert make(owner="Eve").others is not make(owner="Eve").others
    assert maker(Bar)(1, 2, 3, 4, 5, volume=6) == Bar(1, 2, 3, 4, 5, 6)
    with pytest.raises(dataclasses.FrozenInstanceError):
        row.apples = 4  # type: ignore[misc]  # that is what is refused
    with pytest.raises(TypeError, match="owner"):
        make()  # type: ignore[call-arg]  # as above
    with pytest.raises(TypeError, match="pears"):
        make(owner="Eve", pears=1)  # type: ignore[call-arg]  # as above


def test_a_class_with_a_base_or_an_own_beginning_is_not_made_quick() -> None:
    class Child(Slow):
        """Inherits its fields."""

    with pytest.raises(TypeError, match="Child has a base"):
        quick(Child)

    @dataclasses.dataclass(frozen=True, slots=True)
    class Checked:
        """Looks at its values itself."""

        value: int

        def __post_init__(self) -> None:
            """Would never be called."""

    with pytest.raises(TypeError, match="Checked"):
        quick(Checked)
    assert Checked(1).value == 1

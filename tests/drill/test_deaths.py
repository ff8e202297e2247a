"""What deaths a drill draws: kinds in turn, and the named steps that are left until an agent has died at each."""

import random

from finagent.runtime.failpoints import parse
from finagent.simulation.drill.deaths import Death, Deaths, named_steps


def drawn(count: int) -> Deaths:
    return Deaths(random.Random(5), count, start_s=1.0)


def test_half_are_random_instants_a_quarter_in_recovery_and_a_quarter_at_named_steps() -> None:
    found = list(drawn(80))
    assert len(found) == 80
    assert sum(death.in_recovery for death in found) == 20
    assert sum(bool(death.failpoints) for death in found) == 20
    assert all(0.3 <= death.after_s <= 1.2 for death in found if death.in_recovery)


def at_steps(deaths: Deaths) -> Death:
    return next(death for death in deaths if death.failpoints and not death.is_again)


def test_step_where_one_has_died_is_armed_again_only_when_none_is_left() -> None:
    deaths, left = drawn(1000), set(named_steps())
    while left:
        armed = parse(at_steps(deaths).failpoints)
        assert set(armed) == left
        assert {action for _, action in armed.values()} == {"kill"}
        point = min(left)
        deaths.reached(point)
        left.remove(point)
        assert deaths.not_reached == [each for each in named_steps() if each in left]
    assert set(parse(at_steps(deaths).failpoints)) == set(named_steps())


def test_steps_seen_in_no_recovery_are_armed_before_all_are_again() -> None:
    deaths, rare = drawn(1000), named_steps()[-1]
    for point in named_steps():
        deaths.reached(point)
        if point != rare:
            deaths.reached(point, is_again=True)
    assert next(deaths).failpoints == f"{rare}@1=kill"
    deaths.reached("", is_again=True)
    assert parse(at_steps(deaths).failpoints) == {rare: (1, "kill")}


def test_steps_that_nobody_comes_to_stand_back_after_two_lives_in_vain() -> None:
    deaths, rare = drawn(1000), named_steps()[-1]
    for point in named_steps()[:-1]:
        deaths.reached(point)
    for _ in range(Deaths.PATIENCE):
        assert set(parse(at_steps(deaths).failpoints)) == {rare}
        deaths.reached("")
    assert len(parse(at_steps(deaths).failpoints)) == len(named_steps())
    deaths.reached(named_steps()[0])
    assert set(parse(at_steps(deaths).failpoints)) == {rare}


def test_step_where_one_has_died_is_armed_alone_for_the_next_life_until_one_died_there_again() -> None:
    deaths, point = drawn(100), named_steps()[3]
    at_steps(deaths)
    deaths.reached(point)
    again = next(deaths)
    assert (again.is_again, parse(again.failpoints)) == (True, {point: (1, "kill")})
    deaths.reached("", is_again=True)
    assert not next(deaths).is_again, "one try, then the turns go on"
    at_steps(deaths)
    deaths.reached(point)
    assert next(deaths).is_again
    deaths.reached(point, is_again=True)
    at_steps(deaths)
    deaths.reached(point)
    assert not next(deaths).is_again, "seen in a recovery once is enough"

"""The time after the last kill: short on a slow machine too, with an agent that is up when it has to act."""

from itertools import pairwise

import pytest

from finagent.services.schedule import local_ms
from finagent.simulation.drill.scenes import CLOSE, ZONE, Scene, calm_lives, local_time, scenes

MORNING, EVENING = [scene for _, scene in zip(range(2), scenes(), strict=False)]
STARTS_S = (0.3, 1.0, 4.0, 20.0, 60.0)
MINUTE_MS = 60_000


def played_s(scene: Scene, now_ms: int, start_s: float) -> float:
    """Real seconds that the rest of a scene takes."""
    return sum((life.until_ms - life.at_ms) / 1000 / life.pace for life in calm_lives(scene, now_ms, start_s))


@pytest.mark.parametrize("start_s", STARTS_S)
def test_time_after_the_last_kill_is_a_few_starts_or_a_minute(start_s: float) -> None:
    """Killed at any minute of the morning or of the close; after a morning the close is played as a whole."""
    ends_s = [
        played_s(MORNING, at_ms, start_s) + played_s(EVENING, MORNING.end_ms, start_s)
        for at_ms in range(MORNING.at_ms + 1, MORNING.end_ms, MINUTE_MS)
    ]
    ends_s += [
        played_s(EVENING, at_ms, start_s) for at_ms in range(EVENING.at_ms + 1, EVENING.end_ms, MINUTE_MS)
    ]
    assert max(ends_s) <= 2 * 60 + 13 * start_s


@pytest.mark.parametrize("start_s", STARTS_S)
def test_agent_is_up_before_the_session_closes(start_s: float) -> None:
    """Ready while the last rungs are to come, whenever the last kill was; at once where the scene is still to come."""
    rungs_ms = local_ms(EVENING.session, "15:50", ZONE)
    for at_ms in range(EVENING.at_ms + 1, rungs_ms, MINUTE_MS):
        life = calm_lives(EVENING, at_ms, start_s)[0]
        up_ms = life.at_ms + start_s * 1000 * life.pace
        assert up_ms <= max(rungs_ms, at_ms + 2 * MINUTE_MS)
    (life,) = calm_lives(EVENING, MORNING.end_ms, start_s)
    assert MORNING.end_ms <= life.at_ms
    assert life.at_ms + start_s * 1000 * life.pace <= EVENING.at_ms


def test_lives_of_a_rest_follow_each_other_to_the_scenes_end() -> None:
    lives = calm_lives(EVENING, EVENING.at_ms + 1, 20.0)
    assert [local_time(life.at_ms) for life in lives] == [CLOSE[0], "16:02"]
    assert all(before.until_ms == after.at_ms for before, after in pairwise(lives))
    assert lives[-1].until_ms == EVENING.end_ms

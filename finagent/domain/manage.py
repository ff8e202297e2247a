"""What to watch once a plan is approved: armed triggers, open positions, and the limits of the day.

Each rule is a pure function of what is known at the end of a bar; the tick leaves a job for each action.
"""

from dataclasses import dataclass
from enum import StrEnum

from finagent.domain.market import MINUTE_MS, Bar, Direction, Instrument
from finagent.domain.money import RATIO_SCALE
from finagent.domain.plan import Plan, armed_trigger_fires
from finagent.domain.positions import ExitReason
from finagent.domain.rows import quick, replace


class StopMoveReason(StrEnum):
    """Why a stop is moved."""

    BREAK_EVEN = "break_even"
    TRAILING = "trailing"


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class OpenState:
    """What the watch of an open position remembers; prices in 1e-4.

    ``best_e4`` is the best price since the entry (highest high of a long, lowest low of a short).
    """

    entry_e4: int
    best_e4: int
    stop_e4: int
    opened_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeStop:
    """Leave: the position had its time and has not reached its minimum R since the entry."""

    reason: ExitReason = ExitReason.TIME


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveStop:
    """Replace the resting stop by one closer to the price, in 1e-4 on the tick grid."""

    new_stop_e4: int
    reason: StopMoveReason


Action = TimeStop | MoveStop


class ArmedAction(StrEnum):
    """What an armed plan does at the end of a bar."""

    TRIGGER = "trigger"
    EXPIRE = "expire"


def advance(plan: Plan, state: OpenState, bar: Bar) -> OpenState:
    """The state with an ended bar's best price; a bar that began before the entry is left out."""
    if bar.start_ms < state.opened_at_ms:
        return state
    if plan.direction is Direction.LONG:
        return replace(state, best_e4=bar.high_e4) if bar.high_e4 > state.best_e4 else state
    return replace(state, best_e4=bar.low_e4) if bar.low_e4 < state.best_e4 else state


def evaluate(plan: Plan, state: OpenState, bar: Bar, now_ms: int) -> tuple[Action, ...]:
    """Actions for an open position at the end of a bar; ``state`` has already been advanced with that bar.

    The time stop fires from ``time_stop_minutes`` after the first fill on, while the best price since the
    entry has not reached ``time_stop_min_r_e6`` (a position that once reached it is left to its stop and
    targets); it is the only action then. A stop moves once the best price has gained enough R from the
    average entry: to the entry (rounded to the tick on the winning side) or to the trailing distance from
    the best price (rounded towards the entry), whichever is closer to the price. It never moves away from
    the price, and it waits while the bar's close is not strictly beyond the new stop, where a broker would
    refuse it.
    """
    if _is_time_up(plan, state, now_ms):
        return (TimeStop(),)
    moves = [move for move in (_break_even(plan, state), _trailing(plan, state)) if move is not None]
    if not moves:
        return ()
    sign = plan.direction.sign
    moves = [move for move in moves if sign * state.stop_e4 < sign * move.new_stop_e4 < sign * bar.close_e4]
    return (max(moves, key=lambda move: sign * move.new_stop_e4),) if moves else ()


def is_managed(plan: Plan) -> bool:
    """Whether any rule may ever act on the plan's position: where none may, ``evaluate`` has nothing to say."""
    rules = plan.management
    is_trailing = rules.trail_after_r_e6 is not None and rules.trail_distance_e4 is not None
    return is_trailing or rules.break_even_after_r_e6 is not None or rules.time_stop_minutes is not None


def armed_action(plan: Plan, bar: Bar | None, now_ms: int) -> ArmedAction | None:
    """What an armed plan does at an instant: expire from ``entry_until_ms`` on, else enter on its trigger.

    ``bar`` is the symbol's bar that ends now, None where it did not trade.
    """
    if now_ms >= plan.entry_until_ms:
        return ArmedAction.EXPIRE
    return ArmedAction.TRIGGER if bar is not None and armed_trigger_fires(plan, bar) else None


def _has_gained(plan: Plan, state: OpenState, r_e6: int) -> bool:
    gained_e4 = plan.direction.sign * (state.best_e4 - state.entry_e4)
    return gained_e4 * RATIO_SCALE >= r_e6 * plan.risk_per_share_e4


def _is_time_up(plan: Plan, state: OpenState, now_ms: int) -> bool:
    minutes = plan.management.time_stop_minutes
    if minutes is None or now_ms < state.opened_at_ms + minutes * MINUTE_MS:
        return False
    return not _has_gained(plan, state, plan.management.time_stop_min_r_e6)


def _break_even(plan: Plan, state: OpenState) -> MoveStop | None:
    after_r_e6 = plan.management.break_even_after_r_e6
    if after_r_e6 is None or not _has_gained(plan, state, after_r_e6):
        return None
    sign = plan.direction.sign
    # Rounded up for a long and down for a short: at worst the position ends a tick ahead.
    new_stop_e4 = sign * -_on_grid(plan, -sign * state.entry_e4)
    return MoveStop(new_stop_e4=new_stop_e4, reason=StopMoveReason.BREAK_EVEN)


def _trailing(plan: Plan, state: OpenState) -> MoveStop | None:
    after_r_e6, distance_e4 = plan.management.trail_after_r_e6, plan.management.trail_distance_e4
    if after_r_e6 is None or distance_e4 is None or not _has_gained(plan, state, after_r_e6):
        return None
    sign = plan.direction.sign
    new_stop_e4 = sign * _on_grid(plan, sign * state.best_e4 - distance_e4)
    return MoveStop(new_stop_e4=new_stop_e4, reason=StopMoveReason.TRAILING)


def _on_grid(plan: Plan, signed_e4: int) -> int:
    """A price times a sign, rounded down to the tick of its size."""
    tick_e4 = Instrument(symbol=plan.symbol).tick_e4(abs(signed_e4))
    return signed_e4 // tick_e4 * tick_e4

"""Plans: entry, stop, target, exits and time limits for one candidate, fixed and hashed when planned."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from operator import attrgetter

from finagent.domain import setups
from finagent.domain.gap import Candidate, IndicationSource
from finagent.domain.grid import beyond, towards
from finagent.domain.market import MINUTE_MS, Bar, Direction, Session
from finagent.domain.money import RATIO_SCALE, price_text
from finagent.domain.orders import Scope, plan_id
from finagent.domain.plan import (
    AUCTION_NOTE,
    PLAN_MOVES,
    TERMINAL_PLAN_STATES,
    ExitKind,
    ExitLeg,
    Management,
    NoPlan,
    NotYet,
    Plan,
    PlanState,
    armed_trigger_fires,
    can_move,
    new_exit_leg,
    new_management,
    new_plan,
    next_plan_state,
    plan_hash,
    revise,
    with_size,
)
from finagent.domain.planning_rules import PlanningRules, validate_planning
from finagent.domain.rows import maker, quick
from finagent.domain.setups import STRUCTURE_SETUPS, Setup
from finagent.domain.shorts import ShortRules, ShortTerms, restriction_begins_e4

__all__ = [
    "PLAN_MOVES",
    "TERMINAL_PLAN_STATES",
    "ExitKind",
    "ExitLeg",
    "Management",
    "NoPlan",
    "NotYet",
    "Plan",
    "PlanState",
    "PlanningRules",
    "Setup",
    "armed_trigger_fires",
    "can_move",
    "make_plan",
    "next_plan_state",
    "plan_hash",
    "revise",
    "validate_planning",
    "with_size",
]


DEFAULT_SHORTS = ShortRules()
_start_ms = attrgetter("start_ms")


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """One question to the planner, with bars cut at ``now_ms``."""

    candidate: Candidate
    rules: PlanningRules
    session: Session
    windows: Sequence[tuple[int, int]]
    now_ms: int
    bars: tuple[Bar, ...]
    last_e4: int

    @property
    def symbol(self) -> str:
        return self.candidate.symbol

    @property
    def sign(self) -> int:
        return self.candidate.direction.sign

    def no(self, reason: str, detail: str) -> NoPlan:
        return NoPlan(self.symbol, reason, detail)

    def later(self, at_ms: int, reason: str) -> NotYet | NoPlan:
        """Ask again at the first instant from ``at_ms`` inside a window; ``no_setup`` when there is none."""
        window = _window(self.windows, at_ms)
        if window is None:
            return self.no("no_setup", f"{reason} until the entry cut-off")
        return NotYet(self.symbol, max(at_ms, window[0]), reason)

    def price_at_r(self, entry_e4: int, risk_e4: int, r_e6: int) -> int:
        """The grid price ``r_e6`` R from the entry in the trade's favour, rounded towards the entry."""
        return towards(
            self.candidate.instrument,
            entry_e4,
            numerator=entry_e4 * RATIO_SCALE + self.sign * risk_e4 * r_e6,
            denominator=RATIO_SCALE,
        )


_new_case = maker(_Case)


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class _Prices:
    """The prices of a plan."""

    reference_e4: int
    stop_e4: int
    targets: tuple[ExitLeg, ...]
    trigger_e4: int | None = None
    limit_e4: int | None = None


_new_prices = maker(_Prices)


def make_plan(
    candidate: Candidate,
    *,
    score_e6: int,
    rank: int,
    rules: PlanningRules,
    session: Session,
    scan_tick: str,
    bars: Sequence[Bar],
    windows: Sequence[tuple[int, int]],
    now_ms: int,
    scope: Scope,
    allow_shorts: bool,
    version: int = 1,
    lot_e4: int | None = None,
    shorts: ShortRules = DEFAULT_SHORTS,
) -> Plan | NoPlan | NotYet:
    """The plan of a candidate at ``now_ms``, the reason why there is none, or when to ask again.

    ``bars``: the session's regular one-minute bars in time order; those that have not ended are ignored. ``windows``:
    the entry windows as (start_ms, end_ms), the end excluded. ``lot_e4``: the account's lot. The reference is the close
    of the last ended bar (before the open the indication) or the trigger; only a pre-market one may plan an auction.
    """
    ended = _ended(bars, session, now_ms)
    case = _new_case(
        candidate=candidate,
        rules=rules,
        session=session,
        windows=sorted(windows),
        now_ms=now_ms,
        bars=ended,
        last_e4=_last_price(candidate, ended, session, now_ms),
    )
    terms = _short_terms(case, shorts if allow_shorts else None)
    if isinstance(terms, NoPlan):
        return terms
    window = _window(case.windows, now_ms)
    if window is None:
        return case.no("outside_entry_window", "no entry window is left in this session")
    prices = _wait(case, window[0]) or _prices(case)
    if not isinstance(prices, _Prices):
        return prices
    identity = plan_id(scope, session=session.date, scan_tick=scan_tick, symbol=case.symbol, version=version)
    return new_plan(
        plan_id=identity,
        version=version,
        session=session.date,
        scan_tick=scan_tick,
        symbol=case.symbol,
        rank=rank,
        preset=rules.preset,
        setup=rules.entry_setup,
        direction=candidate.direction,
        score_e6=score_e6,
        reference_e4=prices.reference_e4,
        stop_e4=prices.stop_e4,
        targets=prices.targets,
        management=_management(case),
        decided_at_ms=now_ms,
        entry_from_ms=max(now_ms, window[0]),
        entry_until_ms=window[1],
        trigger_e4=prices.trigger_e4,
        limit_e4=prices.limit_e4,
        adv_shares=candidate.adv_shares,
        spread_e6=candidate.spread_e6,
        lot_e4=lot_e4 or candidate.instrument.lot_e4,
        notes=_notes(case),
        sector=candidate.instrument.sector,
        short=terms,
    )


def _ended(bars: Sequence[Bar], session: Session, now_ms: int) -> tuple[Bar, ...]:
    if not bars:
        return ()
    first = bisect_left(bars, session.open_ms, key=_start_ms)
    return tuple(bars[first : bisect_right(bars, now_ms - MINUTE_MS, first, key=_start_ms)])


_NOTES = ("atr_unknown", "borrow_assumed", "short_restricted", AUCTION_NOTE)


def _notes(case: _Case) -> tuple[str, ...]:
    """What a person should know beside the prices."""
    candidate = case.candidate
    is_short = candidate.direction is Direction.SHORT
    applies = (
        not candidate.atr_e4,
        is_short and candidate.instrument.easy_to_borrow is None,
        is_short and candidate.is_short_restricted is True,
        case.now_ms < case.session.open_ms,
    )
    return tuple(compress(_NOTES, applies))


def _last_price(candidate: Candidate, bars: Sequence[Bar], session: Session, now_ms: int) -> int:
    if bars and bars[-1].end_ms > candidate.as_of_ms:
        return bars[-1].close_e4
    return candidate.indication_e4 if now_ms < session.open_ms else candidate.last_price_e4


def _window(windows: Sequence[tuple[int, int]], at_ms: int) -> tuple[int, int] | None:
    """The first window that is open at an instant or opens after it."""
    return next((window for window in windows if max(at_ms, window[0]) < window[1]), None)


def _short_terms(case: _Case, rules: ShortRules | None) -> ShortTerms | NoPlan | None:
    """None for a long. A short needs shares that are easy to borrow and a known short-sale restriction; under it
    the entry leaves as a limit above the bid.
    """
    candidate = case.candidate
    if candidate.direction is Direction.LONG:
        return None
    if rules is None:
        return case.no("shorts_off", "risk.allow_shorts is off")
    instrument, restricted = candidate.instrument, candidate.is_short_restricted
    if instrument.shortable is False or instrument.easy_to_borrow is False:
        return case.no("not_borrowable", "the shares are not easy to borrow now")
    if instrument.easy_to_borrow is None and not rules.is_borrow_assumed:
        return case.no("borrow_unknown", "it is unknown whether the shares are easy to borrow")
    if restricted is None:
        return case.no("short_restriction_unknown", "it is unknown whether the short-sale restriction is on")
    adjusted = (candidate.adjusted_numerator, candidate.adjusted_denominator)
    previous = adjusted if candidate.adjusted_numerator else (candidate.prev_close_e4, 1)
    return ShortTerms(
        is_restricted=restricted,
        restricted_at_e4=restriction_begins_e4(*previous),
        is_borrow_assumed=rules.is_borrow_assumed and instrument.easy_to_borrow is None,
        borrow_fee_e6=rules.borrow_fee_e6,
    )


def _wait(case: _Case, window_start_ms: int) -> NotYet | NoPlan | None:
    """What to wait for before the setup can be judged at all; None when it can be judged now.

    Before the open there is no bid to be above, so a restricted short waits for it.
    """
    setup, open_ms, now_ms = case.rules.entry_setup, case.session.open_ms, case.now_ms
    is_premarket = case.candidate.indication_source is IndicationSource.PREMARKET
    is_restricted = case.sign < 0 and case.candidate.is_short_restricted is True
    is_auction = is_premarket and now_ms < open_ms and window_start_ms <= open_ms and not is_restricted
    if setup is Setup.NEXT_OPEN and is_auction:
        return None
    if setup is Setup.OPENING_RANGE_BREAK:
        ready_ms, reason = open_ms + case.rules.opening_range_minutes * MINUTE_MS, "opening_range"
    else:
        ready_ms, reason = open_ms + MINUTE_MS, "before_open"
    if now_ms < ready_ms:
        return case.later(ready_ms, reason)
    return case.later(now_ms, "outside_entry_window") if now_ms < window_start_ms else None


def _prices(case: _Case) -> _Prices | NoPlan | NotYet:
    setup = case.rules.entry_setup
    if setup is Setup.NEXT_OPEN:
        return _classic(case, case.last_e4, None)
    if setup is Setup.OPENING_RANGE_BREAK:
        return _opening_range(case)
    return _structure(case, STRUCTURE_SETUPS[setup])


def _opening_range(case: _Case) -> _Prices | NoPlan:
    """Trigger one tick beyond the high (long) or low (short) of the first minutes of the session."""
    end_ms = case.session.open_ms + case.rules.opening_range_minutes * MINUTE_MS
    opening = [bar for bar in case.bars if bar.start_ms < end_ms]
    if not opening:
        return case.no("no_level", f"no bar in the first {case.rules.opening_range_minutes} min")
    is_long = case.candidate.direction is Direction.LONG
    level_e4 = max(bar.high_e4 for bar in opening) if is_long else min(bar.low_e4 for bar in opening)
    trigger_e4 = beyond(case.candidate.instrument, level_e4, case.candidate.direction)
    return _classic(case, trigger_e4, trigger_e4)


def _classic(case: _Case, reference_e4: int, trigger_e4: int | None) -> _Prices | NoPlan:
    """Stop at the tighter of the percentage and the ATR multiple, one target at a multiple of R."""
    widths = [reference_e4 * case.rules.stop_e6]
    if case.candidate.atr_e4:
        widths.append(case.candidate.atr_e4 * case.rules.stop_atr_e6)
    stop_e4 = towards(
        case.candidate.instrument,
        reference_e4,
        numerator=reference_e4 * RATIO_SCALE - case.sign * min(widths),
        denominator=RATIO_SCALE,
    )
    return _checked(
        case,
        reference_e4=reference_e4,
        stop_e4=stop_e4,
        legs=((RATIO_SCALE, case.rules.target_r_e6),),
        trigger_e4=trigger_e4,
    )


def _structure(case: _Case, rule: setups.PatternRule) -> _Prices | NoPlan | NotYet:
    """Stop one tick beyond the pattern's level, within the allowed width in ATR; two targets."""
    rules, atr_e4 = case.rules, case.candidate.atr_e4
    if not atr_e4:
        return case.no("no_atr", "the width of the stop cannot be judged without ATR")
    pattern = setups.look(
        rule, case.candidate, case.bars, last_e4=case.last_e4, session=case.session, now_ms=case.now_ms
    )
    if isinstance(pattern, setups.Missing):
        return case.no(pattern.reason, pattern.detail)
    if isinstance(pattern, setups.Waiting):
        return case.later(case.now_ms - case.now_ms % MINUTE_MS + MINUTE_MS, pattern.reason)
    instrument, direction = case.candidate.instrument, case.candidate.direction
    against = Direction.SHORT if direction is Direction.LONG else Direction.LONG
    trigger_e4 = beyond(instrument, pattern.trigger_e4, direction)
    stop_e4 = beyond(instrument, pattern.stop_e4, against)
    width_e10 = abs(trigger_e4 - stop_e4) * RATIO_SCALE
    seen = f"entry {price_text(trigger_e4)}, stop {price_text(stop_e4)}, ATR {price_text(atr_e4)}"
    if width_e10 > atr_e4 * rules.structure_stop_max_atr_e6:
        return case.no("stop_too_wide", seen)
    if width_e10 < atr_e4 * rules.structure_stop_min_atr_e6:
        return case.no("stop_too_tight", seen)
    first_share = rules.first_target_share_e6
    prices = _checked(
        case,
        reference_e4=trigger_e4,
        stop_e4=stop_e4,
        legs=((first_share, rules.first_target_r_e6), (RATIO_SCALE - first_share, rules.second_target_r_e6)),
        trigger_e4=trigger_e4,
    )
    room_e4 = pattern.room_e4
    if not isinstance(prices, _Prices) or room_e4 is None:
        return prices
    if case.sign * (prices.targets[0].price_e4 - room_e4) > 0:
        return case.no("no_room", f"{seen}, gap fill {price_text(room_e4)}")
    return prices


def _checked(
    case: _Case,
    *,
    reference_e4: int,
    stop_e4: int,
    legs: tuple[tuple[int, int], ...],
    trigger_e4: int | None,
) -> _Prices | NoPlan:
    """Targets and the entry limit; refused where rounding leaves no room or the price is already past one of
    them.
    """
    sign, last_e4, risk_e4 = case.sign, case.last_e4, abs(reference_e4 - stop_e4)
    if sign * (reference_e4 - stop_e4) <= 0:
        return case.no("stop_too_tight", f"entry {price_text(reference_e4)}, stop {price_text(stop_e4)}")
    targets = tuple(
        [
            new_exit_leg(
                leg=f"target-{number}",
                share_e6=share_e6,
                price_e4=case.price_at_r(reference_e4, risk_e4, r_e6),
            )
            for number, (share_e6, r_e6) in enumerate(legs, 1)
        ]
    )
    first_e4 = targets[0].price_e4
    limit_e4, reason = None, ""
    if sign * (first_e4 - reference_e4) <= 0 or targets[-1].price_e4 <= 0:
        reason = "no_room"
    elif sign * (last_e4 - stop_e4) <= 0:
        reason = "past_stop"
    elif sign * (last_e4 - first_e4) >= 0:
        reason = "past_target"
    elif trigger_e4 is not None:
        limit_e4 = case.price_at_r(trigger_e4, risk_e4, case.rules.limit_slack_r_e6)
        reason = "past_trigger" if sign * (last_e4 - limit_e4) > 0 else ""
    if reason:
        seen = f"last {price_text(last_e4)}, stop {price_text(stop_e4)}, target {price_text(first_e4)}"
        return case.no(reason, seen if limit_e4 is None else f"{seen}, limit {price_text(limit_e4)}")
    return _new_prices(
        reference_e4=reference_e4,
        stop_e4=stop_e4,
        targets=targets,
        trigger_e4=trigger_e4,
        limit_e4=limit_e4,
    )


def _management(case: _Case) -> Management:
    """Break-even belongs to ``structure``; trailing needs both its rules and a known ATR."""
    rules, atr_e4 = case.rules, case.candidate.atr_e4
    trail_e4 = None
    if atr_e4 and rules.trail_distance_atr_e6 is not None:
        trail_e4 = atr_e4 * rules.trail_distance_atr_e6 // RATIO_SCALE
    return new_management(
        break_even_after_r_e6=rules.break_even_after_r_e6 if rules.preset == "structure" else None,
        trail_after_r_e6=rules.trail_after_r_e6 if trail_e4 else None,
        trail_distance_e4=trail_e4 or None,
        time_stop_minutes=rules.time_stop_minutes,
        time_stop_min_r_e6=rules.time_stop_min_r_e6,
    )

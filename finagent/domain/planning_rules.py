"""Planning rules: the presets' parameters, checked before anything is planned with them."""

from dataclasses import dataclass

from finagent.domain.errors import SettingsValueError
from finagent.domain.money import RATIO_SCALE
from finagent.domain.setups import CLASSIC_SETUPS, STRUCTURE_SETUPS, Setup


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanningRules:
    """How plans are made; ratios, R and ATR multiples in 1e-6, None switches a rule off.

    ``classic`` enters at the next bar's open or on an opening-range break, with the tighter of both stops and
    one target. ``structure`` enters on ``setup`` with its stop beyond that level and half off at the first
    target.
    """

    preset: str = "classic"
    classic_entry: Setup = Setup.NEXT_OPEN
    opening_range_minutes: int = 5
    stop_e6: int = 30_000
    stop_atr_e6: int = 2_000_000
    target_r_e6: int = 3_000_000
    setup: Setup = Setup.PREMARKET_BREAK
    structure_stop_min_atr_e6: int = 250_000
    structure_stop_max_atr_e6: int = 1_000_000
    first_target_r_e6: int = 1_000_000
    first_target_share_e6: int = 500_000
    second_target_r_e6: int = 2_000_000
    break_even_after_r_e6: int | None = 1_000_000
    limit_slack_r_e6: int = 100_000
    time_stop_minutes: int | None = 60
    time_stop_min_r_e6: int = 500_000
    trail_after_r_e6: int | None = None
    trail_distance_atr_e6: int | None = None

    @property
    def entry_setup(self) -> Setup:
        """The setup that the preset enters on."""
        entry = self.classic_entry if self.preset == "classic" else self.setup
        return entry if type(entry) is Setup else Setup(entry)


def validate_planning(rules: PlanningRules) -> PlanningRules:
    """The rules themselves; SettingsValueError names the first value that cannot work."""
    trailing = (rules.trail_after_r_e6, rules.trail_distance_atr_e6)
    minutes = rules.opening_range_minutes
    checks = (
        ("preset", rules.preset, rules.preset in ("classic", "structure"), "classic or structure"),
        (
            "classic_entry",
            rules.classic_entry,
            rules.classic_entry in CLASSIC_SETUPS,
            ", ".join(CLASSIC_SETUPS),
        ),
        ("setup", rules.setup, rules.setup in STRUCTURE_SETUPS, ", ".join(STRUCTURE_SETUPS)),
        ("opening_range_minutes", minutes, minutes in (1, 5, 15, 30), "1, 5, 15 or 30"),
        (
            "stop_e6",
            rules.stop_e6,
            0 < rules.stop_e6 < RATIO_SCALE,
            "more than 0 and less than 1000000 (100 %)",
        ),
        ("stop_atr_e6", rules.stop_atr_e6, rules.stop_atr_e6 > 0, "more than 0"),
        ("target_r_e6", rules.target_r_e6, rules.target_r_e6 > 0, "more than 0"),
        (
            "structure_stop_min_atr_e6",
            rules.structure_stop_min_atr_e6,
            0 < rules.structure_stop_min_atr_e6 <= rules.structure_stop_max_atr_e6,
            "more than 0 and at most structure_stop_max_atr_e6",
        ),
        (
            "first_target_share_e6",
            rules.first_target_share_e6,
            0 < rules.first_target_share_e6 < RATIO_SCALE,
            "more than 0 and less than 1000000 (100 %)",
        ),
        (
            "first_target_r_e6",
            rules.first_target_r_e6,
            0 < rules.first_target_r_e6 < rules.second_target_r_e6,
            "more than 0 and less than second_target_r_e6",
        ),
        (
            "break_even_after_r_e6",
            rules.break_even_after_r_e6,
            _is_positive_or_off(rules.break_even_after_r_e6),
            "1 or more",
        ),
        ("limit_slack_r_e6", rules.limit_slack_r_e6, rules.limit_slack_r_e6 >= 0, "0 or more"),
        (
            "time_stop_minutes",
            rules.time_stop_minutes,
            _is_positive_or_off(rules.time_stop_minutes),
            "1 or more",
        ),
        ("trail_after_r_e6", trailing[0], _is_positive_or_off(trailing[0]), "more than 0"),
        ("trail_distance_atr_e6", trailing[1], _is_positive_or_off(trailing[1]), "more than 0"),
    )
    for name, value, is_good, wanted in checks:
        if not is_good:
            raise SettingsValueError(f"planning.{name} is {value}; set it to {wanted}")
    if (trailing[0] is None) != (trailing[1] is None):
        raise SettingsValueError(
            f"planning.trail_after_r_e6 is {trailing[0]} and trail_distance_atr_e6 is {trailing[1]};"
            " set both or none"
        )
    return rules


def _is_positive_or_off(value: int | None) -> bool:
    return value is None or value > 0

"""Bugs planted in the kernel's text: each is one line that a person could write wrong."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from finagent.backtest import kernel

FOLDER = Path(str(kernel.__file__)).parent
MODULES = ("arithmetic", "choosing", "filling", "playing")
"""In the order in which they import each other."""


@dataclass(frozen=True)
class Mutant:
    """A text of one module and what stands there instead; the text must be there exactly once."""

    module: str
    right: str
    wrong: str


MUTANTS = {
    "a buy slips down": Mutant(
        "arithmetic",
        "return -(-price_e4 * (RATIO + slippage_e6) // step) * tick",
        "return price_e4 * (RATIO + slippage_e6) // step * tick",
    ),
    "a sale slips up": Mutant(
        "arithmetic",
        "max(price_e4 * (RATIO - slippage_e6) // step * tick, tick)",
        "max(-(-price_e4 * (RATIO - slippage_e6) // step) * tick, tick)",
    ),
    "a cent below a dollar": Mutant("arithmetic", "return 100 if price_e4 >= 10_000 else 1", "return 100"),
    "stops widen": Mutant(
        "arithmetic",
        "price_e4 = -(-numerator // RATIO)\n    tick = tick_e4(price_e4)\n    return -(-price_e4 // tick) * tick",
        "price_e4 = numerator // RATIO\n    tick = tick_e4(price_e4)\n    return price_e4 // tick * tick",
    ),
    "buys pay the fees of sales": Mutant(
        "arithmetic", "if is_buy or p[c.HAS_REGULATORY] == 0", "if p[c.HAS_REGULATORY] == 0"
    ),
    "no least commission": Mutant(
        "arithmetic", "charge = max(charge, p[c.FEE_MIN])", "charge = max(charge, 0)"
    ),
    "one step of division too few": Mutant(
        "arithmetic",
        "for _ in range(3):\n        rest *= 100\n        digit",
        "for _ in range(3):\n        rest *= 10\n        digit",
    ),
    "a tie at the limit is no gap": Mutant(
        "choosing", "if row[c.GAP] < p[c.MIN_GAP]:", "if row[c.GAP] <= p[c.MIN_GAP]:"
    ),
    "unknown values are dropped": Mutant("choosing", "if p[c.KEEPS_UNKNOWN] == 0 and (", "if ("),
    "ties go by symbol backwards": Mutant(
        "choosing",
        "return row[c.SYMBOL] < rows[plan[c.P_ROW]][c.SYMBOL]",
        "return row[c.SYMBOL] > rows[plan[c.P_ROW]][c.SYMBOL]",
    ),
    "the lowest score first": Mutant(
        "choosing", "return value > plan[c.P_SCORE]", "return value < plan[c.P_SCORE]"
    ),
    "the wider stop": Mutant(
        "choosing",
        "width = min(width, row[c.ATR] * p[c.STOP_ATR])",
        "width = max(width, row[c.ATR] * p[c.STOP_ATR])",
    ),
    "the day's loss is no cap": Mutant("choosing", "if room >= 0:", "if room < 0:"),
    "exposure counts from nothing": Mutant(
        "choosing", "p[c.MAX_EXPOSURE]) - notional_e8", "p[c.MAX_EXPOSURE])"
    ),
    "one position too many": Mutant(
        "choosing", "if others >= p[c.MOST_POSITIONS] or", "if others > p[c.MOST_POSITIONS] or"
    ),
    "orders of a minute uncounted": Mutant(
        "playing", "orders += 1 if plans[other][c.P_STATE] == c.EXECUTED else 0", "orders += 0"
    ),
    "shorts in odd lots": Mutant(
        "choosing", "lot = max(p[c.LOT], SHARE_E4) if is_short else p[c.LOT]", "lot = p[c.LOT]"
    ),
    "a restricted short": Mutant(
        "choosing", "p[c.IS_CASH_SETTLED] == 1 or row[c.RESTRICTED] == 1", "p[c.IS_CASH_SETTLED] == 1"
    ),
    "sizes without slippage": Mutant(
        "choosing", "cost = price * (RATIO + p[c.SIZING_SLIPPAGE])", "cost = price * RATIO"
    ),
    "a fat finger passes": Mutant(
        "choosing", "return worth <= share_floor(cap, RATIO + max(p[c.PRICE_BAND], 0))", "return worth > 0"
    ),
    "the day begins with no volume left": Mutant(
        "filling", "held, budget - more", "held, budget - bought - more"
    ),
    "the rest of an entry is forgotten": Mutant(
        "filling", "more = min(plan[c.P_QUANTITY] - bought, budget)", "more = 0"
    ),
    "the target first": Mutant(
        "filling", "return p[c.AMBIGUITY] == c.TARGET_FIRST", "return p[c.AMBIGUITY] == c.STOP_FIRST"
    ),
    "the path backwards": Mutant(
        "filling", "return row[c.HIGH] >= plan[c.P_TARGET] and row[c.HIGH] > plan[c.P_STOP]", "return False"
    ),
    "bounds of a short upside down": Mutant(
        "filling", "else (is_ambiguous, low, high)", "else (is_ambiguous, high, low)"
    ),
    "a target reached is passed": Mutant(
        "filling", "highest >= plan[c.P_TARGET]", "highest > plan[c.P_TARGET]"
    ),
    "the close of a short first minutes": Mutant("filling", "p[c.SLIPPAGE] * times)", "p[c.SLIPPAGE])"),
    "an exit at the close is no order": Mutant(
        "filling", "        tally[c.ORDERS] += 1\n", "        tally[c.ORDERS] += 0\n"
    ),
    "equity stands still": Mutant("playing", "state[c.EQUITY] += gained", "state[c.EQUITY] += 0"),
    "sales settle in a day": Mutant("playing", "total += state[c.SOLD_EARLIER]", "total += 0"),
    "sales of yesterday are spent": Mutant(
        "playing", "settled = max(equity - _unsettled(day, state), 0)", "settled = max(equity, 0)"
    ),
    "entries in a time without": Mutant(
        "playing", "if day[c.IS_NO_TRADE] == 1:", "if day[c.IS_NO_TRADE] == 2:"
    ),
    "plans outside the window": Mutant(
        "playing", "if day[c.STAGE] == c.SCANNED:", "if day[c.STAGE] == c.SKIPPED:"
    ),
}


def planted(mutant: Mutant | None) -> Callable[..., None]:
    """The kernel's ``play`` as it is written, with the bug in it."""
    names = {name: f"finagent.backtest.kernel.{name}" for name in ("compiling", *MODULES)}
    kept = {name: sys.modules[name] for name in names.values() if name in sys.modules}
    unmarked: Any = ModuleType(names["compiling"])
    unmarked.compiled = lambda function: function
    sys.modules[names["compiling"]] = unmarked
    try:
        for short in MODULES:
            module = ModuleType(names[short])
            sys.modules[names[short]] = module
            exec(compile(_text(short, mutant), str(FOLDER / f"{short}.py"), "exec"), vars(module))
        play: Callable[..., None] = vars(sys.modules[names["playing"]])["play"]
        return play
    finally:
        for name in names.values():
            sys.modules.pop(name)
        sys.modules.update(kept)


def _text(module: str, mutant: Mutant | None) -> str:
    text = (FOLDER / f"{module}.py").read_text(encoding="utf-8")
    if mutant is None or mutant.module != module:
        return text
    assert text.count(mutant.right) == 1, (
        f"{mutant.right!r} stands {text.count(mutant.right)} times in {module}"
    )
    return text.replace(mutant.right, mutant.wrong)

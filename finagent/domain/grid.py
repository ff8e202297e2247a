"""Prices on an instrument's tick grid, rounded in exact integers."""

from finagent.domain.market import Direction, Instrument


def grid_down(instrument: Instrument, price_e4: int) -> int:
    """The highest grid price at or below a price, in 1e-4."""
    tick = instrument.tick_e4(price_e4)
    return price_e4 // tick * tick


def grid_up(instrument: Instrument, price_e4: int) -> int:
    """The lowest grid price at or above a price, in 1e-4."""
    tick = instrument.tick_e4(price_e4)
    return -(-price_e4 // tick) * tick


def beyond(instrument: Instrument, price_e4: int, direction: Direction) -> int:
    """The nearest grid price strictly above (long) or strictly below (short) a price: one tick beyond a
    level.
    """
    if direction is Direction.LONG:
        return grid_up(instrument, price_e4 + 1)
    return grid_down(instrument, price_e4 - 1)


def towards(instrument: Instrument, entry_e4: int, *, numerator: int, denominator: int) -> int:
    """The grid price nearest to numerator / denominator (in 1e-4) on its entry side: stops and targets never
    widen.
    """
    if numerator > entry_e4 * denominator:
        return grid_down(instrument, numerator // denominator)
    return grid_up(instrument, -(-numerator // denominator))

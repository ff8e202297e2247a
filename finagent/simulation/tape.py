"""The truth of the market: every symbol's minutes, each with the four prices it goes through, in order."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from finagent.domain.market import MINUTE_MS, Bar, Session

SYMBOLS = ("AAA", "BBB", "CCC", "DDD", "EEE", "FFF", "GGG", "HHH")
PREMARKET_MINUTES = 10
GRID_E4 = 100
LEAST_E4 = 30_000


@dataclass(frozen=True, slots=True)
class Minute:
    """One minute of trading: its bar, and its prices at 0, 20, 40 and 59 s."""

    bar: Bar
    path_e4: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Halt:
    """A symbol does not trade from one instant until another."""

    symbol: str
    from_ms: int
    until_ms: int


class Tape:
    """Minutes by session and symbol, the close before each session, and halts."""

    def __init__(self) -> None:
        self.minutes: dict[tuple[str, str], list[Minute]] = {}
        self.premarket: dict[tuple[str, str], list[Bar]] = {}
        self.previous_e4: dict[tuple[str, str], int] = {}
        self.halts: list[Halt] = []
        self.symbols: tuple[str, ...] = ()

    def is_halted(self, symbol: str, at_ms: int) -> bool:
        """Whether nobody can trade it at an instant."""
        return any(h.symbol == symbol and h.from_ms <= at_ms < h.until_ms for h in self.halts)

    def price_e4(self, session: Session, symbol: str, at_ms: int) -> int:
        """The price at an instant of a session; before it the last pre-market one, after it the close."""
        minutes = self.minutes[session.date, symbol]
        passed_ms = at_ms - session.open_ms
        if passed_ms < 0:
            return self.premarket[session.date, symbol][-1].close_e4
        number = passed_ms // MINUTE_MS
        if number >= len(minutes):
            return minutes[-1].bar.close_e4
        return minutes[number].path_e4[passed_ms % MINUTE_MS // 20_000]

    def volume(self, session: Session, symbol: str, at_ms: int) -> int:
        """Shares traded in the minute of an instant."""
        minutes = self.minutes[session.date, symbol]
        number = min(max(0, (at_ms - session.open_ms) // MINUTE_MS), len(minutes) - 1)
        return minutes[number].bar.volume


def make_tape(rng: random.Random, sessions: Sequence[Session], *, symbols: int) -> Tape:
    """Gaps, mostly up, then walks wide enough to reach stops and targets within half an hour."""
    tape = Tape()
    tape.symbols = SYMBOLS[:symbols]
    close_e4 = {symbol: rng.randrange(2_000, 20_000) * GRID_E4 for symbol in tape.symbols}
    for session in sessions:
        for symbol in tape.symbols:
            before_e4 = close_e4[symbol]
            tape.previous_e4[session.date, symbol] = before_e4
            gap_e4 = rng.randrange(450, 1_200) if rng.random() < 0.85 else -rng.randrange(0, 900)
            open_e4 = _grid(before_e4 * (10_000 + gap_e4) // 10_000)
            drift = rng.choice((-12, -4, 0, 4, 12))
            wide = rng.choice((20, 40, 70))
            tape.premarket[session.date, symbol] = _premarket(rng, session, open_e4)
            minutes = _walk(rng, session, open_e4, drift=drift, wide=wide)
            tape.minutes[session.date, symbol] = minutes
            close_e4[symbol] = min(max(minutes[-1].bar.close_e4, 200_000), 2_000_000)
    return tape


def _walk(rng: random.Random, session: Session, open_e4: int, *, drift: int, wide: int) -> list[Minute]:
    """``drift`` and ``wide`` are 1e-4 of the price a minute."""
    price_e4, minutes = open_e4, []
    for start_ms in range(session.open_ms, session.close_ms, MINUTE_MS):
        path = [price_e4]
        for _ in range(3):
            move = drift // 3 + rng.randrange(-wide, wide + 1)
            path.append(max(LEAST_E4, _grid(path[-1] * (10_000 + move) // 10_000)))
        volume = rng.randrange(20_000, 200_000)
        bar = Bar(start_ms, path[0], max(path), min(path), path[3], volume)
        minutes.append(Minute(bar, (path[0], path[1], path[2], path[3])))
        price_e4 = path[3]
    return minutes


def _premarket(rng: random.Random, session: Session, open_e4: int) -> list[Bar]:
    """Ten minutes that end at the opening price, the last one two minutes before the open."""
    found = []
    for number in range(PREMARKET_MINUTES):
        start_ms = session.open_ms - (PREMARKET_MINUTES + 7 - number) * MINUTE_MS
        is_last = number == PREMARKET_MINUTES - 1
        close_e4 = open_e4 if is_last else _grid(open_e4 * rng.randrange(9_950, 10_051) // 10_000)
        high_e4, low_e4 = max(open_e4, close_e4), min(open_e4, close_e4)
        found.append(Bar(start_ms, open_e4, high_e4, low_e4, close_e4, 50_000))
    return found


def _grid(price_e4: int) -> int:
    return price_e4 // GRID_E4 * GRID_E4


def prices(tape: Tape, session: Session, at_ms: int) -> Mapping[str, int]:
    """Every symbol's price at an instant."""
    return {symbol: tape.price_e4(session, symbol, at_ms) for symbol in tape.symbols}

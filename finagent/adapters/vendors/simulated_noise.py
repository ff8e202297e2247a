"""Noise that is a pure function of its coordinates: the same in whatever order it is asked for.

A counter-based generator (splitmix64's finaliser, Steele, Lea and Flood 2014) needs no state, so a single day
can be computed without those before it; integer arithmetic is the same on every machine and numpy version.
"""

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Words = NDArray[np.uint64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MUL_1 = np.uint64(0xBF58476D1CE4E5B9)
_MUL_2 = np.uint64(0x94D049BB133111EB)
_STEP = np.uint64(0xD1342543DE82EF95)
_PIECE = np.uint64(0xFFFF)
NORMAL_CENTRE = 131_070
NORMAL_SCALE = 37_837.227
"""Sum of four 16-bit uniforms: its mean and standard deviation."""


class Noise:
    """Random fields by name over (seed, day, symbol) and (seed, day, symbol, minute)."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def words(self, name: str, *coordinates: Ints) -> Words:
        """64 random bits per coordinate; the coordinates are broadcast against each other, all >= 0."""
        digest = blake2b(f"{self._seed}:{name}".encode(), digest_size=8).digest()
        state = np.array([int.from_bytes(digest, "big")], dtype=np.uint64)
        for axis in coordinates:
            state = _mix(state ^ (axis.astype(np.uint64) * _STEP + _GOLDEN))
        return state

    def unit(self, name: str, *coordinates: Ints) -> Floats:
        """Uniform in [0, 1)."""
        return unit(self.words(name, *coordinates))

    def normal(self, name: str, *coordinates: Ints) -> Floats:
        """About standard normal, never beyond 3.47."""
        return normal_steps(self.words(name, *coordinates)) / NORMAL_SCALE

    def below(self, name: str, limit: Ints, *coordinates: Ints) -> Ints:
        """Uniform integers in [0, limit)."""
        return below(self.words(name, *coordinates), limit)


def unit(words: Words) -> Floats:
    """Uniform in [0, 1) from random words."""
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def below(words: Words, limit: Ints) -> Ints:
    """Uniform integers in [0, limit) from random words."""
    return (words >> np.uint64(33)).astype(np.int64) * limit >> 31


def normal_steps(words: Words) -> Ints:
    """Bell-shaped integers around 0 with standard deviation NORMAL_SCALE; exact, so their sums are too."""
    total = np.zeros(words.shape, dtype=np.int64)
    for shift in (0, 16, 32, 48):
        total += ((words >> np.uint64(shift)) & _PIECE).astype(np.int64)
    return total - NORMAL_CENTRE


def _mix(state: Words) -> Words:
    state = state + _GOLDEN
    state = (state ^ (state >> np.uint64(30))) * _MUL_1
    state = (state ^ (state >> np.uint64(27))) * _MUL_2
    return state ^ (state >> np.uint64(31))

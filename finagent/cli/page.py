"""The page a document is written on: its width, whether it may use colour, tables and bars that fit it."""

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TextIO

UNKNOWN = "–"
WIDE = 100
NARROWEST = 40
_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
_BLOCKS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; columns of higher ``rank`` leave first on a narrow page.

    A flexible one wraps, or with ``is_cut`` is shortened to one line.
    """

    title: str
    right: bool = False
    rank: int = 0
    flexible: bool = False
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """Width in characters and whether colour codes may be written."""

    width: int = 80
    is_coloured: bool = False

    @classmethod
    def of(cls, stream: TextIO) -> "Page":
        """The page a stream offers: no colour when piped or with NO_COLOR; COLUMNS wins."""
        is_terminal = stream.isatty()
        width = (
            shutil.get_terminal_size((WIDE, 24)).columns if is_terminal or os.environ.get("COLUMNS") else WIDE
        )
        colour = is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        return cls(max(NARROWEST, width), colour)

    def paint(self, words: str, colour: str) -> str:
        """The words in a colour where the page has any."""
        return f"\x1b[{_CODES[colour]}m{words}\x1b[0m" if self.is_coloured and words else words

    def heading(self, words: str) -> str:
        """What opens a part."""
        return self.paragraph(words, "bold")

    def paragraph(self, words: str, colour: str) -> str:
        """Words in a colour, broken where the page ends."""
        return "\n".join(self.paint(line, colour) for line in wrap(words, self.width))

    def gain(self, words: str, value: Decimal | None) -> str:
        """Green for a gain, red for a loss."""
        if value is None or value == 0:
            return words
        return self.paint(words, "green" if value > 0 else "red")

    def table(self, columns: Sequence[Column], cells: Sequence[Sequence[str]], *, indent: int = 0) -> str:
        """An aligned table that fits the page; without rows it is empty."""
        if not cells:
            return ""
        kept = self._fitting(columns, cells, indent)
        widths = self._widths(columns, cells, kept, indent)
        lines = [self.paint(_line([columns[i].title for i in kept], kept, columns, widths, indent), "bold")]
        for row in cells:
            lines.extend(_wrapped_row(row, kept, columns, widths, indent))
        return "\n".join(lines)

    def pairs(self, items: Sequence[tuple[str, str]]) -> str:
        """Names and values under each other, long values wrapped; empty values are left out."""
        shown = [(name, value) for name, value in items if value]
        indent = max((len(name) for name, _ in shown), default=0) + 2
        lines = []
        for name, value in shown:
            parts = wrap(value, self.width - indent)
            lines.append(f"{self.paint(name, 'dim')}{' ' * (indent - len(name))}{parts[0]}")
            lines.extend(" " * indent + part for part in parts[1:])
        return "\n".join(lines)

    def bar(self, share: Decimal | None, *, cells: int = 20) -> str:
        """A bar filled to a share of 0 to 1."""
        if share is None:
            return ""
        filled = int(min(Decimal(1), max(Decimal(0), share)) * cells + Decimal("0.5"))
        colour = "red" if share >= Decimal("0.8") else "yellow" if share >= Decimal("0.5") else "green"
        return self.paint("█" * filled, colour) + "░" * (cells - filled)

    def _fitting(self, columns: Sequence[Column], cells: Sequence[Sequence[str]], indent: int) -> list[int]:
        """The columns that fit; empty ones and those of the highest rank leave first."""
        kept = [
            i
            for i in range(len(columns))
            if columns[i].rank == 0 or any(row[i] not in ("", UNKNOWN) for row in cells)
        ]
        while self._needed(columns, cells, kept, indent) > self.width:
            worst = max(kept, key=lambda i: (columns[i].rank, i))
            if columns[worst].rank == 0:
                break
            kept.remove(worst)
        return kept

    def _needed(
        self, columns: Sequence[Column], cells: Sequence[Sequence[str]], kept: list[int], indent: int
    ) -> int:
        widths = [
            min(natural, 24) if columns[i].flexible else natural
            for i in kept
            for natural in [_natural(columns[i], cells, i)]
        ]
        return indent + sum(widths) + 2 * (len(kept) - 1)

    def _widths(
        self, columns: Sequence[Column], cells: Sequence[Sequence[str]], kept: list[int], indent: int
    ) -> dict[int, int]:
        widths = {i: _natural(columns[i], cells, i) for i in kept}
        excess = indent + sum(widths.values()) + 2 * (len(kept) - 1) - self.width
        for i in (i for i in kept if columns[i].flexible):
            given = min(max(excess, 0), widths[i] - min(widths[i], 12))
            widths[i] -= given
            excess -= given
        return widths


def sparkline(values: Sequence[Decimal]) -> str:
    """The course of values as one line of blocks."""
    if len(values) < 2:
        return ""
    low, high = min(values), max(values)
    if low == high:
        return _BLOCKS[3] * len(values)
    return "".join(_BLOCKS[int((value - low) * 7 / (high - low))] for value in values)


def visible(words: str) -> int:
    """Length without colour codes."""
    return len(_ESCAPE.sub("", words))


def wrap(words: str, width: int) -> list[str]:
    """Lines of at most ``width`` characters, broken at spaces where possible."""
    if visible(words) <= width:
        return [words]
    import textwrap

    return textwrap.wrap(_ESCAPE.sub("", words), max(width, 8)) or [""]


def _natural(column: Column, cells: Sequence[Sequence[str]], index: int) -> int:
    return max([len(column.title), *(visible(row[index]) for row in cells)])


def _line(
    values: Sequence[str], kept: Sequence[int], columns: Sequence[Column], widths: dict[int, int], indent: int
) -> str:
    cells = []
    for value, i in zip(values, kept, strict=True):
        space = " " * max(0, widths[i] - visible(value))
        cells.append(space + value if columns[i].right else value + space)
    return " " * indent + "  ".join(cells).rstrip()


def _wrapped_row(
    row: Sequence[str], kept: Sequence[int], columns: Sequence[Column], widths: dict[int, int], indent: int
) -> list[str]:
    parts = [_cell(row[i], columns[i], widths[i]) for i in kept]
    height = max((len(part) for part in parts), default=0)
    return [
        _line([part[n] if n < len(part) else "" for part in parts], kept, columns, widths, indent)
        for n in range(height)
    ]


def _cell(words: str, column: Column, width: int) -> list[str]:
    if not column.flexible:
        return [words]
    return [shortened(words, width)] if column.is_cut else wrap(words, width)


def shortened(words: str, width: int) -> str:
    """The words on one line of at most ``width`` characters; what is left out becomes an ellipsis."""
    if visible(words) <= width:
        return words
    return _ESCAPE.sub("", words)[: max(0, width - 1)].rstrip() + "…"

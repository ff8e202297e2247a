"""What outlives the simulated broker: its book as lines of changed rows, and the witness of every accepted order."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, fields
from decimal import Decimal
from pathlib import Path
from typing import BinaryIO, TypeVar, get_type_hints

from finagent.simulation.alpaca.book import Account, Asset, Book, CashActivity, Fill, Holding, Order
from finagent.simulation.alpaca.documents import text
from finagent.simulation.alpaca.hours import stamp

T = TypeVar("T")
ROWS: Mapping[str, type] = {
    "account": Account,
    "asset": Asset,
    "holding": Holding,
    "order": Order,
    "fill": Fill,
    "cash": CashActivity,
}


class Journal:
    """A file of JSON lines, one for each changed row; the last line of a row is what it is."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None

    def load(self, book: Book) -> None:
        """Fold the lines into a book; a torn last line never happened."""
        if not self._path.exists():
            return
        for line in self._path.read_bytes().splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            book.count = max(book.count, int(entry["count"]))
            _fold(book, str(entry["kind"]), entry["row"])

    def write(self, book: Book, kind: str, row: object) -> None:
        """Append a changed row and give it to the operating system."""
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("ab")
        assert not isinstance(row, type)
        entry = {"kind": kind, "count": book.count, "row": asdict(row)}  # type: ignore[call-overload]
        self._file.write(json.dumps(entry, default=str).encode() + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


class Witness:
    """An own record of every order ever accepted, on the disk before anybody is told; for judges from outside."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab")

    def accepted(self, order: Order) -> None:
        """One line, fsynced."""
        line = {
            "at": stamp(order.submitted_ms),
            "id": order.id,
            "client_order_id": order.client_order_id,
            "symbol": order.symbol,
            "side": order.side,
            "type": order.type,
            "time_in_force": order.time_in_force,
            "qty": text(order.qty),
            "limit_price": text(order.limit_price),
            "stop_price": text(order.stop_price),
            "replaces": order.replaces,
        }
        self._file.write(json.dumps(line, sort_keys=True).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_witness(path: Path) -> list[dict[str, str | None]]:
    """The accepted orders in order; a torn last line is left out, it was never acknowledged."""
    found: list[dict[str, str | None]] = []
    for line in path.read_bytes().splitlines() if path.exists() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def _fold(book: Book, kind: str, row: Mapping[str, object]) -> None:
    if kind == "account":
        book.account = _made(Account, row)
    elif kind == "asset":
        asset = _made(Asset, row)
        book.assets[asset.symbol] = asset
    elif kind == "holding":
        holding = _made(Holding, row)
        if holding.qty:
            book.holdings[holding.symbol] = holding
        else:
            book.holdings.pop(holding.symbol, None)
    elif kind == "order":
        order = _made(Order, row)
        book.orders[order.id] = order
    elif kind == "fill":
        book.fills.append(_made(Fill, row))
    elif kind == "cash":
        book.cash_activities.append(_made(CashActivity, row))


def _made(kind: type[T], row: Mapping[str, object]) -> T:
    """A row of its type again: decimals were written as texts."""
    hints = get_type_hints(kind)
    values = {
        each.name: _value(hints[each.name], row[each.name])
        for each in fields(kind)  # type: ignore[arg-type]
        if each.name in row
    }
    return kind(**values)


def _value(hint: object, value: object) -> object:
    is_decimal = hint is Decimal or (hasattr(hint, "__args__") and Decimal in getattr(hint, "__args__", ()))
    return Decimal(str(value)) if is_decimal and value is not None else value

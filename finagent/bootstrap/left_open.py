"""What stays while no agent looks: each order that rests at the broker, each open position, one line each."""

from collections.abc import Sequence

from finagent.context import ApplicationContext, Document, Json

MOST_LINES = 20


async def resting(context: ApplicationContext) -> str:
    """How much is open and at work, then orders and positions line by line; of very many the first 20."""
    held = _rows(await context.views.positions(), "positions")
    working = _rows(await context.views.orders(open_only=True), "orders")
    if not held and not working:
        return "Nothing is open and nothing rests at the broker."
    head = f"Left as they are: {len(held)} open positions, {len(working)} orders resting at the broker."
    return "\n".join([head, *shortened([*map(_order, working), *map(_position, held)])])


def shortened(lines: Sequence[str]) -> list[str]:
    """At most 20 lines, then how many more there are."""
    more = len(lines) - MOST_LINES
    return [*lines[:MOST_LINES], *([f"  +{more} more"] if more > 0 else [])]


def _rows(document: Document, name: str) -> list[Document]:
    found = document.get(name)
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def _order(row: Document) -> str:
    prices = [f"{word} {row[key]}" for word, key in PRICES if row.get(key) is not None]
    words = ["  order", row["symbol"], row["leg"], row["side"], row["quantity"], *prices]
    return _line([*words, f"({row['state']})"])


PRICES = (("stop", "stop_price"), ("limit", "limit_price"))


def _position(row: Document) -> str:
    return _line(
        [
            "  position",
            row["symbol"],
            row["direction"],
            row["quantity"],
            "at",
            row["entry_price"],
            "stop",
            row["stop"],
        ]
    )


def _line(words: Sequence[Json]) -> str:
    return " ".join(str(word) for word in words)

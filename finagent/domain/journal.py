"""The journal: an append-only, hash-chained record of every decision and its inputs."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from finagent.domain.errors import ChainBrokenError

JsonData = None | bool | int | str | Sequence["JsonData"] | Mapping[str, "JsonData"]
GENESIS = "0" * 64
"""The hash before the first entry."""

JournalRow = tuple[int, int, str, str, str, str, str]
"""(seq, at_ms, kind, ref, data_text, inputs, hash) as stored; ``inputs`` is the head of its evidence or empty."""


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One decision or event: Clock time, what kind, which plan, order or symbol, and everything it rested
    on.
    """

    at_ms: int
    kind: str
    ref: str
    data: Mapping[str, JsonData]


def canonical_json(data: JsonData) -> str:
    """The one text of a value: keys sorted, no spaces, ASCII only.

    Floats, bytes, sets and keys that are no text raise TypeError: two runs could print them differently.
    """
    return _TEXT_OF(data if _is_plain(data) else _plain(data, "data"))


def digest(*parts: JsonData) -> str:
    """SHA-256 (64 hex digits) over a canonical list: no two different lists share a text."""
    return hashlib.sha256(_list_text(parts).encode("ascii")).hexdigest()


def beginning(*parts: JsonData) -> str:
    """The text that the digests of many lists begin with, for ``digest_after``."""
    return _list_text(parts)[:-1]


def digest_after(begun: str, *parts: JsonData) -> str:
    """The digest of a whole list, of whose first parts the text is known."""
    return hashlib.sha256(f"{begun},{_list_text(parts)[1:]}".encode("ascii")).hexdigest()


def _list_text(parts: Sequence[JsonData]) -> str:
    """``canonical_json``, quickly for texts and integers alone: what an identity is made of."""
    try:
        return f"[{','.join([_TEXTS[type(part)](part) for part in parts])}]"
    except KeyError:
        return canonical_json(parts)


def entry_hash(
    previous_hash: str, seq: int, at_ms: int, kind: str, ref: str, data_text: str, inputs: str = ""
) -> str:
    """The hash that chains an entry, and its inputs by their own hash, to the entry before it."""
    named = (inputs,) if inputs else ()
    return digest("journal", previous_hash, seq, at_ms, kind, ref, data_text, *named)


def verify_chain(rows: Iterable[JournalRow], *, previous_hash: str = GENESIS) -> int:
    """How many rows verify, in order; ChainBrokenError names the first sequence number that does not.

    ``previous_hash`` is the hash before the first row given: leave it for a whole journal.
    """
    count, expected = 0, None
    for seq, at_ms, kind, ref, data_text, inputs, stored in rows:
        if expected is not None and seq != expected:
            raise ChainBrokenError(
                f"journal entry {expected} is missing: {seq} follows; restore the database from a backup"
            )
        previous_hash = entry_hash(previous_hash, seq, at_ms, kind, ref, data_text, inputs)
        if stored != previous_hash:
            raise ChainBrokenError(
                f"journal entry {seq} was changed: its hash is {stored[:12]}, its content gives "
                f"{previous_hash[:12]}; restore the database from a backup"
            )
        count, expected = count + 1, seq + 1
    return count


def outcome_hash(
    journal_rows: Iterable[JsonData],
    orders: Iterable[JsonData],
    fills: Iterable[JsonData],
    trades: Iterable[JsonData],
) -> str:
    """Identity of what a run decided and did: rows are mappings (or their texts) in business order.

    Leave out everything that a crash or a machine changes: job ids, attempts, epochs, pids, wall-clock times.
    """
    total = hashlib.sha256()
    for name, rows in (("journal", journal_rows), ("orders", orders), ("fills", fills), ("trades", trades)):
        total.update(digest("part", name).encode("ascii"))
        for row in rows:
            total.update(digest("row", row).encode("ascii"))
    return total.hexdigest()


_TEXTS: dict[type, Callable[..., str]] = {str: json.encoder.encode_basestring_ascii, int: str}
_TEXT_OF = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode


_FLAT = frozenset((str, int, bool, type(None)))


def _is_plain(value: object) -> bool:
    """Whether nothing has to be changed or refused: the usual case, told without a copy."""
    if value is None or isinstance(value, str | int):
        return True
    if isinstance(value, dict):
        return all(type(key) is str and _is_plain(item) for key, item in value.items())
    return isinstance(value, list | tuple) and (
        _FLAT.issuperset(map(type, value)) or all(map(_is_plain, value))
    )


def _plain(value: object, path: str) -> object:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"{path} has the key {key!r} ({type(key).__name__}); use text keys")
        return {str(key): _plain(item, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{path}[{index}]") for index, item in enumerate(value)]
    raise TypeError(
        f"{path} is {value!r} ({type(value).__name__}); use None, bool, int, text, list or mapping"
    )

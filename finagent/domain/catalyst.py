"""What happened: events read from headlines and earnings dates, and how much each can move a price."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from finagent.domain.lexicon import clean
from finagent.domain.market import Earnings, Headline

MOST_HEADLINES = 200
"""Of more headlines only the newest are read: a flood of texts cannot cost time."""

EARNINGS_E6 = 1_000_000
EARNINGS_UNTIMED_E6 = 800_000
OTHER_NEWS_E6 = 150_000


@dataclass(frozen=True, slots=True, kw_only=True)
class EventClass:
    """A kind of event: weight in 1e-6, sign (+1 good for the price, -1 bad, 0 either) and its words."""

    name: str
    value_e6: int
    sign: int
    pattern: re.Pattern[str]


def _event(name: str, value_e6: int, sign: int, *words: str) -> EventClass:
    return EventClass(
        name=name,
        value_e6=value_e6,
        sign=sign,
        pattern=re.compile(rf"\b(?:{'|'.join(words)})\b", re.IGNORECASE),
    )


EVENT_CLASSES: tuple[EventClass, ...] = (
    _event(
        "merger", 1_000_000, 0,
        "acqui(?:re|res|red|ring|sition)", "mergers?", "merg(?:e|es|ing)", "takeover", "buyout",
        "tender offer", "to be acquired", "to buy .{1,60} for", "go(?:ing)? private",
        "unsolicited (?:bid|offer)",
    ),
    _event(
        "trial", 1_000_000, 0,
        "FDA", "clinical trials?", "phase (?:1|2|3|i|ii|iii)[ab]?", "topline", "complete response letter",
        "breakthrough (?:therapy|designation)", "PDUFA", "NDA", "BLA",
    ),
    _event(
        "guidance", 900_000, 0,
        "guidance", "outlook", "forecasts?", "pre-?announc(?:es|ed|ement)", "profit warning",
        "raises? (?:full-year|fy|q[1-4])", "(?:cuts?|lowers?) (?:full-year|fy|q[1-4])",
    ),
    _event(
        "earnings", 900_000, 0,
        "earnings", "EPS", "(?:quarterly|annual) (?:results|profit|loss)", "q[1-4]",
        "(?:first|second|third|fourth)[- ]quarter", "revenues?",
        "(?:beats?|miss(?:es|ed)?) (?:estimates|views)",
    ),
    _event(
        "bankruptcy", 900_000, -1,
        "bankruptcy", "chapter (?:7|11)", "going concern", "insolven(?:t|cy)", "delist(?:s|ed|ing)?",
        "restat(?:es|ed|ement)",
    ),
    _event(
        "offering", 700_000, -1,
        "(?:public|secondary|stock|share|direct|equity) offering", "prices? offering", "private placement",
        "at-the-market", "dilut(?:ion|ive)", "convertible notes?", "shelf registration",
    ),
    _event(
        "contract", 600_000, 1,
        "contracts?", "awarded", "partner(?:s|ship)?", "collaborat(?:es|ion)", "purchase order",
        "wins? (?:order|deal|bid)", "licens(?:e|ing) (?:deal|agreement)", "strategic agreement",
    ),
    _event(
        "upgrade", 500_000, 1,
        "upgrad(?:e|es|ed)", "raises? (?:price )?target", "initiat(?:es|ed) .{0,30}buy",
    ),
    _event(
        "downgrade", 500_000, -1,
        "downgrad(?:e|es|ed)", "(?:cuts?|lowers?) (?:price )?target",
    ),
    _event(
        "lawsuit", 500_000, -1,
        "lawsuits?", "sue[sd]?", "class action", "subpoena", "investigations?", "probes?", "SEC charges",
        "indict(?:ed|ment)", "fraud", "antitrust", "recalls?", "short[- ]seller",
    ),
    _event(
        "index", 500_000, 1,
        "(?:joins?|added to|to join) (?:the )?(?:S&P|Nasdaq|Dow|Russell)",
    ),
    _event(
        "buyback", 400_000, 1,
        "buybacks?", "(?:share|stock) repurchases?", "repurchase (?:program|authorization)",
        "special dividend", "(?:raises?|increases?|hikes?) (?:its )?dividend",
    ),
    _event(
        "dividend cut", 500_000, -1,
        "(?:cuts?|suspends?|slashes) (?:its )?dividend",
    ),
    _event(
        "management", 400_000, 0,
        "(?:CEO|CFO|chief executive|chairman)", "resign(?:s|ed|ation)", "steps? down", "activist",
        "proxy fight", "takes? stake",
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalyst:
    """What happened since the previous close: name, weight in 1e-6, sign, and words for a person."""

    name: str
    value_e6: int
    sign: int
    detail: str


def current_headlines(
    headlines: Iterable[Headline], symbol: str, *, previous_close_ms: int, as_of_ms: int
) -> tuple[Headline, ...]:
    """The symbol's distinct texts known in (previous close, as of], newest first, at most ``MOST_HEADLINES``.

    A repeated text (a retweet) counts once, at its earliest.
    """
    known = (
        item
        for item in headlines
        if item.symbol == symbol and previous_close_ms < item.known_at_ms <= as_of_ms
    )
    newest = sorted(known, key=lambda item: (-item.known_at_ms, -item.published_ms, item.source, item.text))
    distinct: dict[str, Headline] = {}
    for item in newest[:MOST_HEADLINES]:
        key = clean(item.text).casefold()
        if key:
            distinct[key] = item
    return tuple(sorted(distinct.values(), key=lambda item: (-item.known_at_ms, item.source, item.text)))


def headline_catalysts(headlines: Sequence[Headline]) -> tuple[Catalyst, ...]:
    """The events named in texts, strongest first, one of each class; a text without any is ``news``."""
    found: dict[str, Catalyst] = {}
    for item in headlines:
        text = clean(item.text)
        matched = [event for event in EVENT_CLASSES if event.pattern.search(text)]
        for event in matched:
            found.setdefault(event.name, _catalyst(event.name, event.value_e6, event.sign, text))
        if not matched:
            found.setdefault("news", _catalyst("news", OTHER_NEWS_E6, 0, text))
    return tuple(sorted(found.values(), key=lambda catalyst: (-catalyst.value_e6, catalyst.name)))


def earnings_catalyst(
    earnings: Iterable[Earnings], symbol: str, *, session: str, previous_close_ms: int
) -> Catalyst | None:
    """The report that the previous close could not know, if there is one.

    Before the open of the session, or after the close of the session before; a date without a time counts
    for its session and the next, with a lower weight and a mark. The previous session is the UTC date of its
    close.
    """
    previous = datetime.fromtimestamp(previous_close_ms // 1000, UTC).date().isoformat()
    untimed: Catalyst | None = None
    for item in sorted(earnings, key=lambda item: (item.session, item.timing or "")):
        if item.symbol != symbol or not previous <= item.session <= session:
            continue
        if item.timing is None:
            detail = f"earnings of {item.session}, time of day unknown"
            untimed = Catalyst(name="earnings date", value_e6=EARNINGS_UNTIMED_E6, sign=0, detail=detail)
        elif (item.timing == "bmo") is (item.session == session):
            when = "before the open" if item.timing == "bmo" else "after the close"
            detail = f"earnings of {item.session} {when}"
            return Catalyst(name="earnings date", value_e6=EARNINGS_E6, sign=0, detail=detail)
    return untimed


def _catalyst(name: str, value_e6: int, sign: int, text: str) -> Catalyst:
    return Catalyst(name=name, value_e6=value_e6, sign=sign, detail=f"{name}: {text[:80]!r}")

"""What a session was decided with, from the journal's evidence: the rules of that day, and the prices it was told."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar, cast

from finagent.adapters.record.kinds import questions
from finagent.adapters.record.recorder import arguments_of
from finagent.adapters.sqlite.journal_reader import InputFaultError, JournalReader, Step
from finagent.backtest.market import SessionMarket
from finagent.backtest.parameters import Parameters
from finagent.domain.errors import PlainDataError
from finagent.domain.evidence import resolved, shortened
from finagent.domain.gap import GapRules
from finagent.domain.journal import JsonData
from finagent.domain.market import Bar, MarketView, Session, Snapshot
from finagent.domain.money import price_text
from finagent.domain.plain import typed
from finagent.domain.planning_rules import PlanningRules
from finagent.domain.risk_profile import RiskProfile
from finagent.domain.scoring import ScoreWeights
from finagent.ports import LastPrice, MarketDataPort

T = TypeVar("T")
VIEW, MINUTES, PRICES = "MarketDataPort.view", "MarketDataPort.minutes", "MarketDataPort.last_prices"
SCANNER, SCORING, PLANNER = "scanner:ScannerService", "scoring:ScoringService", "planner:PlannerService"
RISK, SENDER, EXECUTION = "risk:RiskService", "sender:SenderService", "execution:ExecutionService"


@dataclass(slots=True)
class DayEvidence:
    """The heads of a session's steps, by service; ``values`` in the order in which they were first used."""

    values: dict[str, list[Mapping[str, JsonData]]] = field(default_factory=dict)
    steps: list[tuple[str, Mapping[str, JsonData]]] = field(default_factory=list)

    @property
    def changed(self) -> str:
        """Services that began to decide with other values within the session, as words; empty where none did."""
        names = sorted(name.partition(":")[0] for name, found in self.values.items() if len(found) > 1)
        return f"the settings of {', '.join(names)} changed within the session" if names else ""

    @property
    def has_attached_exits(self) -> bool:
        """Whether exits were sent with their entry; so it is where nothing was sent."""
        return self._first(EXECUTION).get("has_attached_exits") is not False

    def rules(self, today: Parameters) -> Parameters:
        """The rules of that day; what no step of it says is as today."""
        scanner, scoring, planner = (self._first(name) for name in (SCANNER, SCORING, PLANNER))
        risk, sender = self._first(RISK), self._first(SENDER)
        desk = _values(risk.get("desk"))
        return replace(
            today,
            gap=_or(GapRules, scanner.get("rules"), today.gap),
            weights=_or(ScoreWeights, scoring.get("weights"), today.weights),
            top=_or(int, scoring.get("top"), today.top),
            planning=_or(PlanningRules, planner.get("rules"), today.planning),
            profile=_or(RiskProfile, desk.get("profile"), today.profile),
            max_price_age_ms=_or(int, desk.get("max_price_age_ms"), today.max_price_age_ms),
            approval_delay_ms=_or(int, risk.get("approval_delay_ms"), today.approval_delay_ms),
            entry_ttl_ms=_or(int, sender.get("entry_ttl_ms"), today.entry_ttl_ms),
        )

    def _first(self, name: str) -> Mapping[str, JsonData]:
        return next(iter(self.values.get(name, ())), {})


def read_evidence(reader: JournalReader, *, first_seq: int, last_seq: int) -> DayEvidence:
    """Of the journal's rows in a range; a step without evidence, or with damaged evidence, tells nothing."""
    found = DayEvidence()
    for step in reader.steps(after=first_seq - 1, until=last_seq):
        head = _head(reader, step)
        if head is None:
            continue
        name = str(head["service"]).removeprefix("finagent.services.")
        found.steps.append((name, head))
        try:
            values = cast("Mapping[str, JsonData]", reader.fetch(str(head["values"])))
        except InputFaultError:
            continue
        own = found.values.setdefault(name, [])
        if values not in own:
            own.append(values)
    return found


def _head(reader: JournalReader, step: Step) -> Mapping[str, JsonData] | None:
    try:
        head = reader.fetch(step.inputs) if step.inputs else None
    except InputFaultError:
        return None
    return head if isinstance(head, dict) and "service" in head else None


def _values(part: JsonData) -> Mapping[str, JsonData]:
    found = part.get("values") if isinstance(part, dict) else None
    return cast("Mapping[str, JsonData]", found) if isinstance(found, dict) else {}


def _or(kind: type[T], data: JsonData, other: T) -> T:
    """The recorded value; the other one where there is none, or this program cannot read it."""
    if data is None:
        return other
    try:
        return typed(kind, data)
    except PlainDataError:
        return other


# ---------------------------------------------------------------- prices
def told_otherwise(
    evidence: DayEvidence, fetch: Callable[[str], JsonData], market: SessionMarket, symbols: Sequence[str]
) -> dict[str, tuple[int, str]]:
    """Symbols whose prices the agent was told otherwise than they are stored: since when, and what was first."""
    found: dict[str, tuple[int, str]] = {}
    for symbol, since_ms, words in _differing(evidence, fetch, market, frozenset(symbols)):
        if symbol not in found or since_ms < found[symbol][0]:
            found[symbol] = (since_ms, words)
    return found


def _differing(
    evidence: DayEvidence,
    fetch: Callable[[str], JsonData],
    market: SessionMarket,
    symbols: frozenset[str],
) -> Iterator[tuple[str, int, str]]:
    asked = questions(MarketDataPort)
    for _, head in evidence.steps:
        reads = [cast("list[JsonData]", read) for read in cast("list[JsonData]", head["reads"])]
        now_ms = [
            at for name, _, answers in reads if name == "Clock.now_ms" for at in cast("list[int]", answers)
        ]
        for name, arguments, answers in reads:
            kind = str(name).rpartition(".")[2]
            if name not in (VIEW, MINUTES, PRICES):
                continue
            for answer in cast("list[JsonData]", answers):
                try:
                    value = asked[kind].answer(resolved(answer, fetch))
                except (PlainDataError, InputFaultError):
                    continue
                yield from _of_answer(str(name), value, arguments, now_ms, market, symbols)


def _of_answer(
    name: str,
    value: object,
    arguments: JsonData,
    now_ms: Sequence[int],
    market: SessionMarket,
    symbols: frozenset[str],
) -> Iterator[tuple[str, int, str]]:
    if name == VIEW:
        view = cast("MarketView", value)
        for snapshot in view.snapshots:
            if snapshot.instrument.symbol in symbols:
                yield from _of_snapshot(snapshot, view.as_of_ms, market)
    elif name == PRICES:
        for symbol, price in cast("Mapping[str, LastPrice]", value).items():
            stored = market.last_price(symbol, price.at_ms) if symbol in symbols else None
            if stored is not None and (stored.price_e4, stored.at_ms) != (price.price_e4, price.at_ms):
                yield symbol, price.at_ms, _words("last price", price.price_e4, stored.price_e4)
    else:
        symbol = _whose(arguments, symbols, market.session, now_ms)
        if symbol:
            yield from _of_bars(symbol, cast("Sequence[Bar]", value), market)


def _whose(arguments: JsonData, symbols: frozenset[str], session: Session, now_ms: Sequence[int]) -> str:
    """Of whom minutes were asked: the arguments are kept as a hash where they are long."""
    for symbol in symbols:
        for at_ms in now_ms:
            if shortened(arguments_of((symbol, session, at_ms), {})) == arguments:
                return symbol
    return ""


def _of_snapshot(snapshot: Snapshot, as_of_ms: int, market: SessionMarket) -> Iterator[tuple[str, int, str]]:
    symbol = snapshot.instrument.symbol
    if symbol not in market.dataset.numbers:
        yield symbol, 0, "nothing of it is stored"
        return
    stored = market.snapshot(symbol, as_of_ms)
    told, known = snapshot.previous, stored.previous
    if told != known:
        closes = (None if each is None else each.close_e4 for each in (told, known))
        yield symbol, 0, _words("previous close", *closes)
    if snapshot.action != stored.action:
        yield symbol, 0, "its corporate action is another by now"
    if snapshot.official_open_e4 != stored.official_open_e4:
        words = _words("open", snapshot.official_open_e4, stored.official_open_e4)
        yield symbol, market.session.open_ms, words
    yield from _of_bars(symbol, snapshot.minutes, market)


def _of_bars(symbol: str, told: Sequence[Bar], market: SessionMarket) -> Iterator[tuple[str, int, str]]:
    """The first of the bars that were told that is stored otherwise, or not at all."""
    stored = {bar.start_ms: bar for bar in market.day(symbol).whole()}
    for bar in told:
        known = stored.get(bar.start_ms)
        if known is None:
            yield symbol, bar.end_ms, f"its bar of {price_text(bar.close_e4)} is not stored"
            return
        if known != bar:
            yield symbol, bar.end_ms, _words("close of a minute", bar.close_e4, known.close_e4)
            return


def _words(what: str, told_e4: int | None, stored_e4: int | None) -> str:
    shown = ("none" if each is None else price_text(each) for each in (told_e4, stored_e4))
    return (
        "the agent saw {} as {}, stored is {}".format(*(what, *shown))
        if told_e4 != stored_e4
        else (f"the agent saw another {what} than is stored")
    )

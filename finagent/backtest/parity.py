"""A session as the agent played it against its backtest: every row compared, each difference with its cause.

A difference has one of three kinds of causes. Something that only happened there: a person, a broker, prices that have
been revised since. Another difference: what follows from it, by a way that the rules know. Or none: unexplained.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from finagent.backtest.parity_rows import Key, Row, Stage
from finagent.domain.market import MINUTE_MS

ORDER = tuple(Stage)
AMOUNTS = ("shares_e4", "filled_shares_e4", "fees_e8", "pnl_e8", "binding_cap", "state", "reason")
"""What a difference of size alone can change; a price or an instant it cannot."""
BY_HAND = ("manual", "kill")
POLICY = ("policy", "")
ACCOUNT_REASONS = (
    "entry_gate", "killed", "paused", "symbol_locked", "symbol_blocked", "symbol_excluded", "orders_out",
    "rejected_orders",
)  # fmt: skip
"""Reasons of risk that only a person, a broker or a comparison with it brings about: a backtest has none of them."""


@dataclass(frozen=True, slots=True)
class Cause:
    """A word for programs, and words for people."""

    code: str
    words: str


@dataclass(slots=True)
class Difference:
    """One row that is not the same on both sides; a side is None where it has no such row.

    ``follows`` is the place of the difference that this one comes from; without it and a cause it is unexplained.
    """

    key: Key
    agent: Row | None
    tested: Row | None
    cause: Cause | None = None
    follows: int | None = None

    @property
    def at_ms(self) -> int:
        """When the sides part."""
        return min(row.at_ms for row in (self.agent, self.tested) if row is not None)

    @property
    def fields(self) -> tuple[str, ...]:
        """What differs; nothing where one side has no such row."""
        if self.agent is None or self.tested is None:
            return ()
        names = dict.fromkeys((*self.agent.values, *self.tested.values))
        return tuple(n for n in names if self.agent.values.get(n) != self.tested.values.get(n))

    @property
    def is_unexplained(self) -> bool:
        """Whether nothing says why."""
        return self.cause is None and self.follows is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How a plan's question ended: by whom, when, and whether it was changed."""

    state: str
    channel: str
    at_ms: int | None
    is_revised: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What is known of the agent's day beside its decisions."""

    is_closed: bool = True
    is_paper: bool = True
    is_live: bool = False
    """In real time, where each step takes some; a run's virtual clock stands still meanwhile."""
    answers: Mapping[tuple[str, str, int], Answer] = field(default_factory=dict)
    acts: Sequence[tuple[int, str]] = ()
    """What a person did to the whole agent, and when."""
    missed: Mapping[str, str] = field(default_factory=dict)
    """Scans that did not run, and why."""
    prices: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    """Symbols whose prices were told otherwise than they are stored now: since which bar, and what."""
    settings: str = ""
    """How settings changed within the session."""
    carried: str = ""
    """What was held over from the session before."""


def compare(agent: Mapping[Key, Row], tested: Mapping[Key, Row], told: Told) -> list[Difference]:
    """Every row that differs, in the order of the day, with what explains it."""
    pairs = [Difference(key, agent.get(key), tested.get(key)) for key in {*agent, *tested}]
    found = [each for each in pairs if _values(each.agent) != _values(each.tested)]
    found.sort(key=_place)
    for place, difference in enumerate(found):
        difference.cause = _own_cause(difference, told)
        if difference.cause is None:
            difference.follows = _upstream(difference, found[:place])
        if difference.is_unexplained:
            difference.cause = _late_cause(difference, told)
    return found


def _place(difference: Difference) -> tuple[bool, int, int, int, Key]:
    """By instant, then by stage; ranks come after scores, the choice after ranks, and the day's sum last."""
    key = difference.key
    is_choice = key.stage == Stage.SCORE and not key.symbol
    behind = 2 if is_choice else int(difference.fields == ("rank",))
    return key.stage == Stage.DAY, difference.at_ms, ORDER.index(Stage(key.stage)), behind, key


def _values(row: Row | None) -> Mapping[str, object] | None:
    return None if row is None else row.values


def _own_cause(difference: Difference, told: Told) -> Cause | None:
    """What happened there and nowhere else."""
    rules = (
        _unfinished,
        _missed,
        _by_person,
        _other_prices,
        _account_shut,
        _by_broker,
        _next_rung,
        _took_time,
    )
    for rule in rules:
        cause = rule(difference, told)
        if cause is not None:
            return cause
    return None


def _late_cause(difference: Difference, told: Told) -> Cause | None:
    """What may explain anything of the session, and so is asked last."""
    if told.settings:
        return Cause("settings_changed", told.settings)
    if told.carried and difference.key.stage not in (Stage.SCAN, Stage.CANDIDATE, Stage.SCORE):
        return Cause("held_over", told.carried)
    return None


def _unfinished(difference: Difference, told: Told) -> Cause | None:
    if told.is_closed or difference.agent is not None:
        return None
    return Cause("unfinished", "the agent has not closed this session")


def _missed(difference: Difference, told: Told) -> Cause | None:
    reason = told.missed.get(difference.key.tick)
    if reason is None or difference.agent is not None:
        return None
    return Cause("scan_missed", f"the scan {difference.key.tick} did not run: {reason}")


def _by_person(difference: Difference, told: Told) -> Cause | None:
    """An answer that was no, late, never or another; a trade closed by hand."""
    key, answer = difference.key, told.answers.get(difference.key.plan)
    if key.stage in (Stage.APPROVAL, Stage.PLAN_END) and answer is not None:
        cause = _by_answer(difference, answer)
        if cause is not None:
            return cause
    if key.stage in (Stage.PLAN, Stage.RISK) and difference.tested is None:
        before = told.answers.get((key.tick, key.symbol, key.version - 1))
        if before is not None and before.is_revised:
            return Cause("edited", f"a new version of the plan, as {before.channel} wanted it")
    reason = None if difference.agent is None else difference.agent.values.get("exit_reason")
    if key.stage in (Stage.ORDER, Stage.FILL, Stage.EVENT) and difference.agent is not None:
        reason = difference.agent.values.get("reason")
    if reason in BY_HAND:
        return Cause("closed_by_person", "a person closed it")
    return None


def _by_answer(difference: Difference, answer: Answer) -> Cause | None:
    tested = difference.tested
    if answer.is_revised:
        return Cause("edited", f"edited by {answer.channel}")
    if answer.state == "rejected":
        return Cause("rejected", f"rejected by {answer.channel}")
    if answer.state == "expired":
        return Cause("not_answered", "nobody answered in time")
    if answer.channel in POLICY or answer.at_ms is None or difference.key.stage is not Stage.APPROVAL:
        return None
    if tested is None:
        return Cause("answered", f"approved by {answer.channel} where the policy would not have")
    late_s = (answer.at_ms - tested.at_ms) // 1000
    return Cause("answered_late", f"{answer.channel} answered {late_s} s after the policy would have")


def _other_prices(difference: Difference, told: Told) -> Cause | None:
    """Prices that were told otherwise than they are stored now, up to that instant."""
    key = difference.key
    if key.stage == Stage.SCAN and told.prices:
        symbols = ", ".join(sorted(told.prices)[:3])
        return Cause("data_revised", f"stored prices are not those that the agent saw: {symbols}")
    since = told.prices.get(key.symbol)
    if since is None or since[0] > max(row.at_ms for row in (difference.agent, difference.tested) if row):
        return None
    return Cause("data_revised", since[1])


def _account_shut(difference: Difference, told: Told) -> Cause | None:
    """Refused for what a backtest cannot know: a pause, a lock, a gate; or a price that was too old, a halt."""
    agent = difference.agent
    if agent is None or difference.key.stage not in (Stage.RISK, Stage.PLAN_END):
        return None
    said = agent.values.get("reasons", agent.values.get("reason"))
    reasons = set(said if isinstance(said, list) else str(said).split(", "))
    shut = sorted(reasons.intersection(ACCOUNT_REASONS))
    if shut:
        acts = [what for at_ms, what in told.acts if at_ms <= agent.at_ms]
        return Cause("refused_there", f"{', '.join(shut)}{f' ({acts[-1]})' if acts else ''}")
    for reason, words in (
        ("stale_quote", "its last price was too old"),
        ("halted", "it was halted"),
        ("agent_stopped", "the agent was stopped"),
    ):
        if reason in reasons and not told.is_paper:
            return Cause(reason, words)
    return None


def _by_broker(difference: Difference, told: Told) -> Cause | None:
    """A broker outside fills at its own prices, in its own parts."""
    agent, tested = difference.agent, difference.tested
    if told.is_paper or difference.key.stage not in (Stage.ORDER, Stage.FILL):
        return None
    if agent is not None and agent.values.get("state") == "rejected":
        return Cause("rejected_by_broker", f"the broker refused it: {agent.values.get('reason')}")
    if agent is None or tested is None:
        return Cause("filled_otherwise", "the broker filled other parts than the model")
    ours, model = agent.values.get("price_e4"), tested.values.get("price_e4")
    if isinstance(ours, int) and isinstance(model, int) and ours != model:
        sign = 1 if agent.values.get("side") == "buy" else -1
        cost = sign * (ours - model) * 10_000 / model
        return Cause(
            "broker_price", f"the broker filled {abs(cost):.1f} bps {'worse' if cost > 0 else 'better'}"
        )
    if set(difference.fields) <= {"shares_e4", "filled_shares_e4", "fees_e8", "state", "at_ms", "reason"}:
        return Cause("partial_fill", "the broker filled another part, or at another instant")
    return None


def _next_rung(difference: Difference, told: Told) -> Cause | None:
    """An exit that met no bar is replaced by the ladder's next rung; a backtest keeps it, with the same fill."""
    agent, tested = difference.agent, difference.tested
    if difference.key.stage != Stage.ORDER or agent is None or tested is None:
        return None
    is_replaced = (agent.values.get("state"), agent.values.get("reason")) == ("cancelled", "exit")
    if not is_replaced or set(difference.fields) - {"state", "filled_shares_e4", "reason"}:
        return None
    return Cause(
        "next_rung", "it met no bar, so the ladder's next rung took its place; a backtest keeps one order"
    )


def _took_time(difference: Difference, told: Told) -> Cause | None:
    """Nothing but instants, and all within a minute: steps take no time in a backtest."""
    agent, tested, names = difference.agent, difference.tested, difference.fields
    if not told.is_live or agent is None or tested is None or not all(name.endswith("_ms") for name in names):
        return None
    apart = [_apart_ms(agent.values[name], tested.values[name]) for name in names]
    known = [each for each in apart if each is not None]
    if len(known) < len(apart) or max(map(abs, known)) > MINUTE_MS:
        return None
    return Cause("latency", f"{max(known, key=abs) / 1000:+.1f} s apart, which the agent took for it")


def _apart_ms(agent: object, tested: object) -> int | None:
    return agent - tested if isinstance(agent, int) and isinstance(tested, int) else None


# ---------------------------------------------------------------- what follows from what
def _upstream(difference: Difference, before: Sequence[Difference]) -> int | None:
    """The place of the first difference that this one comes from; none that came later is asked."""
    return next((place for place, each in enumerate(before) if _leads_to(each, difference)), None)


def _leads_to(cause: Difference, effect: Difference) -> bool:
    """Whether one difference can be why the other is there."""
    if effect.key.stage == Stage.DAY:
        return cause.key.stage == Stage.TRADE
    if cause.key.stage == Stage.SCAN:
        return False
    if effect.key.stage == Stage.SCAN:
        return False
    return any(rule(cause, effect) for rule in (_same_scan, _same_plan, _same_account))


def _same_scan(cause: Difference, effect: Difference) -> bool:
    """A candidate's measures make its score, and every score the ranks and the choice."""
    first, then = cause.key, effect.key
    if first.tick != then.tick or first.stage not in (Stage.CANDIDATE, Stage.SCORE):
        return False
    if then.stage == Stage.SCORE:
        return first.symbol == then.symbol or not then.symbol or effect.fields == ("rank",)
    if then.stage == Stage.PLAN:
        is_own = first.symbol in (then.symbol, "")
        return is_own or effect.fields == ("rank",)
    return False


def _same_plan(cause: Difference, effect: Difference) -> bool:
    """A plan's later rows; where only sizes differed before, only sizes may differ after."""
    first, then = cause.key, effect.key
    if first.plan != then.plan or not then.symbol or first.stage in (Stage.CANDIDATE, Stage.SCORE):
        return False
    if effect.agent is None or effect.tested is None or cause.agent is None or cause.tested is None:
        return True
    return set(effect.fields) <= set(AMOUNTS) or not set(cause.fields) <= set(AMOUNTS)


def _same_account(cause: Difference, effect: Difference) -> bool:
    """What was taken or given back elsewhere changes what risk allows: its verdict and size, nothing of prices."""
    if cause.key.stage in (Stage.CANDIDATE, Stage.SCORE):
        return False
    if effect.key.stage == Stage.RISK:
        return True
    if effect.key.stage == Stage.EVENT:
        return effect.key.leg == "limit" and cause.key.stage in (Stage.FILL, Stage.TRADE)
    if effect.key.stage not in (Stage.PLAN_END, Stage.APPROVAL, Stage.ORDER):
        return False
    return set(effect.fields) <= set(AMOUNTS) and effect.agent is not None and effect.tested is not None


def counts(rows: Mapping[Key, Row]) -> Iterator[tuple[str, int]]:
    """How many rows each stage has."""
    for stage in ORDER:
        yield stage.value, sum(key.stage == stage for key in rows)

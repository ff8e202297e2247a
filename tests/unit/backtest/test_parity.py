"""What explains a difference, and what does not: rows that a person can read, one rule at a time."""

import pytest

from finagent.backtest.parity import Answer, Difference, Told, compare
from finagent.backtest.parity_rows import Key, Row, Stage

PLAN = ("open", "WMT", 1)
MINUTE = 60_000
OUTSIDE = Told(is_paper=False)


def row(at: int = 1, **values: object) -> Row:
    return Row(at * MINUTE, values)


def key(stage: Stage, *, plan: tuple[str, str, int] = PLAN, leg: str = "", number: int = 0) -> Key:
    return Key(stage, *plan, leg, number)


def only(agent: dict[Key, Row], tested: dict[Key, Row], told: Told) -> Difference:
    (found,) = compare(agent, tested, told)
    return found


def code(difference: Difference) -> str | None:
    return None if difference.cause is None else difference.cause.code


def test_what_is_the_same_is_no_difference() -> None:
    """Only values count: the instant of a row is one where it matters."""
    assert compare({key(Stage.PLAN): row(1, stop_e4=5)}, {key(Stage.PLAN): row(2, stop_e4=5)}, Told()) == []


@pytest.mark.parametrize(
    ("agent", "tested", "wanted"),
    [
        (row(price_e4=1_001, side="buy"), row(price_e4=1_000, side="buy"), ("broker_price", "10.0 bps worse")),
        (row(price_e4=1_001, side="sell"), row(price_e4=1_000, side="sell"), ("broker_price", "10.0 bps better")),
        (row(price_e4=1, shares_e4=5), row(price_e4=1, shares_e4=9), ("partial_fill", "another part")),
        (None, row(price_e4=1), ("filled_otherwise", "other parts")),
    ],
)  # fmt: skip
def test_a_broker_outside_fills_at_its_own_prices(
    agent: Row | None, tested: Row, wanted: tuple[str, str]
) -> None:
    """In bps from the model's price, as a cost; the paper venue is the model, so there nothing explains it."""
    fill = key(Stage.FILL, leg="entry", number=1)
    agents = {} if agent is None else {fill: agent}
    found = only(agents, {fill: tested}, OUTSIDE)
    assert code(found) == wanted[0]
    assert found.cause is not None
    assert wanted[1] in found.cause.words
    assert only(agents, {fill: tested}, Told()).is_unexplained


def test_an_order_that_the_broker_refused_says_so() -> None:
    """With the broker's own words."""
    order = key(Stage.ORDER, leg="entry", number=1)
    found = only(
        {order: row(state="rejected", reason="no_margin")}, {order: row(state="filled", reason="")}, OUTSIDE
    )
    assert code(found) == "rejected_by_broker"


@pytest.mark.parametrize(
    ("answer", "agent", "wanted"),
    [
        (Answer(state="rejected", channel="cli", at_ms=0), None, "rejected"),
        (Answer(state="expired", channel="", at_ms=0), None, "not_answered"),
        (Answer(state="superseded", channel="cli", at_ms=0, is_revised=True), None, "edited"),
        (
            Answer(state="approved", channel="http", at_ms=5 * MINUTE),
            row(5, approved_at_ms=5),
            "answered_late",
        ),
        (Answer(state="approved", channel="policy", at_ms=5 * MINUTE), row(5, approved_at_ms=5), None),
    ],
)
def test_an_answer_explains_its_approval(answer: Answer, agent: Row | None, wanted: str | None) -> None:
    """No, nothing, another plan, late; a policy that is late is a bug."""
    approval = key(Stage.APPROVAL)
    agents = {} if agent is None else {approval: agent}
    found = only(agents, {approval: row(1, approved_at_ms=1)}, Told(answers={PLAN: answer}))
    assert code(found) == wanted
    assert found.is_unexplained is (wanted is None)


def test_a_plan_of_its_own_version_is_what_a_person_wanted() -> None:
    """The edited version has no counterpart; all of its rows say why."""
    edited = ("open", "WMT", 2)
    told = Told(answers={PLAN: Answer(state="superseded", channel="cli", at_ms=0, is_revised=True)})
    found = compare({key(Stage.PLAN, plan=edited): row(2), key(Stage.ORDER, plan=edited): row(3)}, {}, told)
    assert [code(each) for each in found] == ["edited", None]
    assert found[1].follows == 0


def test_sizes_explain_sizes_and_no_price() -> None:
    """Another quantity leads to other fees; that the fill's price is another too is a bug of its own."""
    risk, fill = key(Stage.RISK), key(Stage.FILL, leg="entry", number=1)
    tested = {risk: row(1, shares_e4=10), fill: row(2, shares_e4=10, price_e4=100, fees_e8=3)}
    told = Told(answers={}, prices={})
    smaller = {risk: row(1, shares_e4=9), fill: row(2, shares_e4=9, price_e4=100, fees_e8=2)}
    first, second = compare(smaller, tested, told)
    assert first.is_unexplained
    assert second.follows == 0
    moved = {risk: row(1, shares_e4=9), fill: row(2, shares_e4=9, price_e4=101, fees_e8=2)}
    assert [each.is_unexplained for each in compare(moved, tested, told)] == [True, True]


def test_another_plan_changes_what_risk_allows_but_not_a_price() -> None:
    """A rejected plan leaves room for the next one; a stop of that one follows from nothing."""
    other = ("open", "TGT", 1)
    told = Told(answers={PLAN: Answer(state="rejected", channel="cli", at_ms=0)})
    tested = {
        key(Stage.APPROVAL): row(1, approved_at_ms=1),
        key(Stage.RISK, plan=other): row(2, is_approved=False),
        key(Stage.PLAN, plan=other): row(2, stop_e4=90),
    }
    agent = {
        key(Stage.RISK, plan=other): row(2, is_approved=True),
        key(Stage.PLAN, plan=other): row(2, stop_e4=91),
    }
    found = {each.key.stage: each for each in compare(agent, tested, told)}
    assert found[Stage.PLAN].is_unexplained
    assert found[Stage.RISK].follows is not None
    assert code(found[Stage.APPROVAL]) == "rejected"


def test_what_comes_later_explains_nothing_of_before() -> None:
    """A plan rejected in the afternoon leaves the morning's verdict unexplained."""
    told = Told(answers={PLAN: Answer(state="rejected", channel="cli", at_ms=0)})
    risk = key(Stage.RISK, plan=("open", "TGT", 1))
    found = compare(
        {risk: row(1, is_approved=True)}, {risk: row(1, is_approved=False), key(Stage.APPROVAL): row(9)}, told
    )
    assert [each.is_unexplained for each in found] == [True, False]


def test_scores_rank_each_other() -> None:
    """One score differs: ranks of others may, their scores may not."""
    choice = Key(Stage.SCORE, "open")
    tested = {
        choice: row(1, chosen=["WMT"]),
        key(Stage.SCORE): row(1, score_e6=5, rank=1),
        key(Stage.SCORE, plan=("open", "TGT", 0)): row(1, score_e6=4, rank=2),
        key(Stage.SCORE, plan=("open", "XOM", 0)): row(1, score_e6=3, rank=3),
    }
    agent = {
        choice: row(1, chosen=["TGT"]),
        key(Stage.SCORE): row(1, score_e6=4, rank=2),
        key(Stage.SCORE, plan=("open", "TGT", 0)): row(1, score_e6=4, rank=1),
        key(Stage.SCORE, plan=("open", "XOM", 0)): row(1, score_e6=2, rank=3),
    }
    found = {each.key.symbol: each for each in compare(agent, tested, Told())}
    assert found["WMT"].is_unexplained
    assert found["XOM"].is_unexplained
    assert not found["TGT"].is_unexplained
    assert not found[""].is_unexplained
    alone = compare({choice: row(1, chosen=["TGT"])}, {choice: row(1, chosen=["WMT"])}, Told())
    assert alone[0].is_unexplained


def test_real_time_takes_some_and_a_virtual_clock_none() -> None:
    """Half a second live is the agent's own; two minutes are not, nor is half a second in a replay, nor a price."""
    order, live = key(Stage.ORDER, leg="entry", number=1), Told(is_live=True)
    tested = {order: row(1, created_at_ms=60_000, limit_e4=5)}
    found = only({order: row(1, created_at_ms=60_500, limit_e4=5)}, tested, live)
    assert code(found) == "latency"
    assert found.cause is not None
    assert "+0.5 s" in found.cause.words
    assert only({order: row(1, created_at_ms=60_500, limit_e4=5)}, tested, Told()).is_unexplained
    assert only({order: row(1, created_at_ms=180_001, limit_e4=5)}, tested, live).is_unexplained
    assert only({order: row(1, created_at_ms=60_500, limit_e4=6)}, tested, live).is_unexplained
    assert only({order: row(1, created_at_ms=None, limit_e4=5)}, tested, live).is_unexplained


def test_another_candidate_explains_no_plan() -> None:
    """What was measured otherwise of one stock explains its own plan and the rank of another, not that one's stop."""
    other = ("open", "TGT", 1)
    tested = {
        key(Stage.CANDIDATE): row(1, atr_e4=5),
        key(Stage.PLAN): row(2, stop_e4=90),
        key(Stage.PLAN, plan=other): row(2, stop_e4=90, rank=1),
    }
    agent = {
        key(Stage.CANDIDATE): row(1, atr_e4=6),
        key(Stage.PLAN): row(2, stop_e4=91),
        key(Stage.PLAN, plan=other): row(2, stop_e4=91, rank=1),
    }
    found = {(each.key.stage, each.key.symbol): each for each in compare(agent, tested, Told())}
    assert found[Stage.PLAN, "WMT"].follows == 0
    assert found[Stage.PLAN, "TGT"].is_unexplained
    agent[key(Stage.PLAN, plan=other)] = row(2, stop_e4=90, rank=2)
    assert not compare(agent, tested, Told())[-1].is_unexplained


def test_missed_scans_settings_and_what_was_held_over_are_named() -> None:
    """The scan that did not run; then what may explain anything, and is asked last."""
    scan, plan = Key(Stage.SCAN, "open"), key(Stage.PLAN)
    assert code(only({}, {scan: row(universe=5)}, Told(missed={"open": "too late"}))) == "scan_missed"
    assert code(only({}, {plan: row()}, Told(settings="planner changed"))) == "settings_changed"
    assert code(only({}, {plan: row()}, Told(carried="WMT"))) == "held_over"
    assert only({}, {scan: row(universe=5)}, Told(carried="WMT")).is_unexplained


@pytest.mark.parametrize(
    ("reason", "wanted"), [("stale_quote", "stale_quote"), ("halted", "halted"), ("spread", None)]
)
def test_a_price_that_was_too_old_there_is_named(reason: str, wanted: str | None) -> None:
    """Live only: on stored bars both sides see the same halts."""
    end = key(Stage.PLAN_END)
    agent, tested = {end: row(state="refused", reason=reason)}, {end: row(state="closed", reason="stop")}
    assert code(only(agent, tested, OUTSIDE)) == wanted
    assert only(agent, tested, Told()).is_unexplained


def test_exit_that_made_way_for_the_next_rung_is_explained_and_nothing_else_of_it() -> None:
    order = key(Stage.ORDER, leg="exit", number=1)
    tested = {order: row(1, state="filled", reason="", filled_shares_e4=7, shares_e4=7)}
    replaced = {"state": "cancelled", "reason": "exit", "filled_shares_e4": 0}
    assert code(only({order: row(1, **replaced, shares_e4=7)}, tested, Told())) == "next_rung"
    assert only({order: row(1, **replaced, shares_e4=8)}, tested, Told()).is_unexplained
    assert only({order: row(1, **{**replaced, "reason": ""}, shares_e4=7)}, tested, Told()).is_unexplained

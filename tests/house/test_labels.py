"""What alert rules and boards ask of a metric's labels exists: the labels, and the values they match."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from finagent.bootstrap.gauges import DIFFERENCE_KINDS, ENGINE_STATES
from finagent.domain.reconcile import DifferenceKind
from finagent.domain.risk import AccountState, RiskProfile, limits_used
from finagent.runtime.metrics import Metrics

ROOT = Path(__file__).resolve().parents[2]
SELECTOR = re.compile(r"finagent_(\w+?)(?:_bucket|_sum|_count)?\{([^}]*)\}")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')


def known_values() -> dict[tuple[str, str], set[str]]:
    """Values of the labels that the program itself makes, by (metric, label)."""
    profile = RiskProfile(pause_loss_e8=1, flatten_loss_e8=2)
    account = AccountState(equity_e8=1, day_start_equity_e8=1, cash_e8=1, buying_power_e8=1)
    return {
        ("risk_limit_used_ratio", "limit"): set(limits_used(account, profile)),
        ("reconcile_differences", "kind"): set(DIFFERENCE_KINDS),
        ("engine_state", "state"): set(ENGINE_STATES),
        ("day_pnl", "kind"): {"realised", "open", "total"},
    }


def asked() -> Iterator[tuple[str, str, str]]:
    """Each expression of deploy/ with where it stands and, for boards, its legend."""
    rules = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text(encoding="utf-8"))
    for group in rules["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"], json.dumps(rule["annotations"])
    for path in sorted((ROOT / "deploy/grafana/dashboards").glob("*.json")):
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
            for target in panel["targets"]:
                yield f"{path.stem}: {panel['title']}", target["expr"], target.get("legendFormat", "")


EXPRESSIONS = list(asked())


def labels_of() -> dict[str, set[str]]:
    """Label names of each metric, as a rule names the metric."""
    found: dict[str, set[str]] = {}
    for metric in vars(Metrics()).values():
        name, labels = getattr(metric, "_name", None), getattr(metric, "_labelnames", None)
        if name is not None and labels is not None:
            found[name.removeprefix("finagent_")] = set(labels)
            found[name.removeprefix("finagent_") + "_total"] = set(labels)
    return found


@pytest.mark.parametrize(("where", "expression", "told"), EXPRESSIONS, ids=[each[0] for each in EXPRESSIONS])
def test_labels_that_are_asked_for_exist(where: str, expression: str, told: str) -> None:
    """A matcher, a ``by`` or a legend over a label that the metric lacks is always empty."""
    labels = labels_of()
    names = {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"finagent_(\w+)", expression)}
    have = {"le", "job", "instance"}.union(*(labels[name] for name in names)) if names else {"le", "job"}
    by = {word.strip() for part in re.findall(r"by\s*\(([^)]*)\)", expression) for word in part.split(",")}
    legend = set(re.findall(r"\{\{\s*\$labels\.(\w+)", told)) | set(re.findall(r"\{\{\s*(\w+)\s*\}\}", told))
    assert by | legend <= have
    for metric, matchers in SELECTOR.findall(expression):
        assert {label for label, _, _ in MATCHER.findall(matchers)} <= labels[metric]


@pytest.mark.parametrize(("where", "expression", "told"), EXPRESSIONS, ids=[each[0] for each in EXPRESSIONS])
def test_label_values_that_are_asked_for_exist(where: str, expression: str, told: str) -> None:
    """A rule over a value that the program never sets never fires."""
    known = known_values()
    for metric, matchers in SELECTOR.findall(expression):
        for label, operator, value in MATCHER.findall(matchers):
            values = known.get((metric, label))
            assert values is not None, f"{metric}.{label}: say its values in known_values()"
            pattern = value if "~" in operator else re.escape(value)
            assert [each for each in values if re.fullmatch(pattern, each)], (
                f"{value} matches none of {values}"
            )


def test_rules_ask_for_labels_at_all() -> None:
    """The parser sees matchers: a check of nothing proves nothing."""
    assert any(SELECTOR.search(expression) for _, expression, _ in EXPRESSIONS)


def test_every_kind_of_difference_is_a_label() -> None:
    """Each kind that reconcile finds has its own series, so that an alert knows it from the start."""
    assert {kind.value for kind in DifferenceKind} == set(DIFFERENCE_KINDS)

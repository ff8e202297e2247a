"""Alert rules and boards ask only for metrics that the agent exports."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
RULES = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text(encoding="utf-8"))
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]
DASHBOARDS = sorted((ROOT / "deploy/grafana/dashboards").glob("*.json"))


def names_in(expression: str) -> set[str]:
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"finagent_\w+", expression)}


def exported() -> set[str]:
    """Names of the agent's own metrics, as a rule or a board writes them."""
    metrics = pytest.importorskip("finagent.runtime.metrics", exc_type=ModuleNotFoundError)
    families = metrics.Metrics().registry.collect()
    return {family.name + ("_total" if family.type == "counter" else "") for family in families}


@pytest.mark.parametrize("alert", ALERTS, ids=[alert["alert"] for alert in ALERTS])
def test_alert_says_what_and_the_mend(alert: dict[str, Any]) -> None:
    """An alert has a severity, a summary and a mend, and a readable expression."""
    assert alert["labels"]["severity"] in ("page", "warn")
    assert alert["annotations"]["summary"]
    assert alert["annotations"]["mend"]
    assert names_in(alert["expr"]) or 'up{job="finagent"}' in alert["expr"]


@pytest.mark.parametrize("alert", ALERTS, ids=[alert["alert"] for alert in ALERTS])
def test_alert_asks_for_an_exported_metric(alert: dict[str, Any]) -> None:
    """A rule over a metric that nobody exports never fires."""
    asked = names_in(alert["expr"])
    assert not asked or asked <= exported()


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_board_asks_for_exported_metrics(path: Path) -> None:
    """A panel over a metric that nobody exports stays empty."""
    board = json.loads(path.read_text(encoding="utf-8"))
    asked = {
        name for panel in board["panels"] for target in panel["targets"] for name in names_in(target["expr"])
    }
    assert asked
    assert asked <= exported()


def test_promtool_accepts_the_rules() -> None:
    """Prometheus itself reads the rules and the configuration."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: the rules are checked as YAML and by their metric names only")
    done = subprocess.run(
        [promtool, "check", "config", "prometheus.yml"],
        cwd=ROOT / "deploy/prometheus", capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr

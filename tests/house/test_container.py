"""The image, the compose file, the scrape and the boards name only what exists."""

import importlib
import importlib.util
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
WATCHERS = ("prometheus", "grafana")
DASHBOARDS = sorted((ROOT / "deploy/grafana/dashboards").glob("*.json"))


def instructions(word: str) -> list[str]:
    return [match.strip() for match in re.findall(rf"^\s*{word} (.+)$", DOCKERFILE, re.MULTILINE)]


def copied_from_the_project() -> list[str]:
    lines = [line.split() for line in instructions("COPY") if not line.startswith("--from")]
    return [source for line in lines for source in line[:-1]]


def loaded(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


@pytest.mark.parametrize("source", copied_from_the_project())
def test_image_copies_what_exists_and_is_not_ignored(source: str) -> None:
    """Each COPY source is a file of the project that .dockerignore lets through."""
    assert (ROOT / source).exists()
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert source.split("/")[0] in allowed


def test_image_runs_the_agent_as_a_user_without_rights() -> None:
    """The command is the agent's, the user is not root, the data has its volume."""
    assert json.loads(instructions("CMD")[-1]) == ["python", "-m", "finagent.cli", "orchestrate"]
    assert instructions("USER")[-1] not in ("root", "0")
    assert instructions("VOLUME") == ["/data"]
    assert "FINAGENT_HOME=/data" in DOCKERFILE
    assert "/livez" in DOCKERFILE.split("HEALTHCHECK", 1)[1]


def test_command_of_the_image_exists() -> None:
    """``python -m finagent.cli`` can be run and knows ``orchestrate``."""
    root = pytest.importorskip("finagent.cli.root", exc_type=ModuleNotFoundError)
    typer = pytest.importorskip("typer")
    assert importlib.util.find_spec("finagent.cli.__main__") is not None
    assert "orchestrate" in typer.main.get_command(root.app).commands


def test_image_installs_locked_dependencies_with_hashes() -> None:
    """Nothing comes from an index but what the locks name."""
    installs = [part for run in instructions("RUN") for part in run.split("&&") if "pip install" in part]
    assert installs
    assert all("--require-hashes" in part or "--no-index" in part for part in installs)


def test_settings_named_by_the_image_exist() -> None:
    """Each FINAGENT__SECTION__KEY of the Dockerfile is a key of settings.yaml."""
    if not (ROOT / "settings.yaml").exists():
        pytest.skip("settings.yaml is not written yet")
    settings = loaded("settings.yaml")
    for section, key in re.findall(r"FINAGENT__([A-Z0-9]+)__([A-Z0-9_]+)=", DOCKERFILE):
        assert key.lower() in settings[section.lower()]


def test_agent_is_confined() -> None:
    """Read-only root, no capabilities, no new privileges, its data in a volume."""
    app = COMPOSE["services"]["app"]
    assert app["read_only"] is True
    assert "/tmp" in app["tmpfs"]
    assert app["cap_drop"] == ["ALL"]
    assert app["security_opt"] == ["no-new-privileges:true"]
    assert "data:/data" in app["volumes"]


def test_every_port_is_bound_to_this_machine() -> None:
    """Nothing listens to the network."""
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_watchers_start_only_with_their_profile() -> None:
    """Prometheus and Grafana are asked for with ``--profile watch``; the agent is not."""
    services = COMPOSE["services"]
    assert {name for name, service in services.items() if service.get("profiles") == ["watch"]} == set(
        WATCHERS
    )
    assert "profiles" not in services["app"]


@pytest.mark.parametrize("service", sorted(COMPOSE["services"]))
def test_mounted_paths_exist(service: str) -> None:
    """A path is in the project, a name is a declared volume, an image is pinned by version."""
    described = COMPOSE["services"][service]
    for volume in described.get("volumes", ()):
        source = volume.split(":")[0]
        assert (ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"], volume
    assert "build" in described or re.search(r":v?\d+\.\d+\.\d+$", described["image"])


def test_prometheus_scrapes_the_port_that_the_agent_serves() -> None:
    """The scrape's target is the compose service at the exposed port."""
    config = loaded("deploy/prometheus/prometheus.yml")
    targets = [
        target
        for job in config["scrape_configs"]
        for part in job["static_configs"]
        for target in part["targets"]
    ]
    (exposed,) = instructions("EXPOSE")
    assert targets == [f"app:{exposed}"]
    assert COMPOSE["services"]["app"]["ports"] == [f"127.0.0.1:{exposed}:{exposed}"]
    assert config["scrape_configs"][0]["job_name"] == "finagent"
    for name in config["rule_files"]:
        assert (ROOT / "deploy/prometheus" / name).is_file()


def test_grafana_finds_its_boards_and_its_source() -> None:
    """The provisioned folder is the mounted one; each panel asks the provisioned source."""
    (provider,) = loaded("deploy/grafana/provisioning/dashboards/finagent.yml")["providers"]
    mounts = [volume.split(":")[1] for volume in COMPOSE["services"]["grafana"]["volumes"]]
    assert provider["options"]["path"] in mounts
    (source,) = loaded("deploy/grafana/provisioning/datasources/prometheus.yml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert DASHBOARDS
    for path in DASHBOARDS:
        panels = json.loads(path.read_text(encoding="utf-8"))["panels"]
        assert panels
        assert {panel["datasource"]["uid"] for panel in panels} == {source["uid"]}


def test_console_script_names_a_function() -> None:
    """The ``finagent`` command leads to something that can be called."""
    pytest.importorskip("finagent.cli", exc_type=ModuleNotFoundError)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, name = project["scripts"]["finagent"].split(":")
    assert callable(getattr(importlib.import_module(module), name))

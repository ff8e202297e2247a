"""Settings are what is written, or refused in one line that names the place, the value and the mend."""

import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from finagent.settings import Settings, SettingsError, load_settings, settings_schema

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = ROOT / "settings.yaml"


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("FINAGENT"):
            monkeypatch.delenv(name)


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def written(text: str) -> Path:
        path = tmp_path / "settings.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return written


def refusal(path: Path | None, **kwargs: Any) -> str:
    """Message and mend of the error that loading gives, as the command line shows them."""
    with pytest.raises(SettingsError) as caught:
        load_settings(path, **kwargs)
    line = f"{caught.value.message}. {caught.value.hint}"
    assert "\n" not in line
    assert caught.value.hint
    return line


# ---------------------------------------------------------------- the committed file


def test_committed_file_states_the_defaults() -> None:
    """settings.yaml shows what happens without it."""
    assert load_settings(COMMITTED, profile="") == Settings()


def test_dev_profile_only_talks_more() -> None:
    dev = load_settings(COMMITTED, profile="dev").model_dump()
    assert dev["ops"].pop("log_level") == "debug"
    plain = Settings().model_dump()
    del plain["ops"]["log_level"]
    assert dev == plain


def test_without_a_file_the_defaults_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings() == Settings()


@pytest.mark.parametrize("text", ["", "# nothing\n", "scan:\nrisk:\n", "{}", "profiles:\n"])
def test_empty_sections_have_the_defaults(write: Any, text: str) -> None:
    """What init writes has sections whose keys are all comments."""
    assert load_settings(write(text)) == Settings()


# ---------------------------------------------------------------- unknown names


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("scan: {min_gap_pc: 3}", "unknown setting scan.min_gap_pc in {path}. did you mean min_gap_pct?"),
        ("scna: {top: 3}", "unknown section scna in {path}. did you mean scan?"),
        ("_env_prefix: X", "unknown section _env_prefix in {path}"),
        ("risk: {top: 3}", "unknown setting risk.top in {path}. top is a key of section scan"),
        ("ops: {zzzz: 3}", "known here: log_level, stop_timeout_s, demo_speed"),
        ("schedule: {entry_windows: [{start: '09:30', ende: '10:00'}]}", "did you mean end?"),
        ("schedule: {scans: [{nam: a, at: open}]}", "schedule.scans[0].nam"),
        ("scan: {top: {x: 1}}", "setting scan.top: Input should be a valid integer"),
    ],
)
def test_unknown_name_offers_the_nearest(write: Any, text: str, wanted: str) -> None:
    path = write(text)
    assert wanted.format(path=path) in refusal(path)


# ---------------------------------------------------------------- the file itself


def test_missing_file_that_was_named_is_refused(tmp_path: Path) -> None:
    assert "no settings file" in refusal(tmp_path / "absent.yaml")


def test_folder_in_the_place_of_the_file_is_refused(tmp_path: Path) -> None:
    assert "cannot read" in refusal(tmp_path)


def test_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_bytes(b"\xff\xfe\x00scan")
    assert "UTF-8" in refusal(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_file_without_permission_is_refused(write: Any) -> None:
    path = write("scan: {top: 3}")
    path.chmod(0)
    assert "permissions" in refusal(path)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("scan: [", "is no YAML"),
        ("scan:\n\ttop: 3", "is no YAML"),
        ("a: 1\n---\nb: 2", "is no YAML"),
        ("!!python/object/apply:os.getcwd []", "is no YAML"),
        ("- scan", "is no mapping of sections"),
        ("scan", "is no mapping of sections"),
        ("1: {top: 3}", "is no mapping of sections"),
        ("scan: 5", "section scan in {path} is 5, no keys"),
        ("risk: []", "section risk in {path} is [], no keys"),
        ("scan: {1: 2}", "scan"),
        ("scan: {[top]: 2}", "is no YAML"),
    ],
)
def test_file_of_another_shape_is_refused(write: Any, text: str, wanted: str) -> None:
    path = write(text)
    assert wanted.format(path=path) in refusal(path)


def test_nesting_without_end_is_refused(write: Any) -> None:
    assert "is no YAML" in refusal(write("scan: " + "[" * 100_000))


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("risk: {profile: standard}\nrisk: {profile: micro}", 2, "risk"),
        ("risk:\n  pause_loss_pct: 1\n  flatten_loss_pct: 2\n  pause_loss_pct: 1.9", 4, "pause_loss_pct"),
        ("schedule:\n  scans:\n    - {name: a, at: open, name: b}", 3, "name"),
        ("profiles:\n  dev: {}\n  dev: {}", 3, "dev"),
    ],
)
def test_key_given_twice_is_refused(write: Any, text: str, line: int, key: str) -> None:
    """YAML would let the last one win in silence."""
    assert f"line {line}: {key} stands here twice" in refusal(write(text))


def test_unquoted_times_and_tickers_are_texts(write: Any) -> None:
    """YAML 1.1 reads 12:15 as 735 and ON as true."""
    settings = load_settings(
        write(
            "universe: {exclude: [ON, NO, Y, TRUE]}\n"
            "schedule:\n  entry_windows: [{start: 09:30, end: 12:15}]\n"
            "scan: {top: 7, min_adv_usd: 1_000_000, min_gap_pct: 2.5, max_spread_pct: 1}\n"
        )
    )
    assert settings.universe.exclude == ("ON", "NO", "Y", "TRUE")
    assert settings.schedule.entry_windows[0].end == "12:15"
    assert settings.scan.min_adv_usd == 1_000_000
    assert settings.scan.min_gap_pct == Decimal("2.5")


def test_anchors_and_merges_are_no_duplicates(write: Any) -> None:
    text = "profiles:\n  a: &a {ops: {log_level: debug}}\n  b: {<<: *a, scan: {top: 2}}"
    settings = load_settings(write(text), profile="b")
    assert (settings.ops.log_level, settings.scan.top) == ("debug", 2)


# ---------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("scan: {top: many}", "setting scan.top = 'many': Input should be a valid integer"),
        ("scan: {top: 2.5}", "setting scan.top = 2.5"),
        ("scan: {top: true}", "setting scan.top = True: true and false are no value here"),
        ("scan: {top: null}", "setting scan.top = None"),
        ("scan: {top: 0}", "greater than or equal to 1"),
        ("scan: {top: 51}", "less than or equal to 50"),
        ("scan: {min_price: .nan}", "setting scan.min_price = nan: Input should be a finite number"),
        ("scan: {min_price: .inf}", "finite"),
        ("scan: {min_price: -.inf}", "finite"),
        ("scan: {min_price: NaN}", "finite"),
        ("scan: {min_price: -2}", "setting scan.min_price = -2: Input should be greater than 0"),
        ("scan: {min_price: 2.00001}", "no more than 4 decimal places"),
        ("scan: {min_price: true}", "true and false are no value here"),
        ("scan: {min_price: 301}", "setting scan: min_price 301 must be below max_price 300"),
        ("scan: {min_gap_pct: 0}", "greater than 0"),
        ("account: {currency: EUR}", "setting account.currency = 'EUR': Input should be 'USD'"),
        ("account: {start_equity: 0}", "greater than 0"),
        ("account: {start_equity: 1e30}", "less than or equal to 1000000000"),
        ("account: {mode: live}", "Input should be 'alert', 'approve' or 'auto'"),
        ("account: {name: a/b}", "write a name of 1 to 32 letters"),
        ("universe: {exclude: GME}", "setting universe.exclude = 'GME'"),
        ("universe: {exclude: [GME, true]}", "setting universe.exclude[1] = True"),
        ("universe: {exclude: [gme]}", "setting universe.exclude[0] = 'gme': write a symbol in capital"),
        ("universe: {fractional: perhaps}", "valid boolean"),
        ("planning: {opening_range_minutes: 7}", "1, 5, 15 or 30"),
        ("planning: {trail_after_r: 1}", "trail_after_r is 1, trail_atr is None: set both or neither"),
        ("broker: {name: robinhood}", "Input should be 'paper', 'manual' or 'alpaca'"),
        (
            "broker: {name: alpaca, endpoint: 'https://evil.example'}",
            "write paper, live, or http://127.0.0.1:PORT",
        ),
        ("broker: {name: alpaca, endpoint: 'http://127.0.0.1:80@evil.example'}", "write paper, live"),
        ("broker: {endpoint: live}", "endpoint live belongs to another broker than paper"),
        ("api: {modules: [health, everything]}", "setting api.modules[1] = 'everything'"),
        ("api: {port: 70000}", "65535"),
        ("schedule: {flatten: []}", "at least 1 item"),
        ("scan: {top: 0, min_price: 0}", "(and 1 more)"),
    ],
)
def test_wrong_value_names_place_value_and_bound(write: Any, text: str, wanted: str) -> None:
    assert wanted in refusal(write(text))


@pytest.mark.parametrize(
    ("weights", "total"), [("{volatility: 0.41}", "1.01"), ("{catalyst: 0.1, sentiment: 0}", "0.7")]
)
def test_weights_sum_to_one(write: Any, weights: str, total: str) -> None:
    line = refusal(write(f"scoring: {weights}"))
    assert f"the weights sum to {total}" in line
    assert "setting scoring:" in line


def test_weights_that_sum_to_one_are_taken(write: Any) -> None:
    text = "scoring: {volatility: 0.1, catalyst: 0.2, liquidity: 0.3, sentiment: 0.4}"
    assert load_settings(write(text)).scoring.sentiment == Decimal("0.4")


@given(st.lists(st.integers(0, 1_000_000), min_size=4, max_size=4))
def test_weights_are_taken_exactly_when_they_sum_to_one(parts: list[int]) -> None:
    """In exact arithmetic: no float tolerance lets 0.999999 pass."""
    names = ("volatility", "catalyst", "liquidity", "sentiment")
    weights = {name: str(Decimal(part) / 1_000_000) for name, part in zip(names, parts, strict=True)}
    if sum(parts) == 1_000_000:
        assert Settings(scoring=weights)  # type: ignore[arg-type]
    else:
        with pytest.raises(ValueError, match="the weights sum to"):
            Settings(scoring=weights)  # type: ignore[arg-type]


# ---------------------------------------------------------------- risk: never a silent default


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("{pause_loss_pct: 2, flatten_loss_pct: 2}", "flatten_loss_pct 2 must be above pause_loss_pct 2"),
        ("{pause_loss_pct: 3}", "flatten_loss_pct 2 must be above pause_loss_pct 3"),
        ("{flatten_loss_pct: 1}", "flatten_loss_pct 1 must be above pause_loss_pct 1.5"),
        ("{profile: micro, pause_loss_pct: 5, flatten_loss_pct: 4}", "must be above pause_loss_pct 5"),
        ("{profile: micro, allow_shorts: true}", "allow_shorts needs a margin account"),
        ("{profile: null}", "setting risk.profile = None"),
        ("{allow_shorts: null}", "setting risk.allow_shorts = None"),
        ("{max_open_positions: false}", "true and false are no value here"),
        ("{max_open_positions: ''}", "setting risk.max_open_positions = ''"),
        ("{risk_per_trade_pct: 50}", "less than or equal to 5"),
        ("{risk_per_trade_pct: -0.5}", "greater than 0"),
        ("{risk_per_trade_pct: 0}", "greater than 0"),
    ],
)
def test_risk_value_that_cannot_be_meant_is_refused(write: Any, text: str, wanted: str) -> None:
    assert wanted in refusal(write(f"risk: {text}"))


def test_null_is_allowed_only_where_the_file_explains_it(write: Any) -> None:
    """Each key that may be null says in settings.yaml what null means; every other key refuses it."""
    text = COMMITTED.read_text(encoding="utf-8")
    for section, field in Settings.model_fields.items():
        part = text.partition(f"\n{section}:\n")[2].partition("\n\n")[0]
        for key in getattr(field.annotation, "model_fields", {}):
            is_explained = f" {key}: null" in part or key == "time_stop_minutes"
            path = write(f"{section}: {{{key}: null}}")
            if is_explained:
                load_settings(path)
            else:
                assert f"{section}.{key} = None" in refusal(path)


def test_every_limit_of_a_micro_account_may_be_given(write: Any) -> None:
    """Tiers in percent may stand beside the profile's tiers in money."""
    risk = load_settings(write("risk: {profile: micro, pause_loss_pct: 3}")).risk
    assert (risk.pause_loss_pct, risk.flatten_loss_pct) == (Decimal(3), None)


# ---------------------------------------------------------------- the schedule is checked at load time


@pytest.mark.parametrize(
    "at", ["09:31", "open", "close", "open+1m", "open-30m", "close-3h45m", "31 9 * * 1-5", "*/5 9 * * *"]
)
def test_scan_line_that_a_clock_knows_is_taken(write: Any, at: str) -> None:
    assert load_settings(write(f"schedule: {{scans: [{{name: a, at: '{at}'}}]}}")).schedule.scans[0].at == at


@pytest.mark.parametrize(
    "at", ["9:31", "24:00", "09:60", "noon", "", "open+", "close-", "open*2m", "61 9 * * *", "31 9 * *",
           "0 0 30 2 *", "09:31:00", "x" * 65]
)  # fmt: skip
def test_scan_line_that_never_fires_is_refused_at_load(write: Any, at: str) -> None:
    line = refusal(write(f"schedule: {{scans: [{{name: a, at: '{at}'}}]}}"))
    assert "schedule.scans[0].at" in line
    assert "write HH:MM" in line or "at most 64 characters" in line


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("scans: [{name: a, at: open}, {name: a, at: close}]", "two scans are called a"),
        ("scans: [{name: Open, at: open}]", "small letters"),
        ("scans: [{name: a, at: open, kind: buy}]", "schedule.scans[0].kind"),
        ("scans: [{at: open}]", "setting schedule.scans[0].name: Field required"),
        ("entry_windows: [{start: '11:00', end: '09:30'}]", "start 11:00 must be before end 09:30"),
        ("entry_windows: [{start: '09:30', end: '09:30'}]", "start 09:30 must be before end 09:30"),
        ("entry_windows: [{start: '9:30', end: '10:00'}]", "write a time as HH:MM"),
        (
            "entry_windows: [{start: '12:00', end: '13:00'}, {start: '09:30', end: '11:00'}]",
            "put them in order",
        ),
        (
            "entry_windows: [{start: '09:30', end: '11:00'}, {start: '10:59', end: '12:00'}]",
            "without overlap",
        ),
        ("flatten: [close-5m, close-10m]", "nearer to the close"),
        ("flatten: [close-5m, close-5m]", "nearer to the close"),
        ("flatten: [close-0m]", "nearer to the close"),
        ("flatten: [close+5m]", "'close+5m' is no time before the close"),
        ("flatten: ['15:45']", "'15:45' is no time before the close"),
        ("day_close: close-2m", "write a time after the close"),
        ("zone: Europe/Berlin", "America/New_York"),
    ],
)
def test_day_that_cannot_be_kept_is_refused(write: Any, text: str, wanted: str) -> None:
    assert wanted in refusal(write(f"schedule: {{{text}}}"))


def test_windows_may_touch_and_the_ladder_may_be_long(write: Any) -> None:
    text = (
        "schedule:\n  entry_windows: [{start: '09:30', end: '11:00'}, {start: '11:00', end: '12:00'}]\n"
        "  flatten: [close-1h30m, close-1h, close-1m]\n"
    )
    assert len(load_settings(write(text)).schedule.flatten) == 3


# ---------------------------------------------------------------- environment


def test_environment_wins_over_the_file(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINAGENT__SCAN__MIN_GAP_PCT", "2.5")
    monkeypatch.setenv("finagent__scan__top", "9")
    monkeypatch.setenv("FINAGENT__API__MODULES", '["health"]')
    monkeypatch.setenv("FINAGENT__PLANNING__TIME_STOP_MINUTES", "null")
    settings = load_settings(write("scan: {min_gap_pct: 3, min_price: 5}"))
    assert settings.scan.min_gap_pct == Decimal("2.5")
    assert settings.scan.top == 9
    assert settings.scan.min_price == 5
    assert settings.api.modules == ("health",)
    assert settings.planning.time_stop_minutes is None


def test_environment_wins_over_the_profile(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINAGENT_ENV", "dev")
    monkeypatch.setenv("FINAGENT__OPS__LOG_LEVEL", "error")
    assert load_settings(write("profiles: {dev: {ops: {log_level: debug}}}")).ops.log_level == "error"


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("FINAGENT__SCNA__TOP", "3", "no section 'scna'. did you mean scan?"),
        ("FINAGENT__SCAN__TPO", "3", "scan.tpo in the environment variable FINAGENT__SCAN__TPO"),
        ("FINAGENT__SCAN__TOP", "many", "mend it in the environment variable FINAGENT__SCAN__TOP"),
        ("FINAGENT__SCAN__TOP", "", "setting scan.top = ''"),
        ("FINAGENT__SCAN__TOP", "null", "setting scan.top = None"),
        ("FINAGENT__SCAN__MIN_PRICE", "nan", "finite"),
        ("FINAGENT__API__MODULES", "health", "write lists and whole sections as JSON"),
        ("FINAGENT__RISK", "micro", "write lists and whole sections as JSON"),
        ("FINAGENT_RISK__PROFILE", "micro", "write FINAGENT__RISK__PROFILE"),
        ("FINAGENT__PROFILES__DEV", "{}", "no section 'profiles'"),
    ],
)  # fmt: skip
def test_wrong_environment_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, wanted: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(name, value)
    assert wanted in refusal(None)


def test_other_names_of_finagent_are_no_settings(monkeypatch: pytest.MonkeyPatch, write: Any) -> None:
    for name in ("FINAGENT_HOME", "FINAGENT_REAL_DATA", "FINAGENT_PYTHON"):
        monkeypatch.setenv(name, "x")
    assert load_settings(write("")) == Settings()


# ---------------------------------------------------------------- profiles


def test_profile_is_laid_over_key_by_key(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("scan: {top: 3, min_price: 5}\nprofiles: {dev: {scan: {top: 9}}, bare: null}")
    assert load_settings(path).scan.top == 3
    assert load_settings(path, profile="bare").scan.top == 3
    monkeypatch.setenv("FINAGENT_ENV", "dev")
    settings = load_settings(path)
    assert (settings.scan.top, settings.scan.min_price) == (9, 5)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("profiles: 5", "profiles is no mapping"),
        ("profiles: {dev: 5}", "profile dev is no mapping"),
        ("profiles: {dve: {}}", "FINAGENT_ENV is 'dev', {path} has no such profile. did you mean dve?"),
        ("profiles: {dev: {scan: {tpo: 3}}}", "unknown setting scan.tpo"),
        ("profiles: {dev: {scan: 3}}", "section scan"),
    ],
)
def test_profile_that_is_wrong_is_refused(write: Any, text: str, wanted: str) -> None:
    path = write(text)
    assert wanted.format(path=path) in refusal(path, profile="dev")


def test_file_without_profiles_ignores_the_choice(write: Any) -> None:
    """./launch_dev.sh sets FINAGENT_ENV=dev for every file, also for one that init wrote."""
    assert load_settings(write("scan: {top: 3}"), profile="dev").scan.top == 3


# ---------------------------------------------------------------- what is shown


def test_redacted_is_json_and_complete() -> None:
    shown = Settings().redacted()
    assert json.loads(json.dumps(shown)) == shown
    assert set(shown) == set(Settings.model_fields)
    assert shown["scan"]["min_gap_pct"] == "4.0"


class _Keys(BaseModel):
    api_key: str = "k-123"
    bot_token: str = "t-123"
    channel: str = "desk"


class _Guest(BaseModel):
    password: str = "p-123"


class _WithSecrets(Settings):
    keys: _Keys = _Keys()
    guests: tuple[_Guest, ...] = (_Guest(),)


def test_secrets_are_masked_at_every_depth() -> None:
    shown = json.dumps(_WithSecrets().redacted())
    assert "-123" not in shown
    assert shown.count("***") == 3
    assert "desk" in shown


def test_schema_is_json_schema_that_knows_every_key() -> None:
    """Editors read it; the committed file keeps it."""
    schema = json.loads(json.dumps(settings_schema()))
    assert schema["additionalProperties"] is False
    assert set(schema["properties"]) == {*Settings.model_fields, "profiles"}
    for section, field in Settings.model_fields.items():
        reference = schema["properties"][section].get("$ref", "")
        definition = schema["$defs"][reference.rpartition("/")[2]]
        assert definition["additionalProperties"] is False
        assert set(definition["properties"]) == set(getattr(field.annotation, "model_fields", {}))
    for reference in _references(schema):
        assert reference.removeprefix("#/$defs/") in schema["$defs"]
    assert set(yaml.safe_load(COMMITTED.read_text(encoding="utf-8"))) <= set(schema["properties"])


def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [found for value in node.values() for found in _references(value)]
    return [found for item in node for found in _references(item)] if isinstance(node, list) else []

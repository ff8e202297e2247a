"""Speed and memory of a trading day: python -m benchmarks.day [--quick]; the last line is one JSON document."""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Figures, machine
from benchmarks.processes import ProcessFailedError, agent, finagent, python
from benchmarks.universe import COARSE, LAST_SESSION, write_universe

REPLAYED = ("2018-02-16", "2018-03-16")
MADE_UP = ("2026-03-02", "2026-03-27")
MADE_UP_QUICK = ("2026-03-02", "2026-03-03")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where things are, and how often each is measured."""

    data: Path | None
    work: Path
    repeats: int
    rest_s: float
    is_quick: bool


def measure_help(bench: Bench, figures: Figures) -> None:
    """``finagent --help`` as a process; the first run compiles and does not count."""
    finagent("--help")
    count = 2 if bench.is_quick else 10
    figures.put_best("help_s", [finagent("--help").seconds for _ in range(count)])


def measure_import(bench: Bench, figures: Figures) -> None:
    """``data import`` of the whole folder into a new home, calendar included."""
    runs = []
    for number in range(bench.repeats):
        home = bench.work / f"import-{number}"
        runs.append(finagent("data", "import", str(_folder(bench)), "--json", home=home))
    figures.put_best("import_s", [run.seconds for run in runs])
    figures.put("import_peak_mib", max(run.peak_mib for run in runs))


def measure_replay(bench: Bench, figures: Figures) -> None:
    """``replay --fresh`` over the imported home as a process."""
    first, last = (LAST_SESSION, LAST_SESSION) if bench.is_quick else REPLAYED
    home = bench.work / "import-0"
    runs = [
        finagent("replay", "--from", first, "--to", last, "--fresh", "--json", home=home)
        for _ in range(bench.repeats)
    ]
    figures.put_best("replay_20_sessions_s", [run.seconds for run in runs])
    figures.put("replay_peak_mib", max(run.peak_mib for run in runs))
    probed = _put_intents(bench, figures, "bars_to_intent", [str(home), "replay", first, last])
    figures.put("commits_per_session", _number(probed["most_commits"]))
    figures.put("replay_commits", _number(probed["commits"]))


def measure_scan(bench: Bench, figures: Figures) -> None:
    """A scan job over the coarse universe, from published to committed with its follow-up."""
    folder, home = bench.work / "universe", bench.work / "universe-home"
    source = bench.data / COARSE if bench.data is not None else None
    if not folder.exists():
        write_universe(source, folder)
    finagent("data", "import", str(folder), "--json", home=home)
    found = [
        python("benchmarks.scan_job", str(home), LAST_SESSION).document for _ in range(bench.repeats + 2)
    ]
    figures.put_best("scan_universe_s", [_number(each["first_s"]) for each in found])
    figures.put_best("scan_universe_again_s", [_number(each["again_s"]) for each in found])
    figures.put_best("scan_to_quiescence_s", [_number(each["to_quiescence_s"]) for each in found])
    figures.put("scan_symbols", _number(found[0]["universe"]))
    figures.put("scan_candidates", _number(found[0]["candidates"]))


def measure_intents(bench: Bench, figures: Figures) -> None:
    """The same for sessions of the built-in market, which makes 200 stocks up as it is asked."""
    sessions = MADE_UP_QUICK if bench.is_quick else MADE_UP
    home = _made(bench.work / "made-up")
    found = _put_intents(bench, figures, "made_up_bars_to_intent", [str(home), "simulated", *sessions])
    figures.put("made_up_session_s", _number(found["seconds"]) / _number(found["sessions"]))
    figures.put("made_up_most_commits", _number(found["most_commits"]))


def _put_intents(bench: Bench, figures: Figures, name: str, arguments: list[str]) -> dict[str, object]:
    """From the commit of a tick with a scan, its bars in memory, to each committed intent that it led to."""
    found = [python("benchmarks.sessions", *arguments).document for _ in range(bench.repeats)]
    runs = [_numbers(each["scan_to_intent_ms"]) for each in found]
    if len({len(run) for run in runs}) > 1:
        raise ProcessFailedError(f"{name}: the same sessions gave {[len(run) for run in runs]} intents")
    if runs[0]:
        figures.put_spread(name, "ms", runs)
    else:
        figures.skipped[name] = "no intent in these sessions"
    return found[0]


def measure_agent(bench: Bench, figures: Figures) -> None:
    """``orchestrate``: first start of a new home, starts of one that has been started, rest, SIGTERM."""
    with agent(_made(bench.work / "compile")) as compiled:
        compiled.stop()
    home = _made(bench.work / "orchestrate")
    ready: list[float] = []
    stops: list[float] = []
    for number in range(1 + (1 if bench.is_quick else 5)):
        with agent(home) as running:
            if number == 0:
                figures.put("first_start_to_ready_s", running.ready_s)
                time.sleep(bench.rest_s)
                figures.put("at_rest_mib", running.memory_mib())
            else:
                ready.append(running.ready_s)
            running.stop()
        stops.append(running.stop_s or 0.0)
    figures.put_best("start_to_ready_s", ready)
    figures.put("stop_s", max(stops))


MEASURES: dict[str, Callable[[Bench, Figures], None]] = {
    "help": measure_help,
    "import": measure_import,
    "replay": measure_replay,
    "scan": measure_scan,
    "intents": measure_intents,
    "agent": measure_agent,
}
NEEDS_DATA = ("import", "replay", "scan")


def run(data: Path | None, *, only: Sequence[str], is_quick: bool, rest_s: float, repeats: int) -> str:
    """Measure, print the table, and return the document."""
    load_before, figures = os.getloadavg(), Figures()
    wanted = [
        name for name in MEASURES if not only or name in only or ("replay" in only and name == "import")
    ]
    with tempfile.TemporaryDirectory(prefix="finagent-bench-") as folder:
        bench = Bench(
            data=data,
            work=Path(folder),
            repeats=1 if is_quick else repeats,
            rest_s=0.0 if is_quick else rest_s,
            is_quick=is_quick,
        )
        if is_quick:
            write_universe(None, bench.work / "universe")
        for name in wanted:
            if name in NEEDS_DATA and not is_quick and data is None:
                figures.skipped[name] = "the real market data is not here (FINAGENT_REAL_DATA)"
                continue
            print(f"{name} ...", file=sys.stderr, flush=True)
            MEASURES[name](bench, figures)
    print(figures.table())
    return figures.document({**machine(load_before), "quick": is_quick})


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.day", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a minute of made-up data: tries the benchmark")
    parser.add_argument("--only", nargs="+", choices=list(MEASURES), default=[], help="measure only these")
    parser.add_argument("--repeats", type=int, default=3, help="runs of the long ones (3)")
    parser.add_argument("--rest", type=float, default=20.0, metavar="SECONDS", help="rest before memory (20)")
    options = parser.parse_args(argv)
    data = Path(os.environ.get("FINAGENT_REAL_DATA", "../shared/data")).resolve()
    document = run(
        data if data.is_dir() and not options.quick else None,
        only=options.only,
        is_quick=options.quick,
        rest_s=options.rest,
        repeats=options.repeats,
    )
    print(document)


def _folder(bench: Bench) -> Path:
    return bench.data if bench.data is not None else bench.work / "universe"


def _made(home: Path) -> Path:
    home.mkdir(parents=True, exist_ok=True)
    return home


def _number(value: object) -> float:
    return float(str(value))


def _numbers(values: object) -> list[float]:
    return [_number(value) for value in values] if isinstance(values, list) else []


if __name__ == "__main__":
    main()

"""Research from Python: open a home's bars, run rules over them, look at trades and figures, keep the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from finagent.bootstrap.backtest_compare import compare_results
from finagent.bootstrap.backtest_store import list_results, load_result
from finagent.bootstrap.backtests import Progress, Request, backtest
from finagent.context import Document, SurfaceError
from finagent.settings import Settings, SettingsError, load_settings
from finagent.settings.tuning import value_of, with_values

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["BacktestResult", "Research", "SettingsError", "SurfaceError", "open_home"]

FIGURES = (
    "quantity",
    "entry_price",
    "exit_price",
    "stop",
    "target",
    "reference",
    "risk_per_share",
    "fees",
    "pnl",
)
"""Fields of a trade that a frame holds as numbers; in the document they are decimal texts."""


@dataclass(frozen=True, slots=True)
class BacktestResult:
    """What a backtest came to; ``document`` is what ``finagent backtest --json`` prints."""

    document: Document = field(repr=False)

    @property
    def result_id(self) -> str:
        """Its id: the same question has the same one."""
        return str(self.document["result_id"])

    @property
    def trades(self) -> Sequence[Document]:
        """Closed trades in order; prices and money are decimal texts."""
        found = self.document["trades"]
        return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []

    @property
    def metrics(self) -> Document:
        """The figures by name (docs/backtest.md); what is unknown is None."""
        return self._part("metrics")

    @property
    def totals(self) -> Document:
        """Trades, profit with its bounds, fees, equity before and after."""
        return self._part("totals")

    @property
    def is_partial(self) -> bool:
        """Whether a rule failed on the way: only the sessions before it count."""
        return self.document.get("partial") is not None

    def frame(self) -> "DataFrame":
        """The trades as a pandas frame, prices and money as floats: for looking, not for reckoning."""
        from pandas import DataFrame, to_numeric

        found = DataFrame([{**row, "exits": len(_listed(row, "exits"))} for row in self.trades])
        for name in FIGURES:
            if name in found:
                found[name] = to_numeric(found[name])
        return found

    def save_report(self, path: str | Path) -> Path:
        """Write the page to a file of your own; gives its path."""
        from finagent.backtest.pages.result import result_page

        target = Path(path)
        target.write_text(result_page(self.document), encoding="utf-8")
        return target

    def compare(self, other: "BacktestResult") -> Document:
        """This result (A) against another (B), trade by trade, each difference explained."""
        return compare_results(self.document, other.document)

    def _part(self, name: str) -> Document:
        found = self.document.get(name)
        return found if isinstance(found, dict) else {}


@dataclass(frozen=True, slots=True)
class Research:
    """The stored bars of a home, and the settings that tests begin with; made by ``open_home``."""

    home: Path
    settings: Settings = field(repr=False)

    def backtest(
        self,
        first: str,
        last: str | None = None,
        *,
        settings: Mapping[str, object] | None = None,
        symbols: Sequence[str] = (),
        bars: str = "auto",
        engine: str = "kernel",
        check: int = 0,
        lookahead: int = 0,
        progress: Progress | None = None,
    ) -> BacktestResult:
        """Test the rules from ``first`` to ``last`` (dates as ``YYYY-MM-DD``), and keep the result in the home.

        ``settings`` lays values over those of the home by name: ``{"planning.target_r": 2}``. The rest is as the
        command has it. SurfaceError (``message``, ``hint``, ``code``) for a range without sessions or bars, an unknown
        symbol or a dataset that changed; SettingsError for a setting that is none, or a value outside its bounds.
        """
        _refuse("bars", bars, ("auto", "daily", "minute"))
        _refuse("engine", engine, ("kernel", "reference"))
        texts = {name: _text(value) for name, value in (settings or {}).items()}
        for name, text in texts.items():
            value_of(name, text)
        request = Request(
            first=first,
            last=last or first,
            bars=bars,
            engine=engine,
            check=check,
            lookahead=lookahead,
            symbols=tuple(symbols),
        )
        return BacktestResult(
            backtest(with_values(self.settings, texts), self.home, request, progress=progress)
        )

    def results(self) -> Sequence[Document]:
        """Summaries of what is stored, newest first."""
        return [row for row in _listed(list_results(self.home), "results") if isinstance(row, dict)]

    def result(self, result_id: str) -> BacktestResult:
        """A stored result by a unique start of its id, or ``last``; SurfaceError when unknown."""
        return BacktestResult(load_result(self.home, result_id))


def open_home(home: str | Path = "var", *, config: str | Path | None = None) -> Research:
    """A home with imported bars (``finagent data import DIR``), under the settings file and the environment.

    SurfaceError where there is no such folder; SettingsError for settings that are wrong.
    """
    folder = Path(home)
    if not folder.is_dir():
        raise SurfaceError(
            f"no home {folder}",
            hint="import bars into it: finagent --home DIR data import DIR",
            code="no_home",
        )
    return Research(folder, load_settings(None if config is None else Path(config)))


def _text(value: object) -> str:
    """A value as the settings file would write it."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _refuse(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise SurfaceError(f"{name} {value!r} is none of {', '.join(known)}", code="usage")


def _listed(document: Document, key: str) -> list[object]:
    value = document.get(key)
    return [*value] if isinstance(value, list) else []

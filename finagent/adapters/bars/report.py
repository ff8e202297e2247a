"""What an import says: per file the counts, and the issues by kind and symbol."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportProgress:
    """How far an import is: the file at work, which of how many, and the rows of it that are done."""

    file: str
    number: int
    files: int
    rows_done: int
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReport:
    """One file's outcome; rows = accepted + rejected + duplicates where it is imported, else these are 0.

    ``status`` is imported, left, unknown or unreadable; ``detail`` says why a file was not taken.
    """

    file: str
    kind: str
    status: str
    rows: int = 0
    accepted: int = 0
    rejected: int = 0
    duplicates: int = 0
    detail: str = ""
    quarantine: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """Something to know about the data of one symbol: how often, and one example."""

    kind: str
    symbol: str
    count: int
    example: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """Outcome of an import; ``symbols`` counts the distinct symbols among the folder's valid rows."""

    files: tuple[FileReport, ...]
    symbols: int
    issues: tuple[Issue, ...]
    is_changed: bool
    is_dry_run: bool = False
    problems: tuple[str, ...] = ()
    """One line with the mend for each file that was unreadable, unknown or had rows rejected."""

    def to_json(self) -> dict[str, object]:
        """The document that ``data import --json`` prints."""
        return {
            "files": [asdict(file) for file in self.files],
            "symbols": self.symbols,
            "issues": [asdict(issue) for issue in self.issues],
            "changed": self.is_changed,
            "dry_run": self.is_dry_run,
        }


@dataclass(slots=True)
class IssueTally:
    """Counts issues by kind and symbol; the first example of each is kept."""

    _seen: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)

    def add(self, kind: str, symbol: str, count: int, example: str) -> None:
        """Count ``count`` more issues of a kind for a symbol."""
        before = self._seen.get((kind, symbol))
        self._seen[(kind, symbol)] = (count, example) if before is None else (before[0] + count, before[1])

    def extend(self, issues: Iterable[Issue]) -> None:
        """Count all of these."""
        for issue in issues:
            self.add(issue.kind, issue.symbol, issue.count, issue.example)

    def issues(self) -> tuple[Issue, ...]:
        """All issues by kind and symbol, in that order."""
        return tuple(
            Issue(kind=kind, symbol=symbol, count=count, example=example)
            for (kind, symbol), (count, example) in sorted(self._seen.items())
        )

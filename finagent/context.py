"""ApplicationContext: the commands and views that a surface may use, and nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

from finagent.queue.query import JobQuery

EVERY_JOB = JobQuery()
DAMAGE_HINT = (
    "Keep the home: finagent db check says what is damaged, finagent db restore brings a backup back;"
    " compare positions with the broker first"
)
Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
Document = dict[str, Json]


class ExitCode(IntEnum):
    """What a verb ended with; the exit status of the command line and the kind of a problem over HTTP."""

    DONE = 0
    ERROR = 1
    USAGE = 2
    REFUSED = 3
    NEEDS_APPROVAL = 4
    UNREACHABLE = 5


class SurfaceError(Exception):
    """What a surface shows when a verb cannot be carried out: one line saying what, and the mend."""

    def __init__(
        self, message: str, *, hint: str = "", code: str = "error", exit_code: ExitCode = ExitCode.ERROR
    ):
        super().__init__(message)
        self.message, self.hint, self.code, self.exit_code = message, hint, code, exit_code


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """What a command did: a code for programs, a sentence for people, and details."""

    code: str
    message: str
    exit_code: ExitCode = ExitCode.DONE
    data: Mapping[str, Json] = field(default_factory=dict)

    @property
    def is_done(self) -> bool:
        """Whether the command did what was asked."""
        return self.exit_code is ExitCode.DONE


class Views(Protocol):
    """What surfaces read: decimal strings for money and prices, ISO 8601 UTC for times, null for unknown."""

    async def status(self) -> Document:
        """Mode, clock, session, account, control, services, counts, problems (worst first), next jobs."""

    async def scans(self, *, session: str | None = None) -> Document:
        """``{scans: [{session, tick, as_of, universe, candidates, dropped, data_issues, market}]}``, newest first."""

    async def candidates(self, *, session: str | None = None, tick: str | None = None) -> Document:
        """The scan document of surfaces.md for one scan tick (default: the newest)."""

    async def plans(self, *, session: str | None = None, state: str | None = None) -> Document:
        """``{plans: [...]}`` best rank first; each with its approval and seconds left."""

    async def plan(self, plan_id: str) -> Document:
        """One plan by id or unique prefix, with its risk decision, orders and journal; SurfaceError when unknown."""

    async def orders(self, *, session: str | None = None, open_only: bool = False) -> Document:
        """``{orders: [...]}`` in order of creation."""

    async def tickets(self, *, every: bool = False) -> Document:
        """``{broker, note, tickets: [...]}``: orders to type by hand; ``every``: the session's others too."""

    async def positions(self) -> Document:
        """``{positions: [...]}`` open positions with their protection, mark and distance to stop and target."""

    async def trades(self, *, session: str | None = None) -> Document:
        """``{trades: [...]}`` in the shape of surfaces.md."""

    async def pnl(self) -> Document:
        """``{sessions: [{session, trades, pnl, fees, day_start_equity}], totals: {...}}``."""

    async def journal(
        self, *, after_seq: int = 0, limit: int = 200, kind: str | None = None, ref: str | None = None
    ) -> Document:
        """``{entries: [{seq, at, kind, ref, data, hash}], next_after: seq | null}``."""

    async def external(self) -> Document:
        """``{external: [...]}`` holdings of the account that finagent did not open, by symbol."""

    async def risk(self) -> Document:
        """Profile, limits with the part used, loss tier, reservations, locks."""

    async def jobs(self, query: JobQuery = EVERY_JOB) -> Document:
        """``{jobs: [...], matching}`` newest first; SurfaceError for a filter that is none."""

    async def job(self, job_id: int) -> Document:
        """One job with its payload, lease, kin, attempts and errors; SurfaceError when unknown."""

    async def jobs_stats(self) -> Document:
        """``{by_status, by_type, oldest_ready_s, dead: [...], attempts, times}``."""

    async def backtests(self, *, limit: int = 50) -> Document:
        """``{results: [...], stored}`` newest first, without their sessions and trades."""

    async def backtest(self, result_id: str) -> Document:
        """One stored result, by a unique start of its id or ``last``; SurfaceError when unknown."""

    async def verify_journal(self) -> Document:
        """``{entries, valid, first_bad_seq, detail, head, inputs, state, anchor}`` of all that the journal holds."""


class Commands(Protocol):
    """What surfaces may change; every command is safe to repeat."""

    async def approve(
        self,
        plan_id: str,
        *,
        channel: str,
        identity: str,
        quantity: str | None = None,
        stop: str | None = None,
        nonce: str | None = None,
        plan_hash: str | None = None,
    ) -> CommandResult:
        """Yes to exactly one plan (id or unique prefix); codes approved, already_answered, expired, price_moved ..."""

    async def reject(self, plan_id: str, *, channel: str, identity: str, reason: str = "") -> CommandResult:
        """No to one plan."""

    async def add_fill(
        self,
        plan_id: str,
        *,
        leg: str,
        price: str,
        quantity: str,
        identity: str,
        at: str | None = None,
        fees: str | None = None,
        name: str | None = None,
        is_again: bool = False,
        is_average: bool = False,
        is_sure: bool = False,
    ) -> CommandResult:
        """A fill made by hand, with broker ``manual``; codes recorded, known, too_much, off_tick, said_before ..."""

    async def end_ticket(self, plan_id: str, *, leg: str, reason: str, identity: str) -> CommandResult:
        """A ticket that will not fill (any more), with broker ``manual``; code ended."""

    async def pause(self, *, reason: str, identity: str) -> CommandResult:
        """No new entries; exits go on."""

    async def resume(self, *, identity: str) -> CommandResult:
        """Undoes a person's pause only."""

    async def flatten(
        self, *, symbol: str | None, identity: str, include_external: bool = False
    ) -> CommandResult:
        """Cancels entries in scope and closes positions; without a symbol it also pauses.

        ``include_external`` sells, too, what finagent did not open.
        """

    async def kill(self, *, reason: str, identity: str, include_external: bool = False) -> CommandResult:
        """Cancels, flattens and locks: trading ends until ``rearm``."""

    async def rearm(self, *, identity: str) -> CommandResult:
        """Opens the entry gate again after kill, loss limit or restore."""

    async def lock(self, symbol: str, *, identity: str, force: bool = False) -> CommandResult:
        """No entries in one symbol; one that the market does not know is refused without ``force``."""

    async def unlock(self, symbol: str, *, identity: str) -> CommandResult:
        """Entries in the symbol again."""

    async def acknowledge(self, symbols: Sequence[str], *, identity: str) -> CommandResult:
        """Knows of external holdings (none named: of all that wait); entries open without them, nothing is sold."""

    async def note(self, text: str, *, ref: str, identity: str) -> CommandResult:
        """Adds a person's note to the journal."""

    async def retry_job(self, job_id: int, *, identity: str) -> CommandResult:
        """Runs a scheduled, dead or cancelled job again now."""

    async def cancel_job(self, job_id: int, *, identity: str) -> CommandResult:
        """Cancels a job that waits, or a backtest that runs; code ``not_cancelled`` for any other."""

    async def backtest(self, asked: Mapping[str, Json], *, identity: str) -> CommandResult:
        """Queues a backtest: ``first``, ``last``, ``bars``, ``engine``, ``check``, ``lookahead``, ``symbols``, ``at``,
        ``settings``.

        ``settings`` lays values over the agent's by section; codes queued, known; SurfaceError for a wrong question.
        """

    async def redrive_jobs(self, type: str | None, *, identity: str) -> CommandResult:
        """Puts all dead jobs (of one type) back to ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationContext:
    """One home's commands and views; ``commands`` is None where only reading is possible."""

    views: Views
    commands: Commands | None
    home: str
    version: str

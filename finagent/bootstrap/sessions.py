"""Which sessions a range of dates means."""

from finagent.context import ExitCode, SurfaceError
from finagent.domain.market import Session
from finagent.ports import CalendarPort


def chosen_sessions(calendar: CalendarPort, first: str, last: str) -> tuple[Session, ...]:
    """The sessions of a range; SurfaceError for a range that is reversed or holds none."""
    if last < first:
        raise SurfaceError(
            f"--to {last} is before --from {first}", hint="swap them", code="usage", exit_code=ExitCode.USAGE
        )
    sessions = tuple(calendar.sessions(first, last))
    if not sessions:
        following = calendar.after(last).date
        what = f"{first} is no session" if first == last else f"no session from {first} to {last}"
        raise SurfaceError(
            f"{what} of the exchange",
            hint=f"the next one is {following}",
            code="no_session",
            exit_code=ExitCode.USAGE,
        )
    return sessions

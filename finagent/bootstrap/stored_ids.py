"""A stored thing found by its id, by a start of its id that no other has, or refused with what would find it."""

from collections.abc import Collection
from pathlib import Path

from finagent.context import SurfaceError

LAST = "last"
NEAREST = 3


def only(
    ids: Collection[str],
    wanted: str,
    *,
    what: tuple[str, str],
    code: str,
    folder: Path,
    mends: tuple[str, str],
) -> str:
    """The one id that is meant; SurfaceError ``ambiguous_id``, or ``code`` for none.

    ``what`` names one of them and several; ``mends`` says what to do where ``folder`` holds some
    and where it holds none.
    """
    one, many = what
    matching = (
        [wanted]
        if wanted in ids
        else sorted(each for each in ids if wanted and each.startswith(wanted.lower()))
    )
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise SurfaceError(
            f"{wanted} begins the ids of {len(matching)} {many}: {', '.join(matching[:NEAREST])}",
            hint="give more of its digits",
            code="ambiguous_id",
        )
    raise SurfaceError(
        f"no {one} {wanted or '(empty)'} in {folder}", hint=mends[0] if ids else mends[1], code=code
    )

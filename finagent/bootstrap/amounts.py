"""Amounts as people type them: exact integers, or one line that says why not."""

import re

from finagent.context import ExitCode, SurfaceError
from finagent.domain.money import parse_scaled

FORM = re.compile(r"-?[0-9]+(\.[0-9]+)?", re.ASCII)
MEND = "Write it like 100 or 12.34"
MOST_SHOWN = 40


def amount(text: str, scale: int, flag: str, *, least: int = 1) -> int:
    """The exact integer of a plain decimal text; SurfaceError for any other text and for less than ``least``."""
    shown = text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."
    if not FORM.fullmatch(text):
        raise usage(f"{flag} {shown} is no amount", MEND, code="bad_amount")
    try:
        value = parse_scaled(text, len(str(scale)) - 1)
    except ValueError as error:
        raise usage(f"{flag} {shown}: {error}", MEND, code="bad_amount") from None
    if value < least:
        what = "negative" if least == 0 else "not positive"
        raise usage(f"{flag} {shown} is {what}", "Give more than that", code="bad_amount")
    return value


def usage(message: str, hint: str, *, code: str = "usage") -> SurfaceError:
    """What was typed wrongly."""
    return SurfaceError(message, hint=hint, code=code, exit_code=ExitCode.USAGE)

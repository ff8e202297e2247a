"""The kinds of values that settings have, with their bounds; each says how it is written when it is not."""

import re
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

# decimal_places: what the integers of the domain hold exactly, so that no value is rounded unseen.
Percent = Annotated[Decimal, Field(ge=0, le=100, decimal_places=4)]
PositivePercent = Annotated[Decimal, Field(gt=0, le=100, decimal_places=4)]
BasisPoints = Annotated[Decimal, Field(ge=0, le=1000, decimal_places=2)]
Ratio = Annotated[Decimal, Field(ge=0, le=1, decimal_places=6)]
Money = Annotated[Decimal, Field(ge=0, le=1_000_000_000, decimal_places=4)]
Price = Annotated[Decimal, Field(gt=0, le=1_000_000, decimal_places=4)]
Factor = Annotated[Decimal, Field(gt=0, le=100, decimal_places=6)]

_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
_RELATIVE = re.compile(r"(open|close)([+-](?=\d)(?:\d{1,2}h)?(?:\d{1,3}m)?)?")
_BEFORE_CLOSE = re.compile(r"close-(?=\d)(?:(\d{1,2})h)?(?:(\d{1,3})m)?")


def _time_of_day(text: str) -> str:
    if _CLOCK.fullmatch(text) is None:
        raise ValueError("write a time as HH:MM, for example 09:31")
    return text


def _when(text: str) -> str:
    """Checked here, at load time: a line that never fires must not be found out in the morning."""
    if _CLOCK.fullmatch(text) or _RELATIVE.fullmatch(text):
        return text
    from finagent.queue.scheduler import CronLine, CronLineError, CronScheduler

    try:
        CronScheduler([CronLine(name="line", when=text)])
    except CronLineError:
        raise ValueError(
            "write HH:MM (09:31), a time like open+1m or close-3h45m, or five cron fields (31 9 * * 1-5)"
        ) from None
    return text


def _symbol(text: str) -> str:
    if re.fullmatch(r"[A-Z][A-Z0-9./-]{0,15}", text) is None:
        raise ValueError("write a symbol in capital letters, for example BRK.B")
    return text


def scan_name(text: str) -> str:
    """A name that may stand in an id: small letters, digits, - and _."""
    if re.fullmatch(r"[a-z][a-z0-9_-]{0,31}", text) is None:
        raise ValueError("write a name of up to 32 small letters, digits, - and _, a letter first")
    return text


def account_name(text: str) -> str:
    """A name that may stand in an id: letters, digits, - and _."""
    if re.fullmatch(r"[A-Za-z0-9_-]{1,32}", text) is None:
        raise ValueError("write a name of 1 to 32 letters, digits, - and _")
    return text


def broker_endpoint(text: str) -> str:
    """paper, live, or a server on this machine: keys are sent to no other address."""
    if text not in ("paper", "live") and re.fullmatch(r"http://127\.0\.0\.1:[0-9]{1,5}", text) is None:
        raise ValueError("write paper, live, or http://127.0.0.1:PORT for a server on this machine")
    return text


def after_close(text: str) -> str:
    """``close+2m``: an instant up to 99 minutes after the close."""
    if re.fullmatch(r"close\+\d{1,2}m", text) is None:
        raise ValueError("write a time after the close, for example close+2m")
    return text


TimeOfDay = Annotated[str, AfterValidator(_time_of_day), Field(examples=["09:31"])]
When = Annotated[str, AfterValidator(_when), Field(max_length=64, examples=["09:31", "close-15m"])]
Symbol = Annotated[str, AfterValidator(_symbol)]


class Section(BaseModel):
    """A section: frozen, without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _number_is_no_bool(cls, value: object, info: ValidationInfo) -> object:
        """``top: yes`` must not mean ``top: 1``."""
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError("true and false are no value here")
        return value


def minutes_before_close(line: str) -> int:
    """60 for ``close-1h``; ValueError for what is no time before the close."""
    found = _BEFORE_CLOSE.fullmatch(line)
    if found is None:
        raise ValueError(f"{line!r} is no time before the close: write close-15m or close-1h")
    return 60 * int(found[1] or 0) + int(found[2] or 0)

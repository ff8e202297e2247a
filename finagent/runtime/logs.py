"""JSON logs: an event name and fields per line, ids bound by context, secrets and controls removed."""

import logging
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from logging.handlers import RotatingFileHandler
from pathlib import Path

from pythonjsonlogger.json import JsonFormatter

REDACTED = "***"
MIN_SECRET_CHARS = 6
MAX_FILE_BYTES = 20_000_000
KEPT_FILES = 5
TALKATIVE = ("httpx", "httpcore", "websockets", "aiosqlite")
"""Libraries with a line for each request, or at debug each frame, the keys in it, or each statement twice."""
_PATTERN = re.compile(
    r"(?i)((?:token|secret|password|passwd|api[_-]?key|authorization|bearer|signature)"
    r"(?:\\?[\"'])?\s*[=:]\s*(?:\\?[\"'])?(?:bearer\s+)?)([^\s\"'\\,;&}]+)"
)
_BEARER = re.compile(r"(?i)(bearer\s+)([A-Za-z0-9._~+/=-]{6,})")
# C0 and C1 controls and the line separators that a terminal or a log reader would act upon.
_CONTROLS = dict.fromkeys((*range(32), *range(127, 160), 8232, 8233))
_CONTROLS[0x0A] = _CONTROLS[0x09] = _CONTROLS[0x0D] = " "
_NO_FIELDS: Mapping[str, object] = {}
_fields: ContextVar[Mapping[str, object] | Callable[[], Mapping[str, object]]] = ContextVar(
    "finagent_log_fields", default=_NO_FIELDS
)


def bind_late(fields: Callable[[], Mapping[str, object]]) -> None:
    """From now on every line logged in this task carries the fields this gives, worked out if there is a line."""
    _fields.set(fields)


@contextmanager
def bound(**fields: object) -> Iterator[None]:
    """Add fields (job_id, plan_id, order_id ...) to every line logged inside; None values are left out."""
    given = {name: value for name, value in fields.items() if value is not None}
    token = _fields.set({**bound_fields(), **given})
    try:
        yield
    finally:
        _fields.reset(token)


def bound_fields() -> Mapping[str, object]:
    """The fields bound at this moment."""
    fields = _fields.get()
    return fields() if callable(fields) else fields


class SecretKeeper:
    """Knows the values that must never be written and takes them out of any text."""

    def __init__(self) -> None:
        self._secrets: list[str] = []

    def register(self, secret: str) -> None:
        """Never let this value through; values under six characters are ignored, they occur by chance."""
        if len(secret) >= MIN_SECRET_CHARS and secret not in self._secrets:
            self._secrets.append(secret)
            self._secrets.sort(key=len, reverse=True)  # a secret that holds another is replaced whole

    def redact(self, text: str) -> str:
        """The text without registered values and without what follows token=, password: and the like."""
        for secret in self._secrets:
            text = text.replace(secret, REDACTED)
        return _BEARER.sub(rf"\g<1>{REDACTED}", _PATTERN.sub(rf"\g<1>{REDACTED}", text))


class EventFormatter(JsonFormatter):
    """One JSON object per record: at, level, event, logger, bound fields, extra fields, error."""

    def __init__(self, keeper: SecretKeeper) -> None:
        super().__init__(
            "{asctime}{levelname}{name}{message}",
            style="{",
            rename_fields={"asctime": "at", "levelname": "level", "name": "logger", "message": "event"},
        )
        self.default_time_format = "%Y-%m-%dT%H:%M:%S"
        self.default_msec_format = "%s.%03dZ"
        self.converter = _utc
        self._keeper = keeper

    def add_fields(
        self, log_data: dict[str, object], record: logging.LogRecord, message_dict: dict[str, object]
    ) -> None:
        super().add_fields(log_data, record, message_dict)
        log_data.pop("color_message", None)  # uvicorn's copy of the message for terminals
        for name, value in bound_fields().items():
            log_data.setdefault(name, value)
        for name, value in log_data.items():
            if isinstance(value, str):
                log_data[name] = value.translate(_CONTROLS)

    def format(self, record: logging.LogRecord) -> str:
        """The line, redacted as a whole: a secret hides in tracebacks and nested fields too."""
        return self._keeper.redact(super().format(record))


def _utc(seconds: float | None) -> "time.struct_time":
    return time.gmtime(seconds)


def set_up_logs(
    keeper: SecretKeeper, *, level: str = "INFO", folder: Path | None = None, stderr: bool = True
) -> None:
    """Send all logs to stderr and to `folder/finagent.log` (rotated); replaces an earlier set-up."""
    handlers: list[logging.Handler] = []
    if stderr:
        handlers.append(logging.StreamHandler(sys.stderr))
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "finagent.log"
        handlers.append(
            RotatingFileHandler(path, maxBytes=MAX_FILE_BYTES, backupCount=KEPT_FILES, delay=True)
        )
    root = logging.getLogger()
    for old in list(root.handlers):
        if isinstance(old.formatter, EventFormatter):
            root.removeHandler(old)
            old.close()
    for handler in handlers:
        handler.setFormatter(EventFormatter(keeper))
        root.addHandler(handler)
    root.setLevel(level)
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)

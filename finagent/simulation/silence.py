"""A quiet process for many seeds: no log line is written, errors are kept, garbage waits until nobody minds."""

import contextlib
import gc
import logging
from collections.abc import Iterator

from finagent.queue.worker import TimedOutError

PACKAGE = "finagent"


class ErrorKeeper(logging.Handler):
    """Keeps what the program logs as an unexpected error: in this world nothing may surprise it."""

    EVENTS = ("job.failed", "service.crashed", "queue.answer_refused")

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the event with its error."""
        if record.getMessage() in self.EVENTS and not (
            record.exc_info and isinstance(record.exc_info[1], TimedOutError)
        ):
            error = record.exc_info[1] if record.exc_info else None
            self.found.append(f"{record.getMessage()}: {type(error).__name__}: {error}")


@contextlib.contextmanager
def quiet() -> Iterator[ErrorKeeper]:
    """Log nothing, collect no garbage by itself; gives what keeps the errors."""
    logger, keeper = logging.getLogger(PACKAGE), ErrorKeeper()
    asyncio_logger = logging.getLogger("asyncio")
    before = (logger.level, logger.propagate, asyncio_logger.disabled)
    was_collecting = gc.isenabled()
    logger.addHandler(keeper)
    logger.setLevel(logging.ERROR)
    logger.propagate, asyncio_logger.disabled = False, True
    gc.disable()
    try:
        yield keeper
    finally:
        logger.removeHandler(keeper)
        logger.setLevel(before[0])
        logger.propagate, asyncio_logger.disabled = before[1], before[2]
        if was_collecting:
            gc.enable()

"""The queue as a live table: one snapshot after the other, redrawn in place, as lines, or as JSON documents."""

import asyncio
import json
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager

from finagent.cli.failures import INTERRUPTED
from finagent.cli.invocation import Invocation
from finagent.cli.page import Page
from finagent.cli.render_jobs import watched
from finagent.context import Document, SurfaceError

TRANSIENT = ("no_database", "no_run", "busy", "home")
"""What may pass while one watches: a run that starts over, a backup that is put in place."""
Look = Callable[[], Awaitable[Document]]
Draw = Callable[[Document], None]


async def watch_jobs(
    call: Invocation, interval_s: float, count: int | None, run: str | None, *, as_json: bool
) -> int:
    """Show snapshots until ``count`` of them or a signal; gives the exit status."""
    from finagent.bootstrap import watch_queue

    with _stopped() as stop, _drawing(as_json=as_json) as draw:
        async for document in _snapshots(watch_queue(call.home, run), interval_s, stop, count):
            draw(document)
    return stop.status


async def _snapshots(
    look: Look, interval_s: float, stop: "_Stop", count: int | None
) -> AsyncIterator[Document]:
    """A snapshot at each beat, the last one again with a note while there is nothing to read."""
    loop, number, last = asyncio.get_running_loop(), 0, None
    beat_s = loop.time()
    while not stop.is_set():
        last = await next_snapshot(look, last)
        yield last
        number += 1
        if count is not None and number >= count:
            return
        # A snapshot that took long moves the beat: half of the time at least stays free.
        beat_s = max(beat_s + interval_s, loop.time() + interval_s / 2)
        try:
            await asyncio.wait_for(stop.wait(), beat_s - loop.time())
        except TimeoutError:
            continue


async def next_snapshot(look: Look, last: Document | None) -> Document:
    """A snapshot, or the last one with a note while there is nothing to read; SurfaceError for what will not pass."""
    try:
        return await look()
    except SurfaceError as error:
        if last is None or error.code not in TRANSIENT:
            raise
        return {**last, "per_s": None, "note": f"waiting: {error.message}"}


class _Stop(asyncio.Event):
    """Set by Ctrl-C (status 130) or SIGTERM (0)."""

    status: int = 0


@contextmanager
def _stopped() -> Iterator[_Stop]:
    """Signals end the watch between two snapshots, so that the terminal is left as it was."""
    stop, loop = _Stop(), asyncio.get_running_loop()

    def hear(number: signal.Signals) -> None:
        stop.status = INTERRUPTED if number is signal.SIGINT else 0
        stop.set()

    signals = (signal.SIGINT, signal.SIGTERM)
    for each in signals:
        loop.add_signal_handler(each, hear, each)
    try:
        yield stop
    finally:
        for each in signals:
            loop.remove_signal_handler(each)


@contextmanager
def _drawing(*, as_json: bool) -> Iterator[Draw]:
    """How a snapshot is shown: a line of JSON, a block of lines, or the screen redrawn in place."""
    if as_json:
        yield lambda document: print(json.dumps(document, ensure_ascii=False), flush=True)
    elif not sys.stdout.isatty():
        yield lambda document: print(watched(document, Page.of(sys.stdout)), end="\n\n", flush=True)
    else:
        with _screen() as draw:
            yield draw


@contextmanager
def _screen() -> Iterator[Draw]:
    """The terminal's second screen, drawn whole each time; the last snapshot stays behind on the first."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(file=sys.stdout, highlight=False)
    shown: list[str] = []

    def draw(document: Document) -> None:
        page = Page.of(sys.stdout)
        shown[:] = [watched(document, page)]
        screen = watched(document, page, height=shutil.get_terminal_size().lines - 1)
        live.update(Text.from_ansi(f"{screen}\nCtrl-C ends", no_wrap=True), refresh=True)

    with Live(console=console, screen=True, auto_refresh=False, redirect_stdout=False) as live:
        yield draw
    if shown:
        print(shown[0], flush=True)

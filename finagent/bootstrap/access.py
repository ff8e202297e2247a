"""Access: what happened to the home's tokens, and whom the HTTP surface turned away, go into the journal."""

import asyncio
import logging

from finagent.domain.journal import JsonData
from finagent.domain.told import told
from finagent.ports import JobQueue, Ticker, Tx
from finagent.queue.errors import GuardFailedError
from finagent.runtime.append_log import Line
from finagent.runtime.denials import Denials
from finagent.runtime.service import sleep_or_stop
from finagent.runtime.tokens import LogDamagedError, TokenBook

LOG = logging.getLogger(__name__)
PERIOD_S = 2.0
DENIALS_EVERY = 30
"""Denials are summed up for a minute: nobody fills the journal by knocking."""
TOKENS_ROW = "tokens"
"""Its version is the number of events of the token file that are in the journal."""


class AccessAudit:
    """Each event of the token file becomes one row, also what happened while no agent ran; denials are sums."""

    name = "access"
    needs = ("processor",)

    def __init__(self, book: TokenBook, denials: Denials, queue: JobQueue, ticker: Ticker) -> None:
        self._book, self._denials, self._queue, self._ticker = book, denials, queue, ticker
        self._turns = 0
        self._is_told = False

    async def run(self, stop: asyncio.Event) -> None:
        """Until stopped."""
        while not stop.is_set():
            await self.run_once()
            await sleep_or_stop(self._ticker, PERIOD_S, stop)
        await self.journal_denials()

    async def run_once(self) -> int:
        """Journal what is new; gives the number of token events."""
        self._turns += 1
        if self._turns % DENIALS_EVERY == 0:
            await self.journal_denials()
        try:
            events = self._book.events()
        except (LogDamagedError, OSError) as error:
            if not self._is_told:
                LOG.error("tokens.unreadable", extra={"detail": str(error)})
            self._is_told = True
            return 0
        self._is_told = False
        done = await self._queue.row_version(TOKENS_ROW)
        for number in range(done, len(events)):
            tx = Tx()
            tx.expect(TOKENS_ROW, number)
            for fact in _rows(events[number]):
                tx.put(fact)
            try:
                await self._queue.commit(tx)
            except GuardFailedError:
                return number - done
        return max(0, len(events) - done)

    async def journal_denials(self) -> None:
        """One row of sums, if anybody was turned away."""
        taken = self._denials.take()
        if not taken:
            return
        rows: list[JsonData] = [
            {"reason": reason, "token": token, "count": count}
            for (reason, token), count in sorted(taken.items())
        ]
        tx = Tx()
        for fact in told("access_refused", "api", {"refused": rows}):
            tx.put(fact)
        await self._queue.commit(tx)


def _rows(event: Line) -> list[object]:
    """The event without the hash: the journal is exported and shown, and needs none."""
    data: dict[str, JsonData] = {
        "by": str(event["by"]),
        "at_ms": int(str(event["at_ms"])),
    }
    if event["event"] == "created":
        scopes, expires = event["scopes"], event["expires_at_ms"]
        data["name"] = str(event["name"])
        data["scopes"] = [str(scope) for scope in scopes] if isinstance(scopes, list) else []
        data["expires_at_ms"] = int(str(expires)) if expires is not None else None
    return told(f"token_{event['event']}", str(event["id"]), data)

"""Flag files: kill, flatten and pause reach an agent that cannot answer, as soon as it can act again."""

import asyncio
import json
import logging
from pathlib import Path

from finagent.ports import Ticker
from finagent.runtime.service import sleep_or_stop
from finagent.services.control import ControlService

LOG = logging.getLogger(__name__)
FOLDER = "flags"
VERBS = ("kill", "flatten", "pause")
PERIOD_S = 0.5


class FlagWatch:
    """Carries out the files of HOME/flags, hardest first; a file goes when its command is committed."""

    name = "flags"
    needs = ("processor",)

    def __init__(self, home: Path, control: ControlService, ticker: Ticker) -> None:
        self._folder = home / FOLDER
        self._control = control
        self._ticker = ticker
        self._obeying = asyncio.Lock()

    async def run(self, stop: asyncio.Event) -> None:
        """Until stopped."""
        while not stop.is_set():
            await self.run_once()
            await sleep_or_stop(self._ticker, PERIOD_S, stop)

    async def run_once(self) -> int:
        """Obey what is there; gives the number of commands carried out."""
        done = 0
        async with self._obeying:
            for verb, path in flags_in(self._folder):
                await self._obey(verb, read_flag(path))
                path.unlink(missing_ok=True)
                LOG.warning("flag.obeyed", extra={"verb": verb})
                done += 1
        return done

    async def _obey(self, verb: str, order: dict[str, str]) -> None:
        identity = order.get("identity", "flag file")
        if verb == "kill":
            await self._control.kill(reason=order.get("reason", ""), identity=identity)
        elif verb == "flatten":
            await self._control.flatten(symbol=order.get("symbol") or None, identity=identity)
        else:
            await self._control.pause(reason=order.get("reason", ""), identity=identity)


def flags_in(folder: Path) -> list[tuple[str, Path]]:
    """Each order that lies there as (verb, file), hardest first; one about a symbol has a file of its own."""
    return [
        (verb, path)
        for verb in VERBS
        for path in sorted(folder.glob(f"{verb}*.json"))
        if path.stem == verb or path.stem.startswith(f"{verb} ")
    ]


def read_flag(path: Path) -> dict[str, str]:
    """What the file says; a damaged one still means its verb."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {key: str(value) for key, value in document.items() if value} if isinstance(document, dict) else {}

"""python -m finagent.simulation.alpaca: the simulated broker on 127.0.0.1 until SIGTERM."""

import argparse
import asyncio
import os
import signal
from pathlib import Path

from finagent.simulation.alpaca.hours import Hours, exchange_hours
from finagent.simulation.alpaca.process import TOKEN_VARIABLE
from finagent.simulation.alpaca.server import AlpacaServer, ready_line


def main(arguments: list[str] | None = None) -> None:
    """Parse, serve, print one line of JSON with the address, end at SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m finagent.simulation.alpaca", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--state", type=Path, help="file that keeps the book over restarts")
    parser.add_argument("--witness", type=Path, help="file with one fsynced line for each accepted order")
    parser.add_argument(
        "--calendar",
        choices=("exchange", "weekdays"),
        default="exchange",
        help="the exchange's own days, or every weekday",
    )
    parser.add_argument(
        "--asset", action="append", default=[], metavar="SYMBOL=PRICE", help="a stock to trade; repeatable"
    )
    asyncio.run(_serve(parser.parse_args(arguments)))


async def _serve(chosen: argparse.Namespace) -> None:
    folder = None if chosen.state is None else chosen.state.parent
    server = AlpacaServer(
        port=chosen.port,
        state=chosen.state,
        witness=chosen.witness,
        control_token=os.environ.get(TOKEN_VARIABLE),
        hours=exchange_hours(folder) if chosen.calendar == "exchange" else Hours(),
    )
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with server:
        for each in chosen.asset:
            symbol, _, price = each.partition("=")
            server.add_asset(symbol, price)
        print(ready_line(server), flush=True)
        await stop.wait()


if __name__ == "__main__":
    main()

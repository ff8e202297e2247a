"""A small, fixed workload for injected faults: one request per commit, every acknowledgement witnessed.

Ends with 0 when all went well, 3 when the queue halted (at once, with nothing closed that could touch the disk).
"""

import asyncio
import faulthandler
import os
import sys
import traceback
from pathlib import Path

from finagent.adapters.sqlite.database import Database
from finagent.adapters.sqlite.queue import SqliteJobQueue
from finagent.queue.job import Job, NewJob
from finagent.queue.port import Tx
from finagent.runtime.clock import SystemClock, SystemTicker
from finagent.runtime.errors import HaltError
from tests.contract.queue_world import Hands
from tests.proof.queue.family import TYPES, count_fact
from tests.proof.queue.witness import Witness

HALTED = 3
ROUNDS = 4


async def work(queue: SqliteJobQueue, witness: Witness, hands: Hands) -> None:
    """Publish, commit a fact, publish two at once, complete with an effect: four commits a round."""
    for number in range(ROUNDS):
        await queue.publish(NewJob("parent", {"text": "x" * 3000}, f"one-{number}"))
        witness.say(f"published parent:one-{number}")
        tx = Tx()
        tx.put(f"fact-{number}")
        await queue.commit(tx)
        witness.say(f"fact fact-{number}")
        pair = [f"pair-{number}-{side}" for side in "ab"]
        await queue.publish_many([NewJob("child", {}, name) for name in pair])
        for name in pair:
            witness.say(f"published child:{name}")
        job: Job = await hands.take()
        tx = Tx()
        tx.put(f"{job.type}:{job.idem_key}")
        await queue.complete(job, tx)
        hands.credits[job.type] += 1
        witness.say(f"done {job.type}:{job.idem_key}")


async def main(path: Path, witness_path: Path) -> None:
    witness, halts = Witness(witness_path), list[str]()
    faulthandler.dump_traceback_later(60, exit=True)  # whatever is injected, it ends
    database = await Database.open(path, clock=SystemClock())
    queue = SqliteJobQueue(
        database,
        TYPES,
        SystemClock(),
        SystemTicker(),
        apply_fact=count_fact,
        on_halt=halts.append,
        ballast=path.with_name("ballast"),
    )
    try:
        await queue.start()
        hands = Hands(credits={"parent": 1, "child": 1})
        queue.attach(hands)
        await work(queue, witness, hands)
    except HaltError as error:
        print(f"halted: {error}", flush=True)
        if "FINAGENT_PROOF_CLOSE" in os.environ:
            await queue.close()
            await database.close()
        os._exit(HALTED)
    await queue.close()
    await database.close()


async def or_die(path: Path, witness_path: Path) -> None:
    """An error of the start or of the closing ends the process too, whatever threads there are."""
    try:
        await main(path, witness_path)
    except Exception:
        traceback.print_exc()
        os._exit(1)


if __name__ == "__main__":
    asyncio.run(or_die(Path(sys.argv[1]), Path(sys.argv[2])))

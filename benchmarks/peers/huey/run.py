"""huey on SQLite with fsync: publish from one thread, then consume; its best case, nobody contends."""

import json
import logging
import sys
import threading
import time

from huey import SqliteHuey

folder, jobs, payload = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
logging.disable(logging.CRITICAL)
queue = SqliteHuey(filename=f"{folder}/huey.db", fsync=True)
finished = threading.Event()
seen = 0


@queue.task()
def work(body: dict[str, object]) -> None:
    global seen
    seen += body["qty"] == 100
    if seen >= jobs:
        finished.set()


began = time.perf_counter()
for _ in range(jobs):
    work(payload)
consumer = queue.create_consumer(
    workers=1, periodic=False, initial_delay=0.001, max_delay=0.01, check_worker_health=False
)
consumer.start()
if not finished.wait(300):
    sys.exit(f"huey ran {seen} of {jobs} jobs in five minutes")
seconds = time.perf_counter() - began
consumer.stop(graceful=True)
print(json.dumps({"per_s": jobs / seconds, "ms": {}}))

"""DBOS on SQLite: one workflow without steps per job, on a queue polled every 10 ms."""

import json
import os
import sys
import time

from dbos import DBOS

folder, jobs, payload = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
DBOS(config={"name": "bench", "system_database_url": f"sqlite:///{folder}/dbos.sqlite", "log_level": "ERROR"})


@DBOS.workflow()
def work(body: dict[str, object]) -> int:
    return int(body["qty"] == 100)


DBOS.launch()
DBOS.register_queue("bench", worker_concurrency=64, polling_interval_sec=0.01)
began = time.perf_counter()
handles = [DBOS.enqueue_workflow("bench", work, payload) for _ in range(jobs)]
seen = 0
for handle in handles:
    seen += handle.get_result(polling_interval_sec=0.01)
seconds = time.perf_counter() - began
print(json.dumps({"per_s": jobs / seconds, "ms": {}}), flush=True)
os._exit(0 if seen == jobs else 1)  # its threads take seconds to stop, which is not measured

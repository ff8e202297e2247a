"""persist-queue's acknowledged queue on SQLite (synchronous=FULL): put all, then get, run and ack each."""

import json
import sys
import time

from persistqueue import SQLiteAckQueue

folder, jobs, payload = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
queue = SQLiteAckQueue(folder, auto_commit=True)
seen = 0
began = time.perf_counter()
for _ in range(jobs):
    queue.put(payload)
for _ in range(jobs):
    item = queue.get()
    seen += item["qty"] == 100
    queue.ack(item)
seconds = time.perf_counter() - began
if seen != jobs or queue.acked_count() != jobs:
    sys.exit(f"persist-queue ran {seen} and acknowledged {queue.acked_count()} of {jobs} jobs")
print(json.dumps({"per_s": jobs / seconds, "ms": {}}))

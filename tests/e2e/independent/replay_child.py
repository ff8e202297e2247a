"""A replay in a process of its own, so that the hash seed can differ: prints the result document."""

import asyncio
import json
import sys
from pathlib import Path

from finagent.bootstrap.runs import run_replay
from finagent.settings import load_settings

if __name__ == "__main__":
    home, first, last = sys.argv[1:4]
    document = asyncio.run(run_replay(load_settings(), Path(home), first=first, last=last, fresh=True))
    print(json.dumps(document))

"""Another program that holds the database's write lock until it is told to let go."""

import sqlite3
import sys


def main(path: str) -> None:
    """Say `locked`, wait for a line, let go, say `free`."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA busy_timeout = 10000")
    connection.execute("BEGIN IMMEDIATE")
    print("locked", flush=True)
    sys.stdin.readline()
    connection.execute("ROLLBACK")
    connection.close()
    print("free", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])

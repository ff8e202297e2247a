"""SQLite: the one database file, its one writer, and the durable queue in it."""

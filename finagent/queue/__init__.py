"""A durable job queue's words, port, workers and cron: it has never heard of trading or of SQLite."""

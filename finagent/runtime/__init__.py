"""Machinery of the process: clocks, tasks, supervision, logs, metrics; it knows neither jobs nor trading."""

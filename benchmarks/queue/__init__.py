"""How fast the durable queue is, beside its peers and beside SQLite itself, in one interleaved run."""

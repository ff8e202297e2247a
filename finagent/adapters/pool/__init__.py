"""CPU work in processes of its own: the pool, its workers, and the program a worker runs."""

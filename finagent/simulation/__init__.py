"""The deterministic world: a virtual loop, a faulty broker and vendor, crashes, and the invariants that judge."""

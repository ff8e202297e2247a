"""How fast and how equal backtests are, beside other engines on the same work, in one run."""

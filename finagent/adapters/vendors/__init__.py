"""Market data by vendor: replay of the bar store, the simulated market, the exchange calendar."""

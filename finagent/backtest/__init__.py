"""Backtest: the domain's rules over years of stored bars, without services, database or clock."""

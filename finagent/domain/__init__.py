"""Nouns and rules of the trading day: pure Python, integers for money, no clock, no I/O."""

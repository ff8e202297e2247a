"""Brokers behind the order execution port."""

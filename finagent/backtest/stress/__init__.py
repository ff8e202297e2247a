"""Stress: the same rules in worse worlds, and the same sessions and trades in other orders."""

"""Benchmarks: what the issues promise about speed and memory, measured on the real program."""

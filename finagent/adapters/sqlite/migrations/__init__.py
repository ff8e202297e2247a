"""Numbered SQL scripts, package data read by migrate.py."""

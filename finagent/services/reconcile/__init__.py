"""Reconcile: the broker against the journal, and the lost time of a restore."""

from finagent.services.reconcile.arrival import BETWEEN_LISTINGS_MS
from finagent.services.reconcile.compare import CONTRACT, GATE, Before, ReconcileService

__all__ = ["BETWEEN_LISTINGS_MS", "CONTRACT", "GATE", "Before", "ReconcileService"]

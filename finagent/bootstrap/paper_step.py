"""The paper venue's part of a tick."""

import sqlite3
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from finagent.adapters.brokers.paper import VenueEvent, VenueRules, match
from finagent.adapters.sqlite.day import Event
from finagent.domain.market import Bar, Session


@dataclass(frozen=True, slots=True)
class PaperStep:
    """The paper venue's part of a tick, in the tick's own words."""

    rules: VenueRules

    def match(
        self,
        conn: sqlite3.Connection,
        *,
        bars: Mapping[str, Bar],
        now_ms: int,
        session: Session,
        is_last_bar: bool,
        spreads: Mapping[str, int],
        halted: Collection[str],
    ) -> list[Event]:
        """Fills and ended orders in order (symbol, leg)."""
        events = match(
            conn,
            rules=self.rules,
            bars=bars,
            now_ms=now_ms,
            session=session,
            is_last_bar=is_last_bar,
            spreads=spreads,
            halted=halted,
        )
        return [_event(event) for event in events]


def _event(event: VenueEvent) -> Event:
    return Event(
        client_order_id=event.order.client_order_id,
        plan_id=event.plan_id,
        fill=event.fill,
        state=event.order.state.value,
        reason=event.order.reason,
        is_final=event.fill is None,
    )

"""Scanner: finds the gaps of a session as of an instant and hands the candidates on."""

from dataclasses import dataclass, replace

from finagent.domain.errors import SessionDataMissingError
from finagent.domain.facts import Journalled, ScanRecorded
from finagent.domain.gap import GapRules, GapScan
from finagent.domain.gap_measure import measure_all
from finagent.domain.gap_scan import screen_all, second_look_rank
from finagent.domain.journal import JsonData
from finagent.domain.market import Session
from finagent.domain.steps import Step
from finagent.ports import CalendarPort, Clock, GiveUpError, Job, JsonValue, MarketDataPort, NewJob, Tx
from finagent.runtime.service import ServiceContract

CONTRACT = ServiceContract(name="scanner", consumes=(Step.SCAN,), needs=("queue", "market_data"))


async def compute_scan(
    market: MarketDataPort, session: Session, as_of_ms: int, rules: GapRules, *, is_second_look: bool = False
) -> GapScan:
    """One scan, computed and not stored: measures the universe, then asks history of what passed.

    SessionDataMissingError when the feed has nothing of the session.
    """
    view = await market.view(session, as_of_ms)
    measured = measure_all(view, rules)
    histories = await market.history([m.symbol for m in measured.measured], session, as_of_ms)
    scan = screen_all(measured, histories, rules)
    return replace(scan, candidates=second_look_rank(scan.candidates)) if is_second_look else scan


@dataclass(frozen=True, slots=True)
class ScannerService:
    """Takes ``scan`` jobs ``{session, tick, kind}`` of the schedule."""

    market: MarketDataPort
    calendar: CalendarPort
    clock: Clock
    rules: GapRules

    async def handle(self, job: Job, tx: Tx) -> None:
        """Scan as of now; GiveUpError for a date that is no session."""
        date, tick, kind = (str(job.payload[key]) for key in ("session", "tick", "kind"))
        session = self.calendar.session(date)
        if session is None:
            raise GiveUpError(f"{date} is no session of the exchange: mend the schedule")
        now_ms = self.clock.now_ms()
        ref = f"{date}/{tick}"
        try:
            scan = await compute_scan(
                self.market, session, now_ms, self.rules, is_second_look=kind == "second_look"
            )
        except SessionDataMissingError as error:
            tx.put(Journalled(kind="scan_skipped", ref=ref, data={"reason": str(error)}))
            return
        tx.put(ScanRecorded(tick=tick, kind=kind, scan=scan))
        tx.put(Journalled(kind="scan", ref=ref, data=_summary(scan, kind)))
        if scan.candidates:
            payload: dict[str, JsonValue] = {"session": date, "tick": tick, "kind": kind, "as_of_ms": now_ms}
            tx.enqueue(NewJob(Step.SCORE, payload, idem_key=ref))


def _summary(scan: GapScan, kind: str) -> dict[str, JsonData]:
    return {
        "kind": kind,
        "universe": scan.universe,
        "candidates": [_line(c.symbol, c.gap_e6, c.indication_e4) for c in scan.candidates],
        "dropped": dict(scan.drop_counts()),
        "data_issues": [{"symbol": i.symbol, "kind": i.kind} for i in scan.data_issues],
    }


def _line(symbol: str, gap_e6: int, indication_e4: int) -> JsonData:
    return {"symbol": symbol, "gap_e6": gap_e6, "indication_e4": indication_e4}

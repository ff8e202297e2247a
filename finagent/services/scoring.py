"""Scoring: ranks a scan's candidates with news, earnings, volatility and liquidity."""

from dataclasses import dataclass

from finagent.domain.facts import CandidateScored, Journalled
from finagent.domain.gap import Candidate
from finagent.domain.journal import JsonData
from finagent.domain.market import Direction, Session
from finagent.domain.scoring import ScoredCandidate, ScoreWeights, rank_scored, score
from finagent.domain.steps import Step
from finagent.ports import CalendarPort, GiveUpError, Job, JsonValue, NewJob, NewsPort, Store, Tx
from finagent.runtime.service import ServiceContract

CONTRACT = ServiceContract(name="scoring", consumes=(Step.SCORE,), needs=("queue", "news"))
DAY_MS = 86_400_000


async def compute_scores(
    news: NewsPort,
    calendar: CalendarPort,
    session: Session,
    candidates: tuple[Candidate, ...],
    weights: ScoreWeights,
    *,
    as_of_ms: int,
    lookback_days: int,
) -> tuple[ScoredCandidate, ...]:
    """Scores in rank; texts are read from ``lookback_days`` before and count from the previous close."""
    before = calendar.session(session.previous)
    previous_close_ms = before.close_ms if before is not None else session.open_ms - DAY_MS
    symbols = sorted(candidate.symbol for candidate in candidates)
    since_ms = min(previous_close_ms, as_of_ms - lookback_days * DAY_MS)
    headlines = await news.headlines(symbols, since_ms, as_of_ms)
    earnings = await news.earnings(symbols, session.previous, session.date)
    return rank_scored(
        score(
            candidate,
            headlines=headlines.get(candidate.symbol, ()),
            earnings=earnings.get(candidate.symbol, ()),
            weights=weights,
            as_of_ms=as_of_ms,
            previous_close_ms=previous_close_ms,
        )
        for candidate in candidates
    )


@dataclass(frozen=True, slots=True)
class ScoringService:
    """Takes ``score`` jobs ``{session, tick, kind, as_of_ms}``; the best ``top`` tradable ones go on to planning."""

    store: Store
    news: NewsPort
    calendar: CalendarPort
    weights: ScoreWeights
    top: int
    lookback_days: int
    allow_shorts: bool

    async def handle(self, job: Job, tx: Tx) -> None:
        """Score one scan tick; a watchlist is scored and goes no further."""
        date, tick, kind = (str(job.payload[key]) for key in ("session", "tick", "kind"))
        as_of_ms = job.payload["as_of_ms"]
        session = self.calendar.session(date)
        if session is None or not isinstance(as_of_ms, int):
            raise GiveUpError(f"score job {job.idem_key} names no session or instant: {dict(job.payload)}")
        candidates = tuple(await self.store.candidates(date, tick))
        scored = await compute_scores(
            self.news,
            self.calendar,
            session,
            candidates,
            self.weights,
            as_of_ms=as_of_ms,
            lookback_days=self.lookback_days,
        )
        if kind == "second_look":
            places = {candidate.symbol: place for place, candidate in enumerate(candidates)}
            scored = tuple(sorted(scored, key=lambda item: places[item.candidate.symbol]))
        chosen = self._choose(scored) if kind != "watchlist" else ()
        for rank, item in enumerate(scored, 1):
            tx.put(
                CandidateScored(
                    session=date,
                    tick=tick,
                    rank=rank,
                    scored=item,
                    is_selected=item.candidate.symbol in chosen,
                )
            )
        ranking: list[JsonData] = [{"symbol": s.candidate.symbol, "score_e6": s.score_e6} for s in scored]
        tx.put(
            Journalled(kind="score", ref=f"{date}/{tick}", data={"ranking": ranking, "chosen": list(chosen)})
        )
        if chosen:
            payload: dict[str, JsonValue] = {
                "session": date,
                "tick": tick,
                "symbols": list(chosen),
                "version": 1,
            }
            tx.enqueue(NewJob(Step.PLAN, payload, idem_key=f"{date}/{tick}"))

    def _choose(self, scored: tuple[ScoredCandidate, ...]) -> tuple[str, ...]:
        tradable = [
            item.candidate.symbol
            for item in scored
            if self.allow_shorts or item.candidate.direction is Direction.LONG
        ]
        return tuple(tradable[: self.top])

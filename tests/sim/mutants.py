"""The bugs that are planted into the running agent, each with the invariants that must see it."""

import contextlib
import itertools
from dataclasses import replace
from typing import Any

from finagent.domain import account, book
from finagent.domain.facts import IntentRecorded
from finagent.simulation.broker import SimulatedBroker
from finagent.simulation.memory import Disk
from tests.sim import mutants_decisions as decisions
from tests.sim.garden import Garden, Mutant


def _new_id_on_retry(garden: Garden) -> None:
    def submitting(original: Any) -> Any:
        async def submit(broker: SimulatedBroker, intents: Any) -> Any:
            sent = broker.__dict__.setdefault("mutant_sent", set())
            head = intents[0]
            if head.client_order_id in sent:
                head = replace(head, client_order_id=f"{head.client_order_id[:-4]}ffff")
            sent.add(intents[0].client_order_id)
            return await original(broker, (head, *intents[1:]))

        return submit

    garden.replace(SimulatedBroker, "submit", submitting)


def _commit_after_post(garden: Garden) -> None:
    from finagent.services.execution import ExecutionService

    line: list[SimulatedBroker] = []

    def connecting(original: Any) -> Any:
        def init(broker: SimulatedBroker, *parts: Any) -> None:
            original(broker, *parts)
            line[:] = [broker]

        return init

    def executing(original: Any) -> Any:
        async def handle(service: ExecutionService, job: Any, tx: Any) -> None:
            await original(service, job, tx)
            intents = [fact.intent for fact in tx.facts if isinstance(fact, IntentRecorded)]
            if intents:
                with contextlib.suppress(Exception):
                    await line[0].submit(intents)

        return handle

    garden.replace(SimulatedBroker, "__init__", connecting)
    garden.replace(ExecutionService, "handle", executing)


def _stop_missing(garden: Garden) -> None:
    from finagent.bootstrap.live import ProtectionWatch
    from finagent.services.exits import ExitService

    async def nothing(*parts: Any) -> int:
        return 0

    garden.replace(ExitService, "_protect", lambda original: nothing)
    garden.replace(ProtectionWatch, "run_once", lambda original: nothing)


def _ladder_skipped(garden: Garden) -> None:
    from finagent.services.flatten import FlattenService

    async def nothing(*parts: Any) -> None:
        return None

    garden.replace(FlattenService, "handle", lambda original: nothing)


def _gate_skipped(garden: Garden) -> None:
    owner = account if hasattr(account, "_gate") else book
    garden.replace(owner, "_gate", lambda original: lambda found: None)


def _job_deleted(garden: Garden) -> None:
    def making(original: Any) -> Any:
        def init(disk: Disk) -> None:
            original(disk)
            disk.connection.execute(
                "CREATE TEMP TRIGGER mutant AFTER UPDATE OF status ON job_queue"
                " WHEN new.status = 'leased' AND new.type = 'record_trade'"
                " BEGIN DELETE FROM job_queue WHERE id = new.id; END"
            )

        return init

    garden.replace(Disk, "__init__", making)


def _fills_twice(garden: Garden) -> None:
    from finagent.adapters.sqlite.store import SqliteStore

    number = itertools.count()

    def reading(original: Any) -> Any:
        async def fills_of(store: Any, plan_id: str) -> Any:
            return [
                replace(each, fill=replace(each.fill, execution_id=f"unknown-{next(number)}"))
                for each in await original(store, plan_id)
            ]

        return fills_of

    garden.replace(SqliteStore, "fills_of", reading)


def _freed_early(garden: Garden) -> None:
    def making(original: Any) -> Any:
        def init(disk: Disk) -> None:
            original(disk)
            disk.connection.execute(
                "CREATE TEMP TRIGGER mutant AFTER INSERT ON broker_order WHEN new.leg = 'entry'"
                " BEGIN UPDATE reservation SET released_at = 1 WHERE plan_id = new.plan_id; END"
            )

        return init

    garden.replace(Disk, "__init__", making)


def _sent_when_shut(garden: Garden) -> None:
    from finagent.services.sender import SenderService

    async def never(*parts: Any) -> str:
        return ""

    garden.replace(SenderService, "_shut", lambda original: never)


MUTANTS: dict[str, Mutant] = {
    "sent_when_shut": Mutant(
        bug="an entry of unknown fate is sent again after a pause, a kill or a flatten",
        seen_by=("entry_shut_out",),
        plant=_sent_when_shut,
        first_seed=30,
    ),
    "new_id_on_retry": Mutant(
        bug="what is sent again has another id",
        seen_by=("order_has_intent",),
        plant=_new_id_on_retry,
        first_seed=2,
    ),
    "commit_after_post": Mutant(
        bug="an order is sent before its intent is committed",
        seen_by=("order_has_intent",),
        plant=_commit_after_post,
        first_seed=0,
    ),
    "stop_missing": Mutant(
        bug="no stop is placed", seen_by=("protected",), plant=_stop_missing, first_seed=0
    ),
    "ladder_skipped": Mutant(
        bug="the flatten ladder closes nothing",
        seen_by=("flat_at_close",),
        plant=_ladder_skipped,
        first_seed=26,
    ),
    "gate_skipped": Mutant(
        bug="a shut gate lets entries pass", seen_by=("entry_gate",), plant=_gate_skipped, first_seed=0
    ),
    "job_deleted": Mutant(
        bug="a job is deleted before its handler runs",
        seen_by=("queue_conserved",),
        plant=_job_deleted,
        first_seed=0,
    ),
    "fills_twice": Mutant(
        bug="a fill told twice is folded twice",
        seen_by=("told_twice", "position_is_fills", "order_is_fills"),
        plant=_fills_twice,
        first_seed=3,
    ),
    "reservation_freed_early": Mutant(
        bug="a reservation is given back while its entry works",
        seen_by=("reservation_held",),
        plant=_freed_early,
        first_seed=0,
    ),
    "duplicate_is_rejection": Mutant(
        bug="the answer that an id is there already is read as a rejection",
        seen_by=("done_has_evidence",),
        plant=decisions.duplicate_is_rejection,
        first_seed=18,
    ),
    "not_found_is_rejection": Mutant(
        bug="an order that is not found is read as rejected",
        seen_by=("done_has_evidence",),
        plant=decisions.not_found_is_rejection,
        first_seed=18,
    ),
    "answers_uncompared": Mutant(
        bug="an answer is stored without compare-and-set",
        seen_by=("approval_once",),
        plant=decisions.answers_uncompared,
        first_seed=3,
    ),
    "expiry_unchecked": Mutant(
        bug="an answer counts after its time is over",
        seen_by=("yes_in_time", "entry_approved"),
        plant=decisions.expiry_unchecked,
        first_seed=43,
    ),
    "released_twice": Mutant(
        bug="a reservation is given back twice",
        seen_by=("reservation_held",),
        plant=decisions.released_twice,
        first_seed=3,
    ),
    "guard_unchecked": Mutant(
        bug="the account's guard is not checked",
        seen_by=("entry_gate", "limit_open_positions", "limit_trades", "limit_symbol", "limit_loss"),
        plant=decisions.guard_unchecked,
        first_seed=71,
    ),
    "halt_ignored": Mutant(
        bug="the last look lets an entry into a halt",
        seen_by=("entry_in_halt",),
        plant=lambda garden: decisions.reason_ignored(garden, "halted"),
        first_seed=26,
    ),
    "missing_is_flat": Mutant(
        bug="a position that one list does not show is read as closed",
        seen_by=("manual_is_true",),
        plant=decisions.missing_is_flat,
        first_seed=24,
    ),
    "external_sold": Mutant(
        bug="the ladder sells shares that are not ours",
        seen_by=("external_untouched",),
        plant=decisions.external_sold,
        first_seed=0,
    ),
}

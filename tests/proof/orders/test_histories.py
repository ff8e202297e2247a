"""What a broker did, told in any order, twice and late, comes to one state: the one of the true order."""

import os
import random
from collections import Counter
from typing import Any

import pytest

from tests.proof.orders.history import History
from tests.proof.orders.ledger import Ledger

SEED_VARIABLE = "FINAGENT_HISTORY_SEED"
IN_CI, IN_FULL, TELLINGS = 100, 500, 5


async def tell(seed: int) -> Counter[str]:
    """One history in its true order and four others; gives what was in it."""
    history = History(seed)
    states: list[dict[str, Any]] = []
    seen: Counter[str] = Counter()
    for telling in history.tellings(TELLINGS):
        ledger = Ledger(history)
        try:
            await ledger.hear(telling)
            states.append(ledger.state())
            seen["waits"] += ledger.waits
        finally:
            ledger.close()
        assert states[-1] == states[0], f"{SEED_VARIABLE}={seed}: another order of hearing, another state"
    seen.update(_kinds(history, states[0]))
    return seen


def _kinds(history: History, state: dict[str, Any]) -> list[str]:
    """What makes a history worth telling."""
    ends = Counter(order[1] for order in state["orders"])
    kinds = [f"order {name}" for name in ends]
    kinds += [f"plan {state['plan'][0][0]}"]
    quantity = {each.client_order_id: each.quantity_e4 for each in history.intents}
    kinds += ["overfill" for order_id, _, filled, _, _ in state["orders"] if filled > quantity[order_id]]
    kinds += ["late fill" for _, name, filled, _, _ in state["orders"] if name == "cancelled" and filled]
    kinds += ["oversold" for held, _, _ in state["position"] if held < 0]
    kinds += ["replaced" for item in history.items if item.event and item.event.get("reason") == "replaced"]
    return [*kinds, *(["trade"] if state["trade"] else [])]


async def many(first: int, count: int) -> Counter[str]:
    total: Counter[str] = Counter()
    for seed in range(first, first + count):
        total += await tell(seed)
    for kind in ("overfill", "late fill", "oversold", "replaced", "trade", "waits", "plan not_filled"):
        assert total[kind], f"no history with {kind} among {count}: they prove nothing about it"
    return total


async def test_shuffled_and_repeated_histories_converge_to_one_state() -> None:
    """400 shuffles of 100 histories from a printed seed; the full run tells 10,000."""
    first = int(os.environ.get(SEED_VARIABLE, "") or random.SystemRandom().randrange(10**9))
    print(f"{SEED_VARIABLE}={first}")
    print(dict(await many(first, IN_CI)))


@pytest.mark.full
@pytest.mark.parametrize("part", range(5))
async def test_ten_thousand_shuffles_converge(part: int) -> None:
    """2,000 in each of five parts."""
    total = await many(part * IN_FULL, IN_FULL)
    print(f"{IN_FULL * (TELLINGS - 1)} shuffles of {IN_FULL} histories: {dict(total)}")

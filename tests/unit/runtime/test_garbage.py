"""Settling the garbage collector."""

import gc

from finagent.runtime import garbage


def test_settled_collector_looks_less_often_and_still_works() -> None:
    before = gc.get_threshold()
    try:
        garbage.settle()
        assert gc.get_threshold() == (garbage.YOUNG, garbage.MIDDLE, garbage.OLD)
        assert gc.get_freeze_count() > 0
        assert gc.isenabled()
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)

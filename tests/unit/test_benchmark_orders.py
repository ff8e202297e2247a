"""The benchmark of an order's way: its document."""

from benchmarks.orders import LIMIT_MS, document


def test_ratios_are_to_the_limit_to_the_naive_script_and_to_a_sync_of_the_disk() -> None:
    found = {
        "fsync": [0.5, 0.5],
        "approve": [4.0, 6.0],
        "grant": [1.0, 1.0],
        "trigger": [2.5, 2.5],
        "bare": [0.2, 0.2],
        "naive": [1.0, 1.0],
    }
    told = document(found, (0.0, 0.0, 0.0))
    assert told["is_fsync_within_its_limit"] is True
    ratios = told["ratios"]
    assert isinstance(ratios, dict)
    assert ratios["approve_to_wire_p50"] == 4.0 / LIMIT_MS
    assert (ratios["approve_to_naive_p50"], ratios["trigger_to_naive_p50"]) == (4.0, 2.5)
    assert ratios["approve_in_fsyncs_p50"] == 8.0

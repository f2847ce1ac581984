"""Schedules of the shell on a simulated cluster: whatever dies, every pane is counted once and released once."""

import pytest

from tests.simulation.faults import Fault, faults_of, forgetting, killed_unacknowledged, lost_together
from tests.simulation.schedule import run, shrunk


def test_every_pane_is_counted_and_released_once() -> None:
    """The first of those that `make schedules` plays: CI plays 500."""
    for seed in range(25):
        assert run(seed).wrong == [], seed


def test_a_schedule_replays_exactly() -> None:
    assert run(7).trace == run(7).trace
    assert run(7).trace != run(11).trace


def test_a_worker_killed_or_stopped_at_any_point_of_a_release_changes_nothing() -> None:
    struck: set[str] = set()
    for steps in range(1, 60):
        for what in ("kill", "pause") if steps % 3 == 0 else ("kill",):
            schedule = run(1, [Fault(8.0, what, "release-0", 8.0, "step", steps)])
            assert schedule.wrong == [], (what, steps)
            struck |= schedule.struck
    assert struck == {"drawn", "in the ledger", "partly published", "all published"}


def test_a_zombie_gateway_rejects_nothing_for_a_salt_that_went_because_its_successor_was_done() -> None:
    # The gateway stops before a send and goes on after its session, when the epoch's key has been destroyed.
    assert run(174, [Fault(7.417, "pause", "gateway-1", 8.0, "send")]).wrong == []


def test_what_kafka_acknowledged_and_lost_stops_its_partition_and_is_never_counted_around() -> None:
    for seed in range(8):
        schedule = run(seed, forgetting(seed))
        assert schedule.gaps > 0
        assert any("waits for rows of source" in reason for reason in schedule.told)
        assert schedule.wrong == [], seed


def test_a_salt_is_there_for_as_long_as_a_restart_needs_it() -> None:
    for seed in range(0, 75, 3):
        assert run(seed, killed_unacknowledged(seed)).wrong == [], seed


def test_a_pane_that_kafka_lost_is_released_before_the_next_one_that_it_took() -> None:
    for seed in range(24):
        assert run(seed, lost_together(seed)).wrong == [], seed


def test_what_retention_took_before_anybody_read_it_is_missing_and_every_release_says_so() -> None:
    for seed in range(24):
        schedule = run(seed, losing=True)
        assert schedule.wrong == [], seed
        assert schedule.lacking > 0, seed


def test_a_failing_seed_shrinks_to_the_faults_that_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    seed = next(seed for seed in range(100) if {"flush", "kill"} <= {fault.what for fault in faults_of(seed)})
    monkeypatch.setattr(
        "tests.simulation.schedule.wrongs",
        lambda *_, **__: ["a flush"] if any(fault.what == "flush" for fault in tried[-1]) else [],
    )
    tried: list[list[Fault]] = []
    original = run

    def noted(seed: int, faults: list[Fault]) -> object:
        tried.append(faults)
        return original(seed, faults)

    monkeypatch.setattr("tests.simulation.schedule.run", noted)
    assert {fault.what for fault in shrunk(seed)} == {"flush"}


@pytest.mark.parametrize("seed", [6068, 7334])
def test_rebalances_again_and_again_let_no_source_run_ahead(seed: int) -> None:
    assert run(seed).wrong == []


@pytest.mark.parametrize("seed", [20175, 20477])
def test_a_paused_writers_last_word_puts_off_the_cut_until_the_next_draw(seed: int) -> None:
    assert run(seed).wrong == []

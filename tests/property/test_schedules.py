"""Schedules of the shell on a simulated cluster: whatever dies, every pane is counted once and released once."""

import pytest

from tests.simulation.schedule import faults_of, run


@pytest.mark.parametrize("block", range(5))
def test_every_pane_is_counted_and_released_once(block: int) -> None:
    for seed in range(block * 20, (block + 1) * 20):
        assert run(seed).wrong == [], seed


def test_a_pane_that_kafka_lost_is_released_before_the_next_one_that_it_took() -> None:
    assert any(fault.what == "lose" for fault in faults_of(892))
    assert run(892).wrong == []


def test_a_schedule_replays_exactly() -> None:
    assert run(7).trace == run(7).trace

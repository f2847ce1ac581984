"""The guard of CI fails where it should, and compares two that took the same events."""

import pytest

from benchmarks import bench_quick
from benchmarks.core_job import Core, chunks_of
from benchmarks.peers.job import PARTITIONS, Size

SMALL = ["--events", "3000", "--subscribers", "200", "--rounds", "1"]


def test_a_core_that_is_too_slow_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(bench_quick, "cost_s", lambda work, *_: 3.0 if work is bench_quick.by_hand else 2.0)
    assert bench_quick.main([*SMALL, "--least", "1.4"]) == 0
    assert bench_quick.main([*SMALL, "--least", "1.6"]) == 1
    assert "too slow: single is 1.50 times" in capsys.readouterr().out


@pytest.mark.parametrize("shape", ["single", "batched"])
def test_both_take_all_events(shape: str) -> None:
    size = Size(200, 3_000, 15)
    chunks = chunks_of(size, shape)
    assert bench_quick.by_hand(chunks) == Core(size).run(chunks) == size.events + PARTITIONS


def test_losing_events_is_an_error_not_speed() -> None:
    chunks = chunks_of(Size(200, 3_000, 15), "single")
    with pytest.raises(AssertionError):
        bench_quick.cost_s(lambda some: len(some), chunks, 3_000 + PARTITIONS)

"""Which sources are held because they are ahead of the slowest."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from streams.agents.pacing import Alignment, Begun, keep_beating, too_far_ahead
from streams.agents.transport import Committed
from streams.metrics import GatewayMetrics


def test_only_own_sources_beyond_the_limit_are_held() -> None:
    marks = {0: 100_000, 1: 30_000, 2: 89_999, 3: 90_001}
    assert too_far_ahead(marks, {0, 1, 2}, 60_000) == {0}
    assert too_far_ahead(marks, {0, 3}, 60_000) == {0, 3}


def test_the_slowest_is_never_held() -> None:
    assert too_far_ahead({5: 10}, {5}, 0) == set()
    assert too_far_ahead({}, set(), 60_000) == set()
    assert too_far_ahead({0: 10, 1: 10}, {0, 1}, 0) == set()


def test_an_own_source_that_has_not_been_heard_is_not_held() -> None:
    assert too_far_ahead({0: 1_000_000}, {0, 7}, 60_000) == set()


def test_while_a_source_is_unheard_nobody_goes_further_from_where_they_began_than_they_may_be_ahead() -> None:
    begun, sources = Begun(), {0, 1, 2}
    assert begun.with_unheard({0: 5_000, 1: 9_000}, {0: 5_000}, sources)[2] == 5_000
    marks = begun.with_unheard({0: 70_000, 1: 9_000}, {0: 70_000}, sources)
    assert marks == {0: 70_000, 1: 9_000, 2: 5_000}
    assert too_far_ahead(marks, {0}, 60_000) == {0}


def test_once_all_sources_are_heard_the_slowest_counts_alone() -> None:
    begun = Begun()
    begun.with_unheard({0: 5_000}, {0: 5_000}, {0, 1})
    assert begun.with_unheard({0: 70_000, 1: 60_000}, {0: 70_000}, {0, 1}) == {0: 70_000, 1: 60_000}
    assert begun.with_unheard({0: 80_000}, {0: 80_000}, {0, 1})[1] == 80_000


def test_a_gateway_without_sources_knows_nothing_of_the_unheard() -> None:
    assert Begun().with_unheard({0: 5_000}, {}, {0, 1}) == {0: 5_000}


async def test_who_takes_sources_holds_those_too_far_ahead_before_they_are_read() -> None:
    """What a rebalance gives is compared at once with what others have committed, not with what they had before it."""
    committed, own, held = {0: 1_000, 1: 90_000}, dict[int, int](), []

    async def read() -> dict[int, Committed]:
        return {source: Committed(1, str(ms)) for source, ms in committed.items()}

    metrics = GatewayMetrics(CollectorRegistry())
    alignment = Alignment(read, lambda: own, lambda: {0, 1}, held.append, 60_000, metrics)
    await alignment.look()
    assert held == [], "nothing to hold"
    own[1] = 90_000
    await alignment.look()
    assert held == [{1}]
    committed[0] = 80_000
    await alignment.look()
    assert held == [{1}, set()]


async def test_sources_may_come_and_go_while_beats_are_sent() -> None:
    silent_since = {0: 0.0, 1: 0.0}
    beaten = []

    class Rebalanced:
        """A producer that is given another source while it sends."""

        async def partitions_for(self, _: str) -> set[int]:
            return {0, 1, 2}

        async def send_and_wait(self, _: str, __: bytes, *, key: bytes | None, partition: int) -> None:
            beaten.append(partition)
            silent_since.pop(1, None)
            silent_since[2] = 0.0

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await keep_beating(Rebalanced(), "attach", lambda: silent_since, 0.05)
    assert beaten[:4] == [0, 1, 0, 2]

"""Who may commit for the group."""

import asyncio
from types import SimpleNamespace

import pytest
from aiokafka.structs import TopicPartition

from streams.agents.commits import Committed, GroupOffsets
from streams.errors import ThrongError

ATTACH = TopicPartition("attach", 0)


class Coordinator:
    def __init__(self, generation: int) -> None:
        self.generation = generation
        self.committed: list[object] = []

    async def commit_offsets(self, _: object, offsets: object) -> None:
        self.committed.append(offsets)


@pytest.mark.parametrize(("generation", "committed"), [(7, True), (-1, False)])
async def test_a_worker_that_was_thrown_out_commits_nothing_even_where_the_group_is_empty(
    generation: int, committed: bool
) -> None:
    coordinator = Coordinator(generation)
    subscription = SimpleNamespace(assignment=SimpleNamespace(tps={ATTACH}))
    consumer = SimpleNamespace(_coordinator=coordinator, _subscription=SimpleNamespace(subscription=subscription))
    thread = SimpleNamespace(on_thread=asyncio.ensure_future, _ensure_consumer=lambda: consumer)
    offsets = GroupOffsets(thread, "attach", {})  # type: ignore[arg-type]
    assert await offsets.commit({0: Committed(5, "")}) is committed
    assert len(coordinator.committed) == committed


def test_a_commit_of_another_tool_is_named() -> None:
    assert Committed(5, "1772420400000").record_time_ms() == 1_772_420_400_000
    with pytest.raises(ThrongError, match="offset 5 that no gateway made") as raised:
        Committed(5, "").record_time_ms()
    assert raised.value.code == "foreign_commit"

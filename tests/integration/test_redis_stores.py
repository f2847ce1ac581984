"""Snapshots and counts on a real Redis."""

import random
from collections.abc import AsyncIterator

import numpy as np
import orjson
import pytest
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from schemas.ledger import LedgerRecord, Publication
from schemas.topics import FOOTFALL
from streams.cli.access_lists import redis_users
from streams.core.release.release import seal
from streams.settings import load_settings
from streams.stores import released as released_store
from streams.stores import snapshots
from streams.stores.counts import CountStore, TickCounts, unpack
from streams.stores.released import KEPT_S, PLACES_KEPT_S, Publisher
from streams.stores.snapshots import BrokenSnapshot, SnapshotStore
from tests.support.world import PLAN

pytestmark = pytest.mark.integration


@pytest.fixture
async def redis(stack) -> AsyncIterator[Redis]:
    client = Redis.from_url(stack.redis)
    yield client
    await client.aclose()


async def test_no_user_is_told_how_much_there_is_of_what_they_may_not_read(stack, redis: Redis, namespace: str) -> None:
    """Snapshots are as large as people are many: bare sums, without noise, to whoever may read what is released."""
    await redis.set(f"{namespace}:{{p0}}:snapshot", bytes(1000))
    for user in redis_users(load_settings(None, {"kafka.namespace": namespace}, {}), f"{namespace}-"):
        await redis.execute_command("ACL", "SETUSER", user.name, *user.rules, ">pw")
        async with Redis.from_url(stack.redis, username=user.name, password="pw") as theirs:
            assert await theirs.ping()
            for words in ("MEMORY STATS", "CLIENT TRACKING ON BCAST", "CLIENT LIST", "DBSIZE", "INFO", "RANDOMKEY"):
                with pytest.raises(NoPermissionError):
                    await theirs.execute_command(*words.split())
        await redis.execute_command("ACL", "DELUSER", user.name)


def tick(at: int, value: int) -> TickCounts:
    return TickCounts(at, 20260302, np.full((3, 28), value, np.uint32))


async def test_counts_come_back_as_they_were_written(redis: Redis, namespace: str) -> None:
    store = CountStore(redis, f"{namespace}:")
    counts = np.arange(3 * 28, dtype=np.uint32).reshape(3, 28)
    assert await store.write(0, {900_000: TickCounts(10_000, 20260302, counts)}) == 1
    read = await store.read(0, 900_000)
    assert read is not None
    assert (read.tick_ms, read.epoch) == (10_000, 20260302)
    np.testing.assert_array_equal(read.counts, counts)


async def test_of_several_windows_those_are_stored_that_are_newer(redis: Redis, namespace: str) -> None:
    store = CountStore(redis, f"{namespace}:")
    assert await store.write(2, {900_000: tick(20_000, 7)}) == 1
    assert await store.write(2, {900_000: tick(20_000, 8), 3_600_000: tick(20_000, 9)}) == 1
    assert await store.write(2, {}) == 0
    shown = [await store.read(2, window_ms) for window_ms in (900_000, 3_600_000)]
    assert [each and int(each.counts[0, 0]) for each in shown] == [7, 9]


async def test_an_older_or_repeated_tick_changes_nothing(redis: Redis, namespace: str) -> None:
    store = CountStore(redis, f"{namespace}:")
    assert await store.write(1, {900_000: tick(20_000, 7)}) == 1
    assert await store.write(1, {900_000: tick(20_000, 8)}) == 0
    assert await store.write(1, {900_000: tick(10_000, 9)}) == 0
    read = await store.read(1, 900_000)
    assert read is not None and read.counts[0, 0] == 7


async def test_a_released_pane_goes_once_no_newer_one_has_come_for_two_days(redis: Redis, namespace: str) -> None:
    publisher = Publisher(None, redis, {}, {}, f"{namespace}:")  # type: ignore[arg-type]
    key = f"{namespace}:released:footfall:present:z1"

    def released(end_ms: int) -> LedgerRecord:
        said = Publication(FOOTFALL, b"z1", orjson.dumps({"measure": "present", "zone": "z1", "at": end_ms}))
        sealed = seal((said,))
        return LedgerRecord(1, "present", 1, 0, end_ms, "release", b"", 1.0, b"", sealed, 0, 0.01, "one")

    await publisher.to_redis(released(600_000))
    assert KEPT_S - 60 < await redis.ttl(key) <= KEPT_S
    await redis.expire(key, 1000)
    await publisher.to_redis(released(300_000))  # an older one keeps nothing alive
    assert await redis.ttl(key) <= 1000
    await publisher.to_redis(released(900_000))
    assert await redis.ttl(key) > 1000
    assert await redis.hget(key, "end") == b"900000"  # type: ignore[misc]


async def test_what_nobody_has_written_again_for_a_day_or_two_goes(redis: Redis, namespace: str) -> None:
    store, counts = SnapshotStore(redis, f"{namespace}:"), CountStore(redis, f"{namespace}:")

    async def write(at: int) -> None:
        await store.write(0, at, {"v": b"x"})
        await counts.write(0, {900_000: tick(10_000 * at, 7)})

    async def left() -> list[int]:
        return [await redis.ttl(key) async for key in redis.scan_iter(f"{namespace}:*")]

    await write(5)
    day = 86_400
    assert [round(seconds / day, 2) for seconds in sorted(await left())] == [1, 2, 2]
    async for key in redis.scan_iter(f"{namespace}:*"):
        await redis.expire(key, 1000)
    await write(4)  # a zombie keeps nothing alive
    assert max(await left()) <= 1000
    await write(6)
    assert [seconds > 1000 for seconds in await left()] == [True, True, True]


async def test_what_an_older_version_wrote_without_an_end_gets_one_and_nothing_else_does(
    redis: Redis, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(released_store, "KEYS_AT_ONCE", 3)
    publisher = Publisher(None, redis, {}, {}, f"{namespace}:")  # type: ignore[arg-type]
    gone = [f"{namespace}:released:footfall:withdrawn:z{number}" for number in range(7)]
    for key in gone:
        await redis.hset(key, "end", "1")  # type: ignore[misc]
    places, newest = f"{namespace}:released:places:old", f"{namespace}:released:footfall:present:z1"
    others = [f"{namespace}:{{p0}}:snapshot", f"{namespace}x:released:places:old"]
    for key in (places, *others):
        await redis.set(key, b"{}")
    await redis.set(newest, b"{}", ex=1000)
    assert await publisher.give_ends() == 8
    assert all([KEPT_S - 60 < await redis.ttl(key) <= KEPT_S for key in gone])
    assert KEPT_S < await redis.ttl(places) <= PLACES_KEPT_S
    assert await redis.ttl(newest) <= 1000
    assert [await redis.ttl(key) for key in others] == [-1, -1]
    assert await publisher.give_ends() == 0
    await publisher.places(PLAN.places())
    assert KEPT_S < await redis.ttl(f"{namespace}:released:places:{PLAN.hash()}") <= PLACES_KEPT_S


async def test_times_beyond_32_bits_are_ordered_right(redis: Redis, namespace: str) -> None:
    store = CountStore(redis, f"{namespace}:")
    assert await store.write(0, {1: tick(1_772_420_400_000, 1)}) == 1
    assert await store.write(0, {1: tick(1_772_420_390_000, 2)}) == 0
    assert await store.write(0, {1: tick(1_772_420_410_000, 3)}) == 1


def test_a_cut_value_is_refused() -> None:
    with pytest.raises(ValueError, match="counts: 3 bytes"):
        unpack(b"abc")


async def test_a_snapshot_comes_back_with_its_offset(redis: Redis, namespace: str) -> None:
    store = SnapshotStore(redis, f"{namespace}:")
    columns = {"table": bytes(range(256)) * 1000, "header": b"x"}
    assert (await store.write(0, 42, columns)).moved
    assert await store.read(0) == (42, columns)


async def test_no_snapshot_reads_as_none(redis: Redis, namespace: str) -> None:
    assert await SnapshotStore(redis, f"{namespace}:").read(5) is None


async def test_the_pointer_never_moves_back(redis: Redis, namespace: str) -> None:
    store = SnapshotStore(redis, f"{namespace}:")
    await store.write(0, 50, {"v": b"new"})
    assert not (await store.write(0, 49, {"v": b"zombie"})).moved
    assert not (await store.write(0, 50, {"v": b"repeat"})).moved
    assert await store.read(0) == (50, {"v": b"new"})


async def test_a_partition_has_one_snapshot_in_redis(redis: Redis, namespace: str) -> None:
    store = SnapshotStore(redis, f"{namespace}:")
    for offset in range(1, 8):
        await store.write(0, offset, {"v": b"x" * offset})
    chunks = [key async for key in redis.scan_iter(f"{namespace}:{{p0}}:snapshot:*")]
    assert len(chunks) == 1
    assert await store.read(0) == (7, {"v": b"x" * 7})


async def test_a_damaged_chunk_is_noticed(redis: Redis, namespace: str) -> None:
    store = SnapshotStore(redis, f"{namespace}:")
    await store.write(0, 1, {"v": b"x" * 10_000})
    keys = [key async for key in redis.scan_iter(f"{namespace}:{{p0}}:snapshot:*")]
    await redis.setrange(keys[0], 4, b"\x00\x01\x02")
    with pytest.raises(BrokenSnapshot, match="digest"):
        await store.read(0)


async def test_a_snapshot_that_gives_way_to_others_while_it_is_read_is_no_loss(redis: Redis, namespace: str) -> None:
    writer, reader = SnapshotStore(redis, f"{namespace}:"), SnapshotStore(redis, f"{namespace}:")
    await writer.write(0, 1, {"a": b"1"})
    pointer = reader._pointer

    async def overtaken(partition: int) -> object:
        found = await pointer(partition)
        if found is not None and found[0] == 1:
            await writer.write(0, 2, {"a": b"2"})  # now the chunks of the first are gone
        return found

    reader._pointer = overtaken  # type: ignore[method-assign,assignment]
    assert await reader.read(0) == (2, {"a": b"2"})


async def test_a_missing_chunk_is_noticed(redis: Redis, namespace: str) -> None:
    store = SnapshotStore(redis, f"{namespace}:")
    await store.write(0, 1, {"v": b"x"})
    async for key in redis.scan_iter(f"{namespace}:{{p0}}:snapshot:*"):
        await redis.delete(key)
    with pytest.raises(BrokenSnapshot, match="missing"):
        await store.read(0)


async def chunks_of(redis: Redis, namespace: str) -> set[bytes]:
    return {key async for key in redis.scan_iter(f"{namespace}:{{p0}}:snapshot:*")}


class Dies(Exception):  # noqa: N818
    """The writer's process ends here."""


async def test_what_a_writer_that_died_half_way_left_is_removed_by_the_next(
    redis: Redis, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "CHUNK_BYTES", 100)
    store = SnapshotStore(redis, f"{namespace}:")
    columns = {"v": random.Random(1).randbytes(1000)}
    await store.write(0, 1, columns)
    before = await chunks_of(redis, namespace)

    class Dying(SnapshotStore):
        def _chunk(self, partition: int, snapshot_id: str, number: int) -> str:
            if number == 5:
                raise Dies
            return super()._chunk(partition, snapshot_id, number)

    with pytest.raises(Dies):
        await Dying(redis, f"{namespace}:").write(0, 2, columns)
    left = await chunks_of(redis, namespace) - before
    assert len(left) == 5
    await store.write(0, 3, columns)
    assert not left & await chunks_of(redis, namespace)
    assert await store.read(0) == (3, columns)


async def test_a_writer_whose_chunks_were_swept_moves_no_pointer(redis: Redis, namespace: str) -> None:
    store = SnapshotStore(redis, f"{namespace}:")
    await store.write(0, 1, {"v": b"old"})
    slow = SnapshotStore(redis, f"{namespace}:")
    move = slow._move_forward

    async def late(keys: list[str], args: list[object]) -> object:
        await store.write(0, 2, {"v": b"new"})
        return await move(keys=keys, args=args)

    slow._move_forward = late  # type: ignore[assignment]
    assert not (await slow.write(0, 3, {"v": b"swept"})).moved
    assert await store.read(0) == (2, {"v": b"new"})


async def test_a_snapshot_that_redis_has_lost_is_found_missing_by_the_next(redis: Redis, namespace: str) -> None:
    """An eviction policy takes them without a word: nothing failed, and a restart had no state."""
    store = SnapshotStore(redis, f"{namespace}:")
    assert (await store.write(0, 1, {"v": b"x"})).found == ""
    assert (await store.write(0, 2, {"v": b"x"}, after=1)).found == ""
    await redis.delete(*await chunks_of(redis, namespace))
    assert (await store.write(0, 3, {"v": b"x"}, after=2)) == (True, 15, "losing")
    await redis.delete(f"{namespace}:{{p0}}:snapshot")
    assert (await store.write(0, 4, {"v": b"x"}, after=3)).found == "losing"
    assert (await store.write(0, 3, {"v": b"zombie"}, after=2)) == (False, 20, "")
    assert (await store.write(0, 5, {"v": b"x"}, after=4)).found == ""


async def test_a_snapshot_whose_announcement_was_evicted_meanwhile_is_not_pointed_to(
    redis: Redis, namespace: str
) -> None:
    store = SnapshotStore(redis, f"{namespace}:")
    await store.write(0, 1, {"v": b"x"})
    move = store._move_forward

    async def late(keys: list[str], args: list[object]) -> object:
        await redis.delete(*keys)
        return await move(keys=keys, args=args)

    store._move_forward = late  # type: ignore[assignment]
    assert (await store.write(0, 2, {"v": b"x"}, after=1)) == (False, 15, "losing")
    assert len(await chunks_of(redis, namespace)) == 1, "but for the one before, which nothing names any more"


async def test_what_a_deployment_on_another_kafka_has_stored_is_never_taken_for_ones_own(
    redis: Redis, namespace: str
) -> None:
    """Of the same namespace, on one Redis: its offsets are of another log, so counting went on from anothers' state."""
    ours, theirs, before = (SnapshotStore(redis, f"{namespace}:", of) for of in ("ours", "theirs", ""))
    await before.write(0, 10, {"v": b"of a release that did not say whose"})
    assert await ours.read(0) == (10, {"v": b"of a release that did not say whose"})
    assert (await ours.write(0, 20, {"v": b"ours"}, after=10)).found == ""
    assert await theirs.newest(0) is None
    with pytest.raises(BrokenSnapshot, match="Redis is shared with a deployment of the same namespace"):
        await theirs.read(0)
    assert (await theirs.write(0, 5, {"v": b"theirs"})) == (True, 20, "shared")
    assert await theirs.read(0) == (5, {"v": b"theirs"})
    assert (await ours.write(0, 30, {"v": b"ours"}, after=20)) == (True, 18, "shared")
    assert (await ours.read(0), await ours.newest(0)) == ((30, {"v": b"ours"}), 30)

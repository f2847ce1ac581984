"""Publication: what the ledger says, to the released topics and to Redis, as often as it takes.

A pure repeat of the ledger's bytes, so that doing it twice, or by two processes, gives consumers identical records.
In Redis stands the newest pane only: `released:footfall:MEASURE:ZONE` (present by cohort: `...:ZONE:BAND:GENDER`),
`released:flows:MEASURE` (travel times too), `released:areas:MEASURE`, `released:dwell:MEASURE:ZONE` and
`released:visits:MEASURE:ZONE` (arrays of all their records), hashes of `end` (ms) and `record` (JSON); a write
replaces older panes only. What is not written again for `KEPT_S` goes: the last pane of a measure that was withdrawn,
or of a zone that is in no plan any more, is nobody's newest. What may be known of the places is under
`released:places:PLAN`, the hash that records have in `plan` (JSON, `schemas.plan.Places`), for `PLACES_KEPT_S` after it
was written last. What a version before there were such times has left gets one by `give_ends`.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

import msgspec
import orjson
from redis.asyncio import Redis, RedisCluster

from schemas.ledger import LedgerRecord, Publication
from schemas.plan import Places
from schemas.topics import AREAS, FLOWS, FOOTFALL
from streams.core.release.release import publications
from streams.stores.outgoing import Outgoing, Sender

NEWER_OR_SAME = """
local old = redis.call('HGET', KEYS[1], 'end')
if old and tonumber(old) > tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'end', ARGV[1], 'record', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
"""
# Panes are of an hour at most: longer than releases may be away without anybody noticing.
KEPT_S: Final = 2 * 86_400
# Records that name a plan stay in their topics for a week.
PLACES_KEPT_S: Final = 8 * 86_400

PLACES_OF: Final = "released:places:"
ENDLESS: Final = -1  # as TTL has it

# To a cluster: one by one, 10,000 places take 1.6 s; together, 0.2 s.
KEYS_AT_ONCE: Final = 2000


class Publisher:
    """Publishes valid ledger records. `partitions`: of each released topic; `names`: its name on the cluster."""

    def __init__(
        self,
        producer: Sender,
        redis: Redis | RedisCluster,
        names: Mapping[str, str],
        partitions: Mapping[str, int],
        prefix: str,
    ) -> None:
        self._producer = producer
        self._redis = redis
        self._names = names
        self._partitions = partitions
        self._prefix = prefix
        self._script = redis.register_script(NEWER_OR_SAME)

    async def to_kafka(self, record: LedgerRecord) -> dict[str, int]:
        """Publish to the topics; returns how many records each got."""
        return await self.send(publications(record), record.end_ms)

    async def send(self, items: Sequence[Publication], end_ms: int) -> dict[str, int]:
        """Publish records of the pane that ends then; returns how many each topic got."""
        sent: dict[str, int] = {}
        of: dict[tuple[str, int], list[Outgoing]] = {}
        for item in items:
            partition = zlib.crc32(item.key) % self._partitions[item.topic]
            of.setdefault((item.topic, partition), []).append(Outgoing(item.key, item.value, [], end_ms))
            sent[item.topic] = sent.get(item.topic, 0) + 1
        acks = []
        for (topic, partition), records in of.items():
            acks += await self._producer.send_many(self._names[topic], partition, records)
        await asyncio.gather(*acks)
        return sent

    async def to_redis(self, record: LedgerRecord) -> None:
        """Make the record's pane the one that Redis shows, unless a newer one is there."""
        values = redis_values(publications(record), record.measure)
        if isinstance(self._redis, RedisCluster):
            every = list(values.items())
            for first in range(0, len(every), KEYS_AT_ONCE):
                together = self._redis.pipeline()
                for key, value in every[first : first + KEYS_AT_ONCE]:
                    # By its text, not its hash: a node that took over has never heard of it.
                    together.execute_command("EVAL", NEWER_OR_SAME, 1, self._prefix + key, record.end_ms, value, KEPT_S)
                await together.execute()
            return
        pipe = self._redis.pipeline(transaction=False)
        try:
            for key, value in values.items():
                await self._script(keys=[self._prefix + key], args=[record.end_ms, value, KEPT_S], client=pipe)
            await pipe.execute()
        finally:
            await pipe.reset()  # type: ignore[no-untyped-call]

    async def places(self, places: Places) -> None:
        """Show what may be known of a plan's places, under the hash by which released records name it."""
        await self._redis.set(f"{self._prefix}{PLACES_OF}{places.plan}", msgspec.json.encode(places), ex=PLACES_KEPT_S)

    async def shows(self, plan: str) -> bool:
        """Are the plan's places shown?"""
        return bool(await self._redis.exists(f"{self._prefix}{PLACES_OF}{plan}"))

    async def give_ends(self) -> int:
        """Give all that is shown and has no end one; returns how many keys that were."""
        given, places = 0, f"{self._prefix}{PLACES_OF}".encode()
        every = self._redis.scan_iter(match=f"{self._prefix}released:*", count=KEYS_AT_ONCE)
        async for keys in _together(every, KEYS_AT_ONCE):
            asked = self._redis.pipeline()
            for key in keys:
                asked.ttl(key)
            endless = [key for key, left_s in zip(keys, await asked.execute(), strict=True) if left_s == ENDLESS]
            if endless:
                giving = self._redis.pipeline()
                for key in endless:
                    giving.expire(key, PLACES_KEPT_S if key.startswith(places) else KEPT_S)
                await giving.execute()
            given += len(endless)
        return given


async def _together(keys: AsyncIterator[bytes], most: int) -> AsyncIterator[list[bytes]]:
    found: list[bytes] = []
    async for key in keys:
        found.append(key)
        if len(found) == most:
            yield found
            found = []
    if found:
        yield found


def redis_values(items: Sequence[Publication], measure: str) -> dict[str, bytes]:
    """The keys and values that a pane's publications stand under."""
    values: dict[str, bytes] = {}
    together: dict[str, list[orjson.Fragment]] = {}
    for item in items:
        if item.topic in (FLOWS, AREAS):
            together.setdefault(f"released:{item.topic}:{measure}", []).append(orjson.Fragment(item.value))
            continue
        read = orjson.loads(item.value)
        key = f"released:{item.topic}:{read['measure']}:{read['zone']}"
        if item.topic == FOOTFALL:
            cohort = f":{read['age_band']}:{read['gender']}" if "age_band" in read else ""
            values[key + cohort] = item.value
        else:
            together.setdefault(key, []).append(orjson.Fragment(item.value))
    return values | {key: orjson.dumps(records) for key, records in together.items()}

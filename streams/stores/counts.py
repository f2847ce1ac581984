"""The live internal counts in Redis: distinct subscribers per zone and cohort in sliding windows, tick by tick.

In: a partition's vector of absolute counts at a tick. Kept: one packed value a partition and window,
`{pN}` being the hash tag that keeps all of a partition in one slot of a Redis Cluster. A write carries its tick and
replaces older ones only, so a repeat or a zombie changes nothing; what is not written again for `KEPT_S` goes, as exact
counts must not lie there for good. Internal: SREs and tests read it, consumers never.

Value layout, little-endian: tick i64 (ms), epoch i64 (YYYYMMDD), zones u32, cohorts u16, width u16, then the counts
[zones, cohorts], unsigned, of 1, 2 or 4 bytes by what the largest one needs (`width`; 0, of old values: 4). Most fit
into a byte, which makes ten thousand zones' counts 280 kB.
"""

import struct
from collections.abc import Mapping
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from redis.asyncio import Redis, RedisCluster

HEADER = struct.Struct("<qqIHH")
KEPT_S = 86_400

# The tick stands in the value's first eight bytes; Lua's `struct` reads it (bundled with Redis). All of a partition's
# windows in one call: what a call costs the client is more than what it costs Redis.
NEWER_ONLY = (
    f"local kept_s = {KEPT_S}"
    """
local stored = 0
for i, key in ipairs(KEYS) do
  local old = redis.call('GETRANGE', key, 0, 7)
  if #old < 8 or struct.unpack('<i8', old) < struct.unpack('<i8', ARGV[i]) then
    redis.call('SET', key, ARGV[i], 'EX', kept_s)
    stored = stored + 1
  end
end
return stored
"""
)


class TickCounts(NamedTuple):
    """Counts of one partition at one tick: `counts` u32[zones, cohorts]."""

    tick_ms: int
    epoch: int
    counts: NDArray[np.uint32]


def counts_key(namespace: str, partition: int, window_ms: int) -> str:
    """The Redis key of a partition's counts for a window."""
    return f"{namespace}{{p{partition}}}:counts:{window_ms // 1000}"


def pack(tick: TickCounts) -> bytes:
    """The stored form of `tick`."""
    zones, cohorts = tick.counts.shape
    width = np.min_scalar_type(int(tick.counts.max(initial=0))).itemsize
    header = HEADER.pack(tick.tick_ms, tick.epoch, zones, cohorts, width)
    return header + tick.counts.astype(f"<u{width}").tobytes()


def unpack(value: bytes) -> TickCounts:
    """The reverse of `pack`.

    Raises:
        ValueError: if the value is shorter or longer than its header says.
    """
    if len(value) < HEADER.size:
        raise ValueError(f"counts: {len(value)} bytes, a header has {HEADER.size}")
    tick_ms, epoch, zones, cohorts, width = HEADER.unpack_from(value)
    width = width or 4
    if width not in (1, 2, 4) or len(value) != HEADER.size + width * zones * cohorts:
        raise ValueError(f"counts: {len(value)} bytes for {zones} zones and {cohorts} cohorts of width {width}")
    counts = np.frombuffer(value, f"<u{width}", offset=HEADER.size).reshape(zones, cohorts)
    return TickCounts(tick_ms, epoch, counts.astype(np.uint32))


class CountStore:
    """Reads and writes sliding-window counts. `namespace` is empty or ends in a colon."""

    def __init__(self, redis: Redis | RedisCluster, namespace: str) -> None:
        self._redis = redis
        self._namespace = namespace
        self._newer_only = redis.register_script(NEWER_ONLY)

    async def write(self, partition: int, ticks: Mapping[int, TickCounts]) -> int:
        """Store the tick of each window (ms) unless a tick as new is there. Returns how many were stored."""
        keys = [counts_key(self._namespace, partition, window_ms) for window_ms in ticks]
        return int(await self._newer_only(keys=keys, args=[pack(tick) for tick in ticks.values()])) if keys else 0

    async def read(self, partition: int, window_ms: int) -> TickCounts | None:
        """The newest counts of a partition, or None if there are none."""
        value = await self._redis.get(counts_key(self._namespace, partition, window_ms))
        return None if value is None else unpack(cast("bytes", value))

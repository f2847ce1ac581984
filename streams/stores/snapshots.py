"""Snapshots of a partition's state in Redis: a cache of what the sightings log says.

In: the columns of a crowd at one offset of its log. Kept, all under the hash tag `{pN}`: chunks of at most 8 MiB of
zstd under a random id, and one pointer to the newest complete snapshot. The pointer moves in one script, and only to
a greater offset, so a zombie can do no harm. The snapshot that it pointed to is deleted in the same step: a reader that
has just taken the old pointer finds chunks missing, and takes the new one. A write is announced beside the pointer
before its first chunk (`try:ID`), so that the next one removes what a writer that failed or died half-way has left.
Any complete snapshot, by anyone, is correct, only older: losing all of them costs a replay of the log, nothing else.
What is not written again for `KEPT_S` goes: nobody counts any more, and a day's pseudonymous ways must not lie there
for good.
"""

import asyncio
import hashlib
import secrets
from collections.abc import Mapping
from typing import NamedTuple, cast

import msgspec
import zstandard
from redis.asyncio import Redis, RedisCluster

from streams.stores.trouble import TROUBLE, kind_of

CHUNK_BYTES = 8 << 20
# Longer than an epoch: by then `sightings` mostly reaches no longer back to where a snapshot stands. It is not written
# again while nothing comes, and a crowd that starts then must not find it gone after a night.
KEPT_S = 2 * 86_400

# Chunks stand under keys of the head's hash tag, so in its slot, where a script reaches them also on a cluster.
DROP = """
local head = KEYS[1]
local function drop(id, chunks)
  for n = 0, tonumber(chunks) - 1 do redis.call('UNLINK', head .. ':' .. id .. ':' .. n) end
end
"""

# ARGV: offset, new pointer, its id, its chunks. Returns 1 if it moved. What is no longer needed is gone in the same
# step. A snapshot whose attempt was swept meanwhile has lost its chunks: nothing may point to it.
MOVE_FORWARD = (
    DROP
    + f"local kept_s = {KEPT_S}"
    + """
local attempt = 'try:' .. ARGV[3]
if redis.call('HEXISTS', head, attempt) == 0 then return 0 end
local old = redis.call('HMGET', head, 'offset', 'name')
if old[1] and tonumber(old[1]) >= tonumber(ARGV[1]) then
  drop(ARGV[3], ARGV[4])
  redis.call('HDEL', head, attempt)
  return 0
end
local name = ARGV[3] .. ' ' .. ARGV[4]
redis.call('HSET', head, 'offset', ARGV[1], 'pointer', ARGV[2], 'name', name)
redis.call('HDEL', head, attempt)
redis.call('EXPIRE', head, kept_s)
local before, chunks = string.match(old[2] or '', '^(%x+) (%d+)$')
if before then drop(before, chunks) end
return 1
"""
)

# Removes what writers began and never pointed to: they failed or died half-way. Allowed also where Redis is full.
SWEEP = (
    DROP
    + """
local fields, swept = redis.call('HGETALL', head), 0
for i = 1, #fields, 2 do
  local id = string.match(fields[i], '^try:(.+)$')
  if id then
    drop(id, fields[i + 1])
    redis.call('HDEL', head, fields[i])
    swept = swept + 1
  end
end
return swept
"""
)


class Pointer(msgspec.Struct, frozen=True):
    """Where a snapshot lies: its id, chunks, digest of the compressed bytes, and size of the whole uncompressed."""

    id: str
    chunks: int
    digest: bytes
    size: int


class Stored(NamedTuple):
    """What a write did: `moved` is False if a snapshot as new was there; `size` is in compressed bytes."""

    moved: bool
    size: int


class BrokenSnapshot(Exception):  # noqa: N818 - reads as what it is
    """The pointer is there but its chunks are missing or fail their digest."""


def compress(columns: Mapping[str, bytes]) -> tuple[bytes, int]:
    """One zstd frame of all columns, and their size uncompressed."""
    packed = msgspec.msgpack.encode(columns)
    return zstandard.ZstdCompressor(level=1).compress(packed), len(packed)


def expand(data: bytes, size: int) -> dict[str, bytes]:
    """The reverse of `compress`."""
    packed = zstandard.ZstdDecompressor().decompress(data, max_output_size=size)
    return msgspec.msgpack.decode(packed, type=dict[str, bytes])


class SnapshotStore:
    """Writes and reads snapshots of a partition. `namespace` is empty or ends in a colon."""

    def __init__(self, redis: Redis | RedisCluster, namespace: str) -> None:
        self._redis = redis
        self._namespace = namespace
        self._move_forward = redis.register_script(MOVE_FORWARD)
        self._sweep = redis.register_script(SWEEP)

    def _head(self, partition: int) -> str:
        return f"{self._namespace}{{p{partition}}}:snapshot"

    def _chunk(self, partition: int, snapshot_id: str, number: int) -> str:
        return f"{self._head(partition)}:{snapshot_id}:{number}"

    async def write(self, partition: int, offset: int, columns: Mapping[str, bytes]) -> Stored:
        """Store the state that stands at `offset` (the next record to read) and point to it."""
        data, size = await asyncio.to_thread(compress, columns)
        chunks = [data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES)]
        digest = hashlib.blake2b(data, digest_size=16).digest()
        pointer = Pointer(secrets.token_hex(8), len(chunks), digest, size)
        head = self._head(partition)
        await self._sweep(keys=[head])
        try:
            await cast("Redis", self._redis).hset(head, f"try:{pointer.id}", str(pointer.chunks))
            for number, chunk in enumerate(chunks):
                await self._redis.set(self._chunk(partition, pointer.id, number), chunk, ex=KEPT_S)
            args: list[bytes | str | int] = [offset, msgspec.msgpack.encode(pointer), pointer.id, pointer.chunks]
            moved = await self._move_forward(keys=[head], args=args)
        except TROUBLE as error:
            if kind_of(error) == "full":  # leave others the room that half a snapshot takes
                await self._sweep(keys=[head])
            raise
        return Stored(bool(moved), len(data))

    async def newest(self, partition: int) -> int | None:
        """The offset of the newest snapshot, without reading it; None if there never was one."""
        (found,) = await cast("Redis", self._redis).hmget(self._head(partition), ["offset"])
        return None if found is None else int(found)

    async def read(self, partition: int) -> tuple[int, dict[str, bytes]] | None:
        """The newest snapshot as (offset, columns), or None if there never was one.

        Raises:
            BrokenSnapshot: chunks are missing or damaged. The state must be rebuilt from the log.
        """
        found, parts = await self._newest_chunks(partition)
        if found is None:
            return None
        offset, pointer = found
        if any(part is None for part in parts):
            raise BrokenSnapshot(f"partition {partition}: chunks of the snapshot are missing")
        data = b"".join(cast("list[bytes]", parts))
        if hashlib.blake2b(data, digest_size=16).digest() != pointer.digest:
            raise BrokenSnapshot(f"partition {partition}: the snapshot fails its digest")
        return offset, await asyncio.to_thread(expand, data, pointer.size)

    async def _newest_chunks(self, partition: int) -> tuple[tuple[int, Pointer] | None, list[bytes | str | None]]:
        """What the pointer names, and its chunks; anew if it moved on meanwhile, since its chunks are deleted then."""
        found = await self._pointer(partition)
        while found is not None:
            pointer = found[1]
            parts = [await self._redis.get(self._chunk(partition, pointer.id, n)) for n in range(pointer.chunks)]
            if all(part is not None for part in parts):
                return found, parts
            before, found = found, await self._pointer(partition)
            if found == before:
                return found, parts
        return None, []

    async def _pointer(self, partition: int) -> tuple[int, Pointer] | None:
        found = await cast("Redis", self._redis).hmget(self._head(partition), ["offset", "pointer"])
        if found[0] is None or found[1] is None:
            return None
        return int(found[0]), msgspec.msgpack.decode(cast("bytes", found[1]), type=Pointer)

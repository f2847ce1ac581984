"""Snapshots of a partition's state in Redis: a cache of what the sightings log says.

In: the columns of a crowd at one offset of its log. Kept, all under the hash tag `{pN}`: chunks of at most 8 MiB of
zstd under a random id, and one pointer to the newest complete snapshot. The pointer moves in one script, and only to
a greater offset, so a zombie can do no harm. The snapshot that it pointed to is deleted in the same step: a reader that
has just taken the old pointer finds chunks missing, and takes the new one. A write is announced beside the pointer
before its first chunk (`try:ID`), so that the next one removes what a writer that failed or died half-way has left.
Any complete snapshot, by anyone, is correct, only older: losing all of them costs a replay of the log, nothing else.
Beside the pointer stands whose log the offset is of. What a deployment of the same namespace on another Kafka has
written here by a mistake in the settings is nobody's older state: it is not read, and gives way.
What is not written again for `KEPT_S` goes: nobody counts any more, and a day's pseudonymous ways must not lie there
for good.
"""

import asyncio
import hashlib
import secrets
from collections.abc import Mapping
from typing import Final, NamedTuple, cast

import msgspec
import zstandard
from redis.asyncio import Redis, RedisCluster

from streams.stores.trouble import SAYS, TROUBLE, kind_of

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

# ARGV: offset, new pointer, its id, its chunks, the offset up to which one must be there, whose log it is. Returns
# whether it moved, and what was found: 0 nothing odd, 1 the one that must be there is gone or not whole, 2 another's.
# What is no longer needed is gone in the same step. A snapshot whose attempt was swept meanwhile has lost its chunks:
# nothing may point to it.
MOVE_FORWARD = (
    DROP
    + f"local kept_s = {KEPT_S}"
    + """
local attempt = 'try:' .. ARGV[3]
local old = redis.call('HMGET', head, 'offset', 'name', 'of')
local before, chunks = string.match(old[2] or '', '^(%x+) (%d+)$')
local found = 0
if (old[3] or '') ~= '' and ARGV[6] ~= '' and old[3] ~= ARGV[6] then
  found = 2
else
  if tonumber(old[1] or -1) < tonumber(ARGV[5]) then found = 1 end
  for n = 0, tonumber(chunks or 0) - 1 do
    if redis.call('EXISTS', head .. ':' .. before .. ':' .. n) == 0 then found = 1 end
  end
end
if redis.call('HEXISTS', head, attempt) == 0 then
  drop(ARGV[3], ARGV[4])
  return {0, found}
end
if found ~= 2 and old[1] and tonumber(old[1]) >= tonumber(ARGV[1]) then
  drop(ARGV[3], ARGV[4])
  redis.call('HDEL', head, attempt)
  return {0, found}
end
local name = ARGV[3] .. ' ' .. ARGV[4]
redis.call('HSET', head, 'offset', ARGV[1], 'pointer', ARGV[2], 'name', name, 'of', ARGV[6])
redis.call('HDEL', head, attempt)
redis.call('EXPIRE', head, kept_s)
if before then drop(before, chunks) end
return {1, found}
"""
)
FINDS: Final = ("", "losing", "shared")

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
    """What a write did: `moved` is False if a snapshot as new was there; `size` is in compressed bytes.

    `found`: a kind of trouble that was seen by it; empty: none. `losing`: the snapshot before is gone, or a part of it;
    `shared`: another deployment's stood there.
    """

    moved: bool
    size: int
    found: str = ""


class BrokenSnapshot(Exception):  # noqa: N818 - reads as what it is
    """The pointer is there but its chunks are missing or fail their digest, or it is another deployment's."""


def compress(columns: Mapping[str, bytes]) -> tuple[bytes, int]:
    """One zstd frame of all columns, and their size uncompressed."""
    packed = msgspec.msgpack.encode(columns)
    return zstandard.ZstdCompressor(level=1).compress(packed), len(packed)


def expand(data: bytes, size: int) -> dict[str, bytes]:
    """The reverse of `compress`."""
    packed = zstandard.ZstdDecompressor().decompress(data, max_output_size=size)
    return msgspec.msgpack.decode(packed, type=dict[str, bytes])


class SnapshotStore:
    """Writes and reads snapshots of a partition.

    Args:
        namespace: is empty or ends in a colon.
        of: whose log the offsets are of, by the id of its Kafka; empty: not asked.
    """

    def __init__(self, redis: Redis | RedisCluster, namespace: str, of: str = "") -> None:
        self._redis = redis
        self._namespace = namespace
        self._of = of
        self._move_forward = redis.register_script(MOVE_FORWARD)
        self._sweep = redis.register_script(SWEEP)

    def _head(self, partition: int) -> str:
        return f"{self._namespace}{{p{partition}}}:snapshot"

    def _chunk(self, partition: int, snapshot_id: str, number: int) -> str:
        return f"{self._head(partition)}:{snapshot_id}:{number}"

    async def write(self, partition: int, offset: int, columns: Mapping[str, bytes], after: int = -1) -> Stored:
        """Store the state that stands at `offset` (the next record to read) and point to it. `after`: that of the
        snapshot that the caller knows to be there, or a newer one in its place; -1: of none."""
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
            moved, found = await self._move_forward(keys=[head], args=[*args, after, self._of])
        except TROUBLE as error:
            if kind_of(error) == "full":  # leave others the room that half a snapshot takes
                await self._sweep(keys=[head])
            raise
        return Stored(bool(moved), len(data), FINDS[found])

    async def newest(self, partition: int) -> int | None:
        """The offset of the newest snapshot, without reading it; None if there never was one."""
        found, of = await cast("Redis", self._redis).hmget(self._head(partition), ["offset", "of"])
        return None if found is None or self._is_anothers(of) else int(found)

    def _is_anothers(self, of: bytes | str | None) -> bool:
        return bool(of and self._of) and of != self._of.encode()

    async def read(self, partition: int) -> tuple[int, dict[str, bytes]] | None:
        """The newest snapshot as (offset, columns), or None if there never was one.

        Raises:
            BrokenSnapshot: chunks are missing or damaged, or another's. The state must be rebuilt from the log.
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
        found = await cast("Redis", self._redis).hmget(self._head(partition), ["offset", "pointer", "of"])
        if found[0] is None or found[1] is None:
            return None
        if self._is_anothers(found[2]):
            raise BrokenSnapshot(
                f"partition {partition}: the snapshot is of another Kafka's log: {SAYS['shared']}, see "
                "docs/how-to/outages.md#redis"
            )
        return int(found[0]), msgspec.msgpack.decode(cast("bytes", found[1]), type=Pointer)

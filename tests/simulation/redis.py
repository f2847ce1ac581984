"""A Redis in memory: the commands and scripts that the stores use, and what can go wrong with it."""

import asyncio
from collections.abc import Sequence
from typing import Any

from redis.exceptions import ConnectionError as RedisAway

from streams.stores.counts import NEWER_ONLY
from streams.stores.released import NEWER_OR_SAME
from streams.stores.snapshots import MOVE_FORWARD, SWEEP
from tests.simulation.broker import Node


class Redis:
    """One server's keys. While it is away every question fails. `lives`: how often it fell back."""

    def __init__(self) -> None:
        self.data: dict[str, Any] = {}
        self.away = False
        self.copy: dict[str, Any] = {}
        self.lives = 0
        self.reachable = asyncio.Event()
        self.reachable.set()

    def becomes(self, data: dict[str, Any]) -> None:
        """It is emptied, or an older copy is put back."""
        self.data = dict(data)
        self.lives += 1


class Client:
    """A worker's client of it: the commands and scripts that the stores use."""

    def __init__(self, redis: Redis, node: Node) -> None:
        self._redis = redis
        self._node = node

    async def _ask(self) -> dict[str, Any]:
        await self._node.reach(self._redis.reachable)
        if self._redis.away:
            raise RedisAway("away")
        return self._redis.data

    async def set(self, key: str, value: bytes, ex: int | None = None) -> None:
        (await self._ask())[key] = value
        self._node.spring("store")  # chunks of snapshots are all that is set without a script
        await self._node.running.wait()

    async def get(self, key: str) -> bytes | None:
        return (await self._ask()).get(key)

    async def exists(self, key: str) -> int:
        return int(key in await self._ask())

    async def delete(self, key: str) -> None:
        (await self._ask()).pop(key, None)

    async def hset(self, key: str, name: str, value: str) -> None:
        data = await self._ask()
        data[key] = {**data.get(key, {}), name: value.encode()}  # a copy of Redis holds on to the old one

    async def hmget(self, key: str, names: Sequence[str]) -> list[bytes | None]:
        found = (await self._ask()).get(key, {})
        return [found.get(name) for name in names]

    def pipeline(self, transaction: bool) -> "Client":
        return self

    async def execute(self) -> None:
        await self._ask()

    async def reset(self) -> None:
        """Nothing is held."""

    def register_script(self, text: str) -> Any:
        script = {MOVE_FORWARD: move_forward, SWEEP: sweep, NEWER_ONLY: newer_only, NEWER_OR_SAME: newer_or_same}[text]

        async def run(keys: Sequence[str], args: Sequence[Any] = (), client: object = None) -> Any:
            data = await self._ask() if client is None else self._redis.data
            if script is newer_only:
                return newer_only(data, keys, args)
            return script(data, keys[0], *args)

        return run


def move_forward(
    data: dict[str, Any], key: str, offset: int, pointer: bytes, name: str, chunks: int, after: int, _of: str
) -> tuple[int, int]:
    """`MOVE_FORWARD`, which tests/integration/test_redis_stores.py tests on a real Redis."""
    old = dict(data.get(key, {}))
    before, number = old.get("name", " 0").split(" ")
    whole = all(f"{key}:{before}:{place}" in data for place in range(int(number)))
    found = int(int(old.get("offset", -1)) < after or not whole)
    if old.pop(f"try:{name}", None) is None:
        _drop(data, key, name, chunks)
        return 0, found
    if "offset" in old and int(old["offset"]) >= offset:
        _drop(data, key, name, chunks)
        data[key] = old
        return 0, found
    _drop(data, key, before, int(number))
    data[key] = old | {"offset": str(offset).encode(), "pointer": pointer, "name": f"{name} {chunks}"}
    return 1, found


def sweep(data: dict[str, Any], key: str) -> int:
    """`SWEEP`, tested in the same place."""
    old = data.get(key, {})
    begun = {field: chunks for field, chunks in old.items() if field.startswith("try:")}
    for field, chunks in begun.items():
        _drop(data, key, field.removeprefix("try:"), int(chunks))
    if begun:
        data[key] = {field: value for field, value in old.items() if field not in begun}
    return len(begun)


def _drop(data: dict[str, Any], key: str, name: str, chunks: int) -> None:
    for number in range(chunks):
        data.pop(f"{key}:{name}:{number}", None)


def newer_only(data: dict[str, Any], keys: Sequence[str], values: Sequence[bytes]) -> int:
    """Counts are only shown: nothing here depends on them."""
    data.update(zip(keys, values, strict=True))
    return len(keys)


def newer_or_same(data: dict[str, Any], key: str, end: int, value: bytes, _: int) -> int:
    """The newest pane stands; no schedule is as long as it is kept."""
    if key in data and data[key][0] > end:
        return 0
    data[key] = (end, value)
    return 1

"""What runs beside the gateway in its process: flushing, the registry, alignment, beats, and the end of salts."""

import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Final

from schemas.registry import BEAT_KEY
from schemas.sightings import REGISTRY_SOURCE
from schemas.topics import ATTACH, HOUR_MS, REGISTRY
from streams.agents.commits import Committed, GroupOffsets
from streams.agents.gateway import Gateway
from streams.agents.health import Readiness
from streams.agents.life import Service
from streams.agents.pacing import Alignment, keep_beating
from streams.agents.producing import Producer
from streams.agents.providing import Salts
from streams.agents.registrar import Registrar
from streams.agents.shredder import Shredder
from streams.core.clocks import Clocks
from streams.core.epochs import EpochTable
from streams.core.gateway.gateway import NEVER_MS
from streams.metrics import GatewayMetrics
from streams.settings import Settings

MS_NS: Final = 1_000_000


class Group:
    """What the gateways' group has committed of the sources whose record times say how far the deployment is: raw ones,
    and the registry's where they are live.

    Args:
        offsets: the group's. registry_sources: those that hold the watermark.
    """

    def __init__(self, offsets: Callable[[], GroupOffsets], registry_sources: Collection[int]) -> None:
        self._offsets = offsets
        self.registry_sources = frozenset(registry_sources)

    def sources(self) -> set[int]:
        """All that hold the watermark, as Kafka has them now."""
        return self._offsets().sources() | self.registry_sources

    def counts(self, source: int) -> bool:
        """Is it one of these?"""
        return source < REGISTRY_SOURCE or source in self.registry_sources

    async def committed(self) -> dict[int, Committed]:
        """The marks of these sources."""
        marks = await self._offsets().read()
        return {source: mark for source, mark in marks.items() if self.counts(source)}

    async def heard(self) -> dict[int, Committed]:
        """The same, without those from which nothing has come yet."""
        return {source: mark for source, mark in (await self.committed()).items() if mark.record_time_ms() != NEVER_MS}


def alignment_of(
    settings: Settings, group: Group, gateway: Gateway, hold: Callable[[Collection[int]], None], metrics: GatewayMetrics
) -> Alignment:
    """What holds the gateway's sources that are too far ahead of the group's."""

    def own() -> dict[int, int]:
        return {source: ms for source, ms in gateway.reached().items() if group.counts(source)}

    return Alignment(group.heard, own, group.sources, hold, settings.gateway.align_ms, metrics)


def services_of(
    settings: Settings,
    group: Group,
    gateway: Gateway,
    registrar: Registrar,
    alignment: Alignment,
    stamped: bool,
    epochs: EpochTable,
    salts: Salts,
    producer: Producer,
    metrics: GatewayMetrics,
    readiness: Readiness,
) -> list[Service]:
    """The services, each running for ever.

    Args:
        stamped: the broker stamps raw records.
    """
    every_s = settings.gateway.beat_ms / 1000

    async def committed_ms() -> Mapping[int, int]:
        nothing = dict.fromkeys(await producer.partitions_for(settings.topic(ATTACH)), NEVER_MS)
        return nothing | {source: mark.record_time_ms() for source, mark in (await group.committed()).items()}

    def beat(topic: str, silent: Callable[[], Mapping[int, float]], key: bytes | None) -> Callable[[], Awaitable[None]]:
        return lambda: keep_beating(producer, settings.topic(topic), silent, every_s, key)

    def clocks() -> Clocks | None:
        if not stamped:
            return None
        return Clocks(time.time_ns() // MS_NS, time.monotonic_ns() // MS_NS, producer.stamps.values())

    shredder = Shredder(
        lambda: epochs.epochs,
        salts.states,
        salts.gone,
        salts.keys,
        committed_ms,
        clocks,
        settings.epoch.lateness_ms,
        settings.gateway.salt_hours * HOUR_MS,
        metrics,
        readiness,
    )
    services: list[Service] = [
        gateway.keep_flushing,
        registrar.keep_reading,
        alignment.keep_looking,
        lambda: shredder.keep_checking(gateway.placed),
    ]
    if settings.gateway.beat_ms and stamped:
        services.append(beat(ATTACH, lambda: gateway.silent_since, None))
    if group.registry_sources:
        services.append(beat(REGISTRY, lambda: registrar.silent_since, BEAT_KEY))
    return services

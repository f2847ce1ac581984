"""Counts, for the demo, what really arrived: reads every topic and Redis, from outside the workers.

Each watcher is one endless task that fills `DemoState`. Raw events are counted by decoding the raw topic a second
time (an array record holds many), sightings by the row counts in the frames' headers; rejects by their reason header;
released records one by one.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Final

import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from schemas.named import UNREADABLE
from schemas.released import Flow as ReleasedFlow
from schemas.released import FlowSummary, Footfall, Released, TravelTimes
from schemas.sightings import REGISTRY_SOURCE, Section, decode_frame
from schemas.topics import ATTACH, FLOWS, FOOTFALL, REJECTS, SIGHTINGS
from streams.agents.fetch import hand_out_batches
from streams.core.events.decode import decode, events_in
from streams.core.events.records import RecordBatch, walk
from streams.core.times import milliseconds
from streams.demo.state import DemoState, Flow, Place
from streams.settings import Settings
from streams.stores.connection import client_options
from streams.stores.counts import CountStore

RATE_OVER_S = 2.0
RUN_BYTES = 4 << 20
PLACES: Final = (Footfall,)
FLOW_KINDS: Final = (ReleasedFlow, FlowSummary, TravelTimes)


class Watcher:
    """Reads the deployment of `settings` and keeps `state`. `names` gives a zone's or district's display name by
    id."""

    def __init__(self, settings: Settings, state: DemoState, names: dict[str, str]) -> None:
        self._settings = settings
        self.state = state
        self._names = names

    async def attach(self) -> None:
        """Raw events, beats left out, and their rate."""
        limit = self._settings.gateway.max_record_bytes
        last_at, last_events = time.monotonic(), 0
        async for batches in self._raw_batches():
            events = await asyncio.to_thread(lambda b: decode(walk(b), limit), batches)
            self.state.attach_events += events_in(events)
            now = time.monotonic()
            if self.state.first_event_at is None and self.state.attach_events:
                self.state.first_event_at = now
            if now - last_at >= RATE_OVER_S:
                self.state.attach_per_s = (self.state.attach_events - last_events) / (now - last_at)
                last_at, last_events = now, self.state.attach_events

    async def _raw_batches(self) -> AsyncIterator[list[RecordBatch]]:
        consumer = _consumer(self._settings)
        async with _reading(consumer, self._settings.topic(ATTACH), RUN_BYTES):
            while True:
                for runs in (await consumer.getmany(timeout_ms=500)).values():
                    for run in runs:
                        yield list(run.batches)

    async def sightings(self) -> None:
        """Rows of the frames, and the least watermark of the sources."""
        watermarks: dict[int, int] = {}
        async for record in self._records(SIGHTINGS):
            frame = decode_frame(record.value)
            for section in frame if isinstance(frame, list) else ():
                if section.source < REGISTRY_SOURCE:  # opt-outs and opt-ins are no sightings, and of another time
                    self._section(section, watermarks)

    def _section(self, section: Section, watermarks: dict[int, int]) -> None:
        self.state.sightings += len(section.ts)
        watermarks[section.source] = max(section.watermark_ms, watermarks.get(section.source, section.watermark_ms))
        self.state.watermark_ms = min(watermarks.values())

    async def rejects(self) -> None:
        """Rejected events by reason."""
        async for record in self._records(REJECTS):
            reason = dict(record.headers)["reason"].decode()
            self.state.rejects[reason] = self.state.rejects.get(reason, 0) + 1

    async def footfall(self) -> None:
        """Released and withheld places."""
        async for record in self._records(FOOTFALL):
            released = _read(record, PLACES)
            if not isinstance(released, Footfall):
                continue
            if released.suppressed:
                self.state.footfall_withheld += 1
            else:
                self.state.footfall_released += 1
                self._first_release()
            if released.measure == "present" and released.level == "zone":
                self._place(released)

    def _place(self, released: Footfall) -> None:
        zone, name = released.zone, self._names.get(released.zone, released.zone)
        self.state.pane_end_ms = milliseconds(released.end)
        if released.estimate is not None and released.se is not None:
            self.state.places[zone] = Place(name, released.estimate, released.se, None)
            self.state.seen(name, released.estimate)
        else:
            self.state.places[zone] = Place(name, None, None, released.speaks_through)

    async def flows(self) -> None:
        """Released flows; the newest pane's by district."""
        shown_end = ""
        async for record in self._records(FLOWS):
            released = _read(record, FLOW_KINDS)
            if isinstance(released, FlowSummary):
                self.state.flows_withheld += released.suppressed_pairs
            if not isinstance(released, ReleasedFlow | TravelTimes):
                continue
            self.state.flows_released += 1
            self._first_release()
            if not isinstance(released, ReleasedFlow) or released.measure != "trips_parent":
                continue
            if released.end != shown_end:
                shown_end = released.end
                self.state.flows = []
            name = self._names.get
            flow = Flow(
                name(released.origin, released.origin),
                name(released.destination, released.destination),
                released.estimate,
                released.se,
            )
            self.state.flows = sorted([*self.state.flows, flow], key=lambda f: -f.estimate)

    def _first_release(self) -> None:
        if self.state.first_release_at is None:
            self.state.first_release_at = time.monotonic()

    async def live(self, counts: CountStore, window_ms: int, every_s: float) -> None:
        """Whether the internal sliding-window counts move, from Redis."""
        while True:
            ticks = [await counts.read(p, window_ms) for p in range(self._settings.kafka.partitions)]
            known = [tick for tick in ticks if tick is not None]
            if known:
                self.state.live_tick_ms = min(tick.tick_ms for tick in known)
                self.state.live_people = int(sum(int(tick.counts.sum()) for tick in known))
            await asyncio.sleep(every_s)

    async def _records(self, name: str) -> AsyncIterator[ConsumerRecord]:
        consumer = _consumer(self._settings)
        async with _reading(consumer, self._settings.topic(name)):
            while True:
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    for record in records:
                        yield record


def _read(record: ConsumerRecord, kinds: Sequence[type[Released]]) -> Released | None:
    """The released record, of whichever kind it is; None of what is none: nobody is shown that."""
    for kind in kinds:
        try:
            found = msgspec.json.decode(record.value or b"", type=kind)
            milliseconds(found.end)
        except (*UNREADABLE, ValueError):
            continue
        return found
    return None


def _consumer(settings: Settings) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        **client_options(settings.kafka),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=16 << 20,
    )


class _reading:  # noqa: N801 - used as a context manager only
    """Start the consumer on all partitions of a topic, from the beginning; stop it at the end."""

    def __init__(self, consumer: AIOKafkaConsumer, topic: str, run_bytes: int | None = None) -> None:
        self._consumer = consumer
        self._topic = topic
        self._run_bytes = run_bytes

    async def __aenter__(self) -> None:
        await self._consumer.start()
        if self._run_bytes is not None:
            hand_out_batches(self._consumer, self._run_bytes)
        await self._consumer._client.add_topic(self._topic)
        numbers = self._consumer.partitions_for_topic(self._topic)
        self._consumer.assign([TopicPartition(self._topic, number) for number in sorted(numbers or ())])

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()

"""From a recording to Kafka: the same partitions and record times, at their true spacing times N or as fast as it goes.

Registry records go first and whole, so that no event comes before its consent. If raw events are played into a
deployment without epochs, the first epoch is opened here, by the recording's first record time: gateways that race
for it would agree, but not on the same hour in each replay. It comes behind the registry: a gateway that takes up an
epoch reads the registry once more before it lets an event of it pass. Where the epochs are older, nothing tells what
each gateway knows, but none goes by a copy that is older than `FRESH_S`. Then comes a ledger, so that what it holds is
the release here too: nothing is drawn for its panes a second time; and then all else. What can fail: a topic that is
missing, has fewer partitions than the recording (`attach`: or more, whose silence would hold the watermark), or is
stamped by the broker (record times decide what is late), a ledger of days that begin at another hour.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from aiokafka import AIOKafkaProducer, ConsumerRecord
from msgspec.structs import replace

from schemas.epochs import Epoch
from schemas.ledger import BROUGHT, NAMED, LedgerRecord
from schemas.named import UNREADABLE, names
from schemas.panes import Pane
from schemas.policy import Rulebook
from schemas.topics import ATTACH, AUDIT, EPOCHS, LEDGER, PANES, REGISTRY, SIGHTINGS
from streams.core.crowd.population import countable
from streams.core.epochs import Bounds, epoch_bounds, make_epoch
from streams.core.events.decode import decode, events_in
from streams.core.release.release import publications
from streams.core.rules.soundness import BASE_PANE_MS
from streams.core.times import rfc3339
from streams.errors import ThrongError
from streams.recording.columns import records_of
from streams.recording.embedded import LAST_MS, first_event_ms
from streams.recording.file import Reader, Run
from streams.recording.loop import turns
from streams.recording.panes import PaneTable
from streams.settings import Settings
from streams.stores.admin import open_admin
from streams.stores.audit import AuditReader, adopt, system_user
from streams.stores.connection import client_options
from streams.stores.epochs import EpochReader
from streams.stores.log import TailReader
from streams.stores.plans import load_plan
from streams.stores.policies import configured_rules
from streams.stores.registry import FRESH_S
from streams.stores.terms import refuse_nothing, terms_of
from streams.stores.topics import counts_of, partition_counts, refuse_stamped

STEP_MS = 1_000
# As fast as it goes: fewer waits for acknowledgements; far below what gateways hold sources apart by.
FAST_STEP_MS = 10_000
FIRST = (REGISTRY, LEDGER)
QUIET_S = 60.0


class Way(NamedTuple):
    """How to play: recorded topic to topic; record time's span; times its own speed, None as fast as it goes; how often
    (`loop`), None for ever."""

    topics: Mapping[str, str]
    from_ms: int
    to_ms: int
    speed: float | None
    turns: int | None = 1


class Played(NamedTuple):
    """What was sent. `events`: in the records of `attach`, beats left out. `reached_ms`: by partition of `attach`, the
    largest record time."""

    records: int
    events: int
    reached_ms: dict[int, int]

    def complete_ms(self, settings: Settings) -> int:
        """The watermark that the events bring."""
        return min(self.reached_ms.values()) - settings.epoch.lateness_ms


async def play(
    reader: Reader, settings: Settings, way: Way, told: Callable[[int, int], None], say: Callable[[str], None]
) -> Played:
    """Play; `told` gets (record time reached in ms, records so far), `say` a line to show if there is a wait.

    Raises:
        ThrongError: see the module.
    """
    await _check(reader, settings, way)
    sender = AIOKafkaProducer(
        **client_options(settings.kafka), enable_idempotence=True, acks="all", max_request_size=64 << 20
    )
    await sender.start()
    try:
        records, reached = 0, dict[int, int]()
        raw = way.topics.get(ATTACH) == ATTACH
        epoch = await _first_epoch(reader, settings, sender, way.from_ms) if raw else None
        for name in FIRST:
            if name in way.topics:
                whole = Way({name: way.topics[name]}, -LAST_MS, LAST_MS, None)
                records += (await _send(reader, settings, whole, sender, told, reached))[0]
            if name == REGISTRY and epoch is not None:
                await sender.send_and_wait(
                    settings.topic(EPOCHS), msgspec.json.encode(epoch), key=str(epoch.epoch).encode(), partition=0
                )
        if raw and epoch is None and REGISTRY in way.topics:
            say(f"waiting {FRESH_S:g} s: by then no gateway that has counted here before goes by an older registry")
            await asyncio.sleep(FRESH_S)
        others = way._replace(topics={name: to for name, to in way.topics.items() if name not in FIRST})
        more, events = await _send(reader, settings, others, sender, told, reached)
        return Played(records + more, events, reached)
    finally:
        await sender.stop()


async def _check(reader: Reader, settings: Settings, way: Way) -> None:
    admin = await open_admin(settings)
    try:
        counts = await partition_counts(admin, settings, sorted(set(way.topics.values())))
        for recorded, name in way.topics.items():
            check_partitions(
                settings.topic(name), name == ATTACH, counts[name], reader.about.topics[recorded].partitions
            )
            if recorded == ATTACH:
                await refuse_stamped(admin, settings, name)
    finally:
        await admin.close()
    if way.topics.get(LEDGER) == LEDGER:
        await _check_days(reader, settings)


async def _check_days(reader: Reader, settings: Settings) -> None:
    """Refuse a ledger of other days than the deployment's, before any of it is there."""
    epochs = EpochReader(TailReader(settings.kafka, settings.topic(EPOCHS)))
    await epochs.start()
    await epochs.stop()
    timezone = settings.epoch.timezone
    if not timezone and settings.gateway.plan:
        timezone = load_plan(Path(settings.gateway.plan)).timezone
    whole = turns(reader, FAST_STEP_MS, {LEDGER}, -LAST_MS, LAST_MS, 1)
    for value in (value for _, runs in whole for run in runs for value in run.table["value"].to_pylist()):
        if (record := _drawn(value)) is not None:
            check_day(record, _day(record, epochs.records, timezone, settings.epoch.change_hour))


def _drawn(value: bytes | None) -> LedgerRecord | None:
    try:
        record = msgspec.msgpack.decode(value or b"", type=LedgerRecord)
    except UNREADABLE:
        return None  # what another release wrote is refused when it is brought
    return record if record.kind == "release" else None


def _day(record: LedgerRecord, epochs: Sequence[Epoch], timezone: str, change_hour: int) -> Bounds | None:
    """In which epoch of the deployment the pane ends; None if nothing tells of its days."""
    for epoch in epochs:
        if epoch.start_ms < record.end_ms <= epoch.end_ms:
            return Bounds(epoch.epoch, epoch.start_ms, epoch.end_ms)
    return epoch_bounds(record.end_ms - 1, timezone, change_hour) if timezone else None


def check_day(record: LedgerRecord, day: Bounds | None) -> None:
    """Refuse a pane of a day that begins at another time than the deployment's, by which its numbers go: what was told
    of some hours would be drawn again, as another day's.

    Raises:
        ThrongError: `recording`.
    """
    start_ms = record.end_ms - record.number * BASE_PANE_MS
    if day is not None and (record.epoch, start_ms) != (day.epoch, day.start_ms):
        raise ThrongError(
            "recording",
            f"the recorded ledger's day {record.epoch} begins at {rfc3339(start_ms)}, this deployment's {day.epoch} at "
            f"{rfc3339(day.start_ms)}, so some of what was told would be drawn again: play it into an empty "
            "deployment with the recorded one's THRONG_EPOCH_TIMEZONE and THRONG_EPOCH_CHANGE_HOUR",
        )


def check_partitions(topic: str, is_attach: bool, there: int, needed: int) -> None:
    """Refuse a topic that the records don't fit into.

    Raises:
        ThrongError: `topics` if it has too few partitions, or, being `attach`, not just as many: an empty one holds the
            watermark for ever.
    """
    if there < needed or (is_attach and there != needed):
        raise ThrongError(
            "topics",
            f"the topic {topic} has {there} partitions, the recording {needed}: "
            "make a deployment with as many (THRONG_KAFKA_NAMESPACE, THRONG_KAFKA_RAW_PARTITIONS)",
        )


async def _first_epoch(reader: Reader, settings: Settings, sender: AIOKafkaProducer, from_ms: int) -> Epoch | None:
    """The epoch to begin with, if the deployment has none."""
    first_ms = first_event_ms(reader, from_ms)
    if first_ms is None or not settings.gateway.plan:
        return None
    epochs = EpochReader(TailReader(settings.kafka, settings.topic(EPOCHS)))
    await epochs.start()
    try:
        if epochs.records:
            return None
        plan = load_plan(Path(settings.gateway.plan))
        rules, audit = await _rules(settings, sender)
        counts = await counts_of(settings, [ATTACH, SIGHTINGS])
        terms = terms_of(settings, plan, rules, counts[SIGHTINGS], counts[ATTACH], audit=audit)
        return countable(make_epoch(first_ms, terms, epochs.table))
    finally:
        await epochs.stop()


async def _rules(settings: Settings, sender: AIOKafkaProducer) -> tuple[Rulebook, str]:
    """The deployment's rules, of its files if it has none yet, and the hash of its audit log."""
    audit = AuditReader(TailReader(settings.kafka, settings.topic(AUDIT)))
    await audit.start()
    try:
        await adopt(audit, sender, settings.topic(AUDIT), configured_rules(settings), system_user())
    finally:
        await audit.stop()
    rules = audit.chain.taken[-1].entry.rules
    refuse_nothing(rules)
    return rules, audit.chain.head


async def _send(
    reader: Reader,
    settings: Settings,
    way: Way,
    sender: AIOKafkaProducer,
    told: Callable[[int, int], None],
    reached: dict[int, int],
) -> tuple[int, int]:
    """How many records were sent, and how many events were in those of `attach`."""
    began_s, first_ms, records, events = time.monotonic(), None, 0, 0
    flying: list[asyncio.Future[object]] = []
    step_ms = STEP_MS if way.speed is not None else FAST_STEP_MS
    for end_ms, runs in turns(reader, step_ms, set(way.topics), way.from_ms, way.to_ms, way.turns):
        if way.speed is not None:
            first_ms = end_ms if first_ms is None else first_ms
            await asyncio.sleep(max(0.0, began_s + (end_ms - first_ms) / 1000 / way.speed - time.monotonic()))
        sending = [
            future
            for run in runs
            for future in await _send_run(sender, settings.topic(way.topics[run.topic]), run, settings.gateway.purpose)
        ]
        await asyncio.gather(*flying)
        flying = sending
        records += sum(len(run.time) for run in runs)
        for run in runs:
            if run.topic == ATTACH:
                reached[run.partition] = max(int(run.time.max()), reached.get(run.partition, 0))
                events += events_in(decode(records_of(run.table), settings.gateway.max_record_bytes))
        told(end_ms, records)
    await asyncio.gather(*flying)
    return records, events


async def _send_run(sender: AIOKafkaProducer, topic: str, run: Run, purpose: str) -> list[asyncio.Future[object]]:
    values = run.table["value"].to_pylist()
    if run.topic == LEDGER:
        values = [brought(value, purpose) for value in values]
    columns = [run.time.tolist(), run.table["key"].to_pylist(), values]
    headers = [[(h["name"], h["value"]) for h in some] for some in run.table["headers"].to_pylist()]
    batch, sent = sender.create_batch(), []
    for at, key, value, header in zip(*columns, headers, strict=True):
        if run.topic == LEDGER and value is None:
            continue  # no release wrote it
        if batch.append(timestamp=at, key=key, value=value, headers=header) is None:
            sent.append(await sender.send_batch(batch, topic, partition=run.partition))
            batch = sender.create_batch()
            batch.append(timestamp=at, key=key, value=value, headers=header)
    if batch.record_count():
        sent.append(await sender.send_batch(batch, topic, partition=run.partition))
    return sent


_FIELDS: Final = msgspec.msgpack.Decoder(dict[str, msgspec.Raw])


class _Released(msgspec.Struct):
    """What a released record was counted for."""

    purpose: str = ""


def brought(value: bytes | None, purpose: str) -> bytes | None:
    """A ledger record without the offsets of another deployment's panes and ledger; None if no release wrote it.

    Raises:
        ThrongError: `recording` if another release wrote it, or what it publishes is for another purpose than this
            deployment's consumers read for.
    """
    try:
        record = msgspec.msgpack.decode(value or b"", type=LedgerRecord)
    except UNREADABLE as error:
        if names(value or b"", _FIELDS) & NAMED:
            raise _not_known("the recorded ledger") from error
        return None
    for said in publications(record)[:1]:
        found = msgspec.json.decode(said.value, type=_Released).purpose
        if found not in ("", purpose):
            raise ThrongError(
                "recording",
                f"the recorded ledger holds releases for {found}, and this deployment's consumers read for {purpose}: "
                f"play it into one with THRONG_GATEWAY_PURPOSE={found}",
            )
    return msgspec.msgpack.encode(replace(record, panes_offset=BROUGHT, begins=None))


def _not_known(where: str) -> ThrongError:
    return ThrongError("recording", f"{where}: a record is not as this release has it, see docs/how-to/upgrade.md")


async def await_panes(settings: Settings, reached_ms: Mapping[int, int], sources: int) -> PaneTable:
    """Wait until the workers have sent all panes that the played events close, and sum them.

    Raises:
        ThrongError: `recording` if the watermark can't pass, or nothing has come for a minute.
    """
    silent = sorted(set(range(sources)) - set(reached_ms))
    if silent:
        raise ThrongError("recording", f"partition {silent[0]} of attach got no event: no watermark will pass")
    watermark_ms = min(reached_ms.values()) - settings.epoch.lateness_ms
    epochs = EpochReader(TailReader(settings.kafka, settings.topic(EPOCHS)))
    panes = TailReader(settings.kafka, settings.topic(PANES))
    await epochs.start()
    await panes.start()
    try:
        counted, heard_at = PaneTable([]), time.monotonic()
        while True:
            await epochs.refresh()
            counted.epochs |= {epoch.epoch: epoch for epoch in epochs.records}
            async for records in panes.read_to_end():
                counted.add(_panes(records))
                heard_at = time.monotonic()
            last = max((end_ms for _, end_ms, _ in counted.counts), default=0)
            due = max((_last_pane(epoch.start_ms, epoch.end_ms, epoch.opens_ms, epoch.pane_ms, watermark_ms)
                       for epoch in epochs.records), default=0)  # fmt: skip
            if epochs.records and last >= due:
                return counted
            if time.monotonic() - heard_at > QUIET_S:
                raise ThrongError("recording", f"no pane came for {QUIET_S:g} s: is 'throng worker' running?")
            await asyncio.sleep(0.2)
    finally:
        await panes.stop()
        await epochs.stop()


def _panes(records: list[ConsumerRecord]) -> Iterator[Pane]:
    """What no crowd wrote is passed over, as a release does."""
    for record in records:
        try:
            yield msgspec.msgpack.decode(record.value or b"", type=Pane)
        except UNREADABLE as error:
            if names(record.value or b"", _FIELDS):
                raise _not_known(f"{record.topic}, partition {record.partition}, offset {record.offset}") from error


def _last_pane(start_ms: int, end_ms: int, opens_ms: int, pane_ms: int, watermark_ms: int) -> int:
    """The end of the last pane that the watermark closes; 0 if it closes none."""
    last = min(start_ms + max(0, watermark_ms - start_ms) // pane_ms * pane_ms, end_ms)
    return last if last > opens_ms else 0

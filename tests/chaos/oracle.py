"""The oracle on a log of millions of events: the same plain program, in a few processes.

Sources are screened each on its own, subscribers counted each on its own; files between the two keep memory bounded.
The log is read as it is: from Kafka, and for what was deleted there from the copy made just before.
"""

import asyncio
import gc
import logging
import pickle
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from aiokafka import TopicPartition

from schemas.topics import ATTACH
from streams.settings import Settings
from tests.chaos.cluster import Cluster
from tests.oracle.counting import Sighting, count
from tests.oracle.gate import Gate, screen
from tests.support.deployment import policy

PROCESSES = 2
BUCKETS = 48
LATENESS_MS = 10_000

Raw = list[tuple[int, int, int, bytes | None]]


class Question(NamedTuple):
    """What the oracle needs to know. `lost`: ranges of offsets by source. `epochs`: as records."""

    settings: Settings
    folder: Path
    registry: dict[str, object]
    plan: dict[str, object]
    epochs: list[dict[str, object]]
    lost: Mapping[int, Sequence[tuple[int, int]]]


class Answer(NamedTuple):
    """`panes`: counts by key, by (epoch, measure, number); `until`: the watermark in the end, ms."""

    panes: dict[tuple[int, str, int], Counter[int]]
    rejects: dict[tuple[int, int, int], str]
    events: int
    until: int


async def ask(question: Question, sources: int) -> Answer:
    """Everything that must have come of the log."""
    return await asyncio.to_thread(_ask, question, sources)


def _ask(question: Question, sources: int) -> Answer:
    (question.folder / "buckets").mkdir()
    with ProcessPoolExecutor(PROCESSES, get_context("spawn"), initializer=_begin, initargs=(question,)) as pool:
        gates = list(pool.map(_screen, range(sources)))
        until = min(gate.until for gate in gates)
        parents = [parent["id"] for parent in question.plan["parents"]]  # type: ignore[attr-defined]
        of_zone = [parents.index(zone["parent"]) for zone in question.plan["zones"]]  # type: ignore[attr-defined]
        panes: dict[tuple[int, str, int], Counter[int]] = {}
        for counted in pool.map(partial(_count, of_zone, until), range(BUCKETS)):
            for name, counts in counted.items():
                panes.setdefault(name, Counter()).update(counts)
    rejects = {position: reason for gate in gates for position, reason in gate.rejects.items()}
    return Answer(panes, rejects, sum(gate.events for gate in gates), until)


def copy_of(folder: Path, source: int, first: int) -> Path:
    """Where the records of a source from `first` on are kept that are about to be deleted."""
    return folder / f"deleted-{source}-{first}.pickle"


async def read_raw(settings: Settings, source: int, first: int, end: int) -> Raw:
    """A source's records of [first, end)."""
    raw: Raw = []
    async with Cluster(settings).consumer() as consumer:
        tp = TopicPartition(settings.topic(ATTACH), source)
        consumer.assign([tp])
        consumer.seek(tp, first)
        while await consumer.position(tp) < end:
            for records in (await consumer.getmany(timeout_ms=500)).values():
                raw += [(source, r.offset, r.timestamp, r.value) for r in records if r.offset < end]
    return raw


def joined(pieces: Sequence[Raw], end: int) -> Raw:
    """The log of a source up to `end`, from copies of what was deleted and what is left.

    A broker that is killed forgets for a while that records were deleted: what the copies hold may be there again.

    Raises:
        ValueError: it isn't whole.
    """
    raw: Raw = []
    for piece in pieces:
        raw += [row for row in piece if row[1] >= len(raw)]
    if [row[1] for row in raw] != list(range(end)):
        raise ValueError(f"the log is not whole: {len(raw)} of {end} records")
    return raw


def keep_copy(settings: Settings, folder: Path, source: int, first: int, end: int) -> None:
    """Keep what is about to be deleted (a process's whole work)."""
    copy_of(folder, source, first).write_bytes(pickle.dumps(asyncio.run(read_raw(settings, source, first, end))))


def _begin(question: Question) -> None:
    global asked
    asked = question
    gc.disable()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


asked: Question


async def _log(source: int) -> Raw:
    first, end = (await Cluster(asked.settings).ranges(ATTACH))[source]
    copies = sorted(asked.folder.glob(f"deleted-{source}-*.pickle"), key=lambda path: int(path.stem.split("-")[2]))
    pieces = [pickle.loads(path.read_bytes()) for path in copies]
    raw = joined([*pieces, await read_raw(asked.settings, source, first, end)], end)
    lost = asked.lost.get(source, ())
    return [row for row in raw if not any(first <= row[1] < after for first, after in lost)]


def _screen(source: int) -> Gate:
    raw = asyncio.run(_log(source))
    gate = screen(raw, asked.registry, policy(), asked.plan, asked.epochs, LATENESS_MS)
    buckets: list[list[object]] = [[] for _ in range(BUCKETS)]
    for sighting in gate.sightings:
        buckets[int(sighting.subscriber) % BUCKETS].append(tuple(sighting))
    for number, rows in enumerate(buckets):
        (asked.folder / "buckets" / f"{number}-{source}").write_bytes(pickle.dumps(rows, pickle.HIGHEST_PROTOCOL))
    return gate._replace(sightings=[])


def _count(parents: list[int], until: int, bucket: int) -> dict[tuple[int, str, int], Counter[int]]:
    files = (asked.folder / "buckets").glob(f"{bucket}-*")
    sightings = [Sighting(*row) for path in files for row in pickle.loads(path.read_bytes())]
    panes: dict[tuple[int, str, int], Counter[int]] = count(sightings, asked.epochs, parents, until).panes
    gc.collect()
    return panes

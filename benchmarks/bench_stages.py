"""Where the time goes: each stage of the core alone, in events per CPU-second, beside its plain reference.

One thread, no Kafka and no Redis: from uncompressed record batches to exact panes, on the events of a simulated
morning, one event a record and 100 a record. Each round runs every stage on all events; the median of the rounds is
told. The references (plain Python, what the fast paths are fuzzed against) run on a part of the same events, in the
same rounds. What a deployment adds (fetching, compression, sending, Redis) is not in it.

    python -m benchmarks.bench_stages [--minutes 20] [--subscribers 100000] [--zones 60] [--sources 4] [--rounds 5]
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from benchmarks.peers.peers import RESULTS
from schemas.epochs import Epoch
from schemas.measures import DEFAULT_MEASURES
from schemas.plan import Plan
from schemas.sightings import encode_control
from streams.core.crowd.crowd import Crowd
from streams.core.distances import positions_of
from streams.core.epochs import EpochTable, Terms, make_epoch
from streams.core.events.decode import decode, decode_reference
from streams.core.events.records import RecordBatch, walk, walk_reference
from streams.core.gateway.framing import Framer, Mark
from streams.core.gateway.gateway import Context, screen
from streams.core.gateway.gateway_reference import screen_reference
from streams.core.gateway.lateness import behind
from streams.core.gateway.policy import PolicyTable
from streams.core.gateway.pseudonyms import key_state, pseudonym, pseudonyms
from streams.core.gateway.registry import RegistryTable
from streams.core.gateway.zones import CellTable
from streams.core.release.budget import rho_for
from streams.simulate import Rates, generate, make_town, plan, registry
from streams.simulate.people import imsis
from streams.stores.policies import load_policies

START_MS = 1_772_427_600_000  # Monday 2026-03-02 06:00 in the town
TARGETS = 4
LATENESS_MS = 10_000
EVENTS_A_CHUNK = 20_000
LONGEST_RECORD = 1 << 20
PLAIN_CHUNKS = 1
HEADER_BYTES = 61


class Job(NamedTuple):
    """The input, and what a deployment would have at hand. `chunks`: (source, batches), in the order of time."""

    chunks: list[tuple[int, list[RecordBatch]]]
    events: int
    epoch: Epoch
    context: Context
    plan: Plan
    sources: int


def prepare(
    subscribers: int, minutes: int, events_a_record: int, zones: int = 60, sources: int = 4, targets: int = TARGETS
) -> Job:
    """Simulate, and put the records into batches as a producer would."""
    town = make_town(1, subscribers, zones)
    shape = msgspec.convert(plan(town), Plan)
    policies = load_policies()
    epsilon, delta = 2.0, 2e-9
    terms = Terms(
        *("Europe/Berlin", 4, targets, shape.hash(), len(shape.zones), len(shape.parents), DEFAULT_MEASURES),
        *(epsilon, delta, rho_for(epsilon, delta), 20, "bench", tuple(range(sources)), LATENESS_MS),
    )
    epoch = make_epoch(START_MS, terms, EpochTable())
    people = RegistryTable(subscribers)
    people.take(registry(town))
    context = Context(
        EpochTable([epoch]),
        {epoch.epoch: key_state(bytes(range(32)))},
        PolicyTable(policies, "marketing"),
        people,
        CellTable(shape, ()),
        targets,
        LATENESS_MS,
    )
    chunks: list[tuple[int, list[RecordBatch]]] = []
    offsets = [0] * sources
    for piece in generate(town, START_MS, START_MS + minutes * 60_000, sources, events_a_record, Rates(malformed=0)):
        for source in range(sources):
            values = list(piece.values(source))
            for first in range(0, len(values), EVENTS_A_CHUNK // events_a_record):
                batch = _batch(values[first : first + EVENTS_A_CHUNK // events_a_record], offsets[source])
                offsets[source] = batch.next_offset
                chunks.append((source, [batch]))
    events = sum(len(decode(walk(batches), LONGEST_RECORD).ts) for _, batches in chunks)
    return Job(chunks, events, epoch, context, shape, sources)


def _batch(values: list[tuple[int, bytes | None]], offset: int) -> RecordBatch:
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 30)
    for number, (at, value) in enumerate(values):
        builder.append(number, at, None, value, [])
    times = [at for at, _ in values]
    data = bytes(builder.build())[HEADER_BYTES:]
    return RecordBatch(offset, offset + len(values), 0, times[0], max(times), len(values), data)


class Stages:
    """Runs the stages one after the other, each over everything, and keeps their CPU times, s."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.spent: dict[str, list[float]] = {}

    def round(self) -> int:
        """One round; returns how many sightings reached the crowds."""
        job = self.job
        records = self._timed("walk", lambda: [(source, walk(batches)) for source, batches in job.chunks])
        events = self._timed("decode", lambda: [decode(columns, LONGEST_RECORD) for _, columns in records])
        highest = [0] * job.sources
        screened = []

        def screen_all() -> None:
            for (source, columns), found in zip(records, events, strict=True):
                rows = screen(columns, found, highest[source], job.context)
                highest[source] = rows.running_max
                screened.append((source, rows, int(columns.offset[-1]) + 1))

        self._timed("screen", screen_all)
        framer = Framer(TARGETS, behind(LATENESS_MS))
        for source in range(job.sources):
            framer.open(source, Mark(0, 0))
        frames: list[list[bytes]] = []

        def frame_all() -> None:
            for number, (source, rows, following) in enumerate(screened, 1):
                framer.add(source, rows, following)
                if number % job.sources == 0 and (flush := framer.take()):
                    frames.append(flush.frames)

        self._timed("frame", frame_all)
        return self._timed("crowd", lambda: self._crowds(frames))

    def _crowds(self, frames: list[list[bytes]]) -> int:
        parents, positions = np.array(self.job.plan.zone_parents(), np.uint16), positions_of(self.job.plan)
        taken = 0
        for target in range(TARGETS):
            crowd = Crowd(target, parents, positions)
            crowd.add_epoch(self.job.epoch)
            crowd.feed(encode_control(1, list(range(self.job.sources))), 0)
            for offset, frame in enumerate(frames, 1):
                crowd.feed(frame[target], offset)
            taken += crowd.taken
        return taken

    def _timed(self, name: str, work: Callable[[], object]) -> object:
        began = time.process_time()
        result = work()
        self.spent.setdefault(name, []).append(time.process_time() - began)
        return result

    def references(self) -> dict[str, float]:
        """How many times the plain reference's CPU time is that of the fast path, on the same few chunks."""
        batches = [batch for _, some in self.job.chunks[: PLAIN_CHUNKS * self.job.sources] for batch in some]
        records = walk(batches)
        events = decode(records, LONGEST_RECORD)
        numbers = imsis(make_town(1, 20_000))
        out = np.empty(len(numbers), np.uint64)
        salt = bytes(range(32))
        return {
            "walk": _ratio(lambda: walk_reference(batches), lambda: walk(batches)),
            "decode": _ratio(
                lambda: decode_reference(records, LONGEST_RECORD), lambda: decode(records, LONGEST_RECORD)
            ),
            "screen": _ratio(
                lambda: screen_reference(records, events, 0, self.job.context),
                lambda: screen(records, events, 0, self.job.context),
            ),
            "pseudonym": _ratio(
                lambda: [pseudonym(b"%015d" % number, salt) for number in numbers.tolist()],
                lambda: pseudonyms(numbers.astype(np.uint64), key_state(salt), out),
            ),
        }


def _ratio(plain: Callable[[], object], fast: Callable[[], object]) -> float:
    def cost(work: Callable[[], object], times: int) -> float:
        began = time.process_time()
        for _ in range(times):
            work()
        return (time.process_time() - began) / times

    return statistics.median(cost(plain, 1) / cost(fast, 20) for _ in range(3))


def measured(job: Job, rounds: int) -> dict[str, Any]:
    """The stages' medians in ns an event, and how many times that their references take."""
    stages = Stages(job)
    stages.round()  # warms up the compiled loops
    stages.spent.clear()
    taken = 0
    for _ in range(rounds):
        taken = stages.round()
    ns = {name: statistics.median(spent) / job.events * 1e9 for name, spent in stages.spent.items()}
    return {"events": job.events, "sightings": taken, "ns": ns, "references": stages.references()}


def table(events_a_record: int, found: dict[str, Any]) -> str:
    """A line a stage, and all of them."""
    whole = sum(found["ns"].values())
    lines = [f"\n{events_a_record} a record: {found['events']:,} events, {found['sightings']:,} sightings"]
    lines += [
        f"  {name:8} {1e9 / ns:14,.0f} events/CPU-s {ns / whole:6.0%} {ns:8,.0f} ns an event"
        for name, ns in (*found["ns"].items(), ("all", whole))
    ]
    told = ", ".join(f"{name} {ratio:,.0f}" for name, ratio in found["references"].items())
    return "\n".join([*lines, f"  times the plain reference: {told}"])


def main() -> None:
    """Print a table for each shape of record, and keep them."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--minutes", type=int, default=20)
    options.add_argument("--subscribers", type=int, default=100_000)
    options.add_argument("--zones", type=int, default=60)
    options.add_argument("--sources", type=int, default=4)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--results", type=Path, default=RESULTS / "stages.json")
    chosen = options.parse_args()
    kept: dict[str, Any] = {"subscribers": chosen.subscribers, "zones": chosen.zones, "rounds": chosen.rounds}
    for events_a_record in (1, 100):
        job = prepare(chosen.subscribers, chosen.minutes, events_a_record, chosen.zones, chosen.sources)
        kept[str(events_a_record)] = found = measured(job, chosen.rounds)
        print(table(events_a_record, found), flush=True)
    chosen.results.parent.mkdir(exist_ok=True)
    chosen.results.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()

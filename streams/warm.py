"""Compiles the hot loops once, so that the first run starts as fast as the second: part of `make setup`.

Runs a village of a hundred subscribers through the whole pipeline in memory, which makes numba compile every loop
with the types that real data have, and keep the result beside the source. The crowd's loops take longest and come in
two forms, so each form has a process of its own.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context

import msgspec
import numpy as np
import orjson

from schemas.access import STATISTICS, measures_for
from schemas.measures import DEFAULT_MEASURES
from schemas.plan import Plan
from schemas.policy import Policy
from schemas.sightings import encode_control
from streams.core.crowd.crowd import Crowd
from streams.core.crowd.rehearsal import rehearse
from streams.core.crowd.snapshot import restore, to_columns
from streams.core.epochs import EpochTable, Terms, make_epoch
from streams.core.events.behaviour import Evidence
from streams.core.events.decode import decode
from streams.core.events.records import RecordBatch, Records, walk
from streams.core.gateway.consents import RegistryRecord, announce
from streams.core.gateway.framing import Framer, Mark
from streams.core.gateway.gateway import Context, screen
from streams.core.gateway.policy import PolicyTable
from streams.core.gateway.pseudonyms import key_state
from streams.core.gateway.registry import RegistryTable
from streams.core.gateway.zones import CellTable
from streams.recording.columns import to_table
from streams.simulate import Slice, generate, make_town, plan, registry
from streams.simulate.batches import batches
from streams.simulate.files import as_block
from streams.simulate.publish import murmur2

START_MS = 1_772_427_600_000
HOUR_MS = 3_600_000
# A record without a key, with an empty value and a header without a value.
ONE_HEADER = b"\x12\x00\x00\x00\x01\x00\x02\x02h\x01"
POLICY = Policy("test", ("001",), "active", "opt_in", ("marketing",), 18, False, (), 20, 2.0, 2e-9, ("001-01",))


# Of caps below 256, and of larger ones.
FORMS = DEFAULT_MEASURES, tuple(msgspec.structs.replace(measure, cap=measure.cap * 100) for measure in DEFAULT_MEASURES)


def main() -> None:
    """Compile everything, telling how far it is."""
    began = time.monotonic()
    with ProcessPoolExecutor(len(FORMS), get_context("spawn")) as pool:
        for number, what in enumerate(steps([pool.submit(rehearse, form) for form in FORMS]), 1):
            sys.stderr.write(f"compiling the hot loops, once: {number}/4 {what} ({time.monotonic() - began:.0f} s)\n")


def steps(rehearsals: Sequence[Future[None]]) -> Iterator[str]:
    """Run everything in this process, naming each part before it; of the crowd once `rehearsals` are through."""
    yield "simulation"
    make_town(1, 100, 20, radio="real")
    town = make_town(1, 100, 20)
    pieces = list(generate(town, START_MS, START_MS + HOUR_MS, 2))
    for piece in pieces[:2]:
        list(batches(as_block(piece, 0)))
    murmur2(np.frombuffer(b"key", np.uint8))
    yield "decoder"
    one = RecordBatch(0, 1, 0, 0, 0, 1, ONE_HEADER)
    walk([one])
    to_table("attach", 0, [one], 0, 1)
    decoded = [(records, decode(records, 1 << 18)) for piece in pieces for records in [_records(piece)]]
    for _, events in decoded[:1]:
        Evidence(START_MS, 1, 0).add(events.imsi, events.ts, events.kind)
    yield "gateway"
    shape = msgspec.json.decode(orjson.dumps(plan(town)), type=Plan)
    context = _context(shape, registry(town))
    announce([RegistryRecord(n, START_MS, *record) for n, record in enumerate(registry(town))], 0, context)
    framer = Framer(1, context.watermark_ms)
    framer.open(0, Mark(0, -(1 << 60)))
    for records, events in decoded:
        mark = framer.mark(0)
        assert mark is not None
        shifted = records._replace(offset=records.offset + mark.next_offset)
        framer.add(0, screen(shifted, events, mark.running_max, context), mark.next_offset + len(records.offset))
    yield "crowd"
    for rehearsal in rehearsals:
        rehearsal.result()
    parents = np.array(shape.zone_parents(), np.uint16)
    crowd = Crowd(0, parents)
    crowd.add_epoch(context.epochs.epochs[0])
    crowd.feed(encode_control(1, [0]), 0)
    flush = framer.take()
    assert flush is not None
    crowd.feed(flush.frames[0], 1)
    again = Crowd(0, parents)
    again.add_epoch(context.epochs.epochs[0])
    restore(again, to_columns(crowd))
    # Once more: where two processes kept forms of one loop at the same moment, one of them may be missing.
    for form in (*FORMS, *(measures_for(purpose, DEFAULT_MEASURES) for purpose in STATISTICS)):
        rehearse(form)


def _records(piece: Slice) -> Records:
    """The first partition of a slice, as the walker would give it."""
    rows = slice(int(piece.starts[0]), int(piece.starts[1]))
    numbers = np.arange(rows.stop - rows.start, dtype=np.int64)
    payload = np.frombuffer(piece.payload.tobytes(), np.uint8)
    return Records(numbers, piece.time[rows], piece.begin[rows], piece.end[rows], payload)


def _context(shape: Plan, people: Iterator[tuple[bytes, bytes]]) -> Context:
    epochs = EpochTable()
    sizes = len(shape.zones), len(shape.parents)
    terms = Terms(shape.timezone, 4, 1, shape.hash(), *sizes, DEFAULT_MEASURES, 2.0, 2e-9, 0.05, 20, "", (0,))
    epochs.add(make_epoch(START_MS - 60_000, terms, epochs))
    table = RegistryTable()
    table.take(people)
    salts = {epochs.epochs[0].epoch: key_state(bytes(32))}
    return Context(epochs, salts, PolicyTable([POLICY], "marketing"), table, CellTable(shape), 1, 10_000)


if __name__ == "__main__":
    main()

"""Every compiled loop of the gateway once, on a made-up event, before anybody waits for it.

Loading a compiled loop takes up to a tenth of a second. Where a processor is another than the one that compiled, all
take a minute to compile: a worker that did so once it had partitions would be taken for dead.
"""

from schemas.attach import EARLIEST_MS
from schemas.epochs import Epoch
from schemas.measures import DEFAULT_MEASURES
from schemas.plan import Cell, Parent, Plan, Zone
from schemas.policy import Policy
from streams.core.epochs import EpochTable
from streams.core.events.decode import decode
from streams.core.events.records import RecordBatch, walk
from streams.core.gateway.consents import RegistryRecord, announce
from streams.core.gateway.framing import Framer, Mark
from streams.core.gateway.gateway import NEVER_MS, Context, screen
from streams.core.gateway.policy import PolicyTable
from streams.core.gateway.pseudonyms import key_state
from streams.core.gateway.registry import RegistryTable
from streams.core.gateway.zones import CellTable

DAY_MS = 86_400_000
IMSI = b"001010000000001"
PERSON = b'{"imsi":"001010000000001","consent":{"marketing":"granted"},"birth_year":1900}'
EVENT = b'{"event_id":"e","imsi":"001010000000001","ts":946684800000,"cell":"001-01-0000001","kind":"update"}'
PLAN = Plan(1, "", "UTC", (Parent("p", "p"),), (Zone("z", "z", "p"),), (Cell("001-01-0000001", "z"),))
POLICY = Policy("", ("001",), "active", "opt_in", ("marketing",), 0, False, (), 20, 2.0, 2e-9)
MAX_BYTES = 1 << 18


def rehearse() -> None:
    """Take an event and its subscriber's record through a gateway; nothing is kept."""
    context = _context()
    records = walk([RecordBatch(0, 1, 0, EARLIEST_MS, EARLIEST_MS, 1, _record(EVENT))])
    events = decode(records, MAX_BYTES)
    framer = Framer(1, context.watermark_ms)
    framer.open(0, Mark(0, NEVER_MS))
    framer.add(0, screen(records, events, NEVER_MS, context), 1)
    framer.take()
    announce([RegistryRecord(0, EARLIEST_MS, IMSI, PERSON)], NEVER_MS, context)


def _context() -> Context:
    epochs = EpochTable()
    epochs.add(
        Epoch(
            *(0, EARLIEST_MS, EARLIEST_MS + DAY_MS, EARLIEST_MS, "UTC", 1, PLAN.hash(), 1, 1),
            *(DEFAULT_MEASURES, 2.0, 2e-9, 0.05, 20, "", "", (0,)),
        )
    )
    registry = RegistryTable()
    registry.take([(IMSI, PERSON)])
    salts = {0: key_state(bytes(32))}
    return Context(epochs, salts, PolicyTable([POLICY], "marketing"), registry, CellTable(PLAN), 1, 0)


def _record(value: bytes) -> bytes:
    """A Kafka record without key and headers (https://kafka.apache.org/documentation/#record)."""
    inner = b"\x00\x00\x00\x01" + _varint(len(value)) + value + b"\x00"
    return _varint(len(inner)) + inner


def _varint(number: int) -> bytes:
    """Zigzag-coded, of a number from 0 to 8191."""
    coded = number << 1
    return bytes([coded]) if coded < 0x80 else bytes([coded & 0x7F | 0x80, coded >> 7])

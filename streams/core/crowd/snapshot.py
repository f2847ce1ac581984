"""A crowd as columns, and back: the whole of its state at one offset of its log.

Out: a dict of little-endian columns, and a `header` that names the logic version, the offset, the epoch, the chain,
the watermarks and the sizes. What isn't there is not state: epochs come from their topic, windows are counted anew.
Tables stand in planes of bytes (`planes`), subscribers with their departures in a form of their own (`packing`), and
in their order what each has used and visited, and how many keys of each list. What an earlier release wrote is read.
What can fail: a snapshot of another partition or logic version, or one that lacks a column (`ValueError`): the state
must then be rebuilt from the log.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.epochs import LOGIC
from streams.core.crowd import slots
from streams.core.crowd.crowd import Crowd
from streams.core.crowd.earlier import is_earlier, owners_of, unpack_earlier
from streams.core.crowd.listed import Listed, joined
from streams.core.crowd.losses import Loss
from streams.core.crowd.packing import by_owner, numbers_of, pack, unpack
from streams.core.crowd.planes import from_planes, to_planes, words
from streams.core.crowd.population import Population
from streams.core.crowd.reorder import Rows
from streams.core.crowd.resumed import Resumed
from streams.core.crowd.watermarks import Watermarks

# Subscribers' rows and departures, as `packing` has them.
CHAINED = ("subscriber_planes", "chain_lengths", "chain_planes")
# What stands beside the subscribers' rows, in the order of `Slots`.
BESIDE = ("used_planes", "known_planes", "departed_planes", "areas_planes")
ROW_TYPES = {"pseudonym": "<u8", "ts": "<i8", "zone": "<u2", "cohort": "u1", "kind": "u1"}


class Header(msgspec.Struct, frozen=True):
    """Everything that is not a column. `waiting`: rows in the reorder buffer by source. `span`: of the ring of
    departures, as earlier releases wrote it."""

    logic: int
    partition: int
    next_offset: int
    at_ms: int | None
    last_tick_ms: int | None
    following: dict[int, int]
    counters: tuple[int, int, int, int, int]
    control: int
    live: tuple[int, ...]
    heard_sources: dict[int, int]
    least_ms: int | None
    waiting: dict[int, int]
    epoch: int | None = None
    heard: int = 0
    span: tuple[int, int] = (1, 1)
    since: tuple[int, ...] = ()
    resumed: Resumed | None = None
    resets: tuple[int, ...] = ()
    losses: tuple[Loss, ...] = ()


def to_columns(crowd: Crowd) -> dict[str, bytes]:
    """All of the crowd's state; copies, so that the crowd may go on meanwhile."""
    waiting = crowd.reorder.by_source()
    columns = {
        f"waiting_{name}": b"".join(getattr(rows, name).astype(kind).tobytes() for rows in waiting.values())
        for name, kind in ROW_TYPES.items()
    }
    header = _header(crowd, {source: len(rows.ts) for source, rows in waiting.items()})
    if crowd.population is not None:
        columns |= _population_columns(crowd.population)
        header = msgspec.structs.replace(
            header,
            epoch=crowd.population.epoch.epoch,
            heard=crowd.population.heard,
            since=tuple(crowd.population.tally.since.tolist()),
        )
    columns["header"] = msgspec.msgpack.encode(header)
    return columns


def restore(crowd: Crowd, columns: dict[str, bytes]) -> None:
    """Put a snapshot's state into a new crowd that knows the epochs.

    Raises:
        ValueError: the snapshot is of another logic version or partition, of an unknown epoch, or incomplete.
    """
    try:
        header = msgspec.msgpack.decode(columns["header"], type=Header)
        if header.logic != LOGIC or header.partition != crowd.partition:
            raise ValueError(
                f"snapshot: partition {header.partition}, logic {header.logic}; "
                f"expected partition {crowd.partition}, logic {LOGIC}"
            )
        population = _population(crowd, header, columns)
        waiting = {name: np.frombuffer(columns[f"waiting_{name}"], kind) for name, kind in ROW_TYPES.items()}
    except KeyError as error:
        raise ValueError(f"snapshot: the column {error} is missing") from error
    crowd.population = population
    crowd.next_offset, crowd.at_ms = header.next_offset, header.at_ms
    crowd.taken, crowd.gaps, crowd.repeats, crowd.lost, crowd.early = header.counters
    crowd.resumed, crowd.resets, crowd.losses = header.resumed, header.resets, header.losses
    crowd.following = dict(header.following)
    crowd.watermarks = Watermarks(header.heard_sources, header.control, frozenset(header.live), header.least_ms)
    begin = 0
    for source, size in header.waiting.items():
        crowd.reorder.add(source, Rows(**{name: column[begin : begin + size] for name, column in waiting.items()}))
        begin += size
    crowd.last_tick_ms = header.last_tick_ms
    if population is not None and header.at_ms is not None:
        population.recount(header.at_ms)


def _header(crowd: Crowd, waiting: dict[int, int]) -> Header:
    return Header(
        logic=LOGIC,
        partition=crowd.partition,
        next_offset=crowd.next_offset,
        at_ms=crowd.at_ms,
        last_tick_ms=crowd.last_tick_ms,
        following=crowd.following,
        counters=(crowd.taken, crowd.gaps, crowd.repeats, crowd.lost, crowd.early),
        control=crowd.watermarks.version,
        live=tuple(sorted(crowd.watermarks.live)),
        heard_sources=dict(crowd.watermarks.heard),
        least_ms=crowd.watermarks.least_ms,
        waiting=waiting,
        resumed=crowd.resumed,
        resets=crowd.resets,
        losses=crowd.losses,
    )


def _population_columns(population: Population) -> dict[str, bytes]:
    table = population.slots
    opened = int(population.tally.opened[0])
    packed = pack(table.rows, population.departures, opened, population.rules.ping_pong)
    columns = {
        **dict(zip(CHAINED, map(to_planes, (packed.rows, packed.times, packed.departures)), strict=True)),
        **{name: to_planes(column[packed.places]) for name, column in zip(BESIDE, table[1:], strict=True)},
        "arrivals": population.tally.arrivals.tobytes(),
    }
    numbers = numbers_of(packed.places, len(table.rows))
    population.take_listed()
    for number, parts in enumerate(population.listed):
        listed = joined(parts)
        keys, times = by_owner(listed.keys, numbers[listed.who], population.heard)
        columns[f"listed_{number}"] = to_planes(keys)
        columns[f"times_{number}"] = to_planes(times)
    return columns


def _population(crowd: Crowd, header: Header, columns: dict[str, bytes]) -> Population | None:
    if header.epoch is None:
        return None
    epoch = next((known for known in crowd.epochs if known.epoch == header.epoch), None)
    if epoch is None:
        raise ValueError(f"snapshot: it is of epoch {header.epoch}, which is not in the epochs topic")
    population = crowd.begun(epoch)
    population.heard = header.heard
    if is_earlier(columns):
        unpacked = unpack_earlier(columns, header.heard, header.span)
    else:
        planes = (columns[name] for name in CHAINED)
        unpacked = unpack(header.heard, *planes)
    own = zip(population.slots[1:], BESIDE, strict=True)
    beside = [_beside(like, columns[name], header.heard) for like, name in own]
    if slots.room(population.slots, 0) < header.heard:
        population.slots = slots.larger(population.slots, population.running.row_due, header.heard).slots
    places = slots.fill(population.slots, unpacked.rows, *beside)
    population.departures = unpacked.departures
    _fill_tally(population, header.since, columns, places)
    if header.at_ms is not None:
        population.tally.opened[0] = (header.at_ms - epoch.start_ms) // epoch.pane_ms * epoch.pane_ms
    return population


def _beside(like: NDArray[np.unsignedinteger], planes: bytes, heard: int) -> NDArray[np.unsignedinteger]:
    """What stands beside the rows, in columns like these."""
    records = from_planes(planes, heard, like.dtype.itemsize * like.shape[1])
    return records.view(like.dtype) if records.size else np.zeros((heard, like.shape[1]), like.dtype)


def _fill_tally(
    population: Population, since: tuple[int, ...], columns: dict[str, bytes], places: NDArray[np.uint32]
) -> None:
    tally = population.tally
    tally.arrivals[:] = np.frombuffer(columns["arrivals"], "<u4").reshape(tally.arrivals.shape)
    tally.since[:] = since
    for number, kind in enumerate(population.key_types):
        listed = _listed(columns, number, places)
        population.listed[number] = [listed._replace(keys=listed.keys.astype(kind))]


def _listed(columns: dict[str, bytes], number: int, places: NDArray[np.uint32]) -> Listed:
    """A measure's list, of subscribers whose rows are in these places."""
    planes = columns[f"listed_{number}"]
    keys = words(planes, len(planes) // 4)
    owners = owners_of(columns, number, len(keys))
    if owners is not None:
        return Listed(keys, places[owners])
    times = words(columns[f"times_{number}"], len(places))
    if times.sum() != len(keys):
        raise ValueError(f"snapshot: {len(keys)} keys are listed, subscribers have {times.sum()}")
    return Listed(keys, np.repeat(places, times))

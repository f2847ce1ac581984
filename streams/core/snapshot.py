"""A crowd as columns, and back: the whole of its state at one offset of its log.

Out: a dict of little-endian columns, and a `header` that names the logic version, the offset, the epoch, the chain, the
watermarks and the sizes. What isn't there is not state: epochs come from their topic, counts are made anew at the next tick.
What can fail: a snapshot of another partition or logic version, or one that lacks a column (`ValueError`): the state
must then be rebuilt from the log.
"""

import msgspec
import numpy as np

from schemas.epochs import LOGIC
from streams.core import presence
from streams.core.crowd import Crowd
from streams.core.population import Population
from streams.core.reorder import Rows

ROW_TYPES = {"pseudonym": "<u8", "ts": "<i8", "zone": "<u2", "cohort": "u1", "kind": "u1"}


class Header(msgspec.Struct, frozen=True):
    """Everything that is not a column."""

    logic: int
    partition: int
    next_offset: int
    at_ms: int | None
    epoch: int | None
    last_tick_ms: int | None
    chain: dict[int, int]
    gaps: int
    repeats: int
    taken: int
    lost: int
    early: int
    control: int
    live: tuple[int, ...]
    seen: dict[int, int]
    least: int | None
    waiting: dict[int, int]
    slots: int
    trips: int


def to_columns(crowd: Crowd) -> dict[str, bytes]:
    """All of the crowd's state; copies, so that the crowd may go on meanwhile."""
    waiting = crowd.reorder.columns()
    population = crowd.population
    columns = {
        f"waiting_{name}": b"".join(getattr(rows, name).astype(kind).tobytes() for rows in waiting.values())
        for name, kind in ROW_TYPES.items()
    }
    if population is not None:
        used = np.flatnonzero(population.table["pseudonym"])
        columns["slot"] = used.astype("<i4").tobytes()
        for name in presence.SUBSCRIBER.names or ():
            columns[f"subscriber_{name}"] = population.table[name][used].tobytes()
        departed = population.departures[: population.numbers[presence.DEPARTED]]
        for name in presence.DEPARTURE.names or ():
            columns[f"departure_{name}"] = departed[name].tobytes()
        columns["trip_keys"] = population.trip_keys.tobytes()
        columns["arrivals"] = population.arrivals.tobytes()
        columns["numbers"] = population.numbers.tobytes()
    columns["header"] = msgspec.msgpack.encode(_header(crowd, {s: len(rows.ts) for s, rows in waiting.items()}))
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
    crowd.next_offset, crowd.at_ms, crowd.last_tick_ms = header.next_offset, header.at_ms, header.last_tick_ms
    crowd.taken, crowd.lost, crowd.early = header.taken, header.lost, header.early
    crowd.chain.positions = dict(header.chain)
    crowd.chain.gaps, crowd.chain.repeats = header.gaps, header.repeats
    crowd.watermarks.version, crowd.watermarks.live = header.control, header.live
    crowd.watermarks.seen, crowd.watermarks.least = dict(header.seen), header.least
    begin = 0
    for source, size in header.waiting.items():
        crowd.reorder.add(source, Rows(**{name: column[begin : begin + size] for name, column in waiting.items()}))
        begin += size
    if population is not None and crowd.at_ms is not None and crowd.last_tick_ms is not None:
        present = population.present()
        windows = population.epoch.windows_ms
        crowd.windows = {window: population.window(present, crowd.at_ms, window) for window in windows}


def _header(crowd: Crowd, waiting: dict[int, int]) -> Header:
    population = crowd.population
    return Header(
        logic=LOGIC,
        partition=crowd.partition,
        next_offset=crowd.next_offset,
        at_ms=crowd.at_ms,
        epoch=population.epoch.epoch if population else None,
        last_tick_ms=crowd.last_tick_ms,
        chain=crowd.chain.positions,
        gaps=crowd.chain.gaps,
        repeats=crowd.chain.repeats,
        taken=crowd.taken,
        lost=crowd.lost,
        early=crowd.early,
        control=crowd.watermarks.version,
        live=crowd.watermarks.live,
        seen=crowd.watermarks.seen,
        least=crowd.watermarks.least,
        waiting=waiting,
        slots=len(population.table) if population else 0,
        trips=population.trip_keys.shape[0] if population else 0,
    )


def _population(crowd: Crowd, header: Header, columns: dict[str, bytes]) -> Population | None:
    if header.epoch is None:
        return None
    epoch = next((known for known in crowd.epochs if known.epoch == header.epoch), None)
    if epoch is None:
        raise ValueError(f"snapshot: it is of epoch {header.epoch}, which is not in the epochs topic")
    population = Population(epoch, crowd.parents)
    population.table = presence.new_table(header.slots)
    slots = np.frombuffer(columns["slot"], "<i4")
    for name in presence.SUBSCRIBER.names or ():
        field = presence.SUBSCRIBER[name]
        column = np.frombuffer(columns[f"subscriber_{name}"], field.base)
        population.table[name][slots] = column.reshape((len(slots), *field.shape))
    population.numbers = np.frombuffer(columns["numbers"], "<i8").copy()
    departed = int(population.numbers[presence.DEPARTED])
    population.departures = presence.new_departures(max(2 * departed, len(population.departures)))
    for name in presence.DEPARTURE.names or ():
        population.departures[name][:departed] = np.frombuffer(
            columns[f"departure_{name}"], presence.DEPARTURE[name]
        )
    population.trip_keys = np.frombuffer(columns["trip_keys"], "<i8").reshape(header.trips, -1).copy()
    population.arrivals = np.frombuffer(columns["arrivals"], "<i4").copy()
    return population

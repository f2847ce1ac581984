"""A recording of `attach` and `registry` through the core in this process: no broker, no Redis, the same panes.

The epochs begin as in a replay into Kafka: the first one opens by the recording's first record time. The salts are
random and forgotten: counts don't depend on them. Only where what was seen is kept (`seen`) one that is known is used.
"""

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from schemas.epochs import Epoch
from schemas.plan import Plan
from schemas.topics import ATTACH, DAY_MS, REGISTRY
from streams.core.distances import positions_of
from streams.core.epochs import EpochTable, make_epoch
from streams.core.gateway.consents import RegistryRecord
from streams.core.gateway.gateway import Context
from streams.core.gateway.policy import PolicyTable
from streams.core.gateway.pseudonyms import SALT_BYTES, key_state
from streams.core.gateway.registry import RegistryTable
from streams.core.gateway.zones import CellTable
from streams.core.inline import Inline
from streams.core.rules.rules import limits
from streams.errors import ThrongError
from streams.recording.columns import records_of
from streams.recording.file import Reader, Run
from streams.recording.loop import turns
from streams.recording.panes import PaneTable
from streams.recording.sightings import KNOWN_SALT, Seen
from streams.settings import Settings
from streams.stores.machines import load_machines
from streams.stores.plans import load_plan
from streams.stores.policies import configured_rules
from streams.stores.terms import refuse_nothing, terms_of

STEP_MS = 10_000
LAST_MS = 1 << 60


def replay_embedded(
    reader: Reader,
    settings: Settings,
    from_ms: int,
    to_ms: int,
    told: Callable[[int, int], None],
    partitions: int = 1,
    seen: Seen | None = None,
    turns_played: int = 1,
) -> tuple[PaneTable, Inline, Plan]:
    """Run the recording; `told` gets (record time reached in ms, events so far). Returns what was counted.

    Args:
        seen: collects the sightings, under pseudonyms that anybody can compute.
        turns_played: how often the recording is played, one turn after the other (`loop`).

    Raises:
        ThrongError: `recording` if it has no raw events, `plan`, `policy` or `machines` if the settings' can't be
            used.
    """
    if ATTACH not in reader.about.topics:
        raise ThrongError("recording", f"{reader.path} holds no raw events: record the topics attach and registry")
    sources = reader.about.topics[ATTACH].partitions
    plan = load_plan(Path(settings.gateway.plan))
    rules = configured_rules(settings)
    refuse_nothing(rules)
    terms = terms_of(settings, plan, rules, partitions, sources)
    people = RegistryTable()
    table, salts = EpochTable(), dict[int, NDArray[np.uint64]]()
    context = Context(
        *(
            table,
            salts,
            PolicyTable(rules.policies, rules.purpose),
            people,
            CellTable(plan, limits(rules).excluded),
        ),
        *(partitions, settings.epoch.lateness_ms),
        machines=load_machines(settings.gateway.machines),
    )
    panes = PaneTable([])

    def provide(ts_ms: int) -> Epoch:
        epoch = table.find(ts_ms) or make_epoch(ts_ms, terms, table)
        table.add(epoch)
        salts[epoch.epoch] = key_state(secrets.token_bytes(SALT_BYTES) if seen is None else KNOWN_SALT)
        panes.epochs[epoch.epoch] = epoch
        return epoch

    first_ms = first_event_ms(reader, from_ms)
    if first_ms is not None:
        provide(first_ms)
    parents = np.array(plan.zone_parents(), np.uint16)
    inline = Inline(context, provide, parents, sources, settings.gateway.max_record_bytes, positions_of(plan))
    for partition, records in registry_of(reader):
        people.take((record.key, record.value) for record in records)
        inline.announce(partition, records)
    for reached_ms, runs in turns(reader, STEP_MS, {ATTACH}, from_ms, to_ms, turns_played):
        for run in runs:
            _take(inline, run, seen)
        panes.add(inline.count())
        told(reached_ms, inline.events)
    return panes, inline, plan


def _take(inline: Inline, run: Run, seen: Seen | None) -> None:
    records = records_of(run.table)
    first = inline.taken(run.partition)
    screened = inline.take(run.partition, records)
    if seen is not None:
        seen.add(run.partition, records.offset[screened.offset - first], screened)


def registry_of(reader: Reader) -> Iterator[tuple[int, list[RegistryRecord]]]:
    """The registry, whole, as a replay into Kafka sends it before all events: (partition, its next records)."""
    for _, runs in reader.slices(DAY_MS, {REGISTRY}, -LAST_MS, LAST_MS):
        for run in runs:
            columns = (run.table[name].to_pylist() for name in ("offset", "key", "value"))
            rows = zip(*columns, run.time.tolist(), strict=True)
            yield run.partition, [RegistryRecord(offset, at, key, value) for offset, key, value, at in rows]


def first_event_ms(reader: Reader, from_ms: int) -> int | None:
    """The least record time of the raw events from `from_ms` on: by it the first epoch opens."""
    _, runs = next(reader.slices(STEP_MS, {ATTACH}, from_ms, LAST_MS), (0, list[Run]()))
    return min((int(run.time.min()) for run in runs), default=None)

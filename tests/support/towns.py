"""A simulated town's days, counted exactly by the core in this process: for what must be measured on people's ways."""

from collections.abc import Iterator

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from schemas.epochs import Epoch
from schemas.measures import Measure
from schemas.panes import Pane, pairs
from schemas.plan import Plan
from streams.core.epochs import EpochTable, Terms, make_epoch
from streams.core.events.records import Records
from streams.core.gateway.gateway import Context
from streams.core.gateway.policy import PolicyTable
from streams.core.gateway.pseudonyms import key_state
from streams.core.gateway.registry import RegistryTable
from streams.core.gateway.zones import CellTable
from streams.core.inline import Inline
from streams.simulate.generate import Slice, generate
from streams.simulate.registry import registry
from streams.simulate.town import Town, plan
from tests.support.world import POLICIES, TERMS, salt_of

HOUR = 3_600_000
MONDAY_4_00 = 1_772_420_400_000
PARTITIONS = 4


def count_days(
    town: Town, measures: tuple[Measure, ...], hours: int, batch: int = 100, start_ms: int = MONDAY_4_00
) -> dict[str, NDArray[np.int64]]:
    """By measure the exact counts of each of its panes, i64[panes, keys], from a Monday at 04:00 on."""
    the_plan = msgspec.json.decode(orjson.dumps(plan(town)), type=Plan)
    terms = TERMS._replace(
        plan=the_plan.hash(),
        zones=len(the_plan.zones),
        parents=len(the_plan.parents),
        measures=measures,
        partitions=1,
        sources=tuple(range(PARTITIONS)),
    )
    inline, epochs = _deployment(town, the_plan, terms, start_ms)
    panes: list[Pane] = []
    for piece in generate(town, start_ms, start_ms + hours * HOUR, PARTITIONS, batch):
        for source in range(PARTITIONS):
            inline.take(source, _records(piece, source))
        panes += inline.count()
    return _dense(panes, {epoch.epoch: epoch for epoch in epochs.epochs}, terms)


def _deployment(town: Town, the_plan: Plan, terms: Terms, start_ms: int) -> tuple[Inline, EpochTable]:
    people = RegistryTable()
    people.take(registry(town))
    epochs, salts = EpochTable(), dict[int, NDArray[np.uint64]]()
    policies = PolicyTable(POLICIES, "marketing")
    context = Context(epochs, salts, policies, people, CellTable(the_plan, set()), 1, terms.lateness_ms)

    def provide(ts_ms: int) -> Epoch:
        epoch = epochs.find(ts_ms) or make_epoch(ts_ms, terms, epochs)
        epochs.add(epoch)
        salts[epoch.epoch] = key_state(salt_of(epoch.epoch))
        return epoch

    provide(start_ms)
    parents = np.array(the_plan.zone_parents(), np.uint16)
    return Inline(context, provide, parents, PARTITIONS, 1 << 20), epochs


def _records(piece: Slice, source: int) -> Records:
    rows = slice(int(piece.starts[source]), int(piece.starts[source + 1]))
    number = np.arange(rows.stop - rows.start)
    return Records(number, piece.time[rows], piece.begin[rows], piece.end[rows], piece.payload)


def _dense(panes: list[Pane], epochs: dict[int, Epoch], terms: Terms) -> dict[str, NDArray[np.int64]]:
    return {
        measure.name: np.array(list(_vectors(panes, epochs, measure, measure.keys(terms.zones, terms.parents))))
        for measure in terms.measures
    }


def _vectors(panes: list[Pane], epochs: dict[int, Epoch], measure: Measure, keys: int) -> Iterator[NDArray[np.int64]]:
    for pane in panes:
        if measure in epochs[pane.epoch].due(pane.number):
            vector = np.zeros(keys, np.int64)
            if measure.name in pane.counts:
                places, values = pairs(pane.counts[measure.name])
                vector[places] = values
            yield vector

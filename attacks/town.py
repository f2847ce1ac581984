"""The town under attack: simulated people, the days that they live, and what throng's gateway and crowd make of them.

The same core as in a deployment counts (`streams.core.inline`), under salts drawn here. What an attacker outside can't
have is kept beside, for truth and for the attacks on the internal state: sightings under pseudonyms, and where people
truly were.
"""

import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, generate_latest

from schemas.attach import DETACH, LONG_IMSI
from schemas.epochs import Epoch
from schemas.measures import DEFAULT_MEASURES, Measure
from schemas.panes import Pane, pairs
from schemas.plan import Plan
from schemas.sightings import Section, encode_control, encode_frame
from streams.core.crowd.crowd import Crowd
from streams.core.epochs import EpochTable, make_epoch
from streams.core.events.records import Records
from streams.core.gateway.gateway import Context, Screened
from streams.core.gateway.policy import PolicyTable
from streams.core.gateway.pseudonyms import SALT_BYTES, key_state, pseudonyms
from streams.core.gateway.registry import RegistryTable
from streams.core.gateway.zones import CellTable
from streams.core.inline import Inline
from streams.core.release.sums import Keyed, Sums
from streams.core.rules.rules import limits
from streams.metrics import CrowdMetrics, GatewayMetrics
from streams.settings import Settings
from streams.simulate import generate, make_town, plan, registry
from streams.simulate.people import NOWHERE, OFF, YEAR, birth_years, imsis, populate
from streams.simulate.registry import ADULT, counted
from streams.stores.policies import configured_rules
from streams.stores.terms import terms_of

START_MS: Final = int(datetime(2026, 3, 2, 3, tzinfo=UTC).timestamp()) * 1000  # Monday 04:00 in the town
DAY_MS: Final = 86_400_000
AFTER_MS: Final = 600_000  # what has to follow the last day for its panes to close
SLICE_MS: Final = 600_000
SOURCES: Final = 2
ABSENT: Final = -1

HOUR_MS: Final = 3_600_000
# All that can be counted: what is off by default takes a twenty-fifth of the budget each, and the others make room.
EXTRA: Final = (
    Measure("travel_times", "travel_times", "parent", HOUR_MS, 32, 0.04),
    Measure("travel_times_by_pair", "travel_times_by_pair", "parent", HOUR_MS, 32, 0.04),
    Measure("passes", "passes", "parent", HOUR_MS, 48, 0.04),
    Measure("home", "home", "zone", HOUR_MS, 16, 0.04),
    Measure("work", "work", "zone", HOUR_MS, 16, 0.04),
)
ROOM: Final = 1 - sum(measure.share for measure in EXTRA)
MEASURES: Final = (*(replace(measure, share=ROOM * measure.share) for measure in DEFAULT_MEASURES), *EXTRA)

Told = Callable[[str], None]


class Size(NamedTuple):
    """What a town is simulated from."""

    seed: int
    people: int
    zones: int
    days: int
    consent: float


class Sightings(NamedTuple):
    """Columns of all rows in the order in which they are counted: pseudonym u64, ts i64 (ms), zone, cohort, kind."""

    pseudonym: NDArray[np.uint64]
    ts: NDArray[np.int64]
    zone: NDArray[np.uint16]
    cohort: NDArray[np.uint8]
    kind: NDArray[np.uint8]

    def rows(self, keep: NDArray[np.integer] | NDArray[np.bool_] | slice) -> "Sightings":
        """Some of them."""
        return Sightings(self.pseudonym[keep], self.ts[keep], self.zone[keep], self.cohort[keep], self.kind[keep])


class Day(NamedTuple):
    """One epoch, whole.

    Attributes:
        counts: the exact panes, i64[keys] by (base pane's number, measure).
        salt: of the epoch; thrown away by whoever attacks without it.
        sightings: of those counted. truth: i16[panes, people], where each was at each pane's end; ABSENT if the phone
            was off.
    """

    epoch: Epoch
    counts: dict[tuple[int, str], NDArray[np.int64]]
    salt: bytes
    sightings: Sightings
    truth: NDArray[np.int16]

    def pseudonyms(self, packed: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Those of packed IMSIs."""
        out = np.empty_like(packed)
        pseudonyms(packed, key_state(self.salt), out)
        return out


class World(NamedTuple):
    """A town and its days.

    Attributes:
        imsis: packed, of all people. counted: who of them is. control: adults like them, but without consent.
        home, work: true zones of all people, work -1 for who has none.
        centres: f64[zones, 2] in metres, as the public plan has them.
        metrics: what the gateway and the crowd would show of this run at /metrics.
    """

    size: Size
    plan: Plan
    parents: NDArray[np.uint16]
    imsis: NDArray[np.uint64]
    counted: NDArray[np.bool_]
    control: NDArray[np.bool_]
    home: NDArray[np.int64]
    work: NDArray[np.int64]
    centres: NDArray[np.float64]
    metrics: bytes
    days: list[Day]


def live(size: Size, told: Told) -> World:
    """Simulate whole days from START_MS on, and count them."""
    people, days = size.people, size.days
    town = make_town(size.seed, people, size.zones, consent=size.consent)
    made = msgspec.convert(plan(town), Plan)
    packed = imsis(town) | np.uint64(LONG_IMSI)
    count = _Count(made, days)
    count.people.take(registry(town))
    truths = []
    for piece in generate(town, START_MS, START_MS + days * DAY_MS + AFTER_MS, SOURCES, slice_ms=SLICE_MS):
        count.take(Records(np.arange(len(piece.time)), piece.time, piece.begin, piece.end, piece.payload), piece.starts)
        truths.append(piece.truth)
        if piece.start_ms % 7_200_000 == 0:
            told(f"simulating {people} people: day {(piece.start_ms - START_MS) / DAY_MS:.1f} of {days}")
    truth = np.concatenate(truths)
    sightings = count.sightings()
    lived = []
    for epoch in count.table.epochs[:days]:
        inside = (sightings.ts >= epoch.start_ms) & (sightings.ts < epoch.end_ms)
        counts = {key[1:]: vector for key, vector in count.counts.items() if key[0] == epoch.epoch}
        where = _true_zones(truth, epoch, people)
        lived.append(Day(epoch, counts, count.salts[epoch.epoch], sightings.rows(inside), where))
    known = counted(town)
    grown = YEAR - birth_years(town) >= ADULT
    lives = populate(town)[0]
    home = lives["home"].astype(np.int64)
    work = lives["work"].astype(np.int64)
    work[work == NOWHERE] = -1
    centres = town.discs[:, :2].astype(np.float64)
    parents = np.array(made.zone_parents(), np.uint16)
    return World(size, made, parents, packed, known, grown & ~known, home, work, centres, count.metrics(), lived)


class _Count:
    """The gateway's and the crowd's core over the raw records."""

    def __init__(self, made: Plan, days: int) -> None:
        rules = replace(configured_rules(Settings()), measures=MEASURES)
        self._terms = terms_of(Settings(), made, rules, 1, SOURCES)
        self.table = EpochTable()
        self.salts: dict[int, bytes] = {}
        self.people = RegistryTable()
        self.counts: dict[tuple[int, int, str], NDArray[np.int64]] = {}
        self._states: dict[int, NDArray[np.uint64]] = {}
        self._rows: list[tuple[NDArray[np.generic], ...]] = []
        self._sums, self._panes = Sums(), 0
        for day in range(days + 1):
            self._provide(START_MS + day * DAY_MS)
        cells = CellTable(made, limits(rules).excluded)
        table = PolicyTable(rules.policies, rules.purpose)
        context = Context(self.table, self._states, table, self.people, cells, 1, self._terms.lateness_ms)
        self._inline = Inline(context, self._provide, np.array(made.zone_parents(), np.uint16), SOURCES, 1 << 20)

    def _provide(self, ts_ms: int) -> Epoch:
        epoch = self.table.find(ts_ms) or make_epoch(ts_ms, self._terms, self.table)
        if self.table.add(epoch):
            self.salts[epoch.epoch] = secrets.token_bytes(SALT_BYTES)
            self._states[epoch.epoch] = key_state(self.salts[epoch.epoch])
        return epoch

    def take(self, records: Records, starts: NDArray[np.int64]) -> None:
        """Take a slice's records, by source, and count."""
        for source in range(SOURCES):
            rows = slice(int(starts[source]), int(starts[source + 1]))
            columns = (records.offset[rows], records.time[rows], records.start[rows], records.end[rows])
            own = Records(*columns, records.payload)
            self._keep(source, self._inline.take(source, own))
        for pane in self._inline.count():
            self._add(pane)

    def _keep(self, source: int, rows: Screened) -> None:
        columns = (rows.pseudonym, rows.ts, rows.zone, rows.cohort, rows.kind)
        self._rows.append((*columns, np.full(len(rows.ts), source), rows.offset, rows.index))

    def _add(self, pane: Pane) -> None:
        epochs = {epoch.epoch: epoch for epoch in self.table.epochs}
        self._sums.add(pane, self._panes, epochs[pane.epoch])
        self._panes += 1
        while (whole := self._sums.first_whole()) is not None:
            self._sums.drop(whole)
            for name, vector in whole.counts.items():
                if not isinstance(vector, Keyed):  # a town has no more pairs of zones than are drawn noise for
                    self.counts[whole.epoch.epoch, whole.number, name] = vector

    def metrics(self) -> bytes:
        """The run in the metrics of the roles."""
        shown = CollectorRegistry()
        gateway, crowd = GatewayMetrics(shown), CrowdMetrics(shown)
        for source in range(SOURCES):
            gateway.records.labels(str(source)).inc(self._inline.taken(source))
        gateway.events.labels("0").inc(self._inline.events)
        gateway.registry_entries.set(self.people.subscribers)
        for counter, counts in ((gateway.rejects, self._inline.rejects), (gateway.drops, self._inline.drops)):
            for reason, number in counts.items():
                counter.labels(reason).inc(number)
        for one in self._inline.crowds:
            crowd.sightings.labels(str(one.partition)).inc(one.taken)
            crowd.subscribers.labels(str(one.partition)).set(one.subscribers)
        return generate_latest(shown)

    def sightings(self) -> Sightings:
        """All rows so far, in the order of pseudonym and then as they are counted."""
        columns = [np.concatenate(parts) for parts in zip(*self._rows, strict=True)]
        who, ts, *_, source, offset, index = columns
        order = np.lexsort([index, offset, source, ts, who])
        return Sightings(*(column[order] for column in columns[:5]))


def _true_zones(truth: NDArray[np.void], epoch: Epoch, people: int) -> NDArray[np.int16]:
    zones = np.full((epoch.last_pane, people), ABSENT, np.int16)
    on = truth[truth["mode"] != OFF]
    for pane in range(epoch.last_pane):
        end = epoch.start_ms + (pane + 1) * epoch.pane_ms
        now = on[(on["begin"] < end) & (on["end"] >= end)]
        zones[pane, now["who"]] = now["zone"]
    return zones


def whereabouts(day: Day, packed: NDArray[np.uint64]) -> NDArray[np.int16]:
    """Where throng, inside, has the subscribers at each pane's end: i16[panes, subscribers], ABSENT if nowhere.

    By docs/reference/semantics.md, "Present": the zone of the last sighting, unless that was a detach or is longer ago
    than the silence. tests/privacy/test_attacks.py holds it against the crowd's own counts.
    """
    epoch, seen = day.epoch, day.sightings
    who = day.pseudonyms(packed)
    zones = np.full((epoch.last_pane, len(packed)), ABSENT, np.int16)
    ends = epoch.start_ms + np.arange(1, epoch.last_pane + 1) * epoch.pane_ms
    first, last = np.searchsorted(seen.pseudonym, who), np.searchsorted(seen.pseudonym, who, side="right")
    for person in range(len(packed)):
        own = seen.rows(slice(int(first[person]), int(last[person])))
        if len(own.ts) == 0:
            continue
        at = np.searchsorted(own.ts, ends) - 1  # the last sighting before the end
        known = np.maximum(at, 0)
        there = (at >= 0) & (own.kind[known] != DETACH) & (own.ts[known] + epoch.silence_ms >= ends)
        zones[there, person] = own.zone[known[there]]
    return zones


def alone(world: World, day: Day, packed: int) -> dict[tuple[int, str], NDArray[np.int64]]:
    """What one subscriber adds to the exact panes, by a crowd of their own: i64[keys] by (number, measure)."""
    epoch = day.epoch
    name = day.pseudonyms(np.array([packed], np.uint64))[0]
    first, last = np.searchsorted(day.sightings.pseudonym, [name, name + np.uint64(1)])
    own = day.sightings.rows(slice(int(first), int(last)))
    crowd = Crowd(0, world.parents)
    crowd.add_epoch(epoch)
    crowd.feed(encode_control(1, [0]), 0)
    number = len(own.ts)
    section = Section(
        *(0, 0, 0, max(number, 1), epoch.end_ms, own.pseudonym, own.ts, np.arange(number), np.zeros(number, np.uint32)),
        *(own.zone, own.cohort, own.kind),
    )
    return dict(_dense(crowd.feed(encode_frame([section]), 1), epoch))


def _dense(panes: list[Pane], epoch: Epoch) -> Iterator[tuple[tuple[int, str], NDArray[np.int64]]]:
    sizes = {measure.name: measure.keys(epoch.zones, epoch.parents) for measure in epoch.measures}
    for pane in panes:
        for name, counts in pane.counts.items():
            keys, values = pairs(counts)
            vector = np.zeros(sizes[name], np.int64)
            vector[keys] = values
            yield (pane.number, name), vector

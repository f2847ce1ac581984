"""What leaves: the release of a day, made by the functions that RELEASE makes it with, read as a consumer reads it.

`release` draws the noise (OpenDP), lets the account check the budget, and builds each pane's ledger record and
publications as `streams.agents.release` does. `read` takes the published JSON apart into tables; an attacker has
nothing else. `bare` and `suppressed` are the releases that others made: exact counts, and exact counts without the
small ones.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, generate_latest

from schemas.cohorts import BANDS, COHORTS, GENDERS
from schemas.epochs import Epoch
from schemas.ledger import LedgerRecord, Publication
from schemas.lengths import BUCKETS, TRAVEL_TIMES, VISITS
from schemas.measures import Measure, Statistic
from schemas.plan import Plan
from schemas.released import Areas, AreasSummary, Dwell, Flow, FlowSummary, Footfall, TravelTimes, Visits
from streams.core.release.budget import rho_of, sensitivity, sigma
from streams.core.release.ledger import Account
from streams.core.release.parts import STATISTICS
from streams.core.release.release import Draw, next_record, publications
from streams.core.release.render import Page
from streams.core.rules.soundness import sound
from streams.core.times import rfc3339
from streams.metrics import ReleaseMetrics
from streams.settings import Settings

Counts = Mapping[tuple[int, str], NDArray[np.int64]]
# As `streams.stores.noise.draw`: counts, sensitivity, scale, rho.
Noise = Callable[[NDArray[np.int64], float, float, float], NDArray[np.int64]]

DISTRICTS: Final = "present of districts"  # what is published of `present` at the level of parents
# Counts in parts, which are published all together and of districts as well.
PARTED: Final[tuple[Statistic, ...]] = STATISTICS
_PART: Final = (
    {bucket.name: n for n, bucket in enumerate(BUCKETS)}
    | {name: n for n, name in enumerate(VISITS)}
    | {band.name: n for n, band in enumerate(TRAVEL_TIMES)}
)
_PART_FIELDS: Final = frozenset({"bucket", "visit", "band", "area", "unknown"})
_BAND: Final = {name: code for code, name in enumerate(BANDS)}
_GENDER: Final = {name: code for code, name in enumerate(GENDERS)}


class Table(NamedTuple):
    """A measure's published numbers: f64[panes, keys], NaN where nothing is told. se: standard error; 0: exact."""

    noisy: NDArray[np.float64]
    estimate: NDArray[np.float64]
    se: NDArray[np.float64]


class Published(NamedTuple):
    """What a day's consumers know. `k`: what the records say of themselves."""

    tables: dict[str, Table]
    k: int


def release(epoch: Epoch, plan: Plan, counts: Counts, noise: Noise) -> tuple[list[LedgerRecord], list[Publication]]:
    """A day's ledger and publications, in order.

    Raises:
        Overspent, ThrongError: as in a deployment, if the budget isn't enough.
    """
    page = Page(plan, Settings().release.confidence)
    account = Account()
    sound(epoch)
    ledger, published = list[LedgerRecord](), list[Publication]()
    for number in range(epoch.first_pane, epoch.last_pane + 1):
        for measure in epoch.due(number):
            cost = rho_of(measure, epoch)
            account.check(epoch, measure.name, cost)
            noisy = noise(counts[number, measure.name], sensitivity(measure, epoch), sigma(measure, epoch), cost)
            draw = Draw(epoch, measure, number, epoch.start_ms + number * epoch.pane_ms, noisy)
            record = next_record(draw, account.last.get(measure.name), account.last.get("present"), page, 0, "")
            account.take(record)
            ledger.append(record)
            published += publications(record)
    return ledger, published


def read(epoch: Epoch, plan: Plan, published: Sequence[Publication]) -> Published:
    """The numbers in published records.

    Raises:
        LookupError: a record of a measure that isn't attacked here yet.
    """
    places = {zone.id: n for n, zone in enumerate(plan.zones)} | {parent.id: n for n, parent in enumerate(plan.parents)}
    tables = {name: _untold(*shape) for name, shape in shapes(epoch).items()}
    ends = {rfc3339(epoch.start_ms + n * epoch.pane_ms): n for n in range(1, epoch.last_pane + 1)}
    lengths = {name: epoch.last_pane // len(table.noisy) for name, table in tables.items()}
    measures = {measure.name: measure for measure in epoch.measures}
    for item in published:
        record = orjson.loads(item.value)
        name = _table(record, measures)
        if name not in tables:
            raise LookupError(f"no attack knows the measure {name}: teach them before it is released")
        if "noisy" not in record:
            continue
        row = ends[record["end"]] // lengths[name] - 1
        key = _key(record, places, epoch, measures)
        for column, field in zip(tables[name], ("noisy", "estimate", "se"), strict=True):
            column[row, key] = record[field]
    return Published(tables, epoch.k)


def districts_of(measure: str) -> str:
    """The table of what is published of a measure at the level of parents."""
    return f"{measure} of districts"


def in_all(measure: str) -> str:
    """The table of all parts of a zone's count together."""
    return f"{measure} of all parts"


def in_all_of_districts(measure: str) -> str:
    """The same of districts."""
    return in_all(districts_of(measure))


def parted(epoch: Epoch) -> list[Measure]:
    """The epoch's measures of counts in parts."""
    return [measure for measure in epoch.measures if measure.statistic in PARTED]


def _table(record: Mapping[str, str], measures: Mapping[str, Measure]) -> str:
    name = record["measure"]
    measure = measures.get(name)
    if measure is None or measure.statistic not in ("present", *PARTED):
        return name
    if record["level"] != measure.level:
        name = districts_of(name)
    return in_all(name) if measure.statistic in PARTED and not _PART_FIELDS & record.keys() else name


def _key(record: Mapping[str, str], places: Mapping[str, int], epoch: Epoch, measures: Mapping[str, Measure]) -> int:
    if "origin" in record:
        size = epoch.zones if record["level"] == "zone" else epoch.parents
        place = places[record["origin"]] * size + places[record["destination"]]
    else:
        place = places[record["zone"]]
    if _PART_FIELDS & record.keys():
        return place * measures[record["measure"]].parts(epoch.parents) + _part(record, places, epoch)
    if "age_band" not in record:
        return place
    return place * COHORTS + _BAND[record["age_band"]] * len(GENDERS) + _GENDER[record["gender"]]


def _part(record: Mapping[str, str], places: Mapping[str, int], epoch: Epoch) -> int:
    if "area" in record:
        return places[record["area"]]
    if "unknown" in record:
        return epoch.parents
    return _PART[record.get("bucket") or record.get("visit") or record["band"]]


def strange_fields(published: Iterable[Publication]) -> set[str]:
    """Names in published records that the contract doesn't have: all that it has are of places, times and counts."""
    kinds = (Footfall, Flow, FlowSummary, TravelTimes, Dwell, Visits, Areas, AreasSummary)
    known = {name for kind in kinds for name in kind.__struct_fields__}
    return {name for item in published for name in orjson.loads(item.value)} - known


def metrics(published: Mapping[str, Sequence[Publication]], epoch: Epoch) -> bytes:
    """What RELEASE would show of a day at /metrics; publications by measure."""
    shown = CollectorRegistry()
    release_metrics = ReleaseMetrics(shown)
    for name, items in published.items():
        release_metrics.releases.labels(name).inc()
        release_metrics.pane_end.labels(name).set(epoch.end_ms / 1000)
        for item in items:
            release_metrics.published.labels(item.topic).inc()
    release_metrics.budget.set(epoch.rho)
    return generate_latest(shown)


def shapes(epoch: Epoch) -> dict[str, tuple[int, int]]:
    """(panes, keys) of everything that is published of a day."""
    found = {m.name: (epoch.panes(m.pane_ms), m.keys(epoch.zones, epoch.parents)) for m in epoch.measures}
    for measure in parted(epoch):
        name, panes = measure.name, found[measure.name][0]
        found[in_all(name)] = (panes, epoch.zones if measure.level == "zone" else epoch.parents)
        if measure.level == "zone":
            found[districts_of(name)] = (panes, epoch.parents * measure.parts(epoch.parents))
            found[in_all_of_districts(name)] = (panes, epoch.parents)
    windows = found["arrivals"]
    return found | {DISTRICTS: (found["present"][0], epoch.parents), "footfall": windows, "departures": windows}


def _untold(panes: int, keys: int) -> Table:
    return Table(*(np.full((panes, keys), np.nan) for _ in range(3)))


def stacked(epoch: Epoch, counts: Counts) -> dict[str, NDArray[np.int64]]:
    """Counts by measure: i64[panes, keys]."""
    found = {}
    for measure in epoch.measures:
        every = measure.pane_ms // epoch.pane_ms
        found[measure.name] = np.stack([counts[n, measure.name] for n in range(every, epoch.last_pane + 1, every)])
    return found


def bare(epoch: Epoch, parents: NDArray[np.uint16], counts: Counts) -> Published:
    """An unprotected release: every count, exact, and what follows from them."""
    exact = stacked(epoch, counts)
    present, arrivals = exact["present"], exact["arrivals"]
    sums = np.zeros((epoch.zones, epoch.parents), np.int64)
    sums[np.arange(epoch.zones), parents] = 1
    every = len(present) // len(arrivals)
    before = np.vstack([np.zeros((1, epoch.zones), np.int64), present[every - 1 : -1 : every]])
    exact |= {DISTRICTS: present @ sums, "footfall": before + arrivals}
    exact["departures"] = exact["footfall"] - present[every - 1 :: every]
    for measure in parted(epoch):
        name = measure.name
        parts = exact[name].reshape(len(exact[name]), -1, measure.parts(epoch.parents))
        exact[in_all(name)] = parts.sum(axis=2)
        if measure.level == "zone":
            of_districts = np.einsum("hzp,zd->hdp", parts, sums)
            exact[districts_of(name)] = of_districts.reshape(len(parts), -1)
            exact[in_all_of_districts(name)] = of_districts.sum(axis=2)
    return Published({name: _exactly(values) for name, values in exact.items()}, 0)


def _exactly(values: NDArray[np.int64]) -> Table:
    known = values.astype(np.float64)
    return Table(known, known.copy(), np.zeros_like(known))


def suppressed(published: Published, k: int) -> Published:
    """The same with every count from 1 to k - 1 withheld."""

    def large(table: Table) -> Table:
        return Table(*(np.where((table.noisy >= k) | (table.noisy == 0), column, np.nan) for column in table))

    return Published({name: large(table) for name, table in published.tables.items()}, k)

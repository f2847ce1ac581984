"""Trips between more pairs than can be drawn noise for: OpenDP's thresholded mechanism on the pairs that occur."""

import math

import msgspec
import numpy as np
import orjson
import pytest
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry
from scipy.stats import binom

from schemas.ledger import LedgerRecord
from schemas.measures import DEFAULT_MEASURES, MOST_PAIRS, Measure
from schemas.panes import Pane, sealed, sparse
from schemas.plan import Cell, Parent, Plan, Zone
from schemas.topics import FLOWS, LEDGER, PANES, RELEASED
from streams.agents.health import Readiness
from streams.agents.release import Releaser
from streams.agents.transport import Chunk, LogRange
from streams.core.release.budget import (
    KEYS_SHARE,
    delta_of,
    keys_delta,
    rho_of,
    rho_within,
    sensitivity,
    sigma,
    threshold,
)
from streams.core.release.ledger import Account, Overspent
from streams.core.release.release import Draw, lost_record, next_record, publications
from streams.core.release.render import Page, Pages
from streams.core.release.sums import Keyed, Sums, Whole, occurring
from streams.core.rules.soundness import sound
from streams.errors import ThrongError
from streams.metrics import ReleaseMetrics
from streams.stores.ledger import Ledger
from streams.stores.noise import Noise, OnTheSpot, _keyed_mechanism, draw, draw_keyed
from streams.stores.released import Publisher
from tests.support.raw import batch_of
from tests.support.rules import SettledRules
from tests.support.turns import ALONE
from tests.support.world import epochs_at
from tests.unit.test_release_role import Logs, Reader

ZONES = 400
TRIPS = DEFAULT_MEASURES[2]
SMALL = epochs_at(1_772_420_400_000)[0]
LARGE = msgspec.structs.replace(SMALL, zones=ZONES, partitions=2, rho=rho_within(2.0, 2e-9, keyed=True), k=5)
PLAN = Plan(
    1,
    "large",
    "Europe/Berlin",
    (Parent("all", "All"),),
    tuple(Zone(f"z{n}", f"Zone {n}", "all", "shops") for n in range(ZONES)),
    (Cell("001-01-00000", "z0"),),
)


def drawn(counted: Keyed, epoch=LARGE, measure: Measure = TRIPS, noise: Noise = draw) -> Keyed:
    cost = (rho_of(measure, epoch), keys_delta(measure, epoch))
    spread = (epoch.cap(measure), sensitivity(measure, epoch), sigma(measure, epoch))
    return draw_keyed(counted, *spread, threshold(measure, epoch), cost, noise)


def some(*pairs: tuple[int, int]) -> Keyed:
    keys, counts = zip(*pairs, strict=True)
    return Keyed(np.array(keys, np.uint32), np.array(counts, np.int64))


def test_only_trips_between_very_many_pairs_have_keys_from_data() -> None:
    assert [m.name for m in LARGE.keyed] == ["trips_zone"] and not SMALL.keyed
    assert TRIPS.keys(ZONES, 2) > MOST_PAIRS >= TRIPS.keys(316, 2)
    assert not TRIPS.keys_from_data(316, 2)
    assert keys_delta(TRIPS, SMALL) == 0.0 < keys_delta(TRIPS, LARGE)


def test_the_threshold_is_in_the_account() -> None:
    assert sound(LARGE) is LARGE
    spent = sum(keys_delta(measure, LARGE) for measure in LARGE.keyed)
    assert 0 < spent <= KEYS_SHARE * LARGE.delta
    assert delta_of(LARGE.rho, LARGE.epsilon) + spent <= LARGE.delta
    assert LARGE.rho < rho_within(2.0, 2e-9, keyed=False)
    careless = msgspec.structs.replace(LARGE, rho=rho_within(2.0, 2e-9, keyed=False))
    with pytest.raises(ThrongError, match="costs a delta"):
        sound(careless)


def test_measures_with_keys_from_data_share_what_is_theirs_of_the_delta() -> None:
    """A tenth of the day's, each by its share, and together no more."""
    passes = Measure("passes", "passes", "zone", 3_600_000, 24, 1 - TRIPS.share)
    both = msgspec.structs.replace(LARGE, measures=(TRIPS, passes))
    assert sum(keys_delta(measure, both) for measure in both.keyed) == pytest.approx(LARGE.delta / 10)
    assert keys_delta(TRIPS, both) == pytest.approx(TRIPS.share * LARGE.delta / 10)
    assert sound(both) is both


# Of the last two the threshold is the very least, of the others one above it.
@pytest.mark.parametrize(
    ("epsilon", "cap", "share"), [(2.0, 24, TRIPS.share), (8.0, 2, 1.0), (0.5, 24, 0.05), (2.0, 80, 0.05)]
)
def test_the_threshold_is_the_least_that_opendp_agrees_to_or_one_above(epsilon: float, cap: int, share: float) -> None:
    measure = msgspec.structs.replace(TRIPS, cap=cap, share=share)
    rho = rho_within(epsilon, LARGE.delta, keyed=True)
    epoch = msgspec.structs.replace(LARGE, measures=(measure,), epsilon=epsilon, rho=rho)
    drawn(some((1, 1)), epoch, measure)
    spread = (cap, sensitivity(measure, epoch), sigma(measure, epoch))
    cost = (rho_of(measure, epoch), keys_delta(measure, epoch))
    with pytest.raises(ThrongError, match="would cost rho"):
        draw_keyed(some((1, 1)), *spread, threshold(measure, epoch) - 2, cost)
    with pytest.raises(ThrongError, match="would cost rho"):
        draw_keyed(some((1, 1)), *spread, threshold(measure, epoch), (cost[0] / 2, cost[1]))


def test_a_key_shows_by_its_noisy_count_alone() -> None:
    """Half of those whose count is the threshold, none with one person, whatever their true counts are."""
    edge = threshold(TRIPS, LARGE)
    at = some(*((key, edge if key < 2000 else 1) for key in range(4000)))
    kept = drawn(at)
    shown = int(np.count_nonzero(kept.keys < 2000))
    assert 1e-6 < binom.cdf(shown, 2000, 0.5) < 1 - 1e-6
    assert not np.count_nonzero(kept.keys >= 2000)
    assert kept.counts.min() >= edge and (np.diff(kept.keys.astype(np.int64)) > 0).all()
    # Above, the noise is that of the account: its spread within six of its standard errors.
    far = drawn(some(*((key, 10 * edge) for key in range(2000))))
    assert len(far.keys) == 2000
    assert abs((far.counts - 10 * edge).std() / sigma(TRIPS, LARGE) - 1) < 6 / math.sqrt(4000)


def test_what_is_shown_is_what_opendp_shows() -> None:
    """So little noise that there is none: the same keys are left by OpenDP's own mechanism."""
    counted = some(*((key, key % 7) for key in range(50, 0, -1)))
    cost, spread = (math.inf, 1.0), (1, 1.0, 1e-6)
    kept = draw_keyed(counted, *spread, 5, cost)
    theirs = _keyed_mechanism(1e-6, 5)(dict(zip(counted.keys.tolist(), counted.counts.tolist(), strict=True)))
    assert dict(zip(kept.keys.tolist(), kept.counts.tolist(), strict=True)) == theirs
    assert set(theirs.values()) == {5, 6} and kept.keys.tolist() == sorted(theirs)


def test_noise_that_was_drawn_ahead_is_put_on_keys_from_data() -> None:
    def drawn_ahead(counts: NDArray[np.int64], *_: float) -> NDArray[np.int64]:
        return counts + np.array([-1, 0, 1])

    edge = threshold(TRIPS, LARGE)
    kept = drawn(some((9, edge), (7, edge), (3, edge)), noise=drawn_ahead)
    assert (kept.keys.tolist(), kept.counts.tolist()) == ([3, 7], [edge + 1, edge])


def test_no_key_that_does_not_occur_is_told_nor_needs_room() -> None:
    vast = msgspec.structs.replace(LARGE, zones=10_000)
    assert drawn(Keyed(np.empty(0, np.uint32), np.empty(0, np.int64)), vast).keys.size == 0
    kept = drawn(some((99_999_999, 5000)), vast)
    assert kept.keys.tolist() == [99_999_999]


def pane(partition: int, *pairs: tuple[int, int]) -> Pane:
    number = 12
    end = LARGE.start_ms + number * LARGE.pane_ms
    keys, counts = zip(*pairs, strict=True)
    counts = {TRIPS.name: sparse(np.array(keys, np.uint32), np.array(counts, np.uint32))}
    return sealed(Pane(LARGE.epoch, partition, 2, number, end - LARGE.pane_ms, end, 2, counts, 0))


def test_partitions_add_up_by_key() -> None:
    sums = Sums()
    sums.begin_anywhere()
    sums.add(pane(0, (7, 3), (100_001, 2)), 0, LARGE)
    sums.add(pane(1, (7, 1), (9, 5)), 1, LARGE)
    whole = sums.first_whole()
    assert whole is not None
    counted = whole.counts[TRIPS.name]
    assert isinstance(counted, Keyed)
    assert (counted.keys.tolist(), counted.counts.tolist()) == ([7, 9, 100_001], [4, 5, 2])
    dense = occurring(np.array([0, 4, 0, 2]))
    assert (dense.keys.tolist(), dense.counts.tolist()) == ([1, 3], [4, 2])


def record_of(kept: Keyed, last: LedgerRecord | None = None) -> LedgerRecord:
    at = Draw(LARGE, TRIPS, 12, LARGE.start_ms + 12 * LARGE.pane_ms, kept.counts, kept.keys)
    return next_record(at, last, None, Page(PLAN, 0.95), 0, "me")


def test_the_ledger_holds_keys_and_cost_and_pairs_are_published_by_name() -> None:
    record = record_of(some((3 * ZONES + 5, 900), (399 * ZONES, 800)))
    assert np.frombuffer(record.keys, "<u4").tolist() == [3 * ZONES + 5, 399 * ZONES]
    assert record.delta == keys_delta(TRIPS, LARGE) > 0
    said = [orjson.loads(item.value) for item in publications(record) if item.topic == FLOWS]
    assert [(one["origin"], one["destination"], one["noisy"]) for one in said[:-1]] == [
        ("z3", "z5", 900),
        ("z399", "z0", 800),
    ]
    assert (said[-1]["published_pairs"], said[-1]["suppressed_pairs"]) == (2, ZONES**2 - 2)
    # Other pairs in the next pane: nothing is carried over.
    after = [orjson.loads(item.value) for item in publications(record_of(some((1, 700)), record))]
    assert [one["noisy"] for one in after[:-1]] == [700] and after[0]["estimate"] == 700.0


def test_what_is_drawn_ahead_waits_for_no_keys_from_data() -> None:
    epoch = msgspec.structs.replace(LARGE, measures=DEFAULT_MEASURES)
    order = [each.name for each in Whole(epoch, 12, 0, {}, frozenset(), {}).in_order()]
    assert sorted(order) == sorted(each.name for each in DEFAULT_MEASURES)
    keys = {each.name: each.keys(epoch.zones, epoch.parents) for each in DEFAULT_MEASURES}
    assert (order[0], order[-1]) == ("present", "trips_zone")
    between = [keys[name] for name in order[1:-1]]
    assert between == sorted(between) and len(set(between)) > 3


def test_delta_is_paid_once_an_epoch_and_not_overspent() -> None:
    account = Account()
    account.take(record_of(some((1, 700))))
    cost = (rho_of(TRIPS, LARGE), keys_delta(TRIPS, LARGE))
    account.check(LARGE, TRIPS.name, *cost)
    with pytest.raises(Overspent, match="at delta"):
        account.check(LARGE, "another", cost[0], KEYS_SHARE * LARGE.delta)
    # A void takes nothing back of what was told.
    void = lost_record(LARGE, TRIPS, LARGE.last_pane, 0, "w")
    assert account.take(void) and void.delta == 0
    account.check(LARGE, "another", cost[0], KEYS_SHARE * LARGE.delta - cost[1])
    with pytest.raises(Overspent, match="at delta"):
        account.check(LARGE, "another", cost[0], KEYS_SHARE * LARGE.delta)


class Epochs:
    records = (msgspec.structs.replace(LARGE, plan=PLAN.hash(), measures=(TRIPS,)),)

    async def refresh(self) -> list:
        return []


async def test_the_release_draws_them_and_publishes_what_is_above_the_threshold() -> None:
    logs = Logs()
    role = Releaser(
        Pages(lambda _: PLAN, 0.95),
        Epochs(),  # type: ignore[arg-type]
        Ledger(Reader(logs), logs, LEDGER),  # type: ignore[arg-type]
        Publisher(logs, logs, {name: name for name in RELEASED}, dict.fromkeys(RELEASED, 1), ""),  # type: ignore[arg-type]
        OnTheSpot(draw),
        ReleaseMetrics(CollectorRegistry()),
        Readiness(),
        SettledRules(),
        ALONE,
    )
    await role.positions({0: LogRange(0, 24)})
    panes = [msgspec.structs.replace(pane(p, (7, 1)), number=n, counts={}) for n in range(1, 12) for p in (0, 1)]
    panes = [
        msgspec.structs.replace(each, start_ms=each.start_ms - shift, end_ms=each.end_ms - shift)
        for each in panes
        for shift in [(12 - each.number) * LARGE.pane_ms]
    ]
    panes = [*map(sealed, panes), pane(0, (7, 3000), (8, 1)), pane(1, (7, 2000), (100_001, 1))]
    batch = batch_of([(0, None, msgspec.msgpack.encode(each), []) for each in panes], 0)
    await role.handle(Chunk(PANES, 0, (batch,), 0, len(panes), 1))
    (record,) = logs.ledger()
    assert np.frombuffer(record.keys, "<u4").tolist() == [7]
    assert record.rho == rho_of(TRIPS, LARGE) and record.delta == keys_delta(TRIPS, LARGE)
    flow, summary = (orjson.loads(value) for value in logs.values[FLOWS])
    assert (flow["origin"], flow["destination"]) == ("z0", "z7") and abs(flow["noisy"] - 5000) < 10 * record.sigma
    assert summary["suppressed_pairs"] == ZONES**2 - 1

"""Weights: from where those in a zone are counted to what is told of it."""

import msgspec
import numpy as np
import orjson
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.measures import DEFAULT_MEASURES
from schemas.plan import Parent, Plan, Spill, Zone
from streams.core.estimates.view import SIMULATED, SIMULATED_WEIGHTED, View
from streams.core.estimates.weights import STEP, weights_of
from streams.core.release.budget import sigma
from streams.core.release.release import Draw, next_record, publications
from streams.core.release.render import Page
from streams.places.coverage import as_objects, coverage
from streams.places.served import ABOVE_M, LOSS_A_DECADE_DB, SCALE_DB, Counted, served, where_counted
from streams.places.sites import Sites
from streams.places.spread import POINTS, points
from tests.support.world import PLAN, epochs_at

EPOCH = epochs_at(1_772_420_400_000)[0]
NAMED = {measure.name: measure for measure in DEFAULT_MEASURES}
# From each zone of the world's plan to the next, around.
AROUND = tuple(
    msgspec.structs.replace(
        zone, counted=(Spill(zone.id, 0.8), Spill(PLAN.zones[(number + 1) % len(PLAN.zones)].id, 0.2))
    )
    for number, zone in enumerate(PLAN.zones)
)
WEIGHTED = msgspec.structs.replace(PLAN, zones=AROUND)


def plan_of(matrix: list[list[float]], kinds: list[str] | None = None) -> Plan:
    """`matrix[a][b]`: of those in zone b the share that zone a counts."""
    ids = [f"z{n}" for n in range(len(matrix))]
    zones = tuple(
        Zone(
            ids[b],
            ids[b],
            "p",
            kinds[b] if kinds else "",
            counted=tuple(Spill(ids[a], row[b]) for a, row in enumerate(matrix) if row[b]),
        )
        for b in range(len(ids))
    )
    return Plan(1, "x", "UTC", (Parent("p", "p"),), zones, ())


def people(plan: Plan, excluded=()):
    return weights_of(plan, excluded).people


def dense(weights) -> np.ndarray:
    found = np.zeros((len(weights.begins),) * 2)
    row = np.repeat(np.arange(len(found)), np.diff(np.append(weights.begins, len(weights.zone))))
    np.add.at(found, (row, weights.zone), weights.weight)
    return found


matrices = st.integers(1, 6).flatmap(
    lambda n: st.lists(st.lists(st.integers(0, 9), min_size=n, max_size=n), min_size=n, max_size=n)
)


@settings(max_examples=60)
@given(matrices)
def test_weights_are_half_a_step_back_from_what_the_zones_count(drawn: list[list[int]]) -> None:
    counted = np.array(drawn, np.float64) + np.eye(len(drawn))
    counted /= counted.sum(axis=0)
    weights = people(plan_of(counted.tolist()))
    expected = np.eye(len(counted)) + STEP * (np.eye(len(counted)) - counted)
    assert dense(weights) == pytest.approx(expected)
    assert weights.norm == pytest.approx(np.sqrt((expected**2).sum(axis=1)))
    there = np.arange(1, 2 * len(counted) + 1) * 1000
    told = weights.applied(there)
    assert told == pytest.approx((expected @ there.reshape(-1, 2)).reshape(-1), abs=0.5001)
    assert told.sum() == pytest.approx(there.sum(), abs=len(there)), "nobody is made up, nobody lost"
    # Where a grid has said where a zone's people are, its neighbours give all of them back; with a step of 0 nobody.
    plan = plan_of(counted.tolist())
    said = [(1.0, None, 0.0)[n % 3] for n in range(len(counted))]
    steps = np.array([STEP if step is None else step for step in said])
    zones = [msgspec.structs.replace(zone, step=step) for zone, step in zip(plan.zones, said, strict=True)]
    expected = np.eye(len(counted)) + steps * (np.eye(len(counted)) - counted)
    assert dense(people(msgspec.structs.replace(plan, zones=tuple(zones)))) == pytest.approx(expected)


def test_districts_noise_is_that_of_their_zones_together():
    weights = people(WEIGHTED)
    district_of = np.array([0, 0, 1, 1, 0, 1][: len(PLAN.zones)])
    sums = np.zeros((2, len(PLAN.zones)))
    np.add.at(sums, district_of, dense(weights))
    assert weights.norms_of(district_of, 2) == pytest.approx(np.sqrt((sums**2).sum(axis=1)))


def test_noise_grows_by_what_a_place_is_given_of_all_others_and_alike_in_each_of_its_parts():
    weights = people(plan_of([[0.5, 0.0, 0.3], [0.5, 1.0, 0.1], [0.0, 0.0, 0.6]]))
    rows = np.array([[1.25, 0.0, -0.15], [-0.25, 1.0, -0.05], [0.0, 0.0, 1.2]])
    norms = np.sqrt((rows**2).sum(axis=1))
    assert weights.grown(NAMED["visits"], 6) == pytest.approx(np.repeat(norms, 2))
    together = np.array([rows[0] + rows[2], rows[1]])
    assert weights.norms_of(np.array([0, 1, 0]), 2) == pytest.approx(np.sqrt((together**2).sum(axis=1)))
    trips = weights_of(two_districts(0.2, 0.2)).trips
    assert trips.norm == pytest.approx([1.1, 1.01**0.5]), "of the district's row: what it is given, not what it gives"


def test_nothing_is_given_back_to_where_nobody_is_counted_nor_taken_from_there():
    matrix = [[0.8, 0.1, 0.2], [0.2, 0.9, 0.1], [0.0, 0.0, 0.7]]
    shut = dense(people(plan_of(matrix, ["", "hospital", ""]), {"hospital"}))
    assert shut == pytest.approx(np.array([[1.1, 0.0, -0.1], [0.0, 1.0, 0.0], [0.0, 0.0, 1.15]]))
    unheard = plan_of([[0.8, 0.0], [0.2, 0.0]])
    assert dense(people(unheard)) == pytest.approx(np.array([[1.1, 0.0], [0.0, 1.0]]))


def record_of(plan: Plan, name: str, noisy: np.ndarray, views=None):
    draw = Draw(EPOCH, NAMED[name], 24, EPOCH.start_ms + 24 * EPOCH.pane_ms, noisy)
    return next_record(draw, None, None, Page(plan, 0.95, views), 0, "me")


def told(plan: Plan, name: str, noisy: np.ndarray, views=None) -> list[dict]:
    return [
        said
        for item in publications(record_of(plan, name, noisy, views))
        if "estimate" in (said := orjson.loads(item.value))
    ]


@pytest.mark.parametrize("name", ["present", "present_cohort", "arrivals", "visits"])
def test_estimates_are_weighted_and_say_so_and_what_was_drawn_is_as_drawn(name: str):
    keys = NAMED[name].keys(len(PLAN.zones), len(PLAN.parents))
    parts = keys // len(PLAN.zones)
    noisy = np.repeat(np.arange(1, len(PLAN.zones) + 1) * 10_000, parts)
    weights = people(WEIGHTED)
    expected = weights.applied(noisy).reshape(-1, parts)[:, 0]
    every = [said for said in told(WEIGHTED, name, noisy) if said["measure"] == name]
    assert all(said["weighted"] is True for said in every)
    zones = [said for said in every if said["level"] == "zone" and (name != "visits" or "visit" in said)]
    assert len(zones) == keys
    number = {zone.id: n for n, zone in enumerate(PLAN.zones)}
    scale = sigma(NAMED[name], EPOCH)
    for said in zones:
        n = number[said["zone"]]
        assert said["noisy"] == (n + 1) * 10_000
        assert said["se"] == pytest.approx(scale * weights.norm[n], abs=0.06), "the noise has grown by the norm"
        # Districts and zones are made to agree, which moves them by a few people; the weights move them by a thousand.
        assert said["estimate"] == pytest.approx(expected[n], abs=10)
    assert all("weighted" not in said for said in told(PLAN, name, noisy))


def two_districts(first: float, second: float, kinds: tuple[str, str] = ("", "")) -> Plan:
    """Two zones of district p, of whose people q's only zone counts these shares, and nobody of q is counted in p."""
    zones = (
        Zone("a", "a", "p", kinds[0], counted=(Spill("a", 1 - first), Spill("c", first))),
        Zone("b", "b", "p", kinds[1], counted=(Spill("b", 1 - second), Spill("c", second))),
        Zone("c", "c", "q", counted=(Spill("c", 1.0),)),
    )
    return Plan(1, "x", "UTC", (Parent("p", "p"), Parent("q", "q")), zones, ())


def test_a_district_gives_and_gets_as_the_mean_of_its_zones():
    half_back = 1 + STEP * np.array([[0.2, 0.0], [-0.2, 0.0]]) - np.array([[0, 1], [1, 0]])
    assert weights_of(two_districts(0.1, 0.3)).trips.matrix == pytest.approx(half_back)
    of_one = 1 + STEP * np.array([[0.1, 0.0], [-0.1, 0.0]]) - np.array([[0, 1], [1, 0]])
    shut = weights_of(two_districts(0.1, 0.3, ("", "hospital")), {"hospital"})
    assert shut.trips.matrix == pytest.approx(of_one), "nobody is counted in the other zone"
    nobody = weights_of(two_districts(0.1, 0.3, ("hospital", "hospital")), {"hospital"})
    assert nobody.trips.matrix == pytest.approx(np.eye(2))


def test_trips_are_given_back_at_both_ends():
    """All trips are from p to p; of those there, seen from q, a fifth of either end is taken for q's."""
    weights = weights_of(two_districts(0.2, 0.2)).trips
    shares = np.array([0.8, 0.2])
    counted = np.rint(10_000 * np.outer(shares, shares)).astype(np.int64).reshape(-1)
    told = weights.applied(counted).reshape(2, 2)
    assert told.sum() == counted.sum()
    assert told[0, 0] == pytest.approx(10_000 * (0.8 * 1.1) ** 2, abs=1)
    assert told[1, 1] == pytest.approx(10_000 * (0.2 - 0.8 * 0.1) ** 2, abs=1)
    assert weights.applied(np.array([8, 2, 2, 1])).tolist() == [10, 1, 1, 1], "9.68, 1.32, 1.32 and 0.68"
    drawn = np.random.default_rng(3).normal(0, 1000, (4000, 4)).astype(np.int64)
    spread = np.std([weights.applied(row) for row in drawn], axis=0)
    assert spread == pytest.approx(1000 * weights.grown(NAMED["trips_parent"], 4), rel=0.05)


def test_trips_between_districts_are_weighted_and_say_so():
    districts = len(PLAN.parents)
    noisy = (np.arange(districts**2) + 1) * 10_000
    weights = weights_of(WEIGHTED).trips
    expected, se = (
        weights.applied(noisy),
        sigma(NAMED["trips_parent"], EPOCH) * weights.grown(NAMED["trips_parent"], districts**2),
    )
    number = {parent.id: n for n, parent in enumerate(PLAN.parents)}
    flows = [said for said in told(WEIGHTED, "trips_parent", noisy) if "origin" in said]
    assert len(flows) == districts**2
    for said in flows:
        key = number[said["origin"]] * districts + number[said["destination"]]
        assert said["weighted"] is True
        assert said["noisy"] == noisy[key]
        assert said["estimate"] == pytest.approx(expected[key], abs=10)
        assert said["se"] == pytest.approx(se[key], abs=0.06)
    assert all("weighted" not in said for said in told(PLAN, "trips_parent", noisy))


def test_what_the_data_choose_the_keys_of_is_not_weighted():
    many = tuple(Parent(f"p{n}", f"p{n}") for n in range(317))
    zones = tuple(Zone(f"z{n}", f"z{n}", f"p{n}", counted=(Spill(f"z{n}", 1.0),)) for n in range(317))
    weights = weights_of(Plan(1, "x", "UTC", many, zones, ()))
    assert weights.of(NAMED["trips_parent"]) is None
    assert weights.trips is None, "no matrix that nothing is multiplied by"
    assert weights.of(NAMED["visits"]) is weights.people


@pytest.mark.parametrize("name", ["trips_zone", "dwell"])
def test_stays_and_trips_between_zones_stay_as_they_are_counted(name: str):
    noisy = np.full(NAMED[name].keys(len(PLAN.zones), len(PLAN.parents)), 5_000)
    assert publications(record_of(WEIGHTED, name, noisy)) == publications(record_of(PLAN, name, noisy))


def test_districts_are_the_sums_of_their_zones():
    noisy = np.arange(1, len(PLAN.zones) + 1) * 10_000
    said = told(WEIGHTED, "present", noisy)
    parents = {zone.id: zone.parent for zone in PLAN.zones}
    for district in PLAN.parents:
        own = next(one for one in said if one["level"] == "parent" and one["zone"] == district.id)
        zones = [one for one in said if one["level"] == "zone" and parents[one["zone"]] == district.id]
        assert own["estimate"] == pytest.approx(sum(one["estimate"] for one in zones), abs=1)
        assert own["noisy"] == sum(one["noisy"] for one in zones)


def test_the_shipped_view_is_that_of_plans_with_weights_or_without():
    assert Page(PLAN, 0.95, SIMULATED).views is SIMULATED
    assert Page(WEIGHTED, 0.95, SIMULATED).views is SIMULATED_WEIGHTED
    own = {"present": View(0.02)}
    assert Page(WEIGHTED, 0.95, own).views is own


def sites_at(*rows: tuple[float, float, float]) -> tuple[Sites, np.ndarray, np.ndarray]:
    """x, range and azimuth, on a line."""
    x, reach, azimuth = np.array(rows).T
    names = [f"001-01-{n + 1:07X}" for n in range(len(x))]
    sites = Sites(names, names, ["lte"] * len(x), x * 0, x * 0, azimuth, np.full(len(x), 120.0), reach)
    return sites, x, np.zeros(len(x))


NO = float("nan")


def counted_at(zones: list[shapely.Geometry], zone_of: list[int], *rows: tuple[float, float, float]) -> list[dict]:
    sites, x, y = sites_at(*rows)
    ids = [f"z{n}" for n in range(len(zones))]
    found = where_counted(sites, x, y, coverage(sites, x, y), as_objects(zones), np.array(zone_of), ids)
    return [{part.zone: part.share for part in each.shares} for each in found]


def test_points_are_spread_evenly_and_lie_within():
    ring = shapely.Point(500, 0).buffer(300).difference(shapely.Point(500, 0).buffer(200))
    drawn = points(ring)
    assert POINTS * 0.9 < len(drawn) < POINTS * 1.1
    assert shapely.contains_xy(ring, drawn).all()
    assert drawn.mean(axis=0) == pytest.approx([500, 0], abs=15)
    assert len(points(shapely.LineString([(0, 0), (1000, 1000)]).buffer(0.001))) >= 1


def test_a_stronger_cell_serves_more_and_half_way_between_equals_it_is_even():
    cells = np.array([[0.0, 0.0, 500, NO, 120], [1000.0, 0.0, 500, NO, 120]])
    chance = served(np.array([[500.0, 0.0], [100.0, 0.0], [500.0, 4000.0]]), cells)
    assert chance.sum(axis=1) == pytest.approx(1)
    assert chance[0] == pytest.approx([0.5, 0.5])
    assert chance[1, 0] > 0.99
    # 39.08 dB a decade: a range twice as long is 11.8 dB, of a scale of 3.31 dB.
    cells[1, 2] = 1000
    assert served(np.array([[500.0, 0.0]]), cells)[0, 1] == pytest.approx(1 / (1 + np.exp(-11.764 / 3.308)), abs=1e-3)


def test_a_sector_serves_where_it_points():
    cells = np.array([[0.0, 0.0, 500, 90.0, 120], [0.0, 0.0, 500, 270.0, 120]])
    chance = served(np.array([[300.0, 0.0], [-300.0, 0.0], [0.0, 300.0]]), cells)
    assert chance[0, 0] > 0.999
    assert chance[1, 1] > 0.999
    assert chance[2] == pytest.approx([0.5, 0.5])


def test_a_zone_is_counted_by_its_neighbour_where_that_ones_cell_is_the_stronger():
    one, other = shapely.box(-500, -200, 400, 200), shapely.box(400, -200, 1500, 200)
    found = counted_at([one, other], [0, 1], (0, 500, NO), (1000, 500, NO))
    assert found[0]["z0"] > 0.95
    assert found[1]["z0"] > 0.03, "the border lies 100 m towards the first"
    for each in found:
        assert sum(each.values()) == pytest.approx(1, abs=0.002)
    stronger = counted_at([one, other], [0, 1], (0, 900, NO), (1000, 500, NO))
    assert stronger[1]["z0"] > 2 * found[1]["z0"]


def test_who_is_served_by_cells_of_no_zone_is_missing_and_zones_without_a_cell_are_not_known():
    zones = [shapely.box(-500, -200, 1500, 200), shapely.box(5000, 0, 5100, 100)]
    found = counted_at(zones, [0, -1], (0, 500, NO), (1000, 500, NO))
    assert found[0] == {"z0": pytest.approx(0.5, abs=0.02)}
    assert found[1] == {}


def test_an_antenna_is_weaker_off_its_azimuth_as_the_standard_has_it():
    """Beside a cell at the same spot that serves all around: 12 dB times the square of 65 degrees' part, 30 at most."""
    for azimuth, beam, off, lost in (
        (0, 120, 32.5, 3.0),
        (90, 120, -60, 12 * (60 / 65) ** 2),
        (350, 120, 32.5, 3.0),
        (180, 60, 16.25, 3.0),
        (45, 120, 180, 30.0),
        (45, 360, 180, 0.0),
    ):
        bearing = np.radians(azimuth + off)
        cells = np.array([[0.0, 0.0, 500, azimuth, beam], [0.0, 0.0, 500, NO, 120]])
        chance = served(300 * np.array([[np.sin(bearing), np.cos(bearing)]]), cells)[0]
        assert np.log(chance[1] / chance[0]) * SCALE_DB == pytest.approx(lost, abs=1e-6), (azimuth, beam, off)


def test_a_phone_beneath_a_mast_is_as_far_from_it_as_the_mast_is_high():
    cells = np.array([[0.0, 0.0, 500, NO, 120], [ABOVE_M, 0.0, 500, NO, 120]])
    chance = served(np.array([[0.0, 0.0]]), cells)[0]
    assert np.log(chance[0] / chance[1]) * SCALE_DB == pytest.approx(LOSS_A_DECADE_DB * np.log10(2**0.5))


def served_by_discs(zone: shapely.Geometry, spots: list[tuple[float, float]], reach: float, radius: float) -> Counted:
    """Of the second zone, for which the second of two cells stands; of both the coverage has this radius."""
    (x, y), number = np.array(spots).T, np.arange(2)
    sites, _, _ = sites_at(*((0, reach, NO) for _ in number))
    discs = as_objects([shapely.Point(*spot).buffer(radius, quad_segs=64) for spot in spots])
    elsewhere = shapely.box(1e6, 1e6, 2e6, 2e6)
    return where_counted(sites, x, y, discs, as_objects([elsewhere, zone]), number, ["z0", "z1"])[1]


@pytest.mark.parametrize("turned", range(0, 360, 90))
def test_no_cell_serves_from_beyond_four_ranges_or_eight_times_its_own_radius(turned: int):
    def shares(nearest: float, reach: float, radius: float) -> dict[str, float]:
        """Of a zone amid two cells, from `nearest` metres away from the first to a bit nearer to the second."""
        zone = shapely.affinity.rotate(shapely.box(nearest, -40, nearest + 80, 40), turned, origin=(0, 0))
        along = np.array([np.cos(np.radians(turned)), np.sin(np.radians(turned))])
        spots = [(0.0, 0.0), tuple((2 * nearest - 20) * along)]
        return {part.zone: part.share for part in served_by_discs(zone, spots, reach, radius).shares}

    for reach, radius, far in ((500, 500, 2000), (5000, 250, 2000), (100, 5000, 400)):
        within, beyond = (shares(nearest, reach, radius) for nearest in (0.98 * far, 1.01 * far))
        assert within["z0"] > 0.2, "it is looked at"
        assert beyond == {"z1": pytest.approx(1)}


def test_a_cell_of_unknown_range_is_taken_to_reach_as_far_as_a_circle_of_its_coverage():
    zones = as_objects([shapely.box(-500, -200, 700, 200), shapely.box(700, -200, 1900, 200)])
    for azimuth, beam in ((NO, 120.0), (90.0, 120.0), (90.0, 60.0)):
        found = []
        for reach in (800.0, NO):
            sites, x, y = sites_at((0, reach, azimuth), (1400, 500, NO))
            sites = sites._replace(beam=np.full(2, beam))
            known = sites._replace(range_m=np.array([800.0, 500.0]))
            found.append(where_counted(sites, x, y, coverage(known, x, y), zones, np.arange(2), ["z0", "z1"]))
        for one, other in zip(*found, strict=True):
            assert [part.zone for part in one.shares] == [part.zone for part in other.shares]
            for known_, unknown in zip(one.shares, other.shares, strict=True):
                assert unknown.share == pytest.approx(known_.share, abs=0.006)


def test_zones_that_count_somebody_are_told_by_how_many_and_hardly_any_not_at_all():
    zones = as_objects(
        [shapely.box(500, -200, 900, 200), shapely.box(-500, -200, 500, 200), shapely.box(0, 900, 9, 909)]
    )
    sites, x, y = sites_at((1000, 500, NO), (0, 500, NO), (-700, 500, NO))
    where = coverage(sites, x, y)
    found = where_counted(sites, x, y, where, zones, np.array([0, 1, 1]), ["z0", "z1", "z2"])
    assert [part.zone for part in found[0].shares] == ["z0", "z1"]
    assert [part.zone for part in found[1].shares] == ["z1", "z0"], "the largest first"
    assert found[2] == Counted(), "no cell stands for it, though some serve it"
    third = where_counted(sites, x, y, where, zones, np.array([0, 1, 2]), ["z0", "z1", "z2"])
    assert [part.zone for part in third[0].shares] == ["z0", "z1"], "what the third serves of it is a two-thousandth"
    # A cell of which nobody knows where it is changes nothing for the others.
    lost = sites_at((0, 100, 45.0), (1000, 500, 20.0), (0, 500, NO), (-700, 500, NO))
    known = sites_at((1000, 500, 20.0), (0, 500, NO), (-700, 500, NO))
    with_lost = as_objects([None, *coverage(*known)])
    assert (
        where_counted(*lost, with_lost, zones, np.array([2, 0, 1, 1]), ["z0", "z1", "z2"])[:2]
        == (where_counted(*known, coverage(*known), zones, np.array([0, 1, 1]), ["z0", "z1", "z2"])[:2])
    )

"""The attacks themselves: that their parts are right, and that planted leaks make them fail."""

from itertools import permutations
from pathlib import Path

import numpy as np
import orjson
import pytest

from attacks import __main__ as command
from attacks import areas, differencing, enumeration, linkage, membership, page, run, trajectories, uniqueness
from attacks.assignment import assign, transport
from attacks.chance import Estimate, auc, auc_bound, mean
from attacks.leaving import (
    DISTRICTS,
    PARTED,
    Published,
    Table,
    bare,
    districts_of,
    in_all,
    parted,
    read,
    release,
    stacked,
    strange_fields,
    suppressed,
)
from attacks.town import Size, World, alone, live, whereabouts
from attacks.trajectories import Accuracy, whole
from attacks.verdict import Part, Verdict, bites, clear
from schemas.ledger import Publication
from streams.core.release.budget import rho_for
from streams.stores.noise import draw

VILLAGE = Size(3, 120, 20, 2, 0.7)
TOWN = Size(1, 2_000, 20, 1, 0.7)


def forgotten(counts, sensitivity, scale, rho):
    return counts


def quiet(_: str) -> None:
    pass


@pytest.fixture(scope="module")
def village() -> World:
    return live(VILLAGE, quiet)


@pytest.fixture(scope="module")
def leaky_town() -> run.Place:
    return run._place("town", TOWN, forgotten, quiet)


def test_assignments_are_the_cheapest() -> None:
    rng = np.random.default_rng(1)
    for n, m in ((1, 1), (3, 5), (5, 5), (6, 7)):
        for _ in range(20):
            cost = rng.integers(0, 9, (n, m)).astype(float)
            found = assign(cost)
            assert len(set(found.tolist())) == n
            best = min(sum(cost[i, j] for i, j in enumerate(order)) for order in permutations(range(m), n))
            assert cost[np.arange(n), found].sum() == best


def test_crowds_go_where_their_people_would_one_by_one() -> None:
    rng = np.random.default_rng(2)
    for _ in range(30):
        groups, places = int(rng.integers(1, 6)), int(rng.integers(1, 6))
        supply = rng.integers(0, 6, groups)
        room = rng.multinomial(supply.sum(), np.full(places, 1 / places))
        cost = rng.integers(0, 9, (groups, places)).astype(float)
        flow = transport(supply, room, cost)
        assert (flow >= 0).all() and (flow.sum(axis=1) == supply).all() and (flow.sum(axis=0) == room).all()
        one_by_one = np.repeat(cost, supply, axis=0)[:, np.repeat(np.arange(places), room)]
        found = assign(one_by_one)
        assert (flow * cost).sum() == one_by_one[np.arange(len(found)), found].sum()


def test_shares_become_whole_numbers_that_add_up() -> None:
    assert whole(np.array([1.5, 1.5, -3.0]), 3).tolist() in ([2, 1, 0], [1, 2, 0])
    assert whole(np.array([0.2, 0.2, 0.6]), 10).tolist() == [2, 2, 6]


def test_the_area_under_the_curve_and_its_error_are_those_of_known_noise() -> None:
    rng = np.random.default_rng(3)
    rho, releases, targets = 0.25, 60, 20
    inside = np.stack([rng.permutation(np.arange(releases) % 2 == 0) for _ in range(targets)], axis=1)
    found = [auc(rng.normal(inside * np.sqrt(2 * rho), 1), inside) for _ in range(40)]
    values = np.array([one.value for one in found])
    assert abs(values.mean() - auc_bound(rho)) < 4 * values.std() / np.sqrt(len(values))
    assert 0.5 < np.mean([one.se for one in found]) / values.std() < 2
    shared = [auc(rng.normal(0, 1, (releases, 1)) + 0.0 * inside, inside) for _ in range(40)]
    assert 0.5 < np.mean([one.se for one in shared]) / np.std([one.value for one in shared]) < 2


def test_the_bound_is_that_of_the_design() -> None:
    assert auc_bound(rho_for(2.0, 2e-9)) == pytest.approx(0.595, abs=1e-3)


def test_a_verdict_allows_for_chance_and_for_nothing_else() -> None:
    assert clear("x", Estimate(0.6, 0.01), 0.595).holds
    assert not clear("x", Estimate(0.7, 0.01), 0.595).holds
    assert not clear("x", Estimate(1.0, 0.0), 0.595).holds
    assert bites("x", 1.0, 0.95).holds and not bites("x", 0.6, 0.95).holds


def test_what_those_counted_lose_is_told_against_those_who_were_not() -> None:
    told = Estimate(0.7, 0.03), Estimate(0.6, 0.04)
    for gain in (Accuracy(*told).gain, uniqueness.Guessed(*told, Estimate(0.1, 0.01)).gain):
        assert gain == pytest.approx((0.1, 0.05))
    assert mean(np.array([0.0, 1.0, 0.0, 1.0])) == pytest.approx((0.5, 12**-0.5)), "of the mean, not of each"
    ways = np.array([[0, 0, 1, 1], [2, 2, 3, 3]])
    found = trajectories.accuracy(ways[::-1], ways, 4 + ways)
    assert (found.counted.value, found.control.value, found.gain.value) == (1.0, 0.0, 1.0)


def test_a_second_day_is_learnt_by_the_first_of_those_who_are_in_what_was_released() -> None:
    second = np.array([[0, 0, 1, 1], [2, 2, 3, 3]])
    first = second.copy()
    first[:, 3] = 9
    found = linkage.outside(second, (first, first), (second, 4 + second))
    assert (found.counted.value, found.control.value, found.gain.value) == (1.0, 0.0, 1.0)


def test_works_are_guessed_by_flows_from_home_and_back_to_it() -> None:
    """From zone 0 most go to 1 in the morning, and more come from 2 in the evening than from 1."""
    trips, present = np.zeros((24, 3, 3)), np.full((24, 3), 50.0)
    trips[uniqueness.MORNING, 0, 1], trips[uniqueness.EVENING, 2, 0] = 10, 20
    trips[uniqueness.EVENING, 0, 1] = 15  # who goes out is not at work
    tables = {
        name: Table(*[values.reshape(24, -1)] * 3) for name, values in (("trips_zone", trips), ("present", present))
    }
    work = np.array([2, 2, 1, 1, 1])
    found = uniqueness.guess_work([Published(tables, 20)], np.zeros(5, np.int64), work, work == 2)
    assert (found.counted.value, found.control.value, found.prior.value) == (1.0, 0.0, 0.6)


def test_whereabouts_and_single_contributions_add_up_to_the_crowds_counts(village: World) -> None:
    day = village.days[0]
    packed = village.imsis[village.counted]
    where = whereabouts(day, packed)
    exact = stacked(day.epoch, day.counts)
    for pane, here in enumerate(where):
        assert (np.bincount(here[here >= 0], minlength=20) == exact["present"][pane]).all()
    total = {key: np.zeros_like(vector) for key, vector in day.counts.items()}
    for imsi in packed.tolist():
        for key, vector in alone(village, day, imsi).items():
            total[key] += vector
    assert all((total[key] == vector).all() for key, vector in day.counts.items())
    assert exact["trips_zone"].sum() > 50


def test_what_is_read_is_what_the_ledger_drew(village: World) -> None:
    day = village.days[0]
    counts = {key: vector + 500 for key, vector in day.counts.items()}
    ledger, published = release(day.epoch, village.plan, counts, draw)
    tables = read(day.epoch, village.plan, published).tables
    drawn = stacked(day.epoch, {(r.number, r.measure): np.frombuffer(r.noisy, "<i8") for r in ledger})
    for name, noisy in drawn.items():
        told = ~np.isnan(tables[name].noisy)
        assert told.mean() > 0.9 and (tables[name].noisy[told] == noisy[told]).all()
    told = ~np.isnan(tables[DISTRICTS].noisy)
    sums = np.stack([drawn["present"][:, village.parents == d].sum(axis=1) for d in range(day.epoch.parents)], axis=1)
    assert (tables[DISTRICTS].noisy[told] == sums[told]).all()
    assert {measure.statistic for measure in parted(day.epoch)} == set(PARTED)
    for measure in parted(day.epoch):
        name = measure.name
        parts = drawn[name].reshape(len(drawn[name]), -1, measure.parts(day.epoch.parents))
        of_all = tables[in_all(name)].noisy
        assert (of_all == parts.sum(axis=2))[~np.isnan(of_all)].all() and np.isnan(of_all).mean() < 0.1
        if measure.level == "parent":
            continue
        of_districts = tables[districts_of(name)].noisy.reshape(len(parts), day.epoch.parents, -1)
        sums = np.stack([parts[:, village.parents == d].sum(axis=1) for d in range(day.epoch.parents)], axis=1)
        assert (of_districts == sums)[~np.isnan(of_districts)].all() and np.isnan(of_districts).mean() < 0.1


def test_bare_counts_have_all_that_is_published(village: World) -> None:
    day = village.days[0]
    _, published = release(day.epoch, village.plan, day.counts, lambda counts, *_: counts)
    exact = bare(day.epoch, village.parents, day.counts).tables
    read_back = read(day.epoch, village.plan, published).tables
    assert exact.keys() == read_back.keys()
    for name, table in read_back.items():
        if name in ("footfall", "departures"):
            continue  # of estimates, not of counts
        told = ~np.isnan(table.noisy)
        assert table.noisy.shape == exact[name].noisy.shape
        assert (table.noisy[told] == exact[name].noisy[told]).all(), name
    assert (exact["departures"].noisy[1:] >= 0).mean() > 0.95


def test_suppression_withholds_small_counts_only(village: World) -> None:
    day = village.days[0]
    exact = bare(day.epoch, village.parents, day.counts)
    hidden = suppressed(exact, 15).tables["present"].noisy
    truth = exact.tables["present"].noisy
    assert (np.isnan(hidden) == ((truth > 0) & (truth < 15))).all()


def test_a_measure_that_no_attack_knows_is_refused(village: World) -> None:
    day = village.days[0]
    _, published = release(day.epoch, village.plan, day.counts, forgotten)
    known = published[0]
    strange = Publication(known.topic, known.key, known.value.replace(b'"measure":"present"', b'"measure":"dreams"'))
    with pytest.raises(LookupError, match="dreams"):
        read(day.epoch, village.plan, [strange])


def failed(part: Part) -> set[str]:
    return {verdict.what for verdict in part.verdicts if verdict.released and not verdict.holds}


def test_forgotten_noise_is_found_by_membership_and_by_differencing(leaky_town: run.Place) -> None:
    scale = run.QUICK._replace(releases=4, targets=5)
    member = run.infer_membership(leaky_town, scale, forgotten, quiet)
    of_two = {f"district of {kind} by all else, mechanism" for kind in areas.KINDS}
    assert of_two < failed(member)
    told_of_two = {what.replace("mechanism", "released") for what in of_two}
    assert failed(member) - of_two - told_of_two == {
        f"membership, {name}" for name in ("mechanism", "released", "logistic, released")
    }
    assert all(verdict.holds for verdict in member.verdicts if not verdict.released)
    subtracted = run.subtract(leaky_town)
    assert len(failed(subtracted)) == 1 and all(v.holds for v in subtracted.verdicts if not v.released)


@pytest.mark.parametrize("rho", [0.003, 0.3])
def test_who_knows_all_but_a_district_is_right_as_often_as_the_bound_says_and_never_more(rho: float) -> None:
    """Somebody who fills a cap of 16; at a hundred times the budget, a tenth of the noise, it shows."""
    rng = np.random.default_rng(4)
    scale, places, parents = (16 / (2 * rho)) ** 0.5, 16, 4
    keys = (np.zeros(16, np.intp), np.arange(16), np.ones(16, np.int64))
    truth = rng.integers(0, 50, (1, places * (parents + 1)))
    number = 4000
    people = areas.Known(parents + 1, rng.integers(0, parents, number), [keys] * number)
    others = (people.area + rng.integers(1, parents, number)) % parents
    right = []
    for own, other in zip(people.area.tolist(), others.tolist(), strict=True):
        table = truth + rng.normal(0, scale, truth.shape)
        one = areas.Known(parents + 1, np.array([own]), [keys])
        right.append(areas.likelier(table, truth, scale, one, np.array([other]))[0] > 0)
    assert np.mean(right) == pytest.approx(auc_bound(rho), abs=4 * (0.25 / number) ** 0.5)
    assert (np.mean(right) > 0.65) == (rho > 0.1)


def test_an_attack_that_does_not_bite_is_a_failure(leaky_town: run.Place, monkeypatch) -> None:
    monkeypatch.setattr(membership, "_look", lambda *_: np.zeros(5 * membership.BLOCKS))
    monkeypatch.setattr(areas, "likelier", lambda *asked: np.zeros(len(asked[3].cells)))
    blunt = run.infer_membership(leaky_town, run.QUICK._replace(releases=4, targets=3), forgotten, quiet)
    assert not failed(blunt)
    assert {v.what for v in blunt.verdicts if not v.holds} == {
        *(f"membership, {name}" for name in ("raw", "k=15", "k=30", "logistic, raw")),
        *(f"district of {kind} by all else, raw" for kind in areas.KINDS),
    }


def test_a_field_of_a_person_in_a_released_record_is_found(leaky_town: run.Place) -> None:
    items = leaky_town.records["present"][:5]
    assert not strange_fields(items)
    planted = Publication(items[0].topic, items[0].key, items[0].value.replace(b"{", b'{"visitors":["a"],', 1))
    assert strange_fields([*items, planted]) == {"visitors"}


def test_a_tenth_of_the_noise_is_found_by_membership(leaky_town: run.Place) -> None:
    world, day = leaky_town.world, leaky_town.world.days[0]
    targets = membership.targets_of(world, day, 5)
    rng = np.random.default_rng(5)

    def tenth(counts, sensitivity, scale, rho):
        return counts + np.rint(rng.normal(0, scale / 10, len(counts))).astype(np.int64)

    found = membership.play(world, day, targets, 16, tenth, quiet).areas["mechanism"]
    assert found.value > 0.9 and not clear("x", found, auc_bound(day.epoch.rho)).holds


def test_an_identifier_or_its_hash_in_anything_that_leaves_is_found(leaky_town: run.Place) -> None:
    world, day = leaky_town.world, leaky_town.world.days[0]
    numbers = enumeration.candidates(world, 20)
    clean = list(enumeration.leaving_bytes(leaky_town.records, world.metrics))
    assert enumeration.outside(enumeration.Words(clean), numbers, day.epoch, quiet) == 0
    victim = numbers[7]
    planted = {
        "text": b"throng_subscriber " + victim,
        "binary": b"..." + int(victim).to_bytes(8, "little"),
        "unsalted": b'{"id":"' + enumeration.HASHES["sha256"](victim).hex().encode() + b'"}',
        "salted by a byte": b"id=" + enumeration.HASHES["md5"](b"\x2a" + victim).hex().encode(),
        "salted by the date": b"id=" + enumeration.HASHES["blake2b-64"](victim + b"2026-03-02").hex().encode(),
    }
    for blob in planted.values():
        assert enumeration.outside(enumeration.Words([*clean[:99], blob]), numbers, day.epoch, quiet) == 1


def test_one_salt_for_two_days_is_found(village: World) -> None:
    assert linkage.inside(village, 60).same_name == 0
    one, other = village.days
    # The second day as if its pseudonyms had been made under the first day's salt.
    packed = village.imsis
    renamed = dict(zip(other.pseudonyms(packed).tolist(), one.pseudonyms(packed).tolist(), strict=True))
    names = np.array([renamed[name] for name in other.sightings.pseudonym.tolist()], np.uint64)
    order = np.argsort(names, kind="stable")
    sightings = other.sightings._replace(pseudonym=names).rows(order)
    careless = village._replace(days=[one, other._replace(salt=one.salt, sightings=sightings)])
    found = linkage.inside(careless, 60)
    assert found.same_name == found.by_rank == 1
    assert not clear("pseudonyms that come back under the next salt", Estimate(found.same_name, 0.0), 0.0).holds


def test_differences_of_suppressed_counts_are_exact(leaky_town: run.Place) -> None:
    day, parents = leaky_town.world.days[0], leaky_town.world.parents
    for k in (15, 30):
        found = differencing.attack(day.epoch, parents, suppressed(leaky_town.raw[0], k), leaky_town.raw[0])
        assert found["districts"].exact == found["districts"].tried > 50
        assert found["districts"].guess < found["districts"].tried / 2


@pytest.mark.parametrize(("holds", "code"), [(True, 0), (False, 1)])
def test_the_command_ends_with_what_the_verdicts_say(holds: bool, code: int, monkeypatch, capsys) -> None:
    results = {
        "membership": {"mechanism": [0.57, 0.01], "bound": 0.595, "raw": [1.0, 0.0]},
        "trajectories, town": {"released": {"counted": [0.7, 0.01], "others": [0.7, 0.01]}},
        "differencing, town": {"released": {"all": {"tried": 10, "exact": 1, "guess": 2}}},
        "enumeration": {"recovered from what left": 0},
    }
    monkeypatch.setattr(command, "attack", lambda *_: Part(results, [Verdict("x", True, 0.0, 0.0, holds)]))
    monkeypatch.setattr("sys.argv", ["attacks"])
    monkeypatch.setenv("ATTACK", "quick")
    assert command.main() == code
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == (
        '{"membership_auc":0.57,"auc_bound":0.595,"raw_auc":1.0,"trajectory_accuracy":0.7,"trajectory_baseline":0.7,'
        '"differencing_recovered":0.1,"enumeration_recovered":0}'
    )


def test_attacks_is_told_its_size(monkeypatch) -> None:
    monkeypatch.setattr("sys.argv", ["attacks"])
    monkeypatch.setenv("ATTACK", "enormous")
    assert command.main() == 2


def test_the_kept_run_is_a_full_one_and_the_page_and_pictures_are_its(tmp_path: Path) -> None:
    kept = command.DOCS / "attacks"
    results = orjson.loads((kept / "results.json").read_bytes())
    assert results["size"]["releases"] == run.FULL.releases and results["size"]["targets"] == run.FULL.targets
    text = (command.DOCS / "attacks.md").read_text(encoding="utf-8")
    assert page.fill(text, results) == text
    command.picture.draw(results, tmp_path)
    drawn = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert drawn == {file.name: file.read_bytes() for file in kept.glob("*.svg")}
    for name, words in (("a week", "5.4"), ("30 days", "12.3")):
        days = results["membership"]["days add up"][name]
        assert f"{days['epsilon']:.1f}" == words and words in text
        assert f"{days['auc_bound']:.2f}" in text and f"{days['epsilon by the account']:.1f}" in text

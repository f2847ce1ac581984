"""Factors of places that nobody has counted: the line against a plain reference, its laws, plans, and the command."""

from pathlib import Path

import msgspec
import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.lengths import BUCKETS
from schemas.measures import DEFAULT_MEASURES
from schemas.plan import NOWHERE, Cell, Correction, Plan, Zone
from streams.core.calibration.calibration import MOST, SPREAD
from streams.core.calibration.foretelling import EARNED, Line, fitted, foretold, sizes
from streams.core.release.release import publications
from streams.core.times import rfc3339
from streams.stores.plans import load_plan
from tests.support.world import PLAN
from tests.unit.test_calibration import EPOCH, HOUR_MS, calibrate, record_of, told, write
from tests.unit.test_schemas import validator

DWELL = next(measure for measure in DEFAULT_MEASURES if measure.name == "dwell")
AREAS = (40_000.0, 90_000.0, 160_000.0, 360_000.0, 810_000.0, 1_440_000.0)


def believed(
    logarithm: np.ndarray, se: np.ndarray, x: np.ndarray, spread: float, at: np.ndarray
) -> tuple[float, float]:
    """Plainly: places' logarithms and that at `at` are normal together; the latter's mean and variance, given these.

    What all have in common is the line, of which intercept and slopes each have a variance of SPREAD squared."""
    ours, there = np.column_stack([np.ones(len(x)), x]), np.append(1.0, at)
    together = SPREAD**2 * ours @ ours.T + np.diag(spread**2 + se**2)
    common = SPREAD**2 * ours @ there
    gain = np.linalg.solve(together, common)
    return float(gain @ logarithm), float(SPREAD**2 * there @ there + spread**2 - gain @ common)


places = st.lists(
    st.tuples(st.floats(-1.2, 1.2), st.floats(0.01, 0.4), st.floats(-2, 2), st.floats(-2, 2)), min_size=3, max_size=12
)


@settings(max_examples=60)
@given(places, st.integers(0, 2))
def test_the_line_and_each_place_by_the_others_are_what_the_plain_reference_has(
    rows: list[tuple], numbers: int
) -> None:
    logarithm, se, *more = np.array(rows).T
    x = np.column_stack(more)[:, :numbers]
    line = fitted(logarithm, se, x)
    mean, error = line.at(np.array([[0.5] * numbers, [-3.0] * numbers]).reshape(2, numbers))
    for n, at in enumerate((0.5, -3.0)):
        plain, variance = believed(logarithm, se, x, line.spread, np.full(numbers, at))
        assert mean[n] == pytest.approx(plain, abs=1e-8)
        assert error[n] ** 2 == pytest.approx(variance, rel=1e-6)
    left, score = [], 0.0
    for n in range(len(rows)):
        others = np.arange(len(rows)) != n
        plain, variance = believed(logarithm[others], se[others], x[others], line.spread, x[n])
        left.append(logarithm[n] - plain)
        variance += se[n] ** 2
        score -= (np.log(variance) + left[-1] ** 2 / variance) / 2
    worth = 1 / (SPREAD**2 + se**2)
    assert line.others == pytest.approx(np.sqrt(worth @ np.square(left) / worth.sum()), rel=1e-6)
    assert line.alone == pytest.approx(np.sqrt(worth @ logarithm**2 / worth.sum()), rel=1e-9)
    none = _without(logarithm, se)
    assert line.better == pytest.approx(score + ((np.log(none) + logarithm**2 / none) / 2).sum(), abs=1e-4)


def _without(logarithm: np.ndarray, se: np.ndarray) -> np.ndarray:
    """Variances where there is no line: the spread that is likeliest, two places of SPREAD counted in, by trying."""
    tried = np.geomspace(1e-4, 3, 200_001)
    fits = -np.log(tried) - SPREAD**2 / tried
    for one, error in zip(logarithm.tolist(), se.tolist(), strict=True):
        fits -= (np.log(tried + error**2) + one**2 / (tried + error**2)) / 2
    return tried[fits.argmax()] + se**2


def town(places: int, slope: float, apart: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, (places, 1))
    return slope * x[:, 0] + rng.normal(0, apart, places), np.full(places, 0.05), x


def test_what_areas_do_is_found_and_what_is_left_is_within_the_errors_stated() -> None:
    held, off = [], []
    for seed in range(60):
        logarithm, se, x = town(60, -0.3, 0.2, seed)
        line = fitted(logarithm[:20] + np.random.default_rng(1000 + seed).normal(0, 0.05, 20), se[:20], x[:20])
        held.append(line.holds)
        mean, error = line.at(x[20:])
        off.append((logarithm[20:] - mean) / error)
    assert np.mean(held) > 0.95
    assert np.mean(np.abs(off) < 1.96) == pytest.approx(0.95, abs=0.02)


def test_a_line_is_seldom_believed_where_areas_say_nothing_and_is_then_a_flat_one() -> None:
    lines = [fitted(*town(places, 0.0, 0.2, seed)) for places in (6, 20) for seed in range(200)]
    believed_ = [line for line in lines if line.holds]
    assert len(believed_) < 0.1 * len(lines)
    assert all(np.abs(line.by[1]) < 0.35 for line in believed_)


@given(st.integers(0, 99))
def test_the_order_of_places_does_not_matter_nor_do_places_of_which_nothing_is_known(seed: int) -> None:
    logarithm, se, x = town(9, 0.2, 0.1, seed)
    of, turned = fitted(logarithm, se, x), fitted(logarithm[::-1], se[::-1], x[::-1])
    assert of.by == pytest.approx(turned.by, abs=1e-9)
    assert of.better == pytest.approx(turned.better, abs=1e-6)
    more = fitted(np.append(logarithm, 3.0), np.append(se, 1e6), np.append(x, [[1.0]], axis=0))
    # The tenth adds no evidence, and to how far places are apart what was believed before: nothing it has seen.
    assert more.by == pytest.approx(of.by, abs=0.05)


def with_areas(factors: dict[str, float], part: str = "under_5", areas: tuple[float, ...] = AREAS) -> Plan:
    zones = tuple(msgspec.structs.replace(zone, area_m2=area) for zone, area in zip(PLAN.zones, areas, strict=True))
    said = tuple(Correction("dwell", place, factor, 0.02, part=part) for place, factor in factors.items())
    return msgspec.structs.replace(PLAN, zones=zones, calibration=said)


SMALL_ARE_MISSED = {"z0": 2.4, "z1": 2.0, "z2": 1.7, "z4": 1.2, "z5": 1.0}


def of_part(plan: Plan, part: str = "under_5") -> tuple[Line | None, tuple[Correction, ...]]:
    of = next(each for each in foretold(plan, DWELL) if each.part == part)
    return of.line, of.factors


def test_a_zone_that_nobody_counted_has_a_factor_by_those_counted_and_its_area() -> None:
    line, (factor,) = of_part(with_areas(SMALL_ARE_MISSED))
    assert line is not None and line.better > EARNED
    assert (factor.place, factor.part, factor.foretold) == ("z3", "under_5", True)
    assert 1.2 < factor.factor < 1.7
    assert factor.se / factor.factor > 0.02, "nobody knows it as well as where it was counted"
    assert [each.part for each in foretold(with_areas(SMALL_ARE_MISSED), DWELL)] == ["under_5"]


def test_nothing_is_foretold_by_few_or_where_areas_say_nothing_or_are_not_known() -> None:
    few = dict(list(SMALL_ARE_MISSED.items())[:4])
    assert of_part(with_areas(few)) == (None, ())
    line, factors = of_part(with_areas({"z0": 1.1, "z1": 0.9, "z2": 1.3, "z4": 0.8, "z5": 1.1}))
    assert line is not None and not line.holds and factors == ()
    bare = msgspec.structs.replace(with_areas(SMALL_ARE_MISSED), zones=PLAN.zones)
    assert foretold(bare, DWELL) == []
    for name in ("present", "visits", "trips_zone"):
        measure = next(each for each in DEFAULT_MEASURES if each.name == name)
        assert foretold(with_areas(SMALL_ARE_MISSED), measure) == []


def test_zones_without_an_area_or_a_cell_teach_nothing_and_are_told_nothing() -> None:
    plan = with_areas(SMALL_ARE_MISSED)
    zones = list(plan.zones)
    zones[3] = msgspec.structs.replace(zones[3], area_m2=None)
    assert of_part(msgspec.structs.replace(plan, zones=tuple(zones)))[1] == ()
    cells = tuple(each if each.zone != "z0" else Cell(each.cell, NOWHERE) for each in plan.cells)
    assert of_part(msgspec.structs.replace(plan, cells=cells)) == (None, ())


def test_sizes_are_told_by_the_zones_that_have_one_and_a_cell() -> None:
    plan = with_areas(SMALL_ARE_MISSED)
    zones = (*plan.zones[:5], msgspec.structs.replace(plan.zones[5], area_m2=None))
    x, known = sizes(msgspec.structs.replace(plan, zones=zones))
    assert known.tolist() == [True] * 5 + [False]
    logs = np.log(AREAS[:5])
    assert x[:5] == pytest.approx((logs - logs.mean()) / logs.std())
    assert x[5] == 0
    alike, _ = sizes(with_areas(SMALL_ARE_MISSED, areas=(40_000.0,) * 6))
    assert alike.tolist() == [0] * 6


def test_a_foretold_factor_is_the_lines_of_relative_errors_and_within_the_bounds() -> None:
    zones = tuple(Zone(f"z{n}", f"z{n}", "north", area_m2=10_000.0 * 2**n) for n in range(12))
    cells = tuple(Cell(f"001-01-{n + 1:07X}", zone.id) for n, zone in enumerate(zones))
    factors = np.exp(1.6 - 0.28 * np.arange(12))
    for place in (0, 6):
        of = np.arange(12) != place
        said = tuple(Correction("dwell", f"z{n}", factors[n], 0.2, part="under_5") for n in np.flatnonzero(of))
        plan = msgspec.structs.replace(PLAN, zones=zones, cells=cells, calibration=said)
        line, (factor,) = of_part(plan)
        x, _ = sizes(plan)
        expected = fitted(np.log(factors[of]), 0.2 / factors[of], x[of, None])
        assert line is not None and line.by == pytest.approx(expected.by)
        logarithm, error = line.at(x[[place], None])
        assert factor.factor == (pytest.approx(np.exp(logarithm[0])) if place else MOST)
        assert factor.se == pytest.approx(factor.factor * error[0])


def test_of_what_areas_tell_too_little_nothing_is_foretold_however_many_were_counted() -> None:
    plan = with_areas({})
    said = tuple(Correction("visits", place, each, 0.02, part="first") for place, each in SMALL_ARE_MISSED.items())
    visits = next(measure for measure in DEFAULT_MEASURES if measure.name == "visits")
    assert foretold(msgspec.structs.replace(plan, calibration=said), visits) == []


def test_what_was_foretold_teaches_nothing() -> None:
    plan = with_areas(SMALL_ARE_MISSED)
    _, factors = of_part(plan)
    again = msgspec.structs.replace(plan, calibration=(*plan.calibration, *factors))
    assert of_part(again)[1] == factors


def test_a_plan_of_before_keeps_its_hash_and_what_was_foretold_is_said_and_put_on() -> None:
    counted = Correction("dwell", "z1", 2.0, 0.1, part="under_5")
    plan = msgspec.structs.replace(PLAN, calibration=(counted,))
    assert plan.hash() == "0c90281630cbc9b18cfd0d4ffcec8752", "as it was before there were areas and foretold factors"
    other = msgspec.structs.replace(plan, calibration=(msgspec.structs.replace(counted, foretold=True),))
    assert other.hash() != plan.hash()
    noisy = np.full((6, len(BUCKETS)), 3000).ravel()
    for one, same in zip(told(plan, "dwell", noisy), told(other, "dwell", noisy), strict=True):
        assert {**one, "plan": ""} == {**same, "plan": ""}


# The command, on a day of six zones, of which five were counted.


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    paths = {name: tmp_path / name for name in ("counts.csv", "released.ndjson", "plan.json", "next.json")}
    plan = with_areas({})
    rng = np.random.default_rng(5)
    lines, rows = [], []
    for hour in range(2, 12):
        noisy = np.zeros((6, len(BUCKETS)), np.int64)
        for zone, factor in SMALL_ARE_MISSED.items():
            noisy[int(zone[1]), 0] = round(3000 / factor + rng.normal(0, 60))
        noisy[3, 0] = 2000
        lines += [item.value for item in publications(record_of(plan, "dwell", noisy.ravel(), number=12 * hour))]
        end_ms = EPOCH.start_ms + 12 * hour * EPOCH.pane_ms
        for zone in SMALL_ARE_MISSED:
            rows.append(("dwell", zone, "", "under_5", rfc3339(end_ms - HOUR_MS), rfc3339(end_ms), 3000))
    paths["released.ndjson"].write_bytes(b"\n".join(lines) + b"\n")
    paths["plan.json"].write_bytes(msgspec.json.encode(plan))
    write(paths["counts.csv"], rows)
    return paths


def test_the_command_gives_the_place_that_nobody_counted_its_factor_and_says_so(
    files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert calibrate(files) == 0
    out, err = capsys.readouterr()
    plan = load_plan(files["next.json"])
    said = orjson.loads(out.splitlines()[-1])
    assert (said["factors"], said["foretold"], said["plan"]) == (5, 1, plan.hash())
    assert "others" in out and "…" not in out and "foretell" not in err
    (factor,) = (each for each in plan.calibration if each.foretold)
    assert (factor.measure, factor.place, factor.part) == ("dwell", "z3", "under_5")
    assert 1.2 < factor.factor < 1.7
    validator("plan").validate(orjson.loads(files["next.json"].read_bytes()))
    assert calibrate(files, "--no-foretell") == 0
    assert len(load_plan(files["next.json"]).calibration) == 5


def test_a_place_that_is_counted_later_has_its_own_factor_and_the_others_anew(
    files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert calibrate(files) == 0
    first = load_plan(files["next.json"])
    lines = [orjson.loads(line) | {"plan": first.hash()} for line in files["released.ndjson"].read_bytes().splitlines()]
    files["released.ndjson"].write_bytes(b"\n".join(orjson.dumps(each) for each in lines))
    files["plan.json"].write_bytes(files["next.json"].read_bytes())
    counted = [line for line in files["counts.csv"].read_text().splitlines() if ",z5," in line]
    write(files["counts.csv"], [tuple(line.replace("z5", "z3").split(",")) for line in counted])
    assert calibrate(files) == 0
    second = load_plan(files["next.json"])
    assert [each.place for each in second.calibration] == ["z0", "z1", "z2", "z4", "z5", "z3"]
    assert not any(each.foretold for each in second.calibration)
    capsys.readouterr()


def test_why_nothing_is_foretold_is_said_in_a_line(files: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    rows = [tuple(line.split(",")) for line in files["counts.csv"].read_text().splitlines()[1:]]
    write(files["counts.csv"], [row for row in rows if row[1] in ("z0", "z1")])
    assert calibrate(files) == 0
    assert "too few places of dwell to foretell others by, 5 are needed: under_5 (2)" in capsys.readouterr().err
    write(files["counts.csv"], [(*row[:6], 3000 / SMALL_ARE_MISSED[row[1]]) for row in rows])
    assert calibrate(files) == 0
    assert "areas of those counted don't foretell their factors of dwell" in capsys.readouterr().err
    plan = load_plan(files["plan.json"])
    bare = msgspec.structs.replace(plan, zones=PLAN.zones)
    files["plan.json"].write_bytes(msgspec.json.encode(bare))
    lines = [orjson.loads(line) | {"plan": bare.hash()} for line in files["released.ndjson"].read_bytes().splitlines()]
    files["released.ndjson"].write_bytes(b"\n".join(orjson.dumps(each) for each in lines))
    assert calibrate(files) == 0
    assert "the plan has no areas (throng zones build keeps them)" in capsys.readouterr().err

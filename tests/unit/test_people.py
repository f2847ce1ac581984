"""From phones to people: the figure, its error against many draws, and that there is none without shares."""

from pathlib import Path

import msgspec
import numpy as np
import orjson
import pytest

from schemas.released import Footfall
from schemas.shares import Factor, Shares
from streams.cli.main import run
from streams.core.derived.people import people, problems, together
from tests.support.world import PLAN
from tests.unit.test_derived import flow, told
from tests.unit.test_schemas import validator

SHARES = Shares(
    source="a regulator's report, 2026",
    areas={"north": Factor(0.3, 0.02), "z1": Factor(0.4, 0.04)},
    devices=Factor(1.1, 0.03),
    of_age=Factor(0.84, 0.01),
    counted=Factor(0.6, 0.02),
    carries=Factor(0.95, 0.01),
)
PARENTS = {zone.id: zone.parent for zone in PLAN.zones}
RNG = np.random.default_rng(10)


def place(zone: str, estimate: float | None = 900.0, se: float | None = 60.0) -> Footfall:
    return told("present", 9, estimate, se, zone)


FACTORS = ("devices", "of_age", "counted", "carries")


def surveyed() -> Shares:
    """What another survey of the same truth would have found."""
    again = {name: factor(getattr(SHARES, name)) for name in FACTORS}
    return msgspec.structs.replace(SHARES, areas={area: factor(each) for area, each in SHARES.areas.items()}, **again)


def factor(true: Factor) -> Factor:
    return Factor(float(RNG.normal(true.mean, true.se)), true.se)


def phones(zone: str, share: Factor, true_people: float, se: float) -> Footfall:
    """A released number of the phones of so many people."""
    stands_for = share.mean * np.prod([getattr(SHARES, name).mean for name in FACTORS])
    return place(zone, float(RNG.normal(true_people * stands_for, se)), se)


def test_people_are_phones_by_share_consent_age_and_second_phones() -> None:
    plain = Shares(
        "made up", {"z0": Factor(0.25, 0)}, devices=Factor(1.2, 0), of_age=Factor(0.8, 0), counted=Factor(0.5, 0)
    )
    found = people(place("z0", 960.0, 12.0), plain, {})
    assert found is not None
    assert (found.people, found.people_se) == (8000.0, 100.0)
    assert (found.low, found.high) == (7804.0, 8196.0)


def test_over_many_surveys_it_is_unbiased_and_errs_as_it_says() -> None:
    found = [people(phones("z1", SHARES.areas["z1"], 6000, 60), surveyed(), PARENTS) for _ in range(10_000)]
    numbers = np.array([(one.people, one.people_se, one.low, one.high) for one in found if one is not None])
    assert numbers[:, 0].mean() == pytest.approx(6000, rel=0.005)
    assert numbers[:, 0].std() == pytest.approx(np.median(numbers[:, 1]), rel=0.05)
    assert np.mean((numbers[:, 2] <= 6000) & (numbers[:, 3] >= 6000)) == pytest.approx(0.95, abs=0.01)


def test_several_places_share_their_factors_errors() -> None:
    north, own = SHARES.areas["north"], SHARES.areas["z1"]
    found = []
    for _ in range(10_000):
        records = [phones("z0", north, 6000, 60), phones("z2", north, 4000, 50), phones("z1", own, 2000, 40)]
        found.append(together(records, surveyed(), PARENTS))
    numbers = np.array([each for each in found if each is not None])
    assert numbers[:, 0].mean() == pytest.approx(12_000, rel=0.005)
    assert numbers[:, 0].std() == pytest.approx(np.median(numbers[:, 1]), rel=0.05)
    records = [place("z0"), place("z2")]
    alone = together(records[:1], SHARES, PARENTS)
    one = people(records[0], SHARES, PARENTS)
    assert alone is not None and one is not None
    assert (round(alone.estimate, 1), round(alone.se, 1)) == (one.people, one.people_se)
    assert together([*records, place("z4")], SHARES, PARENTS) is None


def test_a_zone_takes_its_own_share_or_its_districts_or_that_of_everywhere() -> None:
    areas = [people(place(zone), SHARES, PARENTS) for zone in ("z1", "z0", "north", "z4")]
    assert [found and found.area for found in areas] == ["z1", "north", "north", None]
    everywhere = msgspec.structs.replace(SHARES, everywhere=Factor(0.2, 0.02))
    last = people(place("z4"), everywhere, PARENTS)
    assert last is not None and last.area == "everywhere"
    assert people(place("z0"), SHARES, {}) is None


def test_there_are_no_people_where_nothing_is_told_or_an_age_band_is() -> None:
    assert people(place("z1", None, None), SHARES, PARENTS) is None
    cohort = msgspec.structs.replace(place("z1"), age_band="25-34", gender="female")
    assert people(cohort, SHARES, PARENTS) is None
    assert together([place("z0"), cohort], SHARES, PARENTS) is None
    assert together([place("z0"), place("z1", None, None)], SHARES, PARENTS) is None


def test_it_says_of_what_and_when_and_for_which_purpose_it_is() -> None:
    record = msgspec.structs.replace(place("z1"), covered=0.75, purpose="public", plan="p")
    found = people(record, SHARES, PARENTS)
    assert found is not None
    for name in ("start", "end", "measure", "level", "zone", "estimate", "se", "covered", "plan", "purpose"):
        assert getattr(found, name) == getattr(record, name)


def test_no_interval_of_people_goes_below_nobody() -> None:
    found = people(place("z1", 20.0, 60.0), SHARES, PARENTS)
    assert found is not None and found.low == 0 < found.people < found.high


def test_what_cannot_be_is_refused() -> None:
    assert problems(SHARES) == []
    assert problems(Shares("", {"a": Factor(0.5, 0.15)}, everywhere=Factor(1.0, 0.0), devices=Factor(1.0, 0.3))) == []
    wrong = Shares("", {"a": Factor(1.2, 0.1)}, everywhere=Factor(0.2, 0.1), devices=Factor(0.9, 0.0))
    assert [problem.split(":")[0] for problem in problems(wrong)] == ["everywhere", "areas.a", "devices"]


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str, str]:
    (tmp_path / "shares.toml").write_text(
        'source = "a report"\n[areas]\nnorth = { mean = 0.3, se = 0.02 }\n[devices]\nmean = 1.1\nse = 0.03\n'
    )
    (tmp_path / "places.json").write_bytes(msgspec.json.encode(PLAN.places()))
    records = [place("z0"), place("z4"), place("z1", None, None), flow("z0", "z1", 100, 20)]
    (tmp_path / "records").write_bytes(b"\n".join(map(msgspec.json.encode, records)) + b"\n\n")
    return str(tmp_path / "shares.toml"), str(tmp_path / "places.json"), str(tmp_path / "records")


def test_the_command_writes_a_line_for_each_number(
    files: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    shares, places, records = files
    assert run(["people", "--shares", shares, "--places", places, records]) == 0
    out, said = capsys.readouterr()
    (line,) = map(orjson.loads, out.splitlines())
    validator("people").validate(line)
    assert (line["zone"], line["area"], line["source"], line["covered"]) == ("z0", "north", "a report", 1.0)
    assert line["people"] == pytest.approx(900 / 0.3 / 1.1, rel=0.01)
    assert said == "1 numbers of people; 3 records not told, without a share, or not of places\n"


def test_a_share_of_a_place_that_the_plan_does_not_have_is_refused(
    files: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    shares, places, records = files
    with Path(shares).open("a") as file:
        file.write("[areas.nroth]\nmean = 0.3\nse = 0.02\n[areas.z1]\nmean = 0.3\nse = 0.02\n")
    assert run(["people", "--shares", shares, "--places", places, records]) == 1
    assert capsys.readouterr().err.endswith("are of places that the plan doesn't have: nroth\n")
    capsys.readouterr()
    assert run(["people", "--shares", shares, records]) == 0, "without a plan nobody knows"
    assert "without --places no zone is known to be in a district" in capsys.readouterr().err


def test_without_shares_the_command_makes_nothing(
    files: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    shares, _, records = files
    assert run(["people", records]) == 2
    Path(shares).write_text('source = "a report"\n')
    assert run(["people", "--shares", shares, records]) == 0
    assert capsys.readouterr().out == ""
    for wrong in ("source = 1", "[", 'source = ""\neverywhere = { mean = 0.1, se = 0.1 }'):
        Path(shares).write_text(wrong)
        assert run(["people", "--shares", shares, records]) == 1
        assert "the shares" in capsys.readouterr().err
    Path(shares).write_text('source = "a report"\n', encoding="utf-8-sig")
    Path(records).write_text('{"schema": "footfall/1"}\n')
    assert run(["people", "--shares", shares, records]) == 2
    assert "line 1 is no released record" in capsys.readouterr().err

"""Files that a user writes: zone plans, policies, keys. What is wrong with them is said by name."""

import os
import resource
import stat
from pathlib import Path

import msgspec
import orjson
import pytest

from streams.errors import ThrongError
from streams.stores.keys import FileKeys
from streams.stores.plans import load_plan
from streams.stores.policies import SHIPPED, load_policies
from tests.support.world import PLAN

GOOD = msgspec.to_builtins(PLAN)


def changed(**fields: object) -> dict[str, object]:
    return GOOD | fields


@pytest.mark.parametrize(
    ("plan", "problem"),
    [
        (changed(zones=[*GOOD["zones"], GOOD["zones"][0]]), "the zone 'z0' is there twice"),
        (changed(cells=[*GOOD["cells"], GOOD["cells"][0]]), "the cell '001-01-0000000' is there twice"),
        (changed(parents=[*GOOD["parents"], {"id": "z0", "name": "Z"}]), "'z0' is the id of a zone and of a parent"),
        (changed(parents=GOOD["parents"][:1]), "zone 'z3' names the unknown parent 'south'"),
        (changed(cells=[{"cell": "001-01-0000001", "zone": "z99"}]), "names the unknown zone 'z99'"),
        (changed(cells=[{"cell": "over there", "zone": "z1"}]), "cell"),
        (changed(zones=[], cells=[]), "it has 0 zones; 1 to 65534 are possible"),
        (changed(timezone="Mars/Base"), "its timezone 'Mars/Base' is no IANA name such as Europe/Berlin"),
        (changed(version="one"), "Expected `int`, got `str` - at `$.version`"),
        ([], "Expected `object`, got `array`"),
    ],
)
def test_a_wrong_plan_is_told_by_entry(tmp_path: Path, plan: object, problem: str) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(orjson.dumps(plan))
    with pytest.raises(ThrongError) as refused:
        load_plan(path)
    assert problem in refused.value.sentence
    assert str(path) in refused.value.sentence


def test_a_plan_is_known_by_what_it_says_not_by_its_layout(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(orjson.dumps(GOOD, option=orjson.OPT_INDENT_2))
    assert load_plan(path).hash() == PLAN.hash()
    path.write_bytes(orjson.dumps(changed(timezone="UTC")))
    assert load_plan(path).hash() != PLAN.hash()


def test_germany_ships_suspended_and_the_test_network_active() -> None:
    states = {policy.country: policy.state for policy in load_policies()}
    assert states == {"Germany": "suspended", "Test network": "active"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("country = 5", "Expected `str`, got `int`"),
        ("country =", "not as expected"),
        ((SHIPPED / "test.toml").read_text() + "\nloud = true\n", "unknown field `loud`"),
        ((SHIPPED / "test.toml").read_text().replace("k = 20", "k = 0"), "Expected `int` >= 1"),
        ((SHIPPED / "test.toml").read_text().replace('"001"', '"999"'), "matching regex"),
    ],
)
def test_a_wrong_policy_is_told(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "here.toml").write_text(text)
    with pytest.raises(ThrongError) as refused:
        load_policies(tmp_path)
    assert problem in refused.value.sentence
    assert "here.toml" in refused.value.sentence


def test_two_policies_for_one_country_code_are_refused(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.toml").write_text((SHIPPED / "test.toml").read_text())
    with pytest.raises(ThrongError, match="two policies in .* claim the country code 001"):
        load_policies(tmp_path)


def test_a_key_is_its_owners_only_and_gone_for_good_once_destroyed(tmp_path: Path) -> None:
    keys = FileKeys(tmp_path / "keys")
    assert keys.key(20260301, create=False) is None
    made = keys.key(20260301, create=True)
    assert made is not None and len(made[1]) == 32
    assert keys.key(20260301, create=True) == made
    other = keys.key(20260302, create=True)
    assert other is not None and other[1] != made[1]
    path = tmp_path / "keys" / "20260301.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    keys.destroy(20260301)
    keys.destroy(20260301)
    assert keys.key(20260301, create=True) is None
    assert not path.exists()
    assert all(made[1] not in file.read_bytes() for file in path.parent.iterdir())
    assert keys.key(20260302, create=False) == other


def test_a_cut_key_file_is_told(tmp_path: Path) -> None:
    keys = FileKeys(tmp_path)
    keys.key(1, create=True)
    os.truncate(tmp_path / "1.key", 5)
    with pytest.raises(ThrongError, match="has 5 bytes instead of 32: restore it"):
        keys.key(1, create=False)


def test_a_volume_that_takes_no_key_is_told_and_keeps_none_of_the_tries(tmp_path: Path) -> None:
    """It ended with `Kafka: [Errno 28] No space left on device`, and each try left a file."""
    keys = FileKeys(tmp_path)
    keys.key(1, create=True)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        for takes_one in (keys.look, lambda: keys.seal(2, bytes(32))):
            with pytest.raises(ThrongError, match="File too large; make room, mount it to be written") as refused:
                takes_one()
            assert refused.value.code == "keys"
        assert keys.holds(1) and not keys.holds(2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    keys.look()
    assert [file.name for file in tmp_path.iterdir()] == ["1.key"]

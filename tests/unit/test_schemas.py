"""The published JSON Schemas are what the types say, and say what real records are."""

import jsonschema
import orjson
import pytest

from schemas.publish import CONTRACTS, FOLDER, drifted
from streams.simulate import Rates, generate, make_town, plan, registry
from tests.unit.test_release import PRESENT, TRIPS_PARENT, drawn, told

START = 1_772_427_600_000


def validator(name: str) -> jsonschema.Draft202012Validator:
    schema = orjson.loads((FOLDER / f"{name}.schema.json").read_bytes())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_no_published_schema_has_drifted() -> None:
    assert drifted() == []


def test_every_contract_is_a_valid_schema() -> None:
    for name, _, _ in CONTRACTS:
        validator(name)


@pytest.mark.parametrize("batch", [1, 5])
def test_simulated_events_and_beats_are_what_the_raw_contract_says(batch: int) -> None:
    town = make_town(1, 300, 20)
    attach, beat = validator("attach"), validator("beat")
    seen = 0
    for piece in generate(town, START, START + 1_800_000, 2, batch, Rates(malformed=0.0, rfc3339=0.2)):
        for partition in range(2):
            for _, value in piece.values(partition):
                record = orjson.loads(value or b"")
                (beat if isinstance(record, dict) and record.get("kind") == "beat" else attach).validate(record)
                seen += 1
    assert seen > 500


def test_the_towns_plan_and_registry_are_what_the_contracts_say() -> None:
    town = make_town(1, 300, 20)
    validator("plan").validate(orjson.loads(orjson.dumps(plan(town))))
    for _, value in registry(town):
        validator("registry").validate(orjson.loads(value))


def test_released_records_are_what_the_contracts_say() -> None:
    for record in told(drawn(PRESENT, [1000, 5, 0, 0, 100, -80])):
        validator("footfall").validate(record)
    for record in told(drawn(TRIPS_PARENT, [0, 4000, 0, 0])):
        validator("flows").validate(record)


def test_a_wrong_event_is_refused_by_the_schema_as_well() -> None:
    good = {"event_id": "e", "imsi": "001010000000001", "ts": START, "cell": "001-01-1A2B3C4"}
    attach = validator("attach")
    attach.validate(good)
    for wrong in ({"imsi": "1"}, {"cell": "x"}, {"kind": "x"}, {"ts": 1.5}, {"event_id": ""}):
        with pytest.raises(jsonschema.ValidationError):
            attach.validate(good | wrong)

"""What commands for consumers make of records that somebody else wrote: a file of lines is refused by its line, in a
recording they are passed over."""

from pathlib import Path

import msgspec
import orjson
import pyarrow as pa
import pytest

from schemas.topics import FOOTFALL
from streams.cli.main import run
from streams.core.times import milliseconds
from streams.recording.columns import SCHEMA
from streams.recording.file import Settings, Writer
from tests.unit.test_outlook import PLACES, pane
from tests.unit.test_people import SHARES

GENUINE = [msgspec.json.encode(record) for record in pane(0)]
FORGED = {
    "no JSON": b"a trial",
    "no such time": GENUINE[0].replace(b'"end":"20', b'"end":"soon'),
    "after all times": orjson.dumps(orjson.loads(GENUINE[0]) | {"end": "9999-12-31T23:45:00Z"}),
    "past all sums": orjson.dumps(orjson.loads(GENUINE[0]) | {"estimate": 1e300, "se": 1e300}),
}


def recorded(path: Path, values: list[bytes]) -> None:
    time = milliseconds(orjson.loads(GENUINE[0])["end"])
    rows = [(FOOTFALL, 0, offset, time, None, value, []) for offset, value in enumerate(values)]
    with Writer(path, {FOOTFALL: Settings(1, {})}) as writer:
        writer.write(
            FOOTFALL, 0, pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in rows], SCHEMA)
        )


@pytest.fixture
def commands(tmp_path: Path) -> list[list[str]]:
    places, shares = tmp_path / "places.json", tmp_path / "shares.toml"
    places.write_bytes(msgspec.json.encode(PLACES))
    said = msgspec.to_builtins(msgspec.structs.replace(SHARES, areas={"north": SHARES.areas["north"]}))
    shares.write_bytes(msgspec.toml.encode({name: value for name, value in said.items() if value is not None}))
    return [
        ["outlook", "--places", str(places), "--profile", str(tmp_path / "usual")],
        ["people", "--shares", str(shares), "--places", str(places)],
    ]


@pytest.mark.parametrize("wrong", FORGED.values(), ids=FORGED)
def test_a_line_is_named(
    tmp_path: Path, commands: list[list[str]], wrong: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lines").write_bytes(b"\n".join([*GENUINE, wrong]))
    for command in commands:
        assert run([*command, str(tmp_path / "lines")]) == 2
        assert "line 4 is no released record" in capsys.readouterr().err


def test_in_a_recording_they_are_passed_over_and_counted(
    tmp_path: Path, commands: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    # Of a time that hadn't come: what follows would be taken for seen.
    ahead = orjson.dumps(orjson.loads(GENUINE[0]) | {"end": "2099-01-01T00:00:00Z"})
    said = []
    for values in (GENUINE, [*FORGED.values(), ahead, *GENUINE]):
        recorded(tmp_path / "records", values)
        for command in commands:
            assert run([*command, str(tmp_path / "records")]) == 0
            said.append(capsys.readouterr())
    assert [each.out for each in said[:2]] == [each.out for each in said[2:]] and said[1].out
    assert all("5 records that no release of throng wrote are passed over" in each.err for each in said[2:])
    assert not any("passed over" in each.err for each in said[:2])

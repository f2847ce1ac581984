"""`throng import`: others' rows as attach events, none lost silently."""

import gzip
import json
import math
import random
import signal
import stat
from collections import Counter
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.attach import EARLIEST_MS, LATEST_MS
from schemas.plan import NOWHERE, Cell, Parent, Plan, Zone
from streams.cli.main import run
from streams.errors import ThrongError
from streams.importing.amf import drafts_of
from streams.importing.disguise import Disguise, key_of
from streams.importing.drafts import Draft, Unusable
from streams.importing.locate import Locator, locator
from streams.importing.mapping import MULTIMNO, Columns, Mapper, read_mapping, time_ms
from streams.importing.out import RECORDS_A_SLICE, partition_of, slices
from streams.importing.people import People
from streams.importing.reading import check_columns, name_of, rows_of
from streams.importing.spool import Event, Spool
from streams.places.findings import Findings
from tests.unit.test_schemas import validator

UTC = ZoneInfo("UTC")
NOON = 1_772_449_200_000  # 2026-03-02T12:00+01:00
CELLS = """radio,mcc,net,area,cell,lon,lat,range,azimuth,beam,id
LTE,1,1,1,1,9.0,50.0,3000,90,120,east
LTE,1,1,1,2,9.0,50.0,3000,270,120,west
NR,1,1,1,3,9.1,50.0,500,,,
LTE,1,1,1,4,,,,,,lost
"""
EAST, WEST, FAR, LOST = "001-01-0000001", "001-01-0000002", "001-01-000000003", "001-01-0000004"


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    path = tmp_path / "cells.csv"
    path.write_text(CELLS)
    return path


def at(lat: float = float("nan"), lon: float = float("nan"), cell: str = "", kind: str = "update") -> Draft:
    return Draft("f:1", "somebody", NOON, cell, lat, lon, kind)


class TestMapping:
    @pytest.mark.parametrize(
        ("value", "form", "expected"),
        [
            ("2026-03-02T12:00:00+01:00", "auto", NOON),
            ("2026-03-02T11:00:00Z", "auto", NOON),
            ("2026-03-02 11:00:00", "auto", NOON),
            ("2026-03-02 11:00:00.250", "auto", NOON + 250),
            (str(NOON // 1000), "auto", NOON),
            (NOON / 1000 + 0.5, "auto", NOON + 500),
            (str(NOON), "auto", NOON),
            (NOON // 1000, "s", NOON),
            (NOON, "ms", NOON),
            (datetime(2026, 3, 2, 11), "auto", NOON),
            (EARLIEST_MS, "ms", EARLIEST_MS),
            (LATEST_MS - 1, "ms", LATEST_MS - 1),
            (NOON * 1000, "us", NOON),
            ("02.03.2026 11:00", "%d.%m.%Y %H:%M", NOON),
        ],
    )
    def test_times_are_read_in_the_forms_that_data_have(self, value: object, form: str, expected: int) -> None:
        assert time_ms(value, form, UTC) == expected

    def test_a_time_without_an_offset_is_of_the_mappings_zone(self) -> None:
        assert time_ms("2026-03-02 12:00:00", "auto", ZoneInfo("Europe/Berlin")) == NOON
        assert time_ms("02.03.2026 12:00", "%d.%m.%Y %H:%M", ZoneInfo("Europe/Berlin")) == NOON
        assert time_ms(datetime(2026, 3, 2, 12), "auto", ZoneInfo("Europe/Berlin")) == NOON, "as Parquet has it"
        with pytest.raises(ThrongError, match=r"unknown time zone '\.\./UTC'"):
            Mapper(Columns(time="t", cell="c", timezone="../UTC"))

    def test_a_time_that_clocks_skipped_is_none_and_of_one_that_came_twice_the_first_is_taken(self) -> None:
        berlin = ZoneInfo("Europe/Berlin")
        with pytest.raises(Unusable, match="clocks skipped"):
            time_ms("2026-03-29 02:30:00", "auto", berlin)
        twice = "2026-10-25 02:30:00"
        assert time_ms(twice, "auto", berlin) == time_ms(f"{twice}+02:00", "auto", berlin)
        assert time_ms(f"{twice}+01:00", "auto", berlin) == time_ms(f"{twice}+02:00", "auto", berlin) + 3_600_000

    @pytest.mark.parametrize("value", ["yesterday", "", "12:00", None, "1e400"])
    def test_what_is_no_time_is_said_so_without_repeating_it(self, value: object) -> None:
        with pytest.raises(Unusable, match="a time that is not of the mapping's form"):
            time_ms(value, "auto", UTC)

    @pytest.mark.parametrize("value", ["inf", 10**400, "nan", [NOON], None])
    def test_what_is_no_number_is_no_time_in_seconds(self, value: object) -> None:
        with pytest.raises(Unusable, match="a time that is not of the mapping's form"):
            time_ms(value, "s", UTC)
        with pytest.raises(Unusable, match="before 2000 or after 2099"):
            time_ms(LATEST_MS, "ms", UTC)

    def test_a_kind_without_a_word_of_the_mapping_is_its_own_and_nothing_may_have_one(self) -> None:
        for kinds, word, kind in (
            ({"call": "service"}, "detach", "detach"),
            ({"call": "service"}, "", "update"),
            ({"": "detach"}, "", "detach"),
            ({"": "detach"}, "service", "service"),
        ):
            mapper = Mapper(Columns(time="t", cell="c", kind="k", kinds=kinds))
            assert mapper.draft("f:1", {"t": NOON, "c": "x", "k": word}, "f").kind == kind

    def test_a_position_is_of_two_numbers_up_to_the_poles_and_the_180th_meridian(self) -> None:
        mapper = Mapper(Columns(time=("t", "u"), cell="c", lat="at.lat", lon="at.lon"))
        row = {"t": "2026-03-02", "u": "11:00:00", "c": "x"}
        for place in ({"lat": 50.0}, {"lon": "9", "lat": None}, {"lat": 10**400, "lon": 9}, "somewhere", {}):
            made = mapper.draft("f:1", row | {"at": place}, "f")
            assert (made.cell, math.isnan(made.lat), math.isnan(made.lon)) == ("x", True, True)
        for lat, lon in ((90, 180), (-90, -180)):
            made = mapper.draft("f:1", row | {"at": {"lat": lat, "lon": lon}}, "f")
            assert (made.lat, made.lon) == (lat, lon)
        with pytest.raises(Unusable, match="no time"):
            mapper.draft("f:1", row | {"t": "", "u": None}, "f")

    def test_columns_are_mapped_and_their_words_too(self) -> None:
        columns = Columns(
            subscriber="who",
            time=("day", "hour"),
            lat="at.lat",
            lon="at.lon",
            kind="what",
            kinds={"call": "service"},
            tac="t",
            rat="r",
        )
        row = {"who": 7, "day": "2026-03-02", "hour": "11:00:00", "at": {"lat": 1, "lon": "2"}, "what": "call"}
        made = Mapper(columns).draft("f:1", row | {"t": "35000000", "r": "LTE"}, "f")
        assert made == Draft("f:1", "7", NOON, "", 1.0, 2.0, "service", "35000000", "lte")

    @pytest.mark.parametrize(
        ("changed", "reason"),
        [
            ({"user_id": ""}, "no subscriber"),
            ({"timestamp": None}, "no time"),
            ({"timestamp": "1999-12-31 23:59:59"}, "before 2000"),
            ({"latitude": 91.0}, "not in degrees"),
            ({"longitude": -181.0}, "not in degrees"),
            ({"latitude": "50,1", "longitude": "9,0"}, r"the position is no number \(a decimal point is needed\)"),
            ({"loc_error": 600.0}, "less exact than 500 m"),
            ({"plmn": 20801}, "another network"),
        ],
    )
    def test_a_row_that_is_no_event_says_why(self, changed: dict, reason: str) -> None:
        row = {"user_id": b"\x01\xff", "timestamp": "2026-03-02 11:00:00", "latitude": 50.0, "longitude": 9.0}
        mapper = Mapper(MULTIMNO, 500.0)
        assert mapper.draft("f:1", row, "f")[:6] == ("f:1", "01ff", NOON, "", 50.0, 9.0)
        with pytest.raises(Unusable, match=reason):
            mapper.draft("f:1", row | changed, "f")
        assert mapper.draft("f:1", row | {"loc_error": 500.0}, "f").lat == 50.0, "as exact as it must be"
        served = mapper.draft("f:1", row | {"latitude": "50,1", "cell_id": "001-01-0000001"}, "f")
        assert served.cell == "001-01-0000001", "it needs no position"

    @pytest.mark.parametrize("value", [float("nan"), "NULL", "\\N", "NaN", "None", " "])
    def test_words_for_nothing_are_nobody_and_no_other_network(self, value: object) -> None:
        row = {"user_id": "u", "timestamp": NOON, "cell_id": "x"}
        assert Mapper(MULTIMNO).draft("f:1", row | {"plmn": value}, "f").subscriber == "u"
        with pytest.raises(Unusable, match="no subscriber"):
            Mapper(MULTIMNO).draft("f:1", row | {"user_id": value}, "f")

    def test_an_identifier_is_the_same_where_others_are_missing(self) -> None:
        row = {"user_id": 262011234567890.0, "timestamp": NOON, "cell_id": 7.0}
        assert Mapper(MULTIMNO).draft("f:1", row, "f")[1:4] == ("262011234567890", NOON, "7")

    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            (2.0**53, "too long to be exact"),
            (-1.5e300, "too long to be exact"),
            (float("inf"), "too long to be exact"),
            ("2.62011E+14", "all its digits are needed"),
            ("2,62011e+14", "all its digits are needed"),
            ("2E+14", "all its digits are needed"),
        ],
    )
    def test_a_number_whose_digits_are_lost_is_nobody(self, value: object, reason: str) -> None:
        """Many would be one person."""
        with pytest.raises(Unusable, match=reason):
            Mapper(MULTIMNO).draft("f:1", {"user_id": value, "timestamp": NOON, "cell_id": 7}, "f")

    @pytest.mark.parametrize("value", [2.0**53 - 1, 2**53, 10**30, "2.62011E14", "12e34", "a2E+14", "2E+1x"])
    def test_what_may_be_an_identifier_is_one(self, value: object) -> None:
        told = Mapper(MULTIMNO).draft("f:1", {"user_id": value, "timestamp": NOON, "cell_id": 7}, "f").subscriber
        assert told == (str(int(value)) if isinstance(value, float) else str(value))

    def test_what_is_no_device_no_radio_no_year_and_no_gender_is_not_told(self) -> None:
        mapper = Mapper(Columns(time="t", cell="at.c", tac="tac", rat="rat", birth_year="born", gender="sex"))
        right = {"t": NOON, "at.c": "x", "tac": "35000000", "rat": "LTE", "born": "1980", "sex": "Female"}

        def told(**row: str) -> tuple[str, str, str, int, str]:
            made = mapper.draft("f:1", right | row, "f")
            return made.cell, made.tac, made.rat, made.birth_year, made.gender

        assert told() == ("x", "35000000", "lte", 1980, "female")
        assert told(tac="3500000", rat="wifi", born="80", sex="f") == ("x", "", "", 0, "")
        assert told(tac="350000000", born="19800") == ("x", "", "lte", 0, "female")
        assert told(tac="３５００００００", born="１９８０") == ("x", "", "lte", 0, "female"), (
            "digits of another script"
        )

    def test_a_file_is_one_subscriber_where_no_column_names_them(self) -> None:
        mapper = Mapper(Columns(time="t", cell="c"))
        assert mapper.draft("f:1", {"t": NOON, "c": "x"}, "walker").subscriber == "walker"

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ('subscriber = "u"', "time"),
            ('time = "t"', "neither a cell nor lat and lon"),
            ('time = "t"\nlat = "y"', "neither a cell nor lat and lon"),
            ('time = "t"\ncell = "c"\ndelimiter = ";;"', "delimiter is one character"),
            ('time = "t"\ncell = "c"\ndelimiter = ""', "delimiter is one character"),
            ('time = "t"\ncell = "c"\ncolour = "x"', "colour"),
            ('time = "t"\ncell = "c"\n[kinds]\ncall = "ring"', "'ring'"),
            ('time = "t"\ncell = "c"\nencoding = "klingon"', "unknown encoding 'klingon'"),
            ('time = "t"\ncell = "c"\nencoding = "base64"', "unknown encoding 'base64'"),
            ("time = ", "mapping"),
        ],
    )
    def test_a_wrong_mapping_is_refused_in_a_line(self, tmp_path: Path, text: str, said: str) -> None:
        path = tmp_path / "m.toml"
        path.write_text(text)
        with pytest.raises(ThrongError, match=said):
            read_mapping(path)


class TestReading:
    def test_text_packed_text_and_parquet_give_the_same_rows(self, tmp_path: Path) -> None:
        rows = [{"a": "1", "b": "x"}, {"a": "2", "b": "y"}]
        text = b"a,b\n1,x\n2,y\n"
        (tmp_path / "r.csv").write_bytes(text)
        (tmp_path / "r.csv.gz").write_bytes(gzip.compress(text))
        (tmp_path / "r.ndjson").write_bytes(b"\n".join(map(orjson.dumps, rows)))
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "r.parquet")
        columns = Columns(time="a", cell="b")
        for name, first in (("r.csv", 2), ("r.csv.gz", 2), ("r.ndjson", 1), ("r.parquet", 1)):
            assert list(rows_of(tmp_path / name, columns)) == [(first, rows[0]), (first + 1, rows[1])], name

    def test_a_file_s_name_is_all_but_its_ending(self) -> None:
        names = ["a.csv", "a.csv.gz", "x/user.1.csv", "user.2.ndjson.gz"]
        assert [name_of(Path(name)) for name in names] == ["a", "a", "user.1", "user.2"]

    def test_lines_that_are_no_rows_keep_their_numbers(self, tmp_path: Path) -> None:
        (tmp_path / "r.csv").write_text("junk\njunk\n1;x\n2\n\n3;z\n")
        columns = Columns(time="a", cell="b", skip=2, columns=("a", "b"), delimiter=";")
        assert list(rows_of(tmp_path / "r.csv", columns)) == [
            (3, {"a": "1", "b": "x"}),
            (4, None),
            (6, {"a": "3", "b": "z"}),
        ]
        (tmp_path / "r.ndjson").write_text('{"a":1}\n\n[1]\nnope\n')
        assert list(rows_of(tmp_path / "r.ndjson", columns)) == [(1, {"a": 1}), (3, None), (4, None)]

    @pytest.mark.parametrize(
        ("named", "encoding"), [("", "utf-16"), ("", "utf-8-sig"), ("latin-1", "latin-1"), ("utf-16-le", "utf-16-le")]
    )
    @pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
    def test_text_is_read_as_it_was_written(self, tmp_path: Path, named: str, encoding: str, newline: str) -> None:
        (tmp_path / "r.csv").write_bytes(newline.join(["a,ä", "1,ü", "2,", ""]).encode(encoding))
        columns = Columns(time="a", cell="ä", encoding=named)
        check_columns((tmp_path / "r.csv",), columns)
        assert list(rows_of(tmp_path / "r.csv", columns)) == [(2, {"a": "1", "ä": "ü"}), (3, {"a": "2", "ä": ""})]

    def test_who_is_written_in_another_encoding_stays_apart(self, tmp_path: Path) -> None:
        (tmp_path / "r.csv").write_bytes("a\nMüller\nMöller\n".encode("latin-1"))
        one, other = (row["a"] for _, row in rows_of(tmp_path / "r.csv", Columns(time="a", cell="a")) if row)
        assert Disguise(b"k").imsi(one) != Disguise(b"k").imsi(other)

    def test_a_file_in_another_encoding_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "r.csv").write_bytes("a,b\n".encode("utf-16-le") + b"\x00\xd81\0\n\0")
        with pytest.raises(ThrongError, match="is not in utf-16-le: name its encoding"):
            list(rows_of(tmp_path / "r.csv", Columns(time="a", cell="b", encoding="utf-16-le")))
        (tmp_path / "r.ndjson").write_text('{"a":1}', encoding="utf-16")
        with pytest.raises(ThrongError, match="is in UTF-16, and JSON is UTF-8"):
            list(rows_of(tmp_path / "r.ndjson", Columns(time="a", cell="b")))

    def test_an_open_quote_loses_each_row_that_it_takes_and_a_note_of_two_lines_none(self, tmp_path: Path) -> None:
        (tmp_path / "r.csv").write_text(
            'a,b,c\n1,x,"open\n2,y,z\n3,x,"shut"\n4,y,"two\nlines, really"\n5,x,"open\n6,y,z\n'
        )
        columns = Columns(time="a", cell="b")
        assert list(rows_of(tmp_path / "r.csv", columns)) == [
            (2, None),
            (3, None),
            (4, None),
            (6, {"a": "4", "b": "y", "c": "two\nlines, really"}),
            (7, None),
            (8, None),
        ]

    def test_a_row_with_more_than_its_columns_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "r.csv").write_text("t,lat,lon\n1,50,1,9,0\n2,50.1,9.0,\n")
        assert list(rows_of(tmp_path / "r.csv", Columns(time="t", lat="lat", lon="lon"))) == [
            (2, None),
            (3, {"t": "2", "lat": "50.1", "lon": "9.0"}),
        ]

    def test_json_may_be_one_array_and_its_numbers_of_any_length(self, tmp_path: Path) -> None:
        columns = Columns(time="a", cell="b")
        long = [{"a": 89490200001234567890 + n} for n in range(2)]
        (tmp_path / "r.json").write_text(f"\ufeff{json.dumps([*long, 7], indent=1)}", encoding="utf-8")
        assert list(rows_of(tmp_path / "r.json", columns)) == [(1, long[0]), (2, long[1]), (3, None)]
        (tmp_path / "r.ndjson").write_text("\ufeff" + "\n".join(map(json.dumps, long)), encoding="utf-8")
        assert list(rows_of(tmp_path / "r.ndjson", columns)) == list(enumerate(long, 1))

    def test_times_of_parquet_may_be_finer_and_of_any_zone(self, tmp_path: Path) -> None:
        fine = pa.array([NOON * 1_000_000 + 1], pa.timestamp("ns", "Mars/Olympus"))
        pq.write_table(pa.table({"t": fine, "u": pa.array(["x"]).dictionary_encode()}), tmp_path / "r.parquet")
        ((_, row),) = rows_of(tmp_path / "r.parquet", Columns(time="t", cell="c"))
        assert row is not None
        assert (time_ms(row["t"], "auto", UTC), row["u"]) == (NOON, "x")

    def test_what_a_value_was_that_can_not_be_read_is_not_said(self, tmp_path: Path) -> None:
        torn = pa.Array.from_buffers(
            pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")]
        )
        pq.write_table(pa.table({"u": torn}), tmp_path / "r.parquet")
        with pytest.raises(ThrongError, match="r.parquet: rows 1 to 1 hold text that isn't UTF-8") as caught:
            list(rows_of(tmp_path / "r.parquet", Columns(time="t", cell="c")))
        assert "0xff" not in caught.value.sentence

    def test_a_packed_file_that_is_damaged_is_said_to_be(self, tmp_path: Path) -> None:
        packed = gzip.compress(b"".join(b"%d,x\n" % (n * 7919 % 100_003) for n in range(20_000)))
        (tmp_path / "r.csv.gz").write_bytes(packed[:3000] + b"\0\xff" * 60 + packed[3120:])
        with pytest.raises(ThrongError, match="cannot read .*r.csv.gz"):
            list(rows_of(tmp_path / "r.csv.gz", Columns(time="a", cell="b", columns=("a", "b"))))


class TestLocating:
    def test_a_position_is_of_the_cell_that_covers_it_else_of_the_nearest(self, cells: Path) -> None:
        found = locator(cells, 10_000, Findings()).cells(
            [at(50.0, 9.02), at(50.0, 8.98), at(50.0, 9.1001), at(50.0, 9.08), at(50.02, 9.0)]
        )
        assert found == [EAST, WEST, FAR, FAR, EAST]

    def test_a_cell_at_the_other_end_of_the_world_bends_no_distance(self, cells: Path) -> None:
        north = [at(50 + metres / 111_230, 9.0) for metres in (6_900, 7_100)]
        away = "LTE,1,1,1,5,151.2,-33.9,400,,,\nLTE,1,1,1,6,-150,-20,400,,,\n"
        for more in ("", away, "LTE,1,1,1,5,151.2,50,400,,,\n", "LTE,1,1,1,5,9,-33.9,400,,,\n"):
            cells.write_text(CELLS + more)
            found = locator(cells, 7_000, Findings()).cells(north)
            assert [isinstance(each, Unusable) for each in found] == [False, True]

    def test_cells_on_both_sides_of_the_180th_meridian_are_near_each_other(self, cells: Path) -> None:
        head = CELLS.splitlines(keepends=True)[0]
        cells.write_text(f"{head}LTE,1,1,1,1,179.95,0.0,9000,,,\nLTE,1,1,1,2,-179.95,0.0,9000,,,\n")
        across = [at(0.0, lon) for lon in (179.999, -179.999, 180.0 - 0.05 - 6_900 / 111_320, 179.95 - 7_100 / 111_320)]
        found = locator(cells, 7_000, Findings()).cells(across)
        assert found[:3] == [EAST, WEST, EAST]
        assert str(found[3]) == "no cell within 7000 m"

    def test_of_cells_that_cover_a_position_the_nearest_has_it_and_of_equals_the_first(self, cells: Path) -> None:
        head = CELLS.splitlines(keepends=True)[0]
        rows = ("9,9.0,50.0,3000,90", "5,9.03,50.0,3000,270", "4,9.03,50.0,3000,270", "2,9.0,50.0,3000,90")
        cells.write_text(head + "".join(f"LTE,1,1,1,{row},120,\n" for row in rows))
        found = locator(cells, 10_000, Findings()).cells([at(50.0, 9.02), at(50.0, 9.01)])
        assert found == ["001-01-0000005", "001-01-0000009"]

    def test_a_cell_without_a_position_serves_none_wherever_it_stands_in_the_plan(self, cells: Path) -> None:
        head, *rows = CELLS.splitlines(keepends=True)
        cells.write_text(head + "".join(reversed(rows)))
        found = locator(cells, 10_000, Findings()).cells([at(50.0, 9.02), at(50.0, 9.1001), at(50.02, 9.0)])
        assert found == [EAST, FAR, WEST], "of two at one spot the first"
        cells.write_text(head + rows[-1])
        found = locator(cells, 10_000, Findings()).cells([at(50.0, 9.02), at(cell="lost")])
        assert (str(found[0]), found[1]) == ("no cell within 10000 m", LOST)

    def test_a_plan_s_cell_may_be_on_a_line_of_zero_degrees_but_one_there_must_be(self, tmp_path: Path) -> None:
        path = tmp_path / "plan.json"
        cells = (Cell(EAST, NOWHERE, lon=0.0, lat=51.5), Cell(WEST, NOWHERE, lon=9.0, lat=0.0))
        plan = Plan(1, "town", "UTC", (Parent("p", "p"),), (Zone("z", "z", "p"),), cells)
        path.write_bytes(orjson.dumps(msgspec.to_builtins(plan)))
        assert locator(path, 10_000, Findings()).cells([at(51.51, 0.01), at(0.01, 9.01)]) == [EAST, WEST]
        path.write_bytes(orjson.dumps(msgspec.to_builtins(plan) | {"cells": []}))
        with pytest.raises(ThrongError, match="the cell plan has no cell"):
            locator(path, 10_000, Findings())

    def test_a_name_is_that_of_its_own_cell_though_data_call_another_one_so(self, cells: Path) -> None:
        cells.write_text(CELLS.replace("lost", EAST))
        assert locator(cells, 10_000, Findings()).cells([at(cell=EAST)]) == [EAST]

    def test_a_cell_that_covers_a_position_is_not_its_own_from_too_far_away(self, cells: Path) -> None:
        (found,) = locator(cells, 1_000, Findings()).cells([at(50.0, 9.02)])
        assert str(found) == "no cell within 1000 m", "its mast is 1.4 km away"

    def test_a_cell_is_known_by_its_name_or_by_what_data_call_it(self, cells: Path) -> None:
        found = locator(cells, 10_000, Findings()).cells(
            [at(cell="west"), at(cell=EAST), at(cell=FAR.lower()), at(cell="lost"), at(50.0, 8.98, cell="strange")]
        )
        assert found == [WEST, EAST, FAR, LOST, WEST]

    def test_what_has_no_cell_says_why(self, cells: Path) -> None:
        found = locator(cells, 10_000, Findings()).cells([at(51.0, 9.0), at(cell="strange"), at(), at(kind="detach")])
        assert [str(each) for each in found] == [
            "no cell within 10000 m",
            "a cell that the plan doesn't know, and no position",
            "neither a cell nor a position",
            EAST,
        ]

    def test_a_zone_plan_serves_by_its_cells_positions(self, tmp_path: Path, cells: Path) -> None:
        plan = tmp_path / "plan.json"
        assert run(["zones", "build", str(plan), "--h3", "7", "--cells", str(cells)]) == 0
        found = locator(plan, 10_000, Findings())
        assert isinstance(found, Locator)
        assert found.cells([at(50.0, 9.09), at(cell=WEST)]) == [FAR, WEST]
        lower = tmp_path / "plan.JSON"
        lower.write_text(plan.read_text().replace("001-01-000000003", "001-01-00000000a"))
        found = locator(lower, 10_000, Findings())
        assert (
            found.cells([at(50.0, 9.09), at(cell="001-01-00000000A"), at(cell="001-01-00000000a")])
            == ["001-01-00000000A"] * 3
        )


def report(kind: str, **more: object) -> dict:
    ncgi = {"plmnId": {"mcc": "001", "mnc": "01"}, "nrCellId": "000000003"}
    where = {"nrLocation": {"ncgi": ncgi, "tai": {}}}
    stamp = "2026-03-02T11:00:00Z"
    return {"type": kind, "supi": "imsi-262011234567890", "timeStamp": stamp, "location": where} | more


class TestAmf:
    def test_reports_are_the_events_that_they_tell_of(self, tmp_path: Path) -> None:
        gone = {"rmInfoList": [{"rmState": "DEREGISTERED", "accessType": "3GPP_ACCESS"}], "location": None}
        lte = {"eutraLocation": {"ecgi": {"plmnId": {"mcc": "001", "mnc": "01"}, "eutraCellId": "0000001"}}}
        reports = [
            report("LOCATION_REPORT", pei="imei-350000001234567"),
            report("REGISTRATION_STATE_REPORT", rmInfoList=[{"rmState": "REGISTERED", "accessType": "3GPP_ACCESS"}]),
            report("REGISTRATION_STATE_REPORT", **gone),
            report("CONNECTIVITY_STATE_REPORT", cmInfoList=[{"cmState": "CONNECTED"}], location=lte),
            report("REACHABILITY_REPORT", reachability="REACHABLE", pei="eui-3500000012345678"),
            report("LOSS_OF_CONNECTIVITY", lossOfConnectReason="PURGED"),
        ]
        path = tmp_path / "n.ndjson"
        path.write_bytes(orjson.dumps({"notifyCorrelationId": "x", "reportList": reports}) + b"\n")
        drafts = [made for _, made in drafts_of(path)]
        assert all(isinstance(draft, Draft) for draft in drafts)
        assert [draft.kind for draft in drafts] == ["update", "attach", "detach", "service", "service", "detach"]
        assert drafts[0][:4] == ("n.ndjson:1.1", "262011234567890", NOON, FAR)
        assert (drafts[0].tac, drafts[0].rat, drafts[3].cell, drafts[3].rat) == ("35000000", "nr", EAST, "lte")
        shorter = report("LOCATION_REPORT")
        shorter["location"]["nrLocation"]["ncgi"]["nrCellId"] = "3"
        path.write_bytes(orjson.dumps({"reportList": [shorter]}))
        assert [made.cell for _, made in drafts_of(path)] == [FAR]
        assert (drafts[2].cell, drafts[4].tac) == ("", ""), "a device without an IMEI has no TAC"

    def test_a_location_that_is_older_than_its_report_counts_when_it_was_seen(self, tmp_path: Path) -> None:
        aged = report("LOCATION_REPORT")
        aged["location"]["nrLocation"]["ueLocationTimestamp"] = "2026-03-02T10:00:00Z"
        (tmp_path / "n.json").write_bytes(orjson.dumps([{"reportList": [aged]}], option=orjson.OPT_INDENT_2))
        ((_, draft),) = drafts_of(tmp_path / "n.json")
        assert isinstance(draft, Draft)
        assert draft.ts_ms == NOON - 3_600_000

    def test_a_time_that_is_not_set_is_none_and_one_that_can_not_be_makes_no_event(self, tmp_path: Path) -> None:
        unset = report("LOCATION_REPORT")
        unset["location"]["nrLocation"]["ueLocationTimestamp"] = "0001-01-01T00:00:00Z"
        wrong = [report("LOCATION_REPORT", timeStamp=f"{year}-01-01T00:00:00Z") for year in ("0001", "1970", "9999")]
        (tmp_path / "n.ndjson").write_bytes(orjson.dumps({"reportList": [unset, *wrong]}))
        first, *others = (made for _, made in drafts_of(tmp_path / "n.ndjson"))
        assert isinstance(first, Draft)
        assert first.ts_ms == NOON
        assert [str(other) for other in others] == ["a time before 2000 or after 2099"] * 3

    def test_what_is_no_event_says_why_and_where(self, tmp_path: Path) -> None:
        lines = [
            b"nope",
            b'{"reportList":[]}',
            orjson.dumps(
                {
                    "reportList": [
                        report("LOCATION_REPORT", supi="nai-x"),
                        report("LOCATION_REPORT", supi="imsi-"),
                        report("LOCATION_REPORT", location={"n3gaLocation": {}}),
                        report("LOCATION_REPORT", timeStamp=None),
                        report("CONNECTIVITY_STATE_REPORT", cmInfoList=[{"cmState": "IDLE"}]),
                        report("LOSS_OF_CONNECTIVITY", lossOfConnectReason="MAX_DETECTION_TIME_EXPIRED"),
                        report("UES_IN_AREA_REPORT"),
                        7,
                        report("REACHABILITY_REPORT", reachability="UNREACHABLE"),
                        report("REGISTRATION_STATE_REPORT", rmInfoList=[]),
                    ]
                }
            ),
        ]
        path = tmp_path / "n.ndjson"
        path.write_bytes(b"\n".join(lines))
        found = {where: str(made) for where, made in drafts_of(path) if isinstance(made, Unusable)}
        assert found == {
            "n.ndjson:1": "no JSON on one line",
            "n.ndjson:2": "no reportList",
            "n.ndjson:3.1": "no supi that is an IMSI",
            "n.ndjson:3.2": "no supi that is an IMSI",
            "n.ndjson:3.3": "no cell in the location",
            "n.ndjson:3.4": "no time",
            "n.ndjson:3.5": "a state that is no event: idle, unreachable or silent",
            "n.ndjson:3.6": "a state that is no event: idle, unreachable or silent",
            "n.ndjson:3.7": "a type of report that tells of no place",
            "n.ndjson:3.8": "a report that is no object",
            "n.ndjson:3.9": "a state that is no event: idle, unreachable or silent",
            "n.ndjson:3.10": "a state that is no event: idle, unreachable or silent",
        }


def test_a_subscriber_is_told_once_as_they_were_first_and_by_all_digits() -> None:
    people, first = People(("marketing",)), at()._replace(birth_year=1980, gender="male")
    for draft in (first, first._replace(birth_year=1999, gender="female")):
        people.add("00101123456789", draft)
    [(key, value)] = people.records()
    told = orjson.loads(value)
    assert (key, told["imsi"], told["birth_year"], told["gender"]) == (key, key.decode(), 1980, "male")
    assert key == b"00101123456789"


class TestOrder:
    @settings(max_examples=50)
    @given(st.lists(st.integers(0, 50)), st.integers(1, 5), st.integers(2, 4))
    def test_events_come_back_by_time_and_else_as_they_came(self, times: list[int], run: int, runs: int) -> None:
        with Spool(run, runs) as spool:
            for number, ts in enumerate(times):
                spool.add(ts, number, b"v%d" % number)
            found = list(spool.by_time())
        assert found == [
            Event(ts, number, number, b"v%d" % number) for ts, number in sorted((ts, n) for n, ts in enumerate(times))
        ]

    def test_no_file_has_a_name_by_which_it_could_stay(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        with Spool(2, 3) as spool:
            for number in range(20):
                spool.add(-number, number, b"262011234567890")
            assert not list(tmp_path.iterdir())
            assert len(list(spool.by_time())) == 20

    def test_slices_keep_each_partitions_order_and_lose_nothing(self) -> None:
        rng = random.Random(1)
        events = [Event(n // 2 * 200, n, rng.randrange(50), b"%d" % n * rng.randrange(1, 4)) for n in range(510)]
        pieces = list(slices(iter(events), 3, 0, 5_000))
        assert len(pieces) == 12, "fifty events each"
        found = Counter()
        for partition in range(3):
            mine = [(time, value) for piece in pieces for time, value in piece.values(partition)]
            assert [time for time, _ in mine] == sorted(time for time, _ in mine)
            mine = [(time, value) for time, value in mine if b"beat" not in value]
            assert mine == [(e.ts_ms, e.value) for e in events if partition_of(e.who, 3) == partition]
            found[partition] = len(mine)
        assert found.total() == 510
        assert min(found.values()) > 50

    @pytest.mark.parametrize(("partitions", "slice_ms"), [(1, None), (5, None), (5, 60_000), (100_000, None)])
    def test_no_partition_is_silent_while_others_speak_and_all_end_alike(
        self, partitions: int, slice_ms: int | None
    ) -> None:
        minutes = (0, 0, 1, 7, 7, 90)
        events = [Event(NOON + n * 60_000 + k, k, k % 2, b"e") for k, n in enumerate(minutes)]
        pieces = list(slices(iter(events), partitions, 10_000, slice_ms))
        assert sum(piece.counts["events"] for piece in pieces) == 6
        assert max(piece.counts["events"] for piece in pieces) <= max(1, RECORDS_A_SLICE // partitions)
        for partition in range(min(partitions, 5)):
            mine = [each for piece in pieces for each in piece.values(partition)]
            assert {(time - NOON) // 60_000 for time, _ in mine} == set(minutes)
            assert [time for time, _ in mine] == sorted(time for time, _ in mine)
            time, value = mine[-1]
            assert orjson.loads(value or b"") == {"kind": "beat", "source": "import", "ts": time}
            assert time == events[-1].ts_ms + 10_000

    def test_without_an_event_there_is_no_beat(self) -> None:
        assert list(slices(iter([]), 4, 10_000)) == []


class TestDisguise:
    def test_a_subscriber_is_the_same_throughout_and_nobody_without_the_key(self, tmp_path: Path) -> None:
        one, other = Disguise(key_of(None)), Disguise(key_of(None))
        assert one.imsi("a") == one.imsi("a") != one.imsi("b")
        assert one.imsi("a") != other.imsi("a")
        kept = tmp_path / "key"
        assert Disguise(key_of(kept)).imsi("a") == Disguise(key_of(kept)).imsi("a")
        assert kept.stat().st_mode & 0o077 == 0
        assert one.imsi("a").startswith("00101")
        assert len(one.imsi("a")) == 15

    def test_a_key_is_of_16_to_64_bytes_and_all_of_them_count(self, tmp_path: Path) -> None:
        path = tmp_path / "key"
        for length in (0, 15, 65):
            path.write_bytes(bytes(length))
            with pytest.raises(ThrongError, match=f"has {length} bytes; 16 to 64 are needed"):
                key_of(path)
        with pytest.raises(ThrongError, match="cannot use the key"):
            key_of(tmp_path)
        made = set()
        for key in (bytes(16), bytes(64), bytes(63) + b"1"):
            path.write_bytes(key)
            assert key_of(path) == key, "whoever brings one keeps it"
            made.add(Disguise(key).imsi("a"))
        assert len(made) == 3

    def test_whoever_is_told_apart_by_any_text_is_told_apart_by_their_imsi(self) -> None:
        disguise = Disguise(bytes(16))
        made = [disguise.imsi(name) for name in ("\udc80", "\udc81", "?", "ä", *map(str, range(100)))]
        assert len(set(made)) == len(made)
        assert {len(imsi) for imsi in made} == {15}

    def test_imsis_can_stay_and_then_must_be_some(self) -> None:
        keep = Disguise(b"", keep=True)
        assert keep.imsi("262011234567890") == "262011234567890"
        for none in ("somebody", "1234", "2620112345678901"):
            with pytest.raises(Unusable, match="no IMSI"):
                keep.imsi(none)


MAPPING = 'subscriber = "u"\ntime = "t"\nlat = "lat"\nlon = "lon"\n'


def imported(tmp_path: Path, cells: Path, text: str, *more: str, mapping: str = MAPPING) -> int:
    (tmp_path / "rows.csv").write_text(text)
    (tmp_path / "map.toml").write_text(mapping)
    files = [str(tmp_path / name) for name in ("rows.csv", "map.toml")]
    return run(["import", files[0], "--cells", str(cells), "--mapping", files[1], *more])


class TestCommand:
    def test_rows_become_events_in_the_order_of_time_and_the_rest_is_told(
        self, tmp_path: Path, cells: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        text = f"u,t,lat,lon\nann,{NOON + 5000},50,9.02\nbob,{NOON},50,8.98\n"
        text += f"ann,{NOON + 1},60,9\n,{NOON},50,9\nann,x,50,9\n"
        out, listed = tmp_path / "out.ndjson", tmp_path / "unusable.ndjson"
        assert (
            imported(tmp_path, cells, text, "--to-file", str(out), "--unusable", str(listed), "--partitions", "1") == 0
        )
        said, told = capsys.readouterr()
        counts = orjson.loads(said.splitlines()[-1])
        assert (counts["rows"], counts["events"], counts["unusable"]) == (5, 2, 3)
        assert "1 rows: no subscriber: rows.csv:5" in told
        assert "ann" not in told
        reasons = {row["row"]: row["reason"] for row in map(orjson.loads, listed.read_bytes().splitlines())}
        assert reasons == {
            "rows.csv:4": "no cell within 35000 m",
            "rows.csv:5": "no subscriber",
            "rows.csv:6": "a time that is not of the mapping's form",
        }
        files = (path for path in tmp_path.glob("*.ndjson"))
        assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in files} == dict.fromkeys(
            ("out.ndjson", "unusable.ndjson"), 0o600
        )
        records = [orjson.loads(line) for line in out.read_bytes().splitlines()]
        *events, beat = [orjson.loads(record["value"]) for record in records]
        assert beat == {"kind": "beat", "source": "import", "ts": NOON + 5000 + 3_610_000}
        assert [(e["ts"], e["cell"], e["kind"]) for e in events] == [
            (NOON, WEST, "update"),
            (NOON + 5000, EAST, "update"),
        ]
        assert [record["time"] for record in records] == [NOON, NOON + 5000, beat["ts"]]
        for event in events:
            validator("attach").validate(event)
            assert event["imsi"].startswith("00101")

    @settings(max_examples=15)
    @given(
        st.lists(
            st.lists(st.sampled_from(["", "ann", "x", str(NOON), "50", "9.0", "1e999", '"', ",", "\n"]), max_size=6)
        )
    )
    def test_each_row_is_an_event_or_has_a_reason(self, lines: list[list[str]]) -> None:
        rows = [dict(zip(("u", "t", "lat", "lon"), line, strict=False)) for line in lines]
        mapper = Mapper(Columns(subscriber="u", time="t", lat="lat", lon="lon"))
        for row in rows:
            try:
                draft = mapper.draft("f:1", row, "f")
            except Unusable as unusable:
                assert str(unusable)
            else:
                assert draft.subscriber
                assert draft.ts_ms > 0

    def test_a_recording_of_it_is_counted_by_a_plan_of_the_same_cells(
        self, tmp_path: Path, cells: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plan, out, panes = (tmp_path / name for name in ("plan.json", "out.parquet", "panes.parquet"))
        assert run(["zones", "build", str(plan), "--h3", "6", "--cells", str(cells)]) == 0
        monkeypatch.setenv("THRONG_GATEWAY_PLAN", str(plan))
        minutes = range(0, 125, 5)
        text = "u,t,lat,lon\n" + "".join(
            f"u{n},{NOON + minute * 60_000 + n},50,{9.02 if n < 30 else 9.1}\n" for n in range(50) for minute in minutes
        )
        assert imported(tmp_path, cells, text, "--to-file", str(out), "--consent", "marketing") == 0
        assert orjson.loads(capsys.readouterr().out.splitlines()[-1])["people"] == 50
        assert run(["replay", str(out), "--embedded", "--out", str(panes)]) == 0
        rows = [row for row in pq.read_table(panes).to_pylist() if row["measure"] == "present"]
        assert {row["count"] for row in rows if row["count"]} == {30, 20}

    @pytest.mark.parametrize("apart_min", [30, 500])
    def test_few_people_whose_traces_end_apart_are_counted_alike_in_any_partitions(
        self,
        tmp_path: Path,
        cells: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
        apart_min: int,
    ) -> None:
        plan = tmp_path / "plan.json"
        assert run(["zones", "build", str(plan), "--h3", "6", "--cells", str(cells)]) == 0
        monkeypatch.setenv("THRONG_GATEWAY_PLAN", str(plan))
        # Each goes on for longer than the one before; with 500 minutes beyond an epoch's end.
        minutes = [(who, 10 * k) for who in range(3) for k in range((who + 1) * apart_min // 10)]
        rows = [f"u{who},{NOON + m * 60_000},50,{9.02 if m % 60 < 40 else 9.1}\n" for who, m in minutes]
        told, tables = [], []
        for partitions in (1, 2, 4, 9):
            out, panes = tmp_path / f"{partitions}.parquet", tmp_path / f"{partitions}.panes.parquet"
            more = ("--to-file", str(out), "--consent", "marketing", "--partitions", str(partitions))
            assert imported(tmp_path, cells, "u,t,lat,lon\n" + "".join(rows), *more) == 0
            capsys.readouterr()
            assert run(["replay", str(out), "--embedded", "--json", "--out", str(panes)]) == 0
            told.append(orjson.loads(capsys.readouterr().out.splitlines()[-1]))
            tables.append(pq.read_table(panes).to_pylist())
        assert told == [told[0]] * 4
        assert told[0]["events"] == len(rows) and not told[0]["rejects"]
        # Up to an hour after the last event: panes of an hour too, and by the rule of silence all are still there.
        last_ms = NOON + max(m for _, m in minutes) * 60_000
        ends = dict.fromkeys(("present", "dwell"), 0.0)
        for row in tables[0]:
            if row["measure"] in ends:
                ends[row["measure"]] = max(ends[row["measure"]], row["end"].timestamp() * 1000)
        assert ends["present"] == (last_ms + 3_600_000) // 300_000 * 300_000
        assert ends["dwell"] == (last_ms + 3_600_000) // 3_600_000 * 3_600_000

    @pytest.mark.parametrize(
        ("text", "mapping", "said"),
        [
            (
                "u,t,lat,lon\n",
                MAPPING + 'cell = "cell_id"\nkind = "type"\n',
                "rows.csv has no column 'cell_id', 'type'",
            ),
            (
                "walker,1,50,9\n",
                MAPPING,
                "rows.csv has no column 'u', 't', 'lat', 'lon', which the mapping names: is its",
            ),
            ("a,1,50,9\n", 'columns = ["t","lat","lon"]\n' + MAPPING, "names 'u', which its own 'columns' don't have"),
        ],
    )
    def test_columns_that_are_not_there_are_named_before_any_row_is_read(
        self, tmp_path: Path, cells: Path, capsys: pytest.CaptureFixture[str], text: str, mapping: str, said: str
    ) -> None:
        out = tmp_path / "out.ndjson"
        assert imported(tmp_path, cells, text, "--to-file", str(out), mapping=mapping) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line and "walker" not in line
        assert not out.exists()

    @pytest.mark.parametrize(
        ("sample", "name", "text"),
        [
            (0, "calls.csv", "user,date,time,lat,lon,cell_id,type\nann,2026-03-02,12:00:00,50,8.98,east,call\n"),
            (1, "ann.plt", "header\n" * 6 + "50,9.02,0,492,40097.5,2026-03-02,11:00:00\n"),
        ],
    )
    def test_the_pages_mappings_are_of_files_that_there_are(
        self, tmp_path: Path, cells: Path, sample: int, name: str, text: str
    ) -> None:
        page = (Path(__file__).parents[2] / "docs/how-to/import.md").read_text(encoding="utf-8")
        (tmp_path / "map.toml").write_text(page.split("```toml\n")[1 + sample].split("```")[0])
        (tmp_path / name).write_text(text)
        files = [
            "--cells",
            str(cells),
            "--mapping",
            str(tmp_path / "map.toml"),
            "--to-file",
            str(tmp_path / "o.ndjson"),
        ]
        assert run(["import", str(tmp_path / name), *files]) == 0
        values = [
            orjson.loads(orjson.loads(line)["value"]) for line in (tmp_path / "o.ndjson").read_bytes().splitlines()
        ]
        (event,) = [value for value in values if value["kind"] != "beat"]
        assert (event["ts"], event["cell"], event["kind"]) == (NOON, EAST, ("service", "update")[sample])

    def test_a_column_inside_another_is_there_and_one_that_no_parquet_has_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "r.parquet"
        pq.write_table(pa.Table.from_pylist([{"t": NOON, "at": {"lat": 50.0, "lon": 9.0}}]), path)
        (tmp_path / "empty.csv").touch()
        check_columns((path, tmp_path / "empty.csv"), Columns(time="t", lat="at.lat", lon="at.lon"))
        with pytest.raises(ThrongError, match="r.parquet has no column 'who', which the mapping names"):
            check_columns((path,), Columns(subscriber="who", time="t", lat="at.lat", lon="at.lon"))

    @pytest.mark.parametrize(("rows", "why"), [("ann,never,50,9\n", "above"), ("", "there are none")])
    def test_an_import_of_no_event_fails_and_writes_nothing(
        self, tmp_path: Path, cells: Path, capsys: pytest.CaptureFixture[str], rows: str, why: str
    ) -> None:
        out = tmp_path / "out.parquet"
        assert imported(tmp_path, cells, f"u,t,lat,lon\n{rows}", "--to-file", str(out)) == 1
        said, told = capsys.readouterr()
        assert orjson.loads(said.splitlines()[-1])["events"] == 0
        assert "rows made an event, and nothing was written" in told.splitlines()[-1] and why in told
        assert not out.exists()

    @pytest.mark.parametrize(
        ("more", "said"),
        [
            (["--as", "multimno"], "either --as or --mapping"),
            (["--to-file", "x.xls"], "ends in neither of .ndjson, .parquet"),
            (["--speed", "0"], "--speed"),
            (["--timezone", "Berlin"], "--timezone is 'Berlin', not an IANA name such as Europe/Berlin"),
            (["--keep-imsi", "--consent", "traffic"], "--consent doesn't go with --keep-imsi"),
        ],
    )
    def test_wrong_usage_is_one_line(
        self, tmp_path: Path, cells: Path, capsys: pytest.CaptureFixture[str], more: list[str], said: str
    ) -> None:
        assert imported(tmp_path, cells, "u,t,lat,lon\n", *more) == 2
        assert said in capsys.readouterr().err

    def test_multimno_rows_of_parquet_are_hashed_again(
        self, tmp_path: Path, cells: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        rows = [
            {
                "user_id": b"\x01" * 32,
                "timestamp": "2026-03-02 11:00:00",
                "mcc": 1,
                "cell_id": "west",
                "loc_error": None,
            },
            {
                "user_id": b"\x01" * 32,
                "timestamp": "2026-03-02 11:05:00",
                "mcc": 1,
                "latitude": 50.0,
                "longitude": 9.02,
            },
        ]
        nothing = {"mnc": "01", "plmn": None, "cell_id": None, "latitude": None, "longitude": None, "loc_error": 5.0}
        source, out = tmp_path / "events.parquet", tmp_path / "out.ndjson"
        pq.write_table(pa.Table.from_pylist([nothing | row for row in rows]), source)
        files = ["--cells", str(cells), "--to-file", str(out)]
        assert run(["import", str(source), "--as", "multimno", *files]) == 0
        values = [orjson.loads(orjson.loads(line)["value"]) for line in out.read_bytes().splitlines()]
        events = [value for value in values if value["kind"] != "beat"]
        assert [event["cell"] for event in events] == [WEST, EAST]
        assert len({event["imsi"] for event in events}) == 1
        assert [event["kind"] for event in events] == ["update", "update"]

    @pytest.mark.parametrize("ending", ["ndjson", "parquet"])
    def test_stopped_amid_the_events_it_leaves_no_file_that_reads_as_a_whole_one(
        self, tmp_path: Path, cells: Path, ending: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        out = tmp_path / f"out.{ending}"
        there: list[list[str]] = []

        def stop(_: object, what: str, __: int) -> None:
            if what == "events written":
                there.append([path.name for path in tmp_path.glob("out.*")])
                signal.raise_signal(signal.SIGTERM)

        monkeypatch.setattr("streams.cli.importing._Progress.say", stop)
        assert imported(tmp_path, cells, f"u,t,lat,lon\nann,{NOON},50,9.02\n", "--to-file", str(out)) == 130
        assert there == [[f"{out.name}.part"]] and not list(tmp_path.glob("out.*"))


def test_the_pages_own_example_is_imported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pages = Path(__file__).parents[2] / "docs" / "how-to"
    page = (pages / "import.md").read_text(encoding="utf-8")
    blocks = page.split("```\n")
    (tmp_path / "events.csv").write_text(next(block for block in blocks if block.startswith("user,")))
    (tmp_path / "events.toml").write_text(page.split("```toml\n")[1].split("```")[0])
    cells = next(block for block in (pages / "zones.md").read_text().split("```\n") if block.startswith("radio,"))
    (tmp_path / "cells.csv").write_text(cells)
    command = next(
        line for block in blocks for line in block.splitlines() if line.startswith("throng import events.csv")
    )
    words = [str(tmp_path / word) if "." in word else word for word in command.split()[1:]]
    words[-1] = str(tmp_path / "events.ndjson")
    assert run(words) == 0
    told = orjson.loads(capsys.readouterr().out)
    assert (told["rows"], told["events"], told["people"]) == (3, 3, 2)
    records = [orjson.loads(orjson.loads(line)["value"]) for line in (tmp_path / "events.ndjson").open()]
    events = sorted((each["ts"], each["cell"], each["kind"]) for each in records if each["kind"] != "beat")
    assert events == [
        (NOON, "262-01-00F4241", "update"),
        (NOON + 90_000, "262-01-00F4242", "service"),
        (NOON + 1_200_000, "262-01-00F4242", "update"),
    ]

"""The API's parts that need no server: tokens, the shelf, and what the rules withhold."""

import copy
import time
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from schemas.access import scopes_for
from streams.api import tokens
from streams.api.rate import Rate
from streams.api.rules import why_not
from streams.api.shelf import Item, Shelf, item_of
from streams.cli.main import cli
from streams.cli.values import expiry_ms
from streams.core.epochs import EpochTable
from streams.core.rules.rules import Told
from streams.core.times import milliseconds
from streams.errors import ThrongError
from tests.support.world import epochs_at

HOUR_MS = 3_600_000
NOON = 1_772_449_200_000


def item(end_ms: int, measure: str = "present", value: bytes = b"") -> Item:
    return Item("footfall", "z1", "", measure, end_ms, "abc", "traffic:footfall:read", value or str(end_ms).encode())


def test_of_a_token_only_its_hash_is_kept_and_it_is_known_until_it_is_revoked(tmp_path: Path) -> None:
    file = tmp_path / "in" / "tokens"
    made = tokens.make(file, "lights", "traffic", NOON)
    other = tokens.make(file, "shops", "marketing", NOON)
    assert made.encode() not in file.read_bytes() and file.stat().st_mode & 0o077 == 0
    known = tokens.Tokens(file)
    holder = known.of(made)
    assert holder is not None and holder.name == "lights" and holder.scopes == scopes_for("traffic")
    assert known.of("") is None and known.of(made[:-1]) is None and known.of(holder.sha256) is None
    tokens.revoke(file, "lights")
    assert known.of(made) is None and known.of(other) is not None
    for act in (lambda: tokens.revoke(file, "lights"), lambda: tokens.make(file, "shops", "traffic", NOON)):
        with pytest.raises(ThrongError, match="the name"):
            act()
    for wrong in ("{}", '{"name":"a","purpose":"traffic","sha256":"00","expires":"soon"}'):
        file.write_text(wrong + "\n")
        with pytest.raises(ThrongError, match="not as expected"):
            tokens.load(file)


def test_a_token_that_this_deployment_would_refuse_is_said_to_be_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THRONG_API_TOKENS", str(tmp_path / "tokens"))
    for purpose, said in (
        ("traffic", "for traffic alone answers it: here gateway.purpose is marketing"),
        ("marketing", ""),
    ):
        made = CliRunner().invoke(cli, ["api", "token", "--name", purpose, "--purpose", purpose])
        assert made.stdout.startswith("throng_") and made.stdout.count("\n") == 1
        assert said in made.stderr and bool(said) == bool(made.stderr)


def test_a_name_is_free_again_once_its_token_has_expired_or_if_it_is_to_be_replaced(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    other, first = tokens.make(file, "shops", "marketing", NOON), tokens.make(file, "me", "traffic", NOON)
    with pytest.raises(ThrongError, match="revoke it first, or --replace it"):
        tokens.make(file, "me", "traffic", 2 * NOON, NOON - 1)
    known = tokens.Tokens(file)
    second = tokens.make(file, "me", "traffic", 2 * NOON, NOON)
    assert known.of(first) is None and known.of(second) is not None and known.of(other) is not None
    third = tokens.make(file, "me", "traffic", 2 * NOON, NOON, replace=True)
    assert known.of(second) is None and known.of(third) is not None
    assert [token.name for token in tokens.load(file)] == ["shops", "me"]


def test_a_token_ends_at_its_time_and_one_from_before_tokens_ended_never(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    tokens.make(file, "lights", "traffic", NOON)
    (made,) = tokens.load(file)
    assert (made.expired(NOON - 1), made.expired(NOON), made.expires) == (False, True, "2026-03-02T11:00:00Z")
    file.write_text(file.read_text().replace(',"expires":"2026-03-02T11:00:00Z"', ""))
    assert not tokens.load(file)[0].expired(2 * NOON)


@pytest.mark.parametrize("name", ["", " ", "a\nb", "\x1b[31m", "n" * 65])
def test_a_tokens_name_stands_in_a_line_of_a_log(tmp_path: Path, name: str) -> None:
    with pytest.raises(ThrongError, match="can't name a token: use 1 to 64 printable characters"):
        tokens.make(tmp_path / "tokens", name, "traffic", NOON)


def test_when_a_token_ends_is_told_as_a_length_a_day_or_a_time() -> None:
    for text, hours in (("12h", 12), ("2d", 48), ("2026-03-03", 13), ("2026-03-02T12:00+00:00", 1)):
        assert expiry_ms("--expires", text, NOON) == NOON + hours * HOUR_MS, text
    for text in ("", "d", "soon", "90", "1.5d", "2026-02-30", "2026-03-03T12:00", f"{'9' * 20}d", "99999999d"):
        with pytest.raises(ThrongError, match="none of 90d"):
            expiry_ms("--expires", text, NOON)
    for text in ("0d", "2026-03-02", "2026-03-02T11:00Z"):
        with pytest.raises(ThrongError, match="over already"):
            expiry_ms("--expires", text, NOON)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 1) | st.floats(0, 5)), min_size=10, max_size=60))
def test_a_holder_asks_as_often_as_the_rate_allows_and_never_oftener(asked: list[tuple[str, float]]) -> None:
    rate, now_s, allowed = Rate(2.0, 3), 0.0, {"a": [], "b": []}  # type: ignore[var-annotated]
    for holder, silence_s in asked:
        now_s += silence_s
        wait_s = rate.wait_s(holder, now_s)
        # Within any time t at most 3 + 2t are allowed; and who is told to wait is let through after it.
        if not wait_s:
            allowed[holder].append(now_s)
            for back, then_s in enumerate(reversed(allowed[holder]), 1):
                assert back <= 3 + 2 * (now_s - then_s) + 1e-6
        else:
            assert copy.deepcopy(rate).wait_s(holder, now_s + wait_s + 1e-9) == 0
            assert copy.deepcopy(rate).wait_s("somebody else", now_s) == 0


def test_the_command_prints_a_token_once_and_lists_names_and_scopes(tmp_path: Path) -> None:
    def said(*arguments: str) -> str:
        environ = {"THRONG_API_TOKENS": str(tmp_path / "tokens"), "THRONG_GATEWAY_PURPOSE": "traffic"}
        return CliRunner().invoke(cli, ["api", *arguments], env=environ, catch_exceptions=False).output

    made = said("token", "--name", "lights", "--purpose", "traffic", "--expires", "2099-01-31").strip()
    assert tokens.Tokens(tmp_path / "tokens").of(made) is not None
    scopes = "traffic:footfall:read, traffic:flows:read, traffic:dwell:read"
    assert said("list") == f"lights: {scopes}; expires 2099-01-31T00:00:00Z\n"
    assert (
        said("revoke", "lights") == "lights is revoked\n"
        and said("list") == f"no tokens in {tmp_path / 'tokens'}: make one with 'throng api token'\n"
    )
    tokens.make(tmp_path / "tokens", "old", "traffic", NOON)
    assert said("list") == f"old: {scopes}; EXPIRED 2026-03-02T11:00:00Z\n"
    assert said("token", "--name", "old").startswith("throng_"), "it has expired"
    again = said("token", "--name", "lights", "--purpose", "traffic", "--replace").strip()
    known = tokens.Tokens(tmp_path / "tokens")
    assert known.of(made) is None and known.of(again) is not None
    before_ms = time.time() * 1000
    said("token", "--name", "new")
    (new,) = (each for each in tokens.load(tmp_path / "tokens") if each.name == "new")
    assert abs(milliseconds(new.expires) - before_ms - 90 * 24 * HOUR_MS) < 60_000


def test_the_shelf_keeps_its_hours_and_a_repeat_once() -> None:
    shelf = Shelf(HOUR_MS)
    assert shelf.put(item(NOON)) and not shelf.put(item(NOON))
    assert shelf.put(item(NOON + HOUR_MS - 1))
    assert [each.end_ms for each in shelf.of("footfall", "z1", 0, NOON + HOUR_MS)] == [NOON, NOON + HOUR_MS - 1]
    assert shelf.put(item(NOON + HOUR_MS))
    assert not shelf.put(item(NOON))
    assert [each.end_ms - NOON for each in shelf.of("footfall", "z1", 0, NOON + HOUR_MS)] == [HOUR_MS - 1, HOUR_MS]
    assert not shelf.knows("flows", "z1") and shelf.knows("footfall", "z1")


def test_the_shelf_lets_go_of_places_that_a_new_plan_has_no_more_when_their_hours_are_over() -> None:
    shelf = Shelf(4 * HOUR_MS)

    def put(hour: int, zone: str, measure: str = "present") -> None:
        shelf.put(item(NOON + hour * HOUR_MS, measure)._replace(place=zone, plan=zone[0]))

    for hour in range(3):
        put(hour, "a1", "passes")
    for hour in range(3, 7):
        put(hour, "b1")
        there = [each.end_ms for each in shelf.of("footfall", "a1", 0, shelf.newest_ms)]
        assert there == [NOON + old * HOUR_MS for old in range(max(hour - 3, 0), 3)]
        assert shelf.knows("footfall", "a1") == shelf.tells("footfall", "passes") == bool(there)
    assert list(shelf._of) == [("footfall", "b1")] and list(shelf._newest) == [("footfall", "present")]


def test_a_record_of_another_purpose_is_not_taken_up() -> None:
    read = {"measure": "present", "end": "2026-03-02T11:00:00Z", "plan": "abc", "zone": "z1", "purpose": "marketing"}
    assert item_of("footfall", orjson.dumps(read), "traffic") is None
    assert item_of("footfall", orjson.dumps(read | {"purpose": ""}), "traffic") is None
    found = item_of("footfall", orjson.dumps(read), "marketing")
    assert found is not None and (found.end_ms, found.scope) == (NOON, "marketing:footfall:read")
    found = item_of("footfall", orjson.dumps(read | {"age_band": "18_29"}), "marketing")
    assert found is not None and found.scope == "marketing:cohorts:read"


def test_an_outlook_is_told_to_whoever_may_know_who_is_there() -> None:
    read = {"schema": "outlook/1", "end": "2026-03-02T11:00:00Z", "plan": "abc", "zone": "z1", "purpose": "traffic"}
    found = item_of("outlook", orjson.dumps(read), "traffic")
    assert found is not None and (found.place, found.measure) == ("z1", "present")
    assert found.scope == "traffic:footfall:read"


class Ruled:
    def __init__(self, told: Callable[[object], Told]) -> None:
        self._told = told

    def of(self, epoch: object) -> Told:
        return self._told(epoch)


def test_what_the_rules_of_its_epoch_withhold_is_not_told() -> None:
    epoch, table = epochs_at(NOON)[0], EpochTable()
    ruled = Ruled(lambda of: Told(of, "", 0))  # type: ignore[arg-type]
    assert why_not(item(NOON), table, ruled) == "its epoch is not known yet"
    table.add(epoch)
    assert why_not(item(NOON), table, ruled) == ""
    assert why_not(item(NOON, "departures"), table, ruled) == ""
    assert why_not(item(NOON, "other"), table, ruled) == "the measure was withdrawn"
    assert why_not(item(NOON), table, Ruled(lambda of: Told(of, "suspended", 0))) == "suspended"  # type: ignore[arg-type]
    quiet = Ruled(lambda of: Told(of, "", NOON))  # type: ignore[arg-type]
    assert "no longer allow" in why_not(item(NOON), table, quiet) and not why_not(item(NOON + 1), table, quiet)


def test_a_days_last_pane_is_held_to_the_rules_of_that_day_and_not_to_the_next_ones() -> None:
    today, tomorrow = epochs_at(NOON, NOON + 24 * HOUR_MS)
    assert today.end_ms == tomorrow.start_ms
    table = EpochTable([today, tomorrow])
    ruled = Ruled(lambda of: Told(of, "suspended" if of is tomorrow else "", 0))  # type: ignore[arg-type]
    said = [why_not(item(today.end_ms + ms), table, ruled) for ms in (-1, 0, 1)]
    assert said == ["", "", "suspended"]
    assert why_not(item(today.end_ms), EpochTable([today]), ruled) == ""


@pytest.mark.parametrize("measure", ["footfall", "departures"])
@pytest.mark.parametrize("withdrawn", ["present", "arrivals"])
def test_what_is_worked_out_from_two_measures_is_withdrawn_with_either(measure: str, withdrawn: str) -> None:
    (epoch,) = epochs_at(NOON)
    left = tuple(each for each in epoch.measures if each.name != withdrawn)
    ruled = Ruled(lambda of: Told(replace(of, measures=left), "", 0))  # type: ignore[arg-type, type-var]
    assert why_not(item(NOON, measure), EpochTable([epoch]), ruled) == "the measure was withdrawn"

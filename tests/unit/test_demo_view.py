"""What the demo draws, from a state to a screen."""

import asyncio
import io
from zoneinfo import ZoneInfo

import pytest
from rich.console import Console

from streams.demo import run
from streams.demo.state import DemoState, Flow, Place
from streams.demo.view import clock, plain_line, render, sparkline

BERLIN = ZoneInfo("Europe/Berlin")


def screen(state: DemoState, width: int = 118) -> str:
    canvas = Console(width=width, file=io.StringIO(), force_terminal=False)
    canvas.print(render(state, BERLIN, None))
    drawn = canvas.file
    assert isinstance(drawn, io.StringIO)
    return drawn.getvalue()


def test_a_curve_is_scaled_from_zero_to_its_largest() -> None:
    assert sparkline([0, 5, 10]) == "▁▅█"
    assert sparkline([0, 0]) == "▁▁"
    assert sparkline([-3, 8]) == "▁█"
    assert sparkline([]) == ""


def test_times_are_the_towns_own() -> None:
    assert clock(1_772_427_600_000, BERLIN) == "Mon 06:00:00"
    assert clock(None, BERLIN) == "--:--:--"


def test_the_screen_shows_the_busiest_first_and_what_is_withheld() -> None:
    state = DemoState(attach_events=1234, watermark_ms=1_772_427_600_000, pane_end_ms=1_772_427_300_000)
    state.places = {
        "a": Place("Station", 900.0, 10.0, None),
        "b": Place("Docks", 1800.0, 10.0, None),
        "c": Place("Chapel", None, None, "old town"),
    }
    for value in (1.0, 1800.0):
        state.seen("Docks", value)
    state.flows = [Flow("Docks", "Station", 321.0, 5.0)]
    state.rejects = {"too_late": 3}
    drawn = screen(state)
    assert drawn.index("Docks") < drawn.index("Station")
    for words in ("1,234", "Mon 06:00:00", "Mon 05:55:00", "1,800", "±95%", "▁█", "321", "too_late 3"):
        assert words in drawn
    assert "1 of 3 places too small to show; 1 speak through their district" in drawn
    assert max(map(len, drawn.splitlines())) <= 118


def test_without_a_terminal_one_line_says_the_same() -> None:
    line = plain_line(DemoState(attach_events=10, sightings=9, rejects={"a": 1, "b": 2}), BERLIN)
    assert "10 events" in line and "9 sightings" in line and "3 rejected" in line and "\n" not in line


def test_the_screen_says_where_the_map_is_whole_and_on_a_line_of_its_own() -> None:
    address = f"http://127.0.0.1:31999/map/#token=throng_{'x' * 43}"
    assert address not in screen(DemoState())
    assert f"live in a browser {address}" in screen(DemoState(map=address))
    narrow = screen(DemoState(map=address), 80)
    assert address in "".join(line.strip() for line in narrow.splitlines()), "no frame is copied with it"


class Played:
    """Stands in for the demo's processes: the simulation has ended, the others go on."""

    def ended(self, name: str) -> bool:
        return name == "simulation"


@pytest.mark.parametrize(("terminal", "last_s"), [(True, None), (False, None), (True, 0.2)])
async def test_whoever_looks_at_it_keeps_the_map_until_ctrl_c(
    terminal: bool, last_s: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "SETTLE_S", 0.0)
    monkeypatch.setattr(run, "REFRESH_S", 0.01)
    options = run.Options(1, 1.0, "", 1.0, 1, last_s, None)
    state, stop = DemoState(), asyncio.Event()
    console = Console(file=io.StringIO(), force_terminal=terminal)
    shown = asyncio.create_task(run._show(options, state, BERLIN, Played(), stop, console))  # type: ignore[arg-type]
    if not terminal or last_s:
        await asyncio.wait_for(shown, 20)
        return
    for _ in range(50):
        await asyncio.sleep(0.01)
    assert not shown.done() and "Ctrl-C ends" in state.step
    stop.set()
    await asyncio.wait_for(shown, 20)

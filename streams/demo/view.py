"""The demo's live terminal view: a pure function from its state to what rich draws."""

from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from streams.demo.state import DemoState

BLOCKS = "▁▂▃▄▅▆▇█"
PLACES_SHOWN = 12
PANES_SHOWN = 24
FLOWS_SHOWN = 8


def sparkline(values: Iterable[float]) -> str:
    """One block character a value, scaled from zero to the largest."""
    numbers = list(values)
    top = max(numbers, default=0.0)
    if top <= 0:
        return BLOCKS[0] * len(numbers)
    return "".join(BLOCKS[min(len(BLOCKS) - 1, int(max(0.0, v) / top * (len(BLOCKS) - 1) + 0.5))] for v in numbers)


def clock(ms: int | None, zone: tzinfo) -> str:
    """Event time as the town's wall clock."""
    if ms is None:
        return "--:--:--"
    return datetime.fromtimestamp(ms / 1000, UTC).astimezone(zone).strftime("%a %H:%M:%S")


def render(state: DemoState, zone: tzinfo, left_s: float | None) -> RenderableType:
    """The whole screen."""
    return Group(
        _headline(state, zone, left_s),
        *_where_the_map_is(state),
        _side_by_side(_places(state, zone), _flows(state)),
        _side_by_side(_withheld(state), _rejects(state)),
    )


def plain_line(state: DemoState, zone: tzinfo) -> str:
    """One progress line for where there is no terminal."""
    return (
        f"{clock(state.watermark_ms, zone)}  {state.attach_events:,} events ({state.attach_per_s:,.0f}/s)  "
        f"{state.sightings:,} sightings  {sum(state.rejects.values()):,} rejected  "
        f"{state.footfall_released:,} footfall and {state.flows_released:,} flow records released, "
        f"{state.footfall_withheld + state.flows_withheld:,} withheld"
    )


def _side_by_side(left: RenderableType, right: RenderableType) -> Table:
    grid = Table.grid(expand=True)
    grid.add_column(ratio=3)
    grid.add_column(ratio=2)
    grid.add_row(left, right)
    return grid


def _headline(state: DemoState, zone: tzinfo, left_s: float | None) -> Panel:
    line = Text.assemble(
        ("watermark ", "dim"),
        (clock(state.watermark_ms, zone), "bold cyan"),
        ("  attach ", "dim"),
        (f"{state.attach_events:,}", "bold"),
        (f" ({state.attach_per_s:,.0f}/s)", "green"),
        ("  sightings ", "dim"),
        (f"{state.sightings:,}", "bold"),
        ("  live ", "dim"),
        (f"{state.live_people:,}", "bold"),
        ("  released ", "dim"),
        (f"{state.footfall_released + state.flows_released:,}", "bold magenta"),
    )
    line.no_wrap = True
    ends = f"{left_s:.0f} s left" if left_s is not None else "Ctrl-C ends"
    return Panel(line, title="throng: where crowds are and move, without knowing anyone", subtitle=state.step or ends)


def _where_the_map_is(state: DemoState) -> list[Text]:
    """Outside of any frame: in a narrow terminal it takes two lines, and is copied with nothing in between."""
    if not state.map:
        return []
    address = Text(state.map, style=f"underline link {state.map}")
    return [Text.assemble((" live in a browser ", "dim"), address, overflow="fold")]


def _places(state: DemoState, zone: tzinfo) -> Panel:
    table = Table(expand=True, box=None, pad_edge=False)
    table.add_column("busiest places, released")
    table.add_column("people", justify="right")
    table.add_column("±95%", justify="right", style="dim")
    table.add_column(f"last {PANES_SHOWN} panes", no_wrap=True)
    shown = [place for place in state.places.values() if place.estimate is not None]
    shown.sort(key=lambda place: -(place.estimate or 0.0))
    for place in shown[:PLACES_SHOWN]:
        table.add_row(
            place.name,
            f"{place.estimate:,.0f}",
            f"{1.96 * (place.error or 0.0):,.0f}",
            Text(sparkline(list(state.history.get(place.name, ()))[-PANES_SHOWN:]), style="cyan"),
        )
    return Panel(table, title=f"present at {clock(state.pane_end_ms, zone)}")


def _flows(state: DemoState) -> Panel:
    table = Table(expand=True, box=None, pad_edge=False)
    table.add_column("from")
    table.add_column("to")
    table.add_column("trips", justify="right")
    for flow in state.flows[:FLOWS_SHOWN]:
        table.add_row(flow.origin, flow.destination, f"{flow.estimate:,.0f}")
    return Panel(table, title="where they go, last pane")


def _withheld(state: DemoState) -> Panel:
    hidden = [place for place in state.places.values() if place.estimate is None]
    spoken = sum(1 for place in hidden if place.speaks_through)
    lines = [
        f"{len(hidden)} of {len(state.places)} places too small to show; {spoken} speak through their district",
        f"withheld so far: {state.footfall_withheld:,} footfall, {state.flows_withheld:,} flow records",
    ]
    return Panel(Text("\n".join(lines)), title="suppressed")


def _rejects(state: DemoState) -> Panel:
    top = sorted(state.rejects.items(), key=lambda item: -item[1])
    text = "   ".join(f"{reason} {count:,}" for reason, count in top) or "none yet"
    return Panel(Text(text), title="rejects by reason")

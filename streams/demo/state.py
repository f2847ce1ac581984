"""What the demo knows at one moment: filled by `watch`, drawn by `view`, summed up in the last line."""

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

HISTORY = 36


class Place(NamedTuple):
    """A zone's last released presence. `estimate` is None while it is withheld."""

    name: str
    estimate: float | None
    error: float | None
    speaks_through: str | None


class Flow(NamedTuple):
    """A released flow of the last pane."""

    origin: str
    destination: str
    estimate: float
    error: float


@dataclass
class DemoState:
    """Counted from what arrived in Kafka and Redis; nothing is computed ahead."""

    attach_events: int = 0
    attach_per_s: float = 0.0
    sightings: int = 0
    rejects: dict[str, int] = field(default_factory=dict)
    footfall_released: int = 0
    footfall_withheld: int = 0
    flows_released: int = 0
    flows_withheld: int = 0
    watermark_ms: int | None = None
    pane_end_ms: int | None = None
    places: dict[str, Place] = field(default_factory=dict)
    history: dict[str, deque[float]] = field(default_factory=dict)
    flows: list[Flow] = field(default_factory=list)
    live_people: int = 0
    live_tick_ms: int | None = None
    first_event_at: float | None = None
    first_release_at: float | None = None
    over_at: float | None = None
    step: str = ""
    map: str = ""

    def seen(self, place: str, estimate: float) -> None:
        """Add to a place's curve."""
        self.history.setdefault(place, deque(maxlen=HISTORY)).append(estimate)

"""What a peer wrote: its output records added up by pane, and compared with what is right."""

import json
from collections import Counter
from dataclasses import dataclass, field

KEYED = ("present", "recent", "arrivals", "trips")


@dataclass
class Sums:
    """Counts: `events` by pane, the others by (pane, key); a key is a zone, or `z-y` of trips. `rejected` over all."""

    events: Counter = field(default_factory=Counter)
    rejected: int = 0
    present: Counter = field(default_factory=Counter)
    recent: Counter = field(default_factory=Counter)
    arrivals: Counter = field(default_factory=Counter)
    trips: Counter = field(default_factory=Counter)

    def add(self, value: bytes) -> None:
        """Take one output record."""
        record = json.loads(value)
        pane = int(record["pane"])
        self.events[pane] += record.get("events", 0)
        self.rejected += record.get("rejected", 0)
        for name in KEYED:
            mine = getattr(self, name)
            for key, delta in (record.get(name) or {}).items():
                mine[pane, key if name == "trips" else int(key)] += delta

    def done(self, panes: int) -> int:
        """Events in the panes before `panes`."""
        return sum(number for pane, number in self.events.items() if pane < panes)

    def drop_zeros(self) -> None:
        """Leave out what cancels."""
        for name in ("events", *KEYED):
            setattr(self, name, Counter({key: number for key, number in getattr(self, name).items() if number}))


def differences(right: Sums, found: Sums, panes: int, at_most: int = 10) -> list[str]:
    """A line for each of the first differences in the panes before `panes`; none if they are equal."""
    lines = []
    if right.rejected != found.rejected:
        lines.append(f"rejected: {found.rejected} instead of {right.rejected}")
    for name in ("events", *KEYED):
        ours, theirs = getattr(right, name), getattr(found, name)
        keys = [key for key in {*ours, *theirs} if ours[key] != theirs[key] and _pane(key) < panes]
        if keys:
            lines.append(f"{name}: {len(keys)} differ")
        for key in sorted(keys, key=lambda key: (_pane(key), str(key)))[:at_most]:
            where = f"pane {key}" if name == "events" else f"pane {key[0]}, {key[1]}"
            lines.append(f"  {name}, {where}: {theirs[key]} instead of {ours[key]}")
    return lines


def _pane(key: object) -> int:
    return key[0] if isinstance(key, tuple) else int(str(key))

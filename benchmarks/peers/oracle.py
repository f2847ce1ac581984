"""What a peer has to count, as the plainest program that could be right: README.md's rules, line by line."""

import json
import re
from collections.abc import Iterable, Mapping

from benchmarks.peers.outputs import Sums

SPAN = 3  # panes of the sliding window
_IMSI = re.compile(r"(001|[2-7][0-9]{2})[0-9]{11,12}", re.ASCII)


def count(partitions: Iterable[Iterable[bytes]], zones: Mapping[str, int], start_ms: int, pane_ms: int) -> Sums:
    """The sums over all records; a subscriber's events lie in the order of event time.

    Args:
        partitions: each one's record values: one JSON object, or an array of them.
        zones: by cell.
    """
    sums = Sums()
    where: dict[str, tuple[int, int]] = {}
    for values in partitions:
        for value in values:
            decoded = json.loads(value)
            for event in decoded if isinstance(decoded, list) else [decoded]:
                if not valid(event, zones):
                    sums.rejected += 1
                    continue
                _take(sums, where, event["imsi"], zones[event["cell"]], (event["ts"] - start_ms) // pane_ms)
    sums.drop_zeros()
    return sums


def valid(event: dict[str, object], zones: Mapping[str, int]) -> bool:
    """Whether an event is counted."""
    return (
        isinstance(event.get("event_id"), str)
        and isinstance(imsi := event.get("imsi"), str)
        and _IMSI.fullmatch(imsi) is not None
        and type(event.get("ts")) is int
        and event.get("cell") in zones
    )


def _take(sums: Sums, where: dict[str, tuple[int, int]], who: str, zone: int, pane: int) -> None:
    before = where.get(who)
    where[who] = (zone, pane)
    sums.events[pane] += 1
    if before is not None:
        for each in range(pane, before[1] + SPAN):
            sums.recent[each, before[0]] -= 1
    for each in range(pane, pane + SPAN):
        sums.recent[each, zone] += 1
    if before is not None and before[0] == zone:
        return
    sums.present[pane, zone] += 1
    sums.arrivals[pane, zone] += 1
    if before is not None:
        sums.present[pane, before[0]] -= 1
        sums.trips[pane, f"{before[0]}-{zone}"] += 1

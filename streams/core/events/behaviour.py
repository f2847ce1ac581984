"""Which SIMs behave as machines do: what `throng machines` proposes to whoever keeps the registry.

In: events of whole days, in about the order of time. Kept: a row a subscriber, and nothing of where they were.
Out: who is a machine by which rule. Each verdict rests on that subscriber's own events alone. Nothing can fail.

Two rules (docs/explanation/place-changes.md, "Machines by their behaviour"):

- *clockwork*: what the device begins by itself (a service request, an attach) comes at its own intervals, by day as
  by night. Many devices report by the clock (3GPP TS 22.368, 7.2, "Time Controlled"), and their traffic lacks the
  rhythm of people's days (Shafiq et al. 2012, "A first look at cellular machine-to-machine traffic"). Of the gaps
  between requests that end by day, `REPEATS` or more are as long as one of the three before; and the night has its
  share of the requests. The network's periodic updates don't count: everybody's phone sends these by the clock.
- *busy*: more events a day than anybody makes, a limit as studies of call records set it for call centres (de
  Monasterio et al. 2016, "Analyzing the spread of Chagas disease with mobile phone data").

What moves, when, and where doesn't matter: somebody who stays at home for days is not suspect.
"""

from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from schemas.attach import ATTACH, SERVICE
from streams.core.compiled.lookup import Lookup

DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000
# The hours of the day when people use their phones, and those of the night when hardly anybody does.
DAY_HOURS: Final = (8, 20)
NIGHT_HOURS: Final = (23, 5)
# Gaps are alike within a twentieth and some seconds: a report may wait for the network.
ALIKE: Final = 20
ALIKE_MS: Final = 10_000
REPEATS: Final = 0.8
LEAST_GAPS: Final = 5  # that end by day; fewer say nothing
NIGHT_SHARE: Final = 0.75  # of the night's share of the hours
BUSY_A_DAY: Final = 1440  # one a minute, round the clock
RULES: Final = ("clockwork", "busy")

EVIDENCE: Final = np.dtype(
    [
        ("imsi", np.uint64),
        ("last_ms", np.int64),  # the newest request
        ("gaps_ms", np.int64, 3),  # the newest gaps between requests, the newest first
        ("events", np.uint32),
        ("requests", np.uint32),
        ("by_night", np.uint32),  # requests
        ("gaps", np.uint32),  # that end by day
        ("repeats", np.uint32),  # of these, as long as one of the three before
    ]
)


class Found(NamedTuple):
    """A machine by its behaviour. `rules`: names of RULES. `repeats`: share of the gaps by day."""

    imsi: int
    rules: tuple[str, ...]
    events: int
    requests: int
    repeats: float


class Evidence:
    """What is known of everybody's behaviour in [start_ms, start_ms + days).

    Args:
        offset_ms: how far local clocks are ahead of UTC.
    """

    def __init__(self, start_ms: int, days: int, offset_ms: int) -> None:
        self.start_ms, self.days = start_ms, days
        self.end_ms = start_ms + days * DAY_MS
        self.events = 0
        self._offset_ms = offset_ms
        self._places = Lookup(0)
        self._rows = np.zeros(1024, EVIDENCE)

    @property
    def subscribers(self) -> int:
        """How many were heard."""
        return self._places.used

    def add(self, imsi: NDArray[np.uint64], ts: NDArray[np.int64], kind: NDArray[np.uint8]) -> None:
        """Take events in any order: packed IMSI, time (ms), kind. One that is older than what came with an earlier
        call counts, but the gap before it doesn't."""
        rows = np.flatnonzero((ts >= self.start_ms) & (ts < self.end_ms))
        rows = rows[np.argsort(ts[rows], kind="stable")]
        imsi = imsi[rows]
        self.events += len(rows)
        new = np.unique(imsi[self._places.get(imsi) == 0])
        first = self._places.used
        while first + len(new) > len(self._rows):
            self._rows = np.concatenate([self._rows, np.zeros(len(self._rows), EVIDENCE)])
        self._places.put(new, np.arange(first + 1, first + 1 + len(new), dtype=np.uint32))
        self._rows["imsi"][first : first + len(new)] = new
        places = self._places.get(imsi).astype(np.int64) - 1
        _take(self._rows, places, ts[rows], kind[rows], self._offset_ms)

    def found(self) -> list[Found]:
        """Who behaves as machines do, by IMSI (packed)."""
        rows = self._rows[: self.subscribers]
        expected = rows["requests"] * ((NIGHT_HOURS[1] - NIGHT_HOURS[0]) % 24) / 24
        repeats = rows["repeats"] / np.maximum(rows["gaps"], 1)
        clockwork = (rows["gaps"] >= LEAST_GAPS) & (repeats >= REPEATS) & (rows["by_night"] >= NIGHT_SHARE * expected)
        busy = rows["events"] > BUSY_A_DAY * self.days
        found = []
        for at in np.flatnonzero(clockwork | busy).tolist():
            rules = tuple(name for name, holds in zip(RULES, (clockwork[at], busy[at]), strict=True) if holds)
            row = rows[at]
            found.append(Found(int(row["imsi"]), rules, int(row["events"]), int(row["requests"]), float(repeats[at])))
        return sorted(found)


@njit(cache=True, nogil=True)
def _take(rows, places, ts, kind, offset_ms):  # type: ignore[no-untyped-def]
    for k in range(len(places)):
        row = rows[places[k]]
        row.events += 1
        if kind[k] != SERVICE and kind[k] != ATTACH:
            continue
        hour = (ts[k] + offset_ms) % DAY_MS // HOUR_MS
        row.requests += 1
        row.by_night += hour >= NIGHT_HOURS[0] or hour < NIGHT_HOURS[1]
        if row.last_ms == 0:
            row.last_ms = ts[k]
        gap = ts[k] - row.last_ms
        if gap <= 0:
            continue
        if DAY_HOURS[0] <= hour < DAY_HOURS[1] and row.gaps_ms[0] > 0:
            alike = False
            for before in row.gaps_ms:
                alike |= before > 0 and abs(gap - before) <= before // ALIKE + ALIKE_MS
            row.gaps += 1
            row.repeats += alike
        row.gaps_ms[2] = row.gaps_ms[1]
        row.gaps_ms[1] = row.gaps_ms[0]
        row.gaps_ms[0] = gap
        row.last_ms = ts[k]

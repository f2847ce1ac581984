"""From sightings to counts: each subscriber's story is told from beginning to end, then counted.

A story is walked once per subscriber, sighting by sighting; pane ends are visited on the way, since what is known at a
pane's end must not be changed later.
"""

from collections import Counter, defaultdict
from typing import NamedTuple

COHORTS = 28
DETACH, OPT_OUT, OPT_IN = 4, 5, 6


class Sighting(NamedTuple):
    ts: int
    source: int
    offset: int
    index: int
    subscriber: object
    zone: int
    cohort: int
    kind: int


class Stay(NamedTuple):
    """One finished or unfinished presence, for sliding windows: [start, end) in `zone`."""

    zone: int
    start: int
    end: int


class Result(NamedTuple):
    """`panes[epoch, measure, number]` -> Counter by key; `stories[epoch][subscriber]` for windows."""

    panes: dict
    stories: dict


def count(sightings, epochs, parents, until):
    """All panes that end at or before `until`. `epochs`: dicts with the fields of an epoch record."""
    panes = {}
    stories = {}
    for epoch in epochs:
        if epoch["opens_ms"] > until:
            continue
        end = min(epoch["end_ms"], until)
        ends = [t for t in range(epoch["start_ms"], end + 1, epoch["pane_ms"]) if t > epoch["opens_ms"]]
        for t in ends:
            for m in epoch["measures"]:
                if (t - epoch["start_ms"]) % m["pane_ms"] == 0:
                    panes[epoch["epoch"], m["name"], (t - epoch["start_ms"]) // epoch["pane_ms"]] = Counter()
        own = defaultdict(list)
        for s in sightings:
            if epoch["opens_ms"] <= s.ts < min(epoch["end_ms"], until):
                own[s.subscriber].append(s)
        stories[epoch["epoch"]] = {}
        for subscriber, theirs in own.items():
            story = Story(epoch, parents, panes)
            story.tell(sorted(theirs, key=lambda s: s[:4]), ends)
            stories[epoch["epoch"]][subscriber] = story
    return Result(panes, stories)


def window(result, epoch, zones, tick, length):
    """Distinct subscribers with a presence in [tick - length, tick), as a Counter by (zone, cohort)."""
    counts = Counter()
    for story in result.stories.get(epoch["epoch"], {}).values():
        for zone, cohort in story.around(tick, length).items():
            counts[zone, cohort] += 1
    return counts


class Story:
    """One subscriber in one epoch."""

    def __init__(self, epoch, parents, panes):
        self.epoch, self.parents, self.panes = epoch, parents, panes
        self.here = None  # [zone, start, last, is a stay, arrivals counted: [(measure, pane end)]]
        self.memory = None  # (presence before, left)
        self.past = []  # ended presences: [zone, start, end, cohort]
        self.last_stay = None
        self.used = Counter()
        self.told = set()  # (measure, pane end, key) of the trips counted: each once
        self.cohort = None
        self.opted_out = False
        self.log = []  # (ts, state) after each sighting, for windows at any tick
        self.pane_ends = []

    def tell(self, sightings, ends):
        """Walk through the sightings; at each pane's end say what is known."""
        self.pane_ends = ends
        waiting = list(ends)
        for s in sightings:
            while waiting and waiting[0] <= s.ts:
                self.at_pane_end(waiting.pop(0))
            self.sight(s)
            self.log.append((s.ts, self.here and list(self.here), [list(p) for p in self.past], self.cohort))
        for t in waiting:
            self.at_pane_end(t)

    def sight(self, s):
        e = self.epoch
        if s.kind == OPT_IN:
            self.opted_out = False
        if s.kind == OPT_IN or (self.opted_out and s.kind != OPT_OUT):
            return
        if self.here and s.ts >= self.here[2] + e["silence_ms"]:
            self.close(self.here[2] + e["silence_ms"])
            self.memory = None
        if s.kind in (DETACH, OPT_OUT):
            if self.here:
                self.close(s.ts)
            self.memory = None
            if s.kind == OPT_OUT:
                self.opted_out, self.last_stay = True, None
            return
        if not self.here:
            self.memory = None
            self.open(s.zone, s.ts)
        elif self.here[0] == s.zone:
            self.become_stay_if(s.ts)
            self.here[2] = s.ts
        elif self.memory and self.memory[0][0] == s.zone and s.ts - self.memory[1] <= e["ping_pong_ms"]:
            self.annul(s.ts)
        else:
            before = self.here
            self.close(s.ts)
            self.memory = (before, s.ts)
            self.open(s.zone, s.ts)
        self.cohort = s.cohort

    def open(self, zone, ts):
        self.here = [zone, ts, ts, False, []]
        for m in self.epoch["measures"]:
            if m["statistic"] != "arrivals" or any(p[0] == zone and p[2] > ts - m["gap_ms"] for p in self.past):
                continue
            if m["cap"] and self.used[m["name"]] >= m["cap"]:
                continue
            self.used[m["name"]] += 1
            pane = self.pane_of(m, ts)
            self.add(m, pane, zone)
            self.here[4].append((m, pane))

    def annul(self, ts):
        """Ping-pong: as if the presence before had never been left."""
        for m, pane in self.here[4]:
            if self.pane_of(m, ts) == pane:
                self.add(m, pane, self.here[0], -1)
                self.used[m["name"]] -= 1
        self.past.pop()
        self.here = self.memory[0]
        self.here[4] = []
        self.memory = None
        self.become_stay_if(ts, known_at=ts)
        self.here[2] = ts

    def close(self, end):
        self.become_stay_if(end)
        self.past.append([self.here[0], self.here[1], end, self.cohort])
        self.here = None

    def become_stay_if(self, until, known_at=None):
        """If the presence here, which covers at least until `until`, is as long as a stay, it is one."""
        zone, start, _, is_stay, _ = self.here
        known = start + self.epoch["stay_ms"]
        if is_stay or until < known:
            return
        self.here[3] = True
        origin, self.last_stay = self.last_stay, zone
        if origin is None or origin == zone:
            return
        for m in self.epoch["measures"]:
            if m["statistic"] == "trips" and not (m["cap"] and self.used[m["name"]] >= m["cap"]):
                self.used[m["name"]] += 1
                if m["level"] == "zone":
                    key = origin * self.epoch["zones"] + zone
                else:
                    key = self.parents[origin] * self.epoch["parents"] + self.parents[zone]
                cell = (m["name"], self.pane_of(m, max(known, known_at or known)), key)
                if cell not in self.told:
                    self.told.add(cell)
                    self.add(m, *cell[1:])

    def at_pane_end(self, t):
        e = self.epoch
        if self.here and self.here[2] + e["silence_ms"] < t:
            self.close(self.here[2] + e["silence_ms"])
            self.memory = None
        if not self.here:
            return
        if self.here[1] + e["stay_ms"] < t:
            self.become_stay_if(self.here[1] + e["stay_ms"])
        for m in e["measures"]:
            if (t - e["start_ms"]) % m["pane_ms"] == 0:
                if m["statistic"] == "present":
                    self.add(m, t, self.here[0])
                elif m["statistic"] == "present_cohort":
                    self.add(m, t, self.here[0] * COHORTS + self.cohort)

    def pane_of(self, m, ts):
        """The end of the measure's pane that holds `ts`."""
        start = self.epoch["start_ms"]
        return start + ((ts - start) // m["pane_ms"] + 1) * m["pane_ms"]

    def add(self, m, pane_end, key, number=1):
        name = (self.epoch["epoch"], m["name"], (pane_end - self.epoch["start_ms"]) // self.epoch["pane_ms"])
        if name in self.panes:
            self.panes[name][key] += number

    def around(self, tick, length):
        """{zone: cohort} of the presences that cover any instant of [tick - length, tick), as known at the tick."""
        here, past, cohort = None, [], None
        for ts, *state in self.log:
            if ts >= tick:
                break
            here, past, cohort = state
        zones = {}
        for zone, _, end, then in past:
            if end > tick - length:
                zones[zone] = then
        if here:
            end = here[2] + self.epoch["silence_ms"]
            if end > tick - length:
                zones[here[0]] = cohort
        return zones

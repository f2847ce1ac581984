"""From sightings to counts: each subscriber's story is told from beginning to end, then counted.

A story is walked once per subscriber, sighting by sighting; pane ends are visited on the way, since what is known at a
pane's end must not be changed later.
"""

from collections import Counter, defaultdict
from itertools import takewhile
from typing import NamedTuple

COHORTS = 28
DETACH, OPT_OUT, OPT_IN = 4, 5, 6
MINUTE = 60_000
# Dwell: under 5 minutes, 5 to 10, to 20, to 60, to 120, to 240, over 240, cut by the epoch.
DWELL_KEYS, VISITS_KEYS, CUT = 8, 3, 7
# Travel times: under 10 minutes, 10 to 20, to 40, to 60, over 60, unknown.
TRAVEL_KEYS, UNKNOWN = 6, 5
REMEMBERED_ZONES = 4


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


def count(sightings, epochs, parents, until, positions=None):
    """All panes that end at or before `until`. `epochs`: dicts with the fields of an epoch record.

    `positions`: of each zone (x, y, z, reach) in metres, or None where nothing is known of it; None: of all."""
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
            story = Story(epoch, parents, panes, positions)
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


def lacking(told, epoch, measure, end):
    """The sources of which something may be missing in the measure's pane to `end`.

    `told`: by source what its sections say, one after the other: (records were lost, watermark)."""
    length = epoch["silence_ms"] if measure["statistic"] in ("present", "present_cohort") else measure["pane_ms"]
    start = max(end - length, epoch["opens_ms"])
    found = set()
    for source, sections in told.items():
        for n, (lost, _) in enumerate(sections):
            if not lost:
                continue
            since = max((ms for _, ms in sections[:n]), default=float("-inf"))
            until = float("inf")
            for m in range(n + 1, len(sections)):
                if not sections[m][0] and sections[m][1] > max(ms for _, ms in sections[:m]):
                    until = sections[m][1] + epoch["lateness_ms"] + MINUTE
                    break
            if since < end and until >= start:
                found.add(source)
    return found


class Story:
    """One subscriber in one epoch."""

    def __init__(self, epoch, parents, panes, positions=None):
        self.epoch, self.parents, self.panes, self.positions = epoch, parents, panes, positions
        # [zone, start, last, is a stay, arrivals counted: [(measure, pane end)], may have begun before the epoch]
        self.here = None
        self.memory = (
            None  # (presence before, left, the zone it was left for); also when nobody can come back to it any more
        )
        self.owed = None  # the same, until its dwell is counted
        self.visited = {}  # zone: visits
        self.past = []  # ended presences, one after the other: (zone, start, end, cohort)
        self.last_stay = None
        self.lived = []  # stays that ended: (parent, start, end)
        self.departure = None  # when the last stay was left, if the phone was heard of ever since
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
            self.log.append((s.ts, self.here and list(self.here), tuple(self.past), self.cohort))
        for t in waiting:
            self.at_pane_end(t)

    def sight(self, s):
        e = self.epoch
        if s.kind == OPT_IN:
            self.opted_out = False
        if s.kind == OPT_IN or (self.opted_out and s.kind != OPT_OUT):
            return
        if s.kind < DETACH and self.jumps(s):
            return
        self.pay(s.ts)
        if self.here and s.ts >= self.here[2] + e["silence_ms"]:
            self.fall_silent()
        if s.kind == OPT_OUT:
            self.owed = None
            if self.here:
                self.close(s.ts)
            self.memory = None
            self.opted_out, self.last_stay, self.departure, self.visited, self.lived = True, None, None, {}, []
            return
        if s.kind == DETACH:
            self.pay(s.ts, surely=True)
            if self.here:
                here = self.here
                self.close(s.ts)
                self.dwelt(here, s.ts - here[1], s.ts)
            self.memory = None
            return
        if not self.here:
            self.memory = self.departure = None
            self.open(s.zone, s.ts)
        elif self.here[0] == s.zone:
            self.become_stay_if(s.ts)
            self.here[2] = s.ts
            self.become_stay_if(s.ts, known_at=s.ts)
        elif self.memory and self.memory[0][0] == s.zone and s.ts - self.memory[1] <= e["ping_pong_ms"]:
            self.annul(s.ts)
        else:
            self.pay(s.ts, surely=True)
            before = self.here
            self.close(s.ts)
            self.memory = self.owed = (before, s.ts, s.zone)
            if before[3]:
                self.departure = s.ts
            self.open(s.zone, s.ts, moved=True)
        self.cohort = s.cohort

    def jumps(self, s):
        """Nobody could have come there since the last sighting, and it is not a way back after a ping-pong either."""
        e = self.epoch
        if not self.here or not self.positions or s.zone == self.here[0] or not e["jump_m_s"]:
            return False
        if s.ts >= self.here[2] + e["silence_ms"]:
            return False
        if self.memory and self.memory[0][0] == s.zone and s.ts - self.memory[1] <= e["ping_pong_ms"]:
            return False
        one, other = self.positions[self.here[0]], self.positions[s.zone]
        if one is None or other is None:
            return False
        travelled = max(e["jump_m"], (s.ts - self.here[2]) * e["jump_m_s"] // 1000)
        return sum((a - b) ** 2 for a, b in zip(one[:3], other[:3], strict=True)) > (travelled + one[3] + other[3]) ** 2

    def open(self, zone, ts, moved=False):
        maybe_there = not moved and ts < self.epoch["opens_ms"] + self.epoch["silence_ms"]
        self.here = [zone, ts, ts, False, [], maybe_there]
        for m in self.epoch["measures"]:
            if m["statistic"] != "arrivals":
                continue
            recent = takewhile(lambda past, since=ts - m["gap_ms"]: past[2] > since, reversed(self.past))
            if any(past[0] == zone for past in recent):
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
        if self.here[3]:
            self.lived.pop()
        self.here[4] = []
        self.memory = self.owed = None
        self.here[2] = ts
        self.become_stay_if(ts, known_at=ts)

    def close(self, end, lived_until=None):
        self.become_stay_if(end)
        if self.here[3]:
            self.lived.append((self.parents[self.here[0]], self.here[1], lived_until or end))
        self.past.append((self.here[0], self.here[1], end, self.cohort))
        self.here = None

    def fall_silent(self):
        """The presence here has ended: nobody knows when, so half the silence is taken for its end."""
        here, silence = self.here, self.epoch["silence_ms"]
        end = here[2] + silence
        self.pay(end, surely=True)
        self.close(end, here[2] + silence // 2)
        self.dwelt(here, here[2] + silence // 2 - here[1], end)
        self.memory = None

    def pay(self, now, surely=False):
        """Count the presence left last, if it can't be restored at `now` or later."""
        if self.owed and (surely or now > self.owed[1] + self.epoch["ping_pong_ms"]):
            presence, left, onward = self.owed
            known = min(now, left + self.epoch["ping_pong_ms"])
            _, start, last, is_stay, _, _ = presence
            ended = left if is_stay else last + (left - last) // 4
            self.dwelt(presence, ended - start, known)
            self.passed(presence, onward, known)
            self.owed = None

    def passed(self, presence, onward, known):
        """A presence that was left for another zone is complete: if it was a pass, it counts where it went on to."""
        zone, _, _, is_stay, _, maybe_there = presence
        if is_stay or maybe_there:
            return
        for m in self.epoch["measures"]:
            if m["statistic"] == "passes":
                self.count_once(m, known, self.pair(m, zone, onward))

    def dwelt(self, presence, length, known, cut=False):
        """A presence of some length is complete, which is known at `known`."""
        zone = presence[0]
        cut = cut or presence[5]
        if not presence[3]:
            length = min(length, self.epoch["stay_ms"] - 1)
        minutes = length / MINUTE
        bucket = [minutes < 5, minutes < 10, minutes < 20, minutes < 60, minutes < 120, minutes < 240, True].index(True)
        if cut and minutes < 240:
            bucket = CUT
        for m in self.epoch["measures"]:
            if m["statistic"] == "dwell":
                self.count_once(m, known, self.place(m, zone) * DWELL_KEYS + bucket)

    def place(self, m, zone):
        return zone if m["level"] == "zone" else self.parents[zone]

    def pair(self, m, one, other):
        return self.place(m, one) * self.epoch["zones" if m["level"] == "zone" else "parents"] + self.place(m, other)

    def count_once(self, m, known, key):
        """Count a key in the pane of `known`: within the cap, and once a pane."""
        if m["cap"] and self.used[m["name"]] >= m["cap"]:
            return
        self.used[m["name"]] += 1
        cell = (m["name"], self.pane_of(m, known), key)
        if cell not in self.told:
            self.told.add(cell)
            self.add(m, *cell[1:])

    def visit(self, zone, known, start):
        """A visit to the zone: its number counts. Those to zones that are not remembered are all the first.

        A first one counts by where the visitor lives and works too, once the hours that tell of it are over."""
        times = self.visited.get(zone, 0) + 1
        if zone in self.visited or len(self.visited) < REMEMBERED_ZONES:
            self.visited[zone] = times
        for m in self.epoch["measures"]:
            if m["statistic"] == "visits":
                self.count_once(m, known, self.place(m, zone) * VISITS_KEYS + min(times, 3) - 1)
            if m["statistic"] in ("home", "work") and times == 1:
                home, work = (self.epoch["start_ms"] + self.epoch[f"{area}_until_ms"] for area in ("home", "work"))
                since, until = (self.epoch["start_ms"], home) if m["statistic"] == "home" else (home, work)
                if start + self.epoch["stay_ms"] > until:
                    area = self.area(since, until)
                    self.count_once(m, known, self.place(m, zone) * (self.epoch["parents"] + 1) + area)

    def area(self, since, until):
        """The parent with the longest stay in these hours, in whole seconds, the first of equals; or nobody knows."""
        best, longest = self.epoch["parents"], 0
        for parent, start, end in self.lived:
            covered = min(end, until) - max(start, since)
            if covered >= self.epoch["stay_ms"] and covered // 1000 > longest:
                best, longest = parent, covered // 1000
        return best

    def become_stay_if(self, until, known_at=None):
        """If the presence here, which covers at least until `until`, is as long as a stay, it is one.

        It must have been seen for a while: a phone that was heard once may have gone the next moment."""
        zone, start, last, is_stay, _, _ = self.here
        known = start + self.epoch["stay_ms"]
        if is_stay or until < known or last < start + self.epoch["seen_ms"]:
            return
        self.here[3] = True
        origin, self.last_stay = self.last_stay, zone
        if origin == zone:
            return
        known = max(known, known_at or known)
        self.visit(zone, known, start)
        for m in self.epoch["measures"]:
            if m["statistic"] == "trips" and origin is not None:
                self.count_once(m, known, self.pair(m, origin, zone))
            if m["statistic"] == "travel_times" and origin is not None:
                self.count_once(m, known, self.place(m, zone) * TRAVEL_KEYS + self.travelled(start))
            if m["statistic"] == "travel_times_by_pair" and origin is not None:
                self.count_once(m, known, self.pair(m, origin, zone) * TRAVEL_KEYS + self.travelled(start))

    def travelled(self, arrival):
        """The band of a trip's minutes, as two clocks without seconds would tell them."""
        if self.departure is None:
            return UNKNOWN
        minutes = arrival // MINUTE - self.departure // MINUTE
        return [minutes < 10, minutes < 20, minutes < 40, minutes < 60, True].index(True)

    def at_pane_end(self, t):
        e = self.epoch
        self.pay(t)
        if self.here and self.here[2] + e["silence_ms"] < t:
            self.fall_silent()
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
        if t == e["end_ms"]:
            self.pay(t - 1, surely=True)
            self.dwelt(self.here, t - self.here[1], t - 1, cut=True)

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

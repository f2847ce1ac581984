"""The `epochs` topic: one immutable record an epoch, the first of an epoch wins; everything resolves by it."""

from typing import Final

import msgspec

from schemas.measures import Measure

LOGIC: Final = 6
FRAME_VERSION: Final = 1
# Every release's records have these names: by them a record is told from what throng didn't write.
NAMED: Final = frozenset({"epoch", "start_ms", "end_ms", "salt"})


class Epoch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One life of a salt, and all the rules that hold in it. Times in ms since the Unix epoch, lengths in ms.

    Attributes:
        epoch: local date of its start as YYYYMMDD.
        opens_ms: where counting begins; later than `start_ms` in a deployment's first epoch only.
        partitions: of the `sightings` topic.
        plan: hash of the zone plan. zones, parents: its sizes.
        rho: zCDP budget of a subscriber in the epoch, equivalent to (epsilon, delta).
        salt: reference of the salt in the vault.
        seen_ms: how long after its start a presence must have been seen to become a stay.
        home_until_ms, work_until_ms: since the epoch's start. A visitor's home area is known by the hours up to the
            first, the work area by those from there to the second.
        jump_m_s: speed above which a change of zone is not believed, 0: any is. jump_m: shorter ones always are.
        purpose: what all of it is counted for. audit: hash of the audit log whose rules made the record.
        sources: raw partitions that whoever wrote the record knew of, and the registry's sources where they hold the
            watermark. Which are live say the control records of `sightings`: one may be added within an epoch.
    """

    epoch: int
    start_ms: int
    end_ms: int
    opens_ms: int
    timezone: str
    partitions: int
    plan: str
    zones: int
    parents: int
    measures: tuple[Measure, ...]
    epsilon: float
    delta: float
    rho: float
    k: int
    policy: str
    salt: str
    sources: tuple[int, ...]
    pane_ms: int = 300_000
    tick_ms: int = 10_000
    lateness_ms: int = 10_000
    silence_ms: int = 3_900_000
    stay_ms: int = 600_000
    ping_pong_ms: int = 300_000
    seen_ms: int = 180_000
    home_until_ms: int = 18_000_000
    work_until_ms: int = 46_800_000
    jump_m_s: int = 0
    jump_m: int = 10_000
    windows_ms: tuple[int, ...] = (900_000, 3_600_000)
    logic: int = LOGIC
    frame_version: int = FRAME_VERSION
    purpose: str = ""
    audit: str = ""

    def panes(self, pane_ms: int) -> int:
        """How many panes of a length the epoch has: 276 to 300 of 5 minutes, over daylight-saving changes."""
        return (self.end_ms - self.start_ms) // pane_ms

    @property
    def first_pane(self) -> int:
        """The number of the first base pane that is counted."""
        return (self.opens_ms - self.start_ms) // self.pane_ms + 1

    @property
    def last_pane(self) -> int:
        """The number of the last base pane."""
        return self.panes(self.pane_ms)

    def due(self, number: int) -> tuple[Measure, ...]:
        """The measures whose own pane ends with base pane `number`."""
        return tuple(m for m in self.measures if number * self.pane_ms % m.pane_ms == 0)

    @property
    def keyed(self) -> tuple[Measure, ...]:
        """The measures whose keys come from data."""
        return tuple(m for m in self.measures if m.keys_from_data(self.zones, self.parents))

    def cap(self, measure: Measure) -> int:
        """The most counts that one subscriber adds to the measure in the epoch: m of the sensitivity sqrt(m)."""
        return measure.cap or self.panes(measure.pane_ms)

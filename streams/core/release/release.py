"""RELEASE: one measure's pane from exact sums to the ledger record, given the noise.

In: the exact counts with noise added, and the measure's last ledger record. Out: the next ledger record, which holds
the bytes to publish and the state that the pane after builds on. All but the noise is a pure function, and all after
the noise is post-processing: the exact counts go no further than the addition.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import Final, Literal, NamedTuple

import msgspec
import numpy as np
import zstandard
from numpy.typing import NDArray

from schemas.epochs import Epoch
from schemas.ledger import LedgerRecord, Publication
from schemas.measures import PAIRED, Measure
from streams.core.estimates import estimate
from streams.core.estimates.estimate import Level
from streams.core.estimates.models import PRESENT, models_of
from streams.core.estimates.rollup import Tree, blended
from streams.core.estimates.yesterday import Drawn, Profile, smoothed
from streams.core.release import parts
from streams.core.release.budget import keys_delta, rho_of, sigma
from streams.core.release.render import Estimates, Page, Pane

# People present at the start of a window of arrivals are looked up here: an hour of 5-minute panes.
REMEMBERED = 13
# Of yesterday's profile, that are worked out at a time: half a second of people present.
KEYS_A_STEP = 1000


class State(msgspec.Struct, frozen=True):
    """What a measure's next pane builds on: the filter, and what it said at the ends of the last panes.

    Attributes:
        gap: why the pane before the first of these was void, if it was.
        districts: people present alone: the filter that follows each district by itself.
        covered: people present alone: of `ends_ms` those that were not from all of the network, and their share.
    """

    epoch: int
    ends_ms: tuple[int, ...] = ()
    levels: tuple[bytes, ...] = ()
    belief: bytes = b""
    gap: str = ""
    districts: bytes = b""
    covered: dict[int, float] = {}


class Draw(NamedTuple):
    """A noisy pane. `noisy` i64[keys], of all keys or of `keys` u32; `end_ms`: where base pane `number` ends;
    `covered`: the share of the network that it is from."""

    epoch: Epoch
    measure: Measure
    number: int
    end_ms: int
    noisy: NDArray[np.int64]
    keys: NDArray[np.uint32] | None = None
    covered: float = 1.0


class Seen(NamedTuple):
    """What the filter is given: i64[keys], and the noise's standard deviation."""

    noisy: NDArray[np.int64]
    scale: estimate.Sigma


class Profiles(NamedTuple):
    """Yesterday, of a measure's keys, and of people present in districts too."""

    keys: Profile
    districts: Profile | None = None


def profiles(yesterday: Drawn, epoch: Epoch, measure: Measure, page: Page) -> Iterator[Profiles | None]:
    """A measure's yesterday as the filter sees it, for the epoch after it; nobody where the epoch's rules let nobody be
    counted.

    With many keys it is seconds of work: each step does some of it, and the last one has the whole.
    """
    models, keys = models_of(measure), measure.keys(epoch.zones, epoch.parents)
    panes, nobody = np.zeros((_number(epoch, measure, epoch.last_pane), keys), np.int64), page.nobody_of(measure)
    drawn, scale = np.zeros(len(panes), np.bool_), np.broadcast_to(np.float64(yesterday.sigma), keys)
    for number, noisy in yesterday.panes.items():
        seen = _seen(measure, np.where(nobody, 0, noisy), yesterday.sigma, page)
        at = _number(epoch, measure, number) - 1
        drawn[at], panes[at], scale = True, seen.noisy, np.broadcast_to(seen.scale, keys)
    parts = []
    for first in range(0, keys, KEYS_A_STEP):
        some = slice(first, first + KEYS_A_STEP)
        parts.append(smoothed(panes[:, some], drawn, scale[some], models))
        yield None
    whole = Profile(*(np.concatenate(columns, axis=-1) for columns in zip(*parts, strict=True)))
    if measure.statistic != "present":
        yield Profiles(whole)
        return
    districts = np.array([page.added(pane.astype(np.float64)) for pane in panes]).astype(np.int64)
    yield Profiles(whole, smoothed(districts, drawn, yesterday.sigma * page.district_norms, models))


def _number(epoch: Epoch, measure: Measure, number: int) -> int:
    """A base pane's number among the measure's panes: 1 is the day's first."""
    return number * epoch.pane_ms // measure.pane_ms


def next_record(
    draw: Draw,
    last: LedgerRecord | None,
    present: LedgerRecord | None,
    page: Page,
    panes_offset: int,
    writer: str,
    yesterday: Profiles | None = None,
) -> LedgerRecord:
    """The ledger record of a draw.

    Args:
        last: the measure's last valid record. present: that of the measure `present`, for the footfall of windows.
        yesterday: of the measure, where it is known.
    """
    scale = sigma(draw.measure, draw.epoch)
    if last is not None and last.epoch != draw.epoch.epoch:
        last = None
    before = _state(last)
    level, belief = _estimated(draw, before, page, yesterday)
    state = State(draw.epoch.epoch, belief=belief, gap=_gap(last, before))
    districts = None
    if draw.measure.statistic == "present":
        (level, districts), of_districts = _rolled_up(draw, level, before, page, yesterday)
        state = msgspec.structs.replace(state, districts=of_districts)
        ends, levels = (before.ends_ms, before.levels) if before is not None else ((), ())
        ends, levels = (*ends, draw.end_ms), (*levels, estimate.pack_level(level))
        ends = ends[-REMEMBERED:]
        covered = _covered_until(draw, before, ends)
        state = msgspec.structs.replace(state, ends_ms=ends, levels=levels[-REMEMBERED:], covered=covered)
    cost = rho_of(draw.measure, draw.epoch)
    return LedgerRecord(
        epoch=draw.epoch.epoch,
        measure=draw.measure.name,
        number=draw.number,
        start_ms=draw.end_ms - draw.measure.pane_ms,
        end_ms=draw.end_ms,
        kind="release",
        noisy=draw.noisy.astype("<i8").tobytes(),
        sigma=scale,
        state=zstandard.compress(msgspec.msgpack.encode(state), 1),
        publish=seal(page.without_closed(_publications(draw, level, districts, present, page, cost))),
        panes_offset=panes_offset,
        rho=cost,
        writer=writer,
        keys=b"" if draw.keys is None else draw.keys.astype("<u4").tobytes(),
        delta=keys_delta(draw.measure, draw.epoch),
    )


def _covered_until(draw: Draw, before: State | None, ends_ms: Collection[int]) -> dict[int, float]:
    """Of the pane and those before it that are remembered the ones that were not from all of the network."""
    found = {**(before.covered if before is not None else {}), draw.end_ms: draw.covered}
    return {end_ms: share for end_ms, share in found.items() if share < 1 and end_ms in ends_ms}


def _estimated(draw: Draw, before: State | None, page: Page, yesterday: Profiles | None = None) -> tuple[Level, bytes]:
    """The estimates, and what the next ones build on. Keys from data come and go: their estimate is what was drawn."""
    scale = sigma(draw.measure, draw.epoch)
    if draw.keys is not None:
        return Level(draw.noisy.astype(np.float64), np.full(len(draw.noisy), scale**2)), b""
    kept = before.belief if before is not None else b""
    number = _number(draw.epoch, draw.measure, draw.number)
    then = yesterday.keys.at(number) if yesterday is not None else None
    belief = estimate.go_on(kept, *_seen(draw.measure, draw.noisy, scale, page), models_of(draw.measure), then)
    return belief.level, estimate.pack(belief)


def _seen(measure: Measure, noisy: NDArray[np.int64], scale: float, page: Page) -> Seen:
    """What was drawn, weighted if the plan has weights: before the filter, which then knows what noise it sees."""
    weights = page.weights_for(measure)
    if weights is None:
        return Seen(noisy, scale)
    return Seen(weights.applied(noisy), scale * weights.grown(measure, len(noisy)))


def _rolled_up(
    draw: Draw, zones: Level, before: State | None, page: Page, yesterday: Profiles | None
) -> tuple[Tree, bytes]:
    """Zones and districts that add up, and what the next ones build on.

    Before the filter there is nothing to reconcile: what was drawn of a district is the sum of what was drawn of its
    zones. After it there is, for a district followed in its own right sees a tide that lifts all its zones sooner than
    each of them does.
    """
    scale = sigma(draw.measure, draw.epoch)
    noisy = page.added(_seen(draw.measure, draw.noisy, scale, page).noisy.astype(np.float64)).astype(np.int64)
    kept = before.districts if before is not None else b""
    known = yesterday.districts if yesterday is not None else None
    then = known.at(_number(draw.epoch, draw.measure, draw.number)) if known is not None else None
    belief = estimate.go_on(kept, noisy, scale * page.district_norms, PRESENT, then)
    return blended(Tree(zones, belief.level), page.parent_of), estimate.pack(belief)


def lost_record(epoch: Epoch, measure: Measure, number: int, panes_offset: int, writer: str) -> LedgerRecord:
    """What closes a pane that retention took: it is never drawn."""
    return _void(epoch, measure, number, "lost", (), panes_offset, writer)


def shut_record(
    epoch: Epoch, measure: Measure, number: int, page: Page, panes_offset: int, writer: str, covered: float = 0.0
) -> LedgerRecord:
    """What closes a pane that not every partition can count: it is never drawn, and consumers are told so."""
    pane = Pane(epoch, epoch.start_ms + number * epoch.pane_ms, measure.pane_ms, rho_of(measure, epoch), covered)
    said = parts.shut(page, measure, pane) if measure.statistic in parts.STATISTICS else page.shut(measure, pane)
    return _void(epoch, measure, number, "shut", page.without_closed(said), panes_offset, writer)


def withheld_record(epoch: Epoch, measure: Measure, number: int, panes_offset: int, writer: str) -> LedgerRecord:
    """What closes a pane that the rules forbid to tell: it is never drawn, and nothing is published of it."""
    return _void(epoch, measure, number, "policy", (), panes_offset, writer)


def _void(
    epoch: Epoch,
    measure: Measure,
    number: int,
    reason: Literal["lost", "shut", "policy"],
    publish: Iterable[Publication],
    panes_offset: int,
    writer: str,
) -> LedgerRecord:
    end_ms = epoch.start_ms + number * epoch.pane_ms
    return LedgerRecord(
        epoch=epoch.epoch,
        measure=measure.name,
        number=number,
        start_ms=end_ms - measure.pane_ms,
        end_ms=end_ms,
        kind="void",
        noisy=b"",
        sigma=0.0,
        state=b"",
        publish=seal(publish),
        panes_offset=panes_offset,
        rho=0.0,
        writer=writer,
        reason=reason,
    )


def seal(publications: Iterable[Publication]) -> bytes:
    """Publications as the ledger keeps them."""
    return zstandard.compress(msgspec.msgpack.encode(list(publications)), 3)


def publications(record: LedgerRecord) -> list[Publication]:
    """The very bytes that a ledger record publishes."""
    return msgspec.msgpack.decode(zstandard.decompress(record.publish), type=list[Publication])


class _Suppressed(msgspec.Struct):
    """What a released record says of it."""

    suppressed: bool = False
    suppressed_pairs: int = 0


_decoder: Final = msgspec.json.Decoder(_Suppressed)


def suppressed(record: LedgerRecord) -> int:
    """How many keys a ledger record withholds, as it tells consumers."""
    items = [_decoder.decode(item.value) for item in publications(record)]
    return sum(item.suppressed_pairs + item.suppressed for item in items)


def _publications(
    draw: Draw, level: Level, districts: Level | None, present: LedgerRecord | None, page: Page, cost: float
) -> Iterable[Publication]:
    measure = draw.measure
    pane = Pane(draw.epoch, draw.end_ms, measure.pane_ms, cost, draw.covered)
    as_counted = _as_counted(draw, draw.noisy, level, page)
    estimates = _with_factors(as_counted, draw, page)
    if measure.statistic in PAIRED:
        yield from page.flows(measure, pane, estimates, draw.keys)
    elif measure.statistic == "present_cohort":
        yield from page.cohorts(measure.name, pane, estimates)
    elif measure.statistic in parts.STATISTICS and draw.keys is not None:
        yield from parts.keyed(page, measure, pane, estimates, draw.keys)
    elif measure.statistic in parts.STATISTICS:
        yield from parts.parted(page, measure, pane, estimates)
    else:
        yield from page.places(measure.name, pane, estimates, _districts(draw, districts, as_counted, page))
    if measure.statistic == "arrivals":
        yield from _windows(draw, as_counted, present, page, pane)


def _as_counted(draw: Draw, noisy: NDArray[np.int64], level: Level, page: Page) -> Estimates:
    return Estimates(noisy, level.mean, np.sqrt(level.variance), page.weights_for(draw.measure) is not None)


def _with_factors(of: Estimates, draw: Draw, page: Page) -> Estimates:
    factors = page.factors_for(draw.measure, draw.end_ms)
    if factors is None:
        return of
    keys = np.arange(len(of.mean)) if draw.keys is None else draw.keys.astype(np.int64)
    mean, se, corrected = factors.put_on(of.mean, of.se, keys)
    return of._replace(mean=mean, se=se, corrected=corrected)


def _districts(draw: Draw, level: Level | None, zones: Estimates, page: Page) -> Estimates | None:
    """People present in districts, who are the sum of their zones' as counted and with factors. `zones`: as counted."""
    if level is None:
        return None
    noisy = page.added(draw.noisy.astype(np.float64)).astype(np.int64)
    own, factors = _as_counted(draw, noisy, level, page), page.factors_for(draw.measure, draw.end_ms)
    if factors is None:
        return own
    return own._replace(**factors.put_on_sums(zones.mean, zones.se, own.mean, own.se, page.added)._asdict())


def _windows(
    draw: Draw, arrived: Estimates, present: LedgerRecord | None, page: Page, pane: Pane
) -> Iterable[Publication]:
    """What follows of a pane's arrivals, as counted, and who was present at its start and its end: footfall and
    departures. A zone's factor is put on them whole: so those at the start and who arrived, less those who left, are
    those at the end. Each covers what the least whole of its parts does."""
    counted = any(measure.name == "present" for measure in draw.epoch.measures)
    if not counted and (present is None or present.epoch != draw.epoch.epoch):
        return  # nobody was asked to count who is present: nothing was lost
    start = _present_at(present, draw.epoch.epoch, draw.end_ms - draw.measure.pane_ms)
    end = _present_at(present, draw.epoch.epoch, draw.end_ms)
    at_start = pane._replace(covered=min(pane.covered, _covered_at(present, draw, pane.window_ms)))
    at_both = pane._replace(covered=min(at_start.covered, _covered_at(present, draw)))
    if start is None and draw.end_ms - draw.measure.pane_ms <= draw.epoch.opens_ms:
        return
    if start is None:
        yield from page.untold("footfall", at_start, lost=not _withheld(present))
    else:
        footfall = _with_present(arrived, start, 1)
        yield from page.places("footfall", at_start, _with_factors(footfall, draw, page))
    if start is None or end is None:
        yield from page.untold("departures", at_both, lost=not _withheld(present))
    else:
        departures = _with_present(footfall, end, -1)
        yield from page.places("departures", at_both, _with_factors(departures, draw, page))


def _with_present(counted: Estimates, level: Level, sign: int) -> Estimates:
    """With people present added, or taken off. Errors add up: taken off, they are less, as both ends err alike."""
    people = np.maximum(level.mean, 0)
    return Estimates(
        counted.noisy + sign * np.rint(people).astype(np.int64),
        counted.mean + sign * people,
        np.sqrt(counted.se**2 + level.variance),
        counted.weighted,
    )


def _gap(last: LedgerRecord | None, before: State | None) -> str:
    """Why panes are missing behind a measure's next one, as far as the state before it or a void tells."""
    if before is not None:
        return before.gap
    return last.reason if last is not None else ""


def _withheld(present: LedgerRecord | None) -> bool:
    """Whether who was present is not known because the rules forbade to count it: then nothing was lost."""
    if present is None or present.kind == "void":
        return present is not None and present.reason == "policy"
    state = _state(present)
    return state is not None and state.gap == "policy"


def _present_at(record: LedgerRecord | None, epoch: int, time_ms: int) -> Level | None:
    state = _state(record)
    if state is None or state.epoch != epoch or time_ms not in state.ends_ms:
        return None
    return estimate.unpack_level(state.levels[state.ends_ms.index(time_ms)])


def _covered_at(record: LedgerRecord | None, draw: Draw, before_ms: int = 0) -> float:
    """The share of the network that people present so long before the draw's end were counted from, as far as it is
    known."""
    state = _state(record)
    if state is None or state.epoch != draw.epoch.epoch:
        return 1.0
    return state.covered.get(draw.end_ms - before_ms, 1.0)


def _state(record: LedgerRecord | None) -> State | None:
    if record is None or not record.state:
        return None
    return msgspec.msgpack.decode(zstandard.decompress(record.state), type=State)

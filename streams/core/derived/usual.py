"""The usual day of each place, how now compares with it, and what comes of that in the next two hours.

In: released people present at the ends of quarters of an hour, place by place, NaN where nothing was told. Out: what is
usual, how far now is from it, forecasts with their errors. Kept: for each place
    usual    a mean for each quarter of an hour of the week, of earlier weeks, each week counting 0.8 of the next
    spread   mean square of deviations from usual, by hour of the day, each quarter counting 0.97 of the next
    carries  what share of a deviation is left 15 to 120 minutes on: a regression through the origin, forgetting alike
    errors   mean square of forecasts' errors, by minutes ahead and hour of the day, forgetting alike
    score    of forecasts: absolute errors, how many were within their interval, and what "as many as now" was off by

A forecast is what is usual then, plus what is left of now's deviation. Its error is not derived from a model but is
that of earlier forecasts, so it is right for whatever the place does, after a few days. Nothing here knows of holidays.
"""

from typing import Final, NamedTuple, overload

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

QUARTER_MS: Final = 900_000
A_WEEK: Final = 672
AHEAD: Final = 8
MINUTES_AHEAD: Final = tuple(range(15, AHEAD * 15 + 1, 15))
HOURS: Final = 24
WEEK_KEEPS: Final = 0.8
QUARTER_KEEPS: Final = 0.97
SCORE_KEEPS: Final = 0.998
# What is believed before there is anything to go by counts as so many quarters, and is forgotten as they are.
PRIOR: Final = 4.0
PRIOR_SPREAD: Final = 0.3
PRIOR_LASTS: Final = 8.0
TWO_SIDED_95: Final = 1.959964
# In memory places come last, so the arrays are worked on transposed: all parts, and each of the steps ahead.
_ALL: Final = slice(None)
_EACH: Final = np.arange(AHEAD)
_Index = slice | int | NDArray[np.int64]
CONGESTION: Final = ("much_quieter", "quieter", "usual", "busier", "much_busier")
QUIETER, BUSIER, MUCH_QUIETER, MUCH_BUSIER, SURELY = 0.8, 1.25, 0.5, 2.0, 2.0


class Clock(NamedTuple):
    """A pane's end: quarter of an hour since Monday 0:00 (0 to 671), local time, of it and of the next AHEAD ones.
    `again`: clocks were put back, and have shown its own before."""

    end_ms: int
    quarters: tuple[int, ...]
    again: bool = False


class Compared(NamedTuple):
    """f64[places] each, NaN where the place or its usual self is not known. `congestion`: index of CONGESTION, i64."""

    usual: Floats
    usual_se: Floats
    weeks: Floats
    deviation: Floats
    congestion: NDArray[np.int64]


class Forecasts(NamedTuple):
    """f64[AHEAD, places] each. NaN: none."""

    estimate: Floats
    se: Floats
    scored: Floats
    mean_error: Floats
    covered: Floats
    mean_error_of_now: Floats


class Skill(NamedTuple):
    """How good the forecasts of all places were, f64[AHEAD] each; NaN where none has been scored.

    Attributes:
        error: their absolute errors, as a share of those of "as many as now". covered: by their 95 % intervals.
    """

    error: Floats
    covered: Floats


UNKNOWN: Final = Skill(np.full(AHEAD, np.nan), np.full(AHEAD, np.nan))


class Kept(msgspec.Struct):
    """What is kept of `n` places. `at_ms`: the last pane. `made_ms`: of the last AHEAD panes, 0: none yet."""

    at_ms: int
    usual: Floats  # [n, A_WEEK]
    weeks: Floats  # [n, A_WEEK]
    spread: Floats  # [n, HOURS, (sum, weight)]
    carries: Floats  # [n, AHEAD, (of both, of the first, weight)]
    errors: Floats  # [n, AHEAD, HOURS, (sum, weight)]
    score: Floats  # [n, AHEAD, (weight, error, inside, error of now)]
    made_ms: NDArray[np.int64]  # [AHEAD]
    made: Floats  # [n, AHEAD panes, (now, deviation)]
    ahead: Floats  # [n, AHEAD panes, AHEAD, (estimate, se)]


_PER_PLACE: Final = ("usual", "weeks", "spread", "carries", "errors", "score", "made", "ahead")


def nothing(places: int) -> Kept:
    """Before the first pane. In memory places lie side by side: whatever is asked for is asked of all of them."""
    return Kept(
        at_ms=0,
        usual=np.zeros((places, A_WEEK), order="F"),
        weeks=np.zeros((places, A_WEEK), order="F"),
        spread=np.zeros((places, HOURS, 2), order="F"),
        carries=np.zeros((places, AHEAD, 3), order="F"),
        errors=np.zeros((places, AHEAD, HOURS, 2), order="F"),
        score=np.zeros((places, AHEAD, 4), order="F"),
        made_ms=np.zeros(AHEAD, np.int64),
        made=np.full((places, AHEAD, 2), np.nan, order="F"),
        ahead=np.full((places, AHEAD, AHEAD, 2), np.nan, order="F"),
    )


def moved(kept: Kept, comes_from: NDArray[np.int64]) -> Kept:
    """The same for other places: `comes_from` i64[places]: where each was, -1: nowhere."""
    anew = nothing(len(comes_from))
    known = comes_from >= 0
    for name in _PER_PLACE:
        getattr(anew, name)[known] = getattr(kept, name)[comes_from[known]]
    anew.at_ms, anew.made_ms = kept.at_ms, kept.made_ms
    return anew


def take(kept: Kept, clock: Clock, now: Floats, se: Floats) -> tuple[Compared, Forecasts]:
    """Take up a pane: compare, score earlier forecasts, learn, and look ahead. `kept` is changed.

    A quarter that comes again is as if nothing was released: what is usual then would be that of an hour ago.

    Args:
        now, se: f64[places] of what was released, NaN where nothing was. Panes come in order.
    """
    if clock.again:
        now = np.full_like(now, np.nan)
    compared = _compare(kept, clock, now, se)
    left = now - compared.usual
    _score(kept, clock, now, left)
    _learn(kept, clock, now, left)
    forecasts = _look_ahead(kept, clock, now, left, se)
    at = _ring(clock.end_ms)
    kept.at_ms = kept.made_ms[at] = clock.end_ms
    kept.made[:, at, 0], kept.made[:, at, 1] = now, left
    kept.ahead[:, at, :, 0], kept.ahead[:, at, :, 1] = forecasts.estimate.T, forecasts.se.T
    return compared, forecasts


def _compare(kept: Kept, clock: Clock, now: Floats, se: Floats) -> Compared:
    quarter = clock.quarters[0]
    usual = _usual(kept, quarter)
    spread = _believed(kept.spread.T[:, _hour(quarter)], _prior(usual, se))
    deviation = (now - usual) / spread
    ratio = now / np.maximum(usual, 1.0)
    level = np.full(len(now), 2)
    level[(ratio >= BUSIER) & (deviation >= SURELY)] = 3
    level[(ratio >= MUCH_BUSIER) & (deviation >= SURELY)] = 4
    level[(ratio <= QUIETER) & (deviation <= -SURELY)] = 1
    level[(ratio <= MUCH_QUIETER) & (deviation <= -SURELY)] = 0
    return Compared(usual, spread, kept.weeks[:, quarter].copy(), deviation, level)


def _score(kept: Kept, clock: Clock, now: Floats, left: Floats) -> None:
    """What earlier forecasts of this pane were off by, and how much of their deviations is left."""
    late, odd = np.divmod(clock.end_ms - kept.made_ms, QUARTER_MS)
    at = np.flatnonzero((odd == 0) & (late >= 1) & (late <= AHEAD))
    step = late[at] - 1
    then, then_left = kept.made.T[:, at]
    foretold, error = kept.ahead.T[:, step, at]
    missed, one = now - foretold, np.ones((len(at), len(now)))
    inside = np.where(np.isnan(missed), np.nan, np.abs(missed) <= TWO_SIDED_95 * error)
    _forget_and_add(kept.errors.T, (_ALL, _hour(clock.quarters[0]), step), QUARTER_KEEPS, missed**2, one)
    _forget_and_add(kept.carries.T, (_ALL, step), QUARTER_KEEPS, then_left * left, then_left**2, one)
    _forget_and_add(kept.score.T, (_ALL, step), SCORE_KEEPS, one, np.abs(missed), inside, np.abs(now - then))


def _learn(kept: Kept, clock: Clock, now: Floats, left: Floats) -> None:
    quarter = clock.quarters[0]
    _forget_and_add(kept.spread.T, (_ALL, _hour(quarter)), QUARTER_KEEPS, left**2, np.ones(len(now)))
    told = ~np.isnan(now)
    usual, weeks = kept.usual[:, quarter], kept.weeks[:, quarter]
    np.copyto(weeks, weeks * WEEK_KEEPS + 1, where=told)
    np.copyto(usual, usual + (now - usual) / np.maximum(weeks, 1.0), where=told)


def _look_ahead(kept: Kept, clock: Clock, now: Floats, left: Floats, se: Floats) -> Forecasts:
    quarters = np.array(clock.quarters[1:])
    usual = _usual(kept, quarters)
    estimate = np.maximum(usual + _left_after(kept) * left, 0.0)
    error = _believed(kept.errors.T[:, _hour(quarters), _EACH], _prior(usual, se))
    weight = kept.score[:, :, 0].T
    means = [
        np.divide(kept.score[:, :, part].T, weight, out=np.full(weight.shape, np.nan), where=weight > 0)
        for part in (1, 2, 3)
    ]
    return Forecasts(estimate, error, weight.copy(), *means)


def skill(forecasts: Forecasts) -> Skill:
    """Of all places together: each score counts as often as it was made."""
    weight = forecasts.scored
    with np.errstate(divide="ignore", invalid="ignore"):
        ours, inside, of_now = (
            np.nansum(weight * part, axis=1)
            for part in (forecasts.mean_error, forecasts.covered, forecasts.mean_error_of_now)
        )
        return Skill(ours / of_now, inside / weight.sum(axis=1))


def _left_after(kept: Kept) -> Floats:
    """The share of a deviation that is left after each step: as it was, or what is believed of any place."""
    both, first, weight = kept.carries.T
    believed = np.exp(-(_EACH[:, None] + 1) / PRIOR_LASTS)
    share = np.divide(both, first, out=np.broadcast_to(believed, both.shape).copy(), where=first > 0)
    counts = _prior_counts(weight)
    return np.asarray(np.clip((weight * share + counts * believed) / (weight + counts), 0.0, 1.0))


def _usual(kept: Kept, quarter: int | NDArray[np.int64]) -> Floats:
    return np.where(kept.weeks.T[quarter] > 0, kept.usual.T[quarter], np.nan)


def _prior(usual: Floats, se: Floats) -> Floats:
    return 2 * se**2 + (PRIOR_SPREAD * usual) ** 2


def _believed(sums: Floats, prior: Floats) -> Floats:
    counts = _prior_counts(sums[1])
    return np.asarray(np.sqrt((sums[0] + counts * prior) / (sums[1] + counts)))


def _prior_counts(weight: Floats) -> Floats:
    """What is left of PRIOR after quarters that count as `weight` by now."""
    return PRIOR * np.maximum(1 - weight * (1 - QUARTER_KEEPS), 0.0)


def _forget_and_add(sums: Floats, at: tuple[_Index, ...], keeps: float, *values: Floats) -> None:
    """Add a value to each of the parts, [parts, ..., places] of `sums` `at` these places, where all are known."""
    before = sums[at]
    sums[at] = np.where(np.isnan(sum(values[1:], values[0])), before, before * keeps + np.stack(values))


@overload
def _hour(quarter: int) -> int: ...
@overload
def _hour(quarter: NDArray[np.int64]) -> NDArray[np.int64]: ...
def _hour(quarter: int | NDArray[np.int64]) -> int | NDArray[np.int64]:
    return quarter // 4 % HOURS


def _ring(end_ms: int) -> int:
    return end_ms // QUARTER_MS % AHEAD


def pack(kept: Kept) -> bytes:
    """What is kept, as bytes."""
    parts = [getattr(kept, name).astype("<f4").tobytes() for name in _PER_PLACE]
    return msgspec.msgpack.encode((len(kept.usual), kept.at_ms, kept.made_ms.tolist(), parts))


def unpack(data: bytes) -> Kept:
    """The reverse of `pack`."""
    places, at_ms, made_ms, parts = msgspec.msgpack.decode(data, type=tuple[int, int, list[int], list[bytes]])
    kept = nothing(places)
    kept.at_ms, kept.made_ms = at_ms, np.array(made_ms, np.int64)
    for name, part in zip(_PER_PLACE, parts, strict=True):
        getattr(kept, name).flat = np.frombuffer(part, "<f4")
    return kept

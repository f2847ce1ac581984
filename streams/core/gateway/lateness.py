"""How far behind its record times a source's watermark is: as the epochs say, whichever gateway has the source.

In: the epochs, and the largest record time of a source so far (`reached_ms`). Out: the lateness there, and the
watermark. Were it the setting of each gateway, one with a longer lateness would let through what is behind a watermark
that another has sent, which crowds have passed. For the same reason a watermark does not go back where an epoch has a
longer lateness than the one before: there it waits until it is as far behind. Nothing is kept, nothing can fail.
"""

from collections.abc import Callable

from streams.core.epochs import EpochTable

Watermark = Callable[[int], int]


def behind(lateness_ms: int) -> Watermark:
    """Always by as much."""
    return lambda reached_ms: reached_ms - lateness_ms


def lateness_ms(epochs: EpochTable, reached_ms: int, otherwise_ms: int) -> int:
    """That of the epoch that holds the time, else of the one before, else of the first.

    Args:
        otherwise_ms: as long as there is none.
    """
    found = otherwise_ms if not epochs.epochs else epochs.epochs[0].lateness_ms
    for epoch in epochs.epochs:
        if epoch.start_ms <= reached_ms:
            found = epoch.lateness_ms
    return found


def watermark_ms(epochs: EpochTable, reached_ms: int, otherwise_ms: int) -> int:
    """Up to where nothing comes any more of a source that has reached the time."""
    passed = [epoch.end_ms - epoch.lateness_ms for epoch in epochs.epochs if epoch.end_ms <= reached_ms]
    return max([reached_ms - lateness_ms(epochs, reached_ms, otherwise_ms), *passed])

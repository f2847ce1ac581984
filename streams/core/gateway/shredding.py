"""Which epochs' salts are needed no more, so that their keys can be destroyed.

In: epochs, how far each source is *committed* (the running maximum of its record times that stands in the commit's
metadata), and the time that all clocks have reached (`core.clocks`). Out: the epochs whose key must go, each with the
reason. Nothing is kept, nothing can fail.

Only commits count: what a gateway has read and not committed is read again after a restart, and by then the salt must
still be there. A source without a commit has passed nothing.
"""

from collections.abc import Iterable, Mapping

from schemas.epochs import Epoch

PASSED = "passed"
DEADLINE = "deadline"


def over(
    epochs: Iterable[Epoch], committed: Mapping[int, int], lateness_ms: int, now_ms: int | None, latest_ms: int
) -> dict[int, str]:
    """The numbers of epochs that are over: PASSED by every source, or DEADLINE.

    Args:
        committed: by source the largest record time (ms) below its commit; only sources that count.
        now_ms: the time that all clocks have reached; None where it isn't known, or record times aren't the time of
            day: then there is no deadline.
        latest_ms: how long after its end an epoch's salt is kept at most.
    """
    found: dict[int, str] = {}
    for epoch in epochs:
        if _passed(epoch, committed, lateness_ms):
            found[epoch.epoch] = PASSED
        elif now_ms is not None and now_ms >= epoch.end_ms + latest_ms:
            found[epoch.epoch] = DEADLINE
    return found


def _passed(epoch: Epoch, committed: Mapping[int, int], lateness_ms: int) -> bool:
    """Whether every source's watermark, of the epoch's sources and of those announced since, is past its end."""
    sources = committed.keys() | set(epoch.sources)
    done_ms = epoch.end_ms + lateness_ms
    return all(source in committed and committed[source] - lateness_ms >= done_ms for source in sources)

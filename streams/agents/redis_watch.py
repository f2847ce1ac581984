"""What of a worker's work waits for Redis, told to readiness and metrics.

Kept: for each kind of work (counts, snapshots, panes shown) whether its last attempt failed. The worker is ready
again when every kind has succeeded since.
"""

import logging

from prometheus_client import Counter

from streams.agents.health import Readiness
from streams.stores.trouble import SAYS, kind_of

log = logging.getLogger("throng.redis")


class RedisWatch:
    """Of one worker. `errors` counts failed calls by kind of trouble."""

    def __init__(self, errors: Counter, readiness: Readiness) -> None:
        self._errors = errors
        self._readiness = readiness
        self._waiting: dict[str, str] = {}
        for kind in SAYS:
            errors.labels(kind)  # series that say zero, rather than none

    @property
    def trouble(self) -> bool:
        """Does anything wait?"""
        return bool(self._waiting)

    def failed(self, work: str, error: BaseException, owed: bool = True) -> None:
        """`work` (as it stands in '... wait') could not be done and is tried again; unless by now it is not `owed` any
        more: nothing would ever say that it succeeded."""
        kind = kind_of(error)
        self._errors.labels(kind).inc()
        if not owed:
            return
        self._waiting[work] = f"{SAYS[kind]} ({type(error).__name__})"
        log.debug("%s wait: %s", work, self._waiting[work])
        self._tell()

    def found(self, kind: str, what: str) -> None:
        """Redis answers, but something is wrong with what is there. `what`: where it was seen."""
        self._errors.labels(kind).inc()
        log.error("%s: %s; see docs/how-to/outages.md#redis", SAYS[kind], what)

    def done(self, work: str) -> None:
        """`work` succeeded."""
        if self._waiting.pop(work, None) is not None:
            self._tell()

    def forget(self) -> None:
        """There is no work any more: it is with others now."""
        self._waiting.clear()
        self._tell()

    def _tell(self) -> None:
        if not self._waiting:
            self._readiness.over("redis")
            return
        newest = next(reversed(self._waiting.values()))
        self._readiness.waiting("redis", f"{newest}: {' and '.join(sorted(self._waiting))} wait")

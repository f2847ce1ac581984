"""How often a token's holder may ask: a token bucket each (RFC 2697's, refilled steadily). Time is an argument."""

from typing import Final

# A waiting time that rounding has left at nothing would be asked again at once, and refused again.
LEAST_S: Final = 0.001


class Rate:
    """`per_s` requests a second in the long run, `burst` at once after a silence; for each holder alone."""

    def __init__(self, per_s: float, burst: int) -> None:
        self._per_s, self._burst = per_s, float(burst)
        # Of each who asked: requests that may still be made, and when that was worked out.
        self._left: dict[str, tuple[float, float]] = {}

    def wait_s(self, holder: str, now_s: float) -> float:
        """Take up a request at `now_s` of a clock that never goes back: 0, or how long to wait before the next, s."""
        left, then_s = self._left.get(holder, (self._burst, now_s))
        left = min(self._burst, left + (now_s - then_s) * self._per_s)
        if left < 1:
            self._left[holder] = left, now_s
            return max(LEAST_S, (1 - left) / self._per_s)
        self._left[holder] = left - 1, now_s
        return 0.0

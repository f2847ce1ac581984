"""What must hold: on what was released no attack does better than its bar by more than chance (`chance.Z` standard
errors); where nothing is protected each attack bites, or its failing on the release would say nothing."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from attacks.chance import Estimate

Json = dict[str, Any]  # as the results are printed and kept; only pictures and the last line look into them


class Verdict(NamedTuple):
    """One thing that must hold. `released`: of what was released; else that the attack bites elsewhere."""

    what: str
    released: bool
    value: float
    bar: float
    holds: bool

    def __str__(self) -> str:
        side = "at most" if self.released else "at least"
        return f"{'ok  ' if self.holds else 'FAIL'} {self.what}: {self.value:.4f}, {side} {self.bar:.4f}"


class Part(NamedTuple):
    """What one attack found: its results by name, and its verdicts."""

    results: dict[str, Json]
    verdicts: list[Verdict]


def clear(what: str, found: Estimate, bar: float) -> Verdict:
    """Nothing released gives more than the bar, but for chance."""
    return Verdict(what, True, found.value, bar + found.value - found.low, found.low <= bar)


def bites(what: str, value: float, bar: float) -> Verdict:
    """Where nothing is protected the attack gets at least the bar. The simulation is seeded: no chance in it."""
    return Verdict(what, False, value, bar, value >= bar)


def told(values: Mapping[str, Estimate]) -> Json:
    """Estimates as JSON: [value, standard error], rounded."""
    return {name: [round(one.value, 4), round(one.se, 4)] for name, one in values.items()}

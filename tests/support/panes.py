"""Panes of partitions, put together plainly, to compare with the oracle's."""

from collections import Counter
from collections.abc import Iterable

from schemas.panes import Pane, pairs


def summed(panes: Iterable[Pane]) -> dict[tuple[int, str, int], Counter]:
    """Counts by key, by (epoch, measure, number of the pane), over all partitions; each of their panes once."""
    found: dict[tuple[int, str, int], Counter] = {}
    for pane in panes:
        for name, counts in pane.counts.items():
            keys, values = pairs(counts)
            mine = found.setdefault((pane.epoch, name, pane.number), Counter())
            mine.update(dict(zip(keys.tolist(), values.tolist(), strict=True)))
    return found

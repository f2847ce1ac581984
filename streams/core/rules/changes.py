"""What a new rulebook changes, and in which direction: tighter is at once, looser needs a reason and waits.

Looser is whatever lets more people be counted or more be told of them. In: two rulebooks. Out: the changes, in words.
"""

from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

from schemas.measures import Measure
from schemas.policy import Policy, Rulebook
from streams.core.rules.rules import by_code


class Way(Enum):
    """The direction of a change."""

    TIGHTER = "tighter"
    LOOSER = "looser"
    NEITHER = "neither"


class Change(NamedTuple):
    """One setting of `whom` (a country, a measure, the deployment). `before`, `after`: as told to people."""

    whom: str
    setting: str
    before: str
    after: str
    way: Way

    def __str__(self) -> str:
        return f"{self.whom}: {self.setting} {self.before} -> {self.after} ({self.way.value})"


def changes(before: Rulebook, after: Rulebook) -> list[Change]:
    """All of them: the purpose, then countries, then measures."""
    found = []
    if before.purpose != after.purpose:
        # Other people have consented to it, and other consumers read it.
        found.append(Change("deployment", "purpose", before.purpose, after.purpose, Way.LOOSER))
    return [*found, *_countries(before, after), *_measures(before, after)]


def looser(before: Rulebook, after: Rulebook) -> list[Change]:
    """Those that need a reason."""
    return [change for change in changes(before, after) if change.way is Way.LOOSER]


def _countries(before: Rulebook, after: Rulebook) -> Iterator[Change]:
    olds, news = by_code(before), by_code(after)
    said: set[Change] = set()
    for mcc in sorted(olds.keys() | news.keys()):
        for change in _country(olds.get(mcc), news.get(mcc), mcc):
            if change not in said:
                said.add(change)
                yield change


def _country(old: Policy | None, new: Policy | None, mcc: str) -> Iterator[Change]:
    if old is None or new is None:
        there = old or new
        assert there is not None
        # Without a policy nobody is counted; a suspended country's events are dropped unread on top of it.
        more = (new is not None) == (there.state == "active")
        was, becomes = ("none", there.state) if old is None else (there.state, "none")
        yield Change(f"{there.country} ({mcc})", "policy", was, becomes, Way.LOOSER if more else Way.TIGHTER)
        return
    for setting in Policy.__struct_fields__:
        was, becomes = getattr(old, setting), getattr(new, setting)
        if was != becomes and setting != "mccs":
            way = _way(setting, was, becomes)
            yield Change(new.country, setting, _words(was), _words(becomes), way)


def _way(setting: str, was: object, becomes: object) -> Way:
    if setting in ("country", "note"):
        return Way.NEITHER
    if setting in ("state", "basis"):
        return Way.LOOSER if becomes in ("active", "opt_out") else Way.TIGHTER
    if setting in ("minimum_age", "k"):
        return Way.TIGHTER if becomes > was else Way.LOOSER  # type: ignore[operator]
    if setting in ("epsilon", "delta", "inbound_roamers"):
        return Way.LOOSER if becomes > was else Way.TIGHTER  # type: ignore[operator]
    olds, news = set(was), set(becomes)  # type: ignore[call-overload]
    if setting == "excluded_zones":
        olds, news = news, olds
    if setting == "home" and not (olds and news):
        return Way.LOOSER if olds else Way.TIGHTER  # no network named stands for all
    return Way.TIGHTER if news < olds else Way.NEITHER if news == olds else Way.LOOSER


def _measures(before: Rulebook, after: Rulebook) -> Iterator[Change]:
    olds, news = ({m.name: m for m in book.measures} for book in (before, after))
    for name in [*olds, *(name for name in news if name not in olds)]:
        if name not in news:
            yield Change(f"measure {name}", "", "told", "not told", Way.TIGHTER)
        elif name not in olds:
            yield Change(f"measure {name}", "", "not told", "told", Way.LOOSER)
        else:
            yield from _measure(olds[name], news[name])


def _measure(old: Measure, new: Measure) -> Iterator[Change]:
    finer = {
        "statistic": True,
        "level": new.level == "zone",
        "pane_ms": new.pane_ms < old.pane_ms,
        "share": new.share > old.share,
    }
    for setting in Measure.__struct_fields__:
        was, becomes = getattr(old, setting), getattr(new, setting)
        if was != becomes:
            # The noise grows with the cap, and the gap only says what an arrival is: the guarantee stays the same.
            way = Way.NEITHER if setting not in finer else Way.LOOSER if finer[setting] else Way.TIGHTER
            yield Change(f"measure {old.name}", setting, _words(was), _words(becomes), way)


def _words(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)

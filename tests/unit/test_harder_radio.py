"""`--radio real`: the loss and the shadowing that its page names, and phones that flap as real ones do."""

import hashlib
from collections import defaultdict
from itertools import pairwise

import numpy as np
import orjson
import pytest

from streams.simulate import Slice, generate, make_town
from streams.simulate.heard import DECIBEL, HEARD, SHADOWING_DB, listen

START = 1_772_420_400_000
HOUR = 3_600_000


def made(radio: str, slice_ms: int = 60_000, subscribers: int = 600) -> list[Slice]:
    town = make_town(7, subscribers, 30, radio=radio)
    return list(generate(town, START + 5 * HOUR, START + 8 * HOUR, 2, slice_ms=slice_ms))


def values(slices: list[Slice]) -> list[tuple[int, bytes]]:
    return [(at, value or b"") for part in range(2) for piece in slices for at, value in piece.values(part)]


def digest(slices: list[Slice]) -> str:
    return hashlib.blake2b(repr(values(slices)).encode()).hexdigest()


def cells_of(slices: list[Slice]) -> dict[str, list[str]]:
    """Each subscriber's cells in the order of time."""
    events = []
    for _, value in values(slices):
        try:
            event = orjson.loads(value)
            events.append((int(event["ts"]), event["imsi"], event["cell"]))
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            continue  # a beat, or malformed on purpose
    found = defaultdict(list)
    for _, imsi, cell in sorted(events):
        found[imsi].append(cell)
    return found


def flaps(cells: list[str]) -> int:
    """Changes between cells that were both served lately: within the last six of a subscriber's events."""
    return sum(new != old and new in cells[max(0, at - 5) : at] for at, (old, new) in enumerate(pairwise(cells)))


def test_it_depends_on_the_seed_alone_and_not_on_slices() -> None:
    assert digest(made("real")) == digest(made("real", 17_000))


def test_people_are_where_they_are_whatever_the_radio() -> None:
    """The truth keeps its meaning: zones of the ground, whatever cell serves."""
    simple, real = (np.concatenate([piece.truth for piece in made(radio)]) for radio in ("simple", "real"))
    assert set(simple.dtype.names) == set(real.dtype.names)
    assert (real["end"] > real["begin"]).all()
    assert len(np.unique(real["zone"])) == len(np.unique(simple["zone"]))


def test_phones_flap_more_than_with_the_simple_radio_and_among_more_cells() -> None:
    simple, real = cells_of(made("simple")), cells_of(made("real"))
    assert sum(map(flaps, real.values())) > 1.5 * sum(map(flaps, simple.values()))
    assert sum(len(set(c)) for c in real.values()) > 1.1 * sum(len(set(c)) for c in simple.values())


def test_shadowing_is_of_the_deviation_and_alike_nearby() -> None:
    """Two cells at one spot with the same range differ by their shadowing alone."""
    side = 80
    xy = np.array([(0, 0), (0, 0)], np.int64)
    heard = listen(5, 2000, side, xy, np.array([500, 500], np.int64), np.zeros(side * side, np.uint16))
    second = heard.levels[:, 1].astype(float) / DECIBEL
    difference = np.where(heard.cells[:, 0] == 0, -second, second).reshape(side, side)
    assert difference.std() == pytest.approx(SHADOWING_DB * np.sqrt(2), rel=0.1)
    for lag in (1, 2, 3):
        alike = np.corrcoef(difference[:, lag:].ravel(), difference[:, :-lag].ravel())[0, 1]
        assert alike == pytest.approx(np.exp(-lag), abs=0.06)


def test_the_loss_is_the_reports() -> None:
    """A cell of ten times the range is 39.08 dB stronger (TR 38.901's slope a decade), on the average."""
    side = 80
    xy = np.array([(0, 0), (0, 0)], np.int64)
    heard = listen(5, 2000, side, xy, np.array([300, 3000], np.int64), np.zeros(side * side, np.uint16))
    assert (heard.cells[:, 0] == 1).all()
    assert (heard.levels[:, 1] / DECIBEL).mean() == pytest.approx(-39.08, abs=1)
    assert heard.cells.shape == (side * side, HEARD)


def test_an_unknown_radio_is_refused() -> None:
    with pytest.raises(ValueError, match="simple or real"):
        make_town(1, 100, 20, radio="loud")

"""What consumers work out from released records: sums, shares, and their errors against many draws."""

import msgspec
import numpy as np
import pytest

from schemas.released import Flow, Footfall
from streams.core.derived.derived import came_from, footfall_of, goes_to
from streams.core.times import rfc3339

HOUR = 3_600_000
RNG = np.random.default_rng(4)
SAID = {
    "window_s": 3600,
    "epsilon": 2.0,
    "rho": 0.01,
    "k": 20,
    "covered": 1.0,
    "complete": True,
    "plan": "",
    "policy": "",
}


def flow(origin: str, destination: str, estimate: float, se: float, hour: int = 0) -> Flow:
    return Flow(
        schema="flows/1",
        measure="trips_zone",
        level="zone",
        origin=origin,
        destination=destination,
        noisy=round(estimate),
        estimate=estimate,
        se=se,
        low=0.0,
        high=0.0,
        start=rfc3339(hour * HOUR),
        end=rfc3339((hour + 1) * HOUR),
        **SAID,
    )


def told(measure: str, number: int, estimate: float | None, se: float | None, zone: str = "a") -> Footfall:
    return Footfall(
        schema="footfall/1",
        measure=measure,
        level="zone",
        zone=zone,
        suppressed=estimate is None,
        estimate=estimate,
        se=se,
        start=rfc3339(number * HOUR),
        end=rfc3339((number + 1) * HOUR),
        **SAID,
    )


def test_where_people_come_from_and_where_they_go() -> None:
    flows = [flow("a", "b", 300, 50), flow("c", "b", 600, 40), flow("b", "a", 50, 30), flow("a", "b", 100, 50, hour=1)]
    parts = came_from(flows, "b")
    assert [(part.place, part.estimate, part.se, part.share) for part in parts] == [
        ("c", 600, 40, 0.6),
        ("a", 400, 100, 0.4),
    ]
    assert [(part.place, part.share) for part in goes_to(flows, "b")] == [("a", 1.0)]
    assert goes_to(flows, "b")[0].share_se == 0
    assert came_from(flows, "c") == []
    alike = [flow(origin, "b", 300, 50) for origin in ("d", "a", "c")]
    assert [part.place for part in came_from(alike, "b")] == ["a", "c", "d"], "of equals by name, however they came"


def test_the_networks_view_of_a_place_errs_alike_in_all_panes() -> None:
    flows = [msgspec.structs.replace(flow("a", "b", 300, 50, hour), view_se=40.0 + hour) for hour in (0, 1)]
    assert came_from(flows, "b")[0].view_se == 81
    assert came_from([*flows, flow("a", "b", 1, 1, hour=2)], "b")[0].view_se is None, "of one it is not known"


def test_a_shares_error_is_that_of_many_draws() -> None:
    exact, noise = np.array([900.0, 500.0, 300.0]), np.array([40.0, 60.0, 50.0])
    drawn = exact + RNG.normal(0, noise, (20_000, 3))
    shares = drawn / drawn.sum(axis=1, keepdims=True)
    parts = {p.place: p for p in came_from([flow(str(n), "z", exact[n], noise[n]) for n in range(3)], "z")}
    for number in range(3):
        assert parts[str(number)].share_se == pytest.approx(shares[:, number].std(), rel=0.05)


def test_a_windows_footfall_adds_arrivals_to_the_first_panes() -> None:
    first, then = (
        told("footfall", 8, 1000.0, 50.0),
        [told("arrivals", 9, 200.0, 30.0), told("arrivals", 10, 100.0, 30.0)],
    )
    assert footfall_of(first, then) == (1300.0, 110.0, None, 1.0)
    assert footfall_of(first, []) == (1000.0, 50.0, None, 1.0)
    seen = [msgspec.structs.replace(record, view_se=70.0) for record in (first, *then)]
    assert footfall_of(seen[0], seen[1:]) == (1300.0, 110.0, 210.0, 1.0)
    assert footfall_of(first, [told("arrivals", 9, None, None)]) is None
    with pytest.raises(ValueError, match="must follow each other"):
        footfall_of(first, then[1:])
    with pytest.raises(ValueError, match="of one place"):
        footfall_of(first, [msgspec.structs.replace(then[0], zone="b")])
    with pytest.raises(ValueError, match="of one place"):
        footfall_of(first, [msgspec.structs.replace(then[0], level="parent")])
    with pytest.raises(ValueError, match="arrivals in the others"):
        footfall_of(first, [told("footfall", 9, 1.0, 1.0)])
    with pytest.raises(ValueError, match="the footfall of its first pane"):
        footfall_of(told("arrivals", 8, 1.0, 1.0), then)


def test_what_is_made_of_several_panes_covers_what_the_least_whole_of_them_does() -> None:
    first, then = told("footfall", 8, 1000.0, 50.0), told("arrivals", 9, 200.0, 30.0)
    found = footfall_of(first, [msgspec.structs.replace(then, covered=0.75)])
    assert found is not None and found.covered == 0.75
    flows = [flow("a", "b", 300, 50), msgspec.structs.replace(flow("c", "b", 600, 40), covered=0.5)]
    assert [part.covered for part in came_from(flows, "b")] == [0.5, 0.5], "a share is of all of them"
    assert [part.covered for part in goes_to(flows, "a")] == [1.0]

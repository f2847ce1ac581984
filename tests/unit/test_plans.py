"""Plans of epochs: the one by which new ones are opened, and those that earlier ones keep."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from schemas.plan import Plan
from schemas.sightings import encode_control
from streams.core.crowd.crowd import Crowd
from streams.core.release.render import Pages
from streams.errors import ThrongError
from streams.settings import load_settings
from streams.stores.plans import Plans, configured_plans
from tests.support.world import PLAN, epochs_at

NEXT = msgspec.structs.replace(PLAN, version=2, zones=tuple(reversed(PLAN.zones)))
(EPOCH,) = epochs_at(1_772_427_600_000)
LATER = msgspec.structs.replace(EPOCH, plan=NEXT.hash())


def written(folder: Path, *plans: Plan) -> list[str]:
    paths = [folder / f"{plan.version}.json" for plan in plans]
    for path, plan in zip(paths, plans, strict=True):
        path.write_bytes(msgspec.json.encode(plan))
    return [str(path) for path in paths]


def test_each_epoch_has_the_plan_that_it_was_opened_with(tmp_path: Path) -> None:
    old, new = written(tmp_path, PLAN, NEXT)
    plans = configured_plans(load_settings(None, {"gateway.plan": new, "gateway.earlier_plans": f" {old}, "}, {}))
    assert plans.current == NEXT
    assert (plans.of(EPOCH), plans.of(LATER)) == (PLAN, NEXT)
    assert plans.parents(EPOCH).tolist() == [0, 0, 0, 1, 1, 1]
    assert plans.parents(LATER).tolist() == [1, 1, 1, 0, 0, 0]
    pages = Pages(plans.of, 0.95)
    assert pages.of(EPOCH) is pages.of(EPOCH) is not pages.of(LATER)


def test_an_epoch_whose_plan_is_not_at_hand_is_refused_with_the_setting_to_change(tmp_path: Path) -> None:
    plans = configured_plans(load_settings(None, {"gateway.plan": written(tmp_path, NEXT)[0]}, {}))
    with pytest.raises(ThrongError, match=r"epoch 20260302 .* gateway\.earlier_plans"):
        plans.of(EPOCH)


def test_a_crowd_takes_the_parents_of_the_epoch_that_it_has_come_to(tmp_path: Path) -> None:
    asked = []

    def parents(epoch: object) -> np.ndarray:
        asked.append(epoch)
        return np.array(PLAN.zone_parents(), np.uint16)

    crowd = Crowd(0, parents)
    crowd.add_epoch(EPOCH)
    crowd.feed(encode_control(1, [0]), 0)
    assert asked == []  # of an epoch that nothing is counted of the plan may be gone
    assert crowd.parents(EPOCH).tolist() == [0, 0, 0, 1, 1, 1]
    assert asked == [EPOCH]


def test_a_worker_that_lacks_the_plan_of_an_epoch_that_runs_or_is_to_come_does_not_begin() -> None:
    """A release that stood by with another plan was ready, until it was needed."""
    now_ms = 1_772_449_200_000
    today, tomorrow = epochs_at(now_ms, now_ms + 86_400_000)
    Plans(PLAN).refuse_unknown([today, tomorrow], now_ms)
    Plans(NEXT, PLAN).refuse_unknown([today, tomorrow], now_ms)
    Plans(NEXT).refuse_unknown([today, msgspec.structs.replace(tomorrow, plan=NEXT.hash())], today.end_ms)
    for epochs in ([today, tomorrow], [tomorrow]):
        with pytest.raises(ThrongError, match=f"epoch {epochs[0].epoch} was opened with another zone plan"):
            Plans(NEXT).refuse_unknown(epochs, today.end_ms - 1)

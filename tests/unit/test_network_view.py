"""The network's view: a standard error of its own beside the filter's, and where it is measured."""

from pathlib import Path

import numpy as np
import orjson
import pytest

from schemas.measures import DEFAULT_MEASURES
from streams.core.estimates.view import SIMULATED, View
from streams.core.release.release import Draw, next_record, publications
from streams.core.release.render import Page
from streams.errors import ThrongError
from streams.settings import load_settings
from streams.stores.views import configured_views
from tests.support.world import PLAN, epochs_at
from validation.errors import Pairs
from validation.view import fitted

EPOCH = epochs_at(1_772_420_400_000)[0]
NAMED = {measure.name: measure for measure in DEFAULT_MEASURES}


def told(name: str, views=None) -> list[dict]:
    measure = NAMED[name]
    noisy = np.full(measure.keys(6, 2), 10_000)
    draw = Draw(EPOCH, measure, 24, EPOCH.start_ms + 24 * EPOCH.pane_ms, noisy)
    record = next_record(draw, None, None, Page(PLAN, 0.95, views), 0, "me")
    return [said for item in publications(record) if "estimate" in (said := orjson.loads(item.value))]


def test_a_view_errs_by_a_share_of_all_and_by_each_head_at_the_border():
    assert View(0.02, 8.0).se(np.array([0.0, 100.0, 10_000.0])) == pytest.approx([0, 28.355, 346.41], abs=0.01)
    assert View(0.02, 8.0).se(np.array([-50.0])) == 0, "an estimate below nobody is nobody"


@pytest.mark.parametrize("name", ["present", "present_cohort", "arrivals", "trips_zone", "trips_parent", "visits"])
def test_a_record_says_the_views_error_beside_that_of_the_noise(name: str):
    bare, viewed = told(name), told(name, {name: View(0.1)})
    assert len(bare) == len(viewed) > 0
    for one, other in zip(bare, viewed, strict=True):
        assert "view_se" not in one
        assert other.pop("view_se") == pytest.approx(other["estimate"] * 0.1, abs=0.1)
        assert one == other, "the noise's error and interval are as ever"


def test_a_measure_without_a_view_says_nothing_of_it():
    others = {name: view for name, view in SIMULATED.items() if name != "dwell"}
    assert all("view_se" not in said for said in told("dwell", others))
    assert all("view_se" in said for said in told("dwell", SIMULATED))


def test_a_deployment_says_its_own_or_nothing(tmp_path: Path):
    assert configured_views(load_settings(environ={})) is SIMULATED
    file = tmp_path / "view.toml"
    file.write_text("[present]\nshare = 0.03\napart = 1.5\n")
    settings = load_settings(environ={"THRONG_RELEASE_VIEW": str(file)})
    assert configured_views(settings) == {"present": View(0.03, 1.5)}
    file.write_text("")
    assert configured_views(settings) == {}


@pytest.mark.parametrize("said", ["[present]\nshare = 2.0", "[present]\nshares = 0.1", "present = ", None])
def test_a_file_that_is_wrong_is_named(tmp_path: Path, said: str | None):
    file = tmp_path / "view.toml"
    if said is not None:
        file.write_text(said)
    with pytest.raises(ThrongError, match=r"network's view .*view\.toml"):
        configured_views(load_settings(environ={"THRONG_RELEASE_VIEW": str(file)}))


def test_a_view_is_found_again_from_what_it_made():
    rng = np.random.default_rng(2)
    true = np.exp(rng.uniform(np.log(20), np.log(9000), 20_000))
    told = np.maximum(true + rng.normal(0, View(0.05, 4.0).se(true)), 0)
    found = fitted(Pairs(told, true, np.zeros(len(true))))
    assert found.share == pytest.approx(0.05, rel=0.25)
    assert found.apart == pytest.approx(4.0, rel=0.35)

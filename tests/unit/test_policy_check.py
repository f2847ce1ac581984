"""What a configuration is said to give, and what is refused because it does not add up."""

import math
from pathlib import Path
from statistics import NormalDist

import msgspec
import numpy as np
import orjson
import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from schemas.access import ROLES, measures_for, scopes_for, topics_for
from schemas.measures import DEFAULT_MEASURES, Measure
from schemas.policy import Rulebook
from schemas.topics import DWELL, FLOWS, FOOTFALL, OUTLOOK, PUBLISHED, TOPICS
from streams.cli.access_lists import acls, command
from streams.cli.policy import policy
from streams.cli.policy_words import words
from streams.cli.topics import topics
from streams.core.estimates import estimate
from streams.core.estimates.models import Model, Models
from streams.core.release.budget import rho_for
from streams.core.rules.accuracy import PRESENT, explain, guarantee, settled_error, told_from
from streams.core.rules.soundness import problems, sound
from streams.errors import ThrongError
from streams.settings import load_settings
from streams.stores.policies import SHIPPED, configured_rules, load_measures
from tests.support.world import POLICIES, epochs_at

BOOK = Rulebook(tuple(POLICIES), DEFAULT_MEASURES, "marketing")
PRESENT_MEASURE, ARRIVALS, TRIPS = DEFAULT_MEASURES[0], DEFAULT_MEASURES[1], DEFAULT_MEASURES[2]


def write(folder: Path, measures: tuple[Measure, ...], **changed: object) -> Path:
    """A file of measures, as an operator would write it."""
    lines = []
    for measure in measures:
        fields = msgspec.to_builtins(measure) | changed
        lines += ["[[measure]]", *(f"{name} = {orjson.dumps(value).decode()}" for name, value in fields.items())]
    path = folder / "measures.toml"
    path.write_text("\n".join(lines))
    return path


def test_the_shipped_measures_add_up_and_read_the_same_from_a_file(tmp_path: Path) -> None:
    assert list(problems(BOOK)) == []
    assert load_measures(write(tmp_path, DEFAULT_MEASURES)) == DEFAULT_MEASURES


def test_the_measures_that_the_command_prints_are_a_file_that_can_be_changed(tmp_path: Path) -> None:
    file = tmp_path / "measures.toml"
    file.write_text(CliRunner().invoke(policy, ["measures"], catch_exceptions=False).output)
    assert load_measures(file) == DEFAULT_MEASURES
    environ = {"THRONG_RELEASE_MEASURES": str(file)}
    assert checked(environ=environ) == checked()
    file.write_text(file.read_text().replace("cap = 72", "cap = 36"))
    assert checked(environ=environ) != checked()


@pytest.mark.parametrize(
    ("measures", "sentence"),
    [
        ((), "there is no measure"),
        ((PRESENT_MEASURE, PRESENT_MEASURE), "there are 2 measures with the name present"),
        ((replace(PRESENT_MEASURE, share=0.95), TRIPS), "add up to 1.087; 1 is all there is"),
        ((replace(PRESENT_MEASURE, share=0.0),), "measure present: share is 0, which is not above 0"),
        ((replace(PRESENT_MEASURE, share=math.nan),), "measure present: share is nan"),
        ((replace(PRESENT_MEASURE, pane_ms=420_000),), "measure present: pane_ms is 420000, not 5, 10, 15, 20, 30 or"),
        ((replace(PRESENT_MEASURE, pane_ms=7_200_000),), "measure present: pane_ms is 7200000"),
        ((replace(PRESENT_MEASURE, pane_ms=0),), "measure present: pane_ms is 0"),
        ((replace(PRESENT_MEASURE, cap=10),), "measure present: cap is 10, but whoever is present counts once"),
        ((replace(TRIPS, cap=0),), "measure trips_zone: cap is 0, but trips of a subscriber must be bounded"),
        ((replace(ARRIVALS, cap=-1),), "measure arrivals: cap is -1"),
        ((replace(ARRIVALS, gap_ms=899_999),), "measure arrivals: gap_ms is 899999, shorter than its pane of 900000"),
        ((replace(TRIPS, gap_ms=60_000),), "trips has none"),
        ((replace(ARRIVALS, level="parent"),), "measure arrivals: arrivals is counted by zone"),
        ((replace(TRIPS, name="a b"),), "measure 'a b': a name is up to 32 letters"),
        ((replace(TRIPS, cap=65_536),), "measure trips_zone: cap is 65536; counts up to 65535 can be kept"),
        (tuple(replace(ARRIVALS, name=f"a{n}") for n in range(4)), "there are 4 measures of arrivals; 3 can be"),
        ((replace(ARRIVALS, name="footfall"),), "measure footfall: that is the name of another number"),
        ((replace(ARRIVALS, name="present"),), "measure present: that is the name of another number"),
    ],
)
def test_measures_that_do_not_add_up_are_refused(measures: tuple[Measure, ...], sentence: str) -> None:
    found = list(problems(replace(BOOK, measures=measures)))
    assert found and sentence in found[0]


def test_an_epoch_that_was_written_past_the_commands_is_refused_by_what_is_wrong_with_its_measures() -> None:
    (epoch,) = epochs_at(1_772_420_400_000)
    assert sound(epoch) is epoch
    assert sound(replace(epoch, purpose="")) is not None  # of before purposes were told
    unbounded = replace(DEFAULT_MEASURES[1], cap=0)
    for changed, sentence in (
        ({"measures": (unbounded,)}, "epoch 20260302: measure arrivals: cap is 0, but .* must be bounded"),
        ({"measures": (DEFAULT_MEASURES[0],) * 2}, "2 measures with the name present"),
        ({"purpose": "traffic"}, "present_cohort is not allowed for the purpose traffic"),
        ({"purpose": "advertising"}, "present is not allowed for the purpose advertising"),
    ):
        with pytest.raises(ThrongError, match=sentence):
            sound(replace(epoch, **changed))


def test_the_file_of_measures_in_the_docs_gives_travel_times_and_passes(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "flows.md").read_text(encoding="utf-8")
    (tmp_path / "measures.toml").write_text(page.partition("```toml\n")[2].partition("```")[0])
    measures = load_measures(tmp_path / "measures.toml")
    spent = [measure.share for measure in measures if measure.statistic not in ("present_cohort", "visits")]
    assert sum(spent) == pytest.approx(1) and [measure for measure in measures if measure in DEFAULT_MEASURES] == [
        measure for measure in DEFAULT_MEASURES if measure.statistic not in ("present_cohort", "visits")
    ]
    book = replace(BOOK, measures=measures, purpose="traffic")
    assert list(problems(book)) == []
    said = list(words(explain(book, 100, 20, 0.95)))
    assert any(line.startswith("travel_times: trips that ended there") and "by district" in line for line in said)
    assert any(line.startswith("passes: people who passed") and "by pair of districts" in line for line in said)
    for purpose in ("traffic", "public", "marketing", "market_research"):
        assert set(measures_for(purpose, measures)) == set(measures)


def test_travel_times_by_pair_have_the_noise_of_trips_and_pairs_as_many_times_as_bands() -> None:
    by_pair = Measure("by_pair", "travel_times_by_pair", "parent", 3_600_000, 24, 0.10)
    assert by_pair.keys(100, 20) == 20 * 20 * 6 and replace(by_pair, level="zone").keys(100, 20) == 100 * 100 * 6
    assert replace(by_pair, level="zone").keys_from_data(200, 20) and not by_pair.keys_from_data(200, 20)
    for purpose in ("traffic", "market_research"):
        assert measures_for(purpose, [by_pair]) == (by_pair,)
    book = replace(BOOK, measures=(by_pair, replace(TRIPS, share=0.10)))
    assert list(problems(book)) == []
    pair, trips = explain(book, 100, 20, 0.95).measures
    assert (pair.at_most, pair.noise, pair.keys) == (trips.at_most, pytest.approx(trips.noise), 2400)
    said = list(words(explain(book, 100, 20, 0.95)))
    (line,) = [line for line in said if line.startswith("by_pair: ")]
    assert "by the minutes that they took, by pair of districts" in line and "2,400 numbers each time" in line


def test_the_measure_of_homes_in_the_docs_is_sound_beside_the_others_and_explained(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "policies.md").read_text(encoding="utf-8")
    added = page.partition("## Home and work")[2].partition("```toml\n")[2].partition("```")[0]
    (tmp_path / "measures.toml").write_text(added)
    (home,) = load_measures(tmp_path / "measures.toml")
    assert any("add up to 1.05" in sentence for sentence in problems(replace(BOOK, measures=(*DEFAULT_MEASURES, home))))
    less = [replace(m, share=m.share - home.share) if m.name == "present_cohort" else m for m in DEFAULT_MEASURES]
    book = replace(BOOK, measures=(*less, home))
    assert list(problems(book)) == []
    assert list(problems(replace(book, measures=(*less, replace(home, level="parent"))))) == []
    assert any("must be bounded" in sentence for sentence in problems(replace(book, measures=(replace(home, cap=0),))))
    few, many = ("\n".join(words(explain(book, zones, 20, 0.95))) for zones in (100, 10_000))
    assert "home: people who came for the first time of the day" in few and "2,100 numbers each time" in few
    assert "one person adds at most 16 a day; 5% of the budget" in few
    assert "areas" in explain(book, 100, 20, 0.95).topics
    assert "on every pair that occurs" in many.partition("home: ")[2]
    assert explain(replace(book, purpose="traffic"), 100, 20, 0.95).left_out[-1] == "home"


def test_a_purpose_that_allows_none_of_the_measures_is_refused() -> None:
    cohorts = replace(DEFAULT_MEASURES[4], share=0.5)
    only = replace(BOOK, measures=(cohorts,), purpose="traffic")
    assert list(problems(only)) == ["none of the measures is allowed for the purpose traffic"]
    assert list(problems(replace(only, purpose="marketing"))) == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[[measure]]\nname = "x"', "missing required field `statistic`"),
        ("[[measures]]", "unknown field `measures`"),
        ("measure = 3", "Expected `array`, got `int`"),
        ("[[measure", "not as expected"),
    ],
)
def test_a_wrong_file_of_measures_is_told_in_one_line(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "measures.toml").write_text(text)
    with pytest.raises(ThrongError, match="measures") as refused:
        load_measures(tmp_path / "measures.toml")
    assert sentence in refused.value.sentence and "\n" not in refused.value.sentence
    with pytest.raises(ThrongError, match="cannot read the measures"):
        load_measures(tmp_path / "none.toml")


def test_an_unknown_key_of_a_measure_and_shares_over_1_end_the_command(tmp_path: Path) -> None:
    for changed, sentence in (({"loud": True}, "unknown field `loud`"), ({"share": 0.3}, "add up to 2.100")):
        settings = load_settings(None, {"release.measures": str(write(tmp_path, DEFAULT_MEASURES, **changed))}, {})
        with pytest.raises(ThrongError) as refused:
            configured_rules(settings)
        assert sentence in refused.value.sentence


def test_the_settled_error_is_the_filters_own() -> None:
    # The filter itself, run on a level that stays: its variance settles where the formula says.
    for people in (50.0, 500.0, 5000.0):
        walk = Models((Model(1.0, PRESENT.tide, PRESENT.flow, 0.0),), 1.0)
        belief = estimate.begin(np.array([round(people)]), 78.6, walk)
        for _ in range(400):
            belief = estimate.update(belief, np.array([round(people)]), 78.6, walk)
        assert math.sqrt(belief.level.variance[0]) == pytest.approx(settled_error(78.6, PRESENT, people), rel=1e-3)


def test_a_number_is_told_from_where_the_estimate_is_surely_k() -> None:
    least = told_from(78.6, PRESENT, 20, 0.95)
    quantile = NormalDist().inv_cdf(0.95)
    assert least - quantile * settled_error(78.6, PRESENT, least) == pytest.approx(20, abs=1e-6)
    assert told_from(78.6, PRESENT, 200, 0.95) > least < told_from(78.6, PRESENT, 20, 0.99)


def test_the_guarantee_of_days_adds_up() -> None:
    rho = rho_for(2.0, 2e-9)
    day, week, month = (guarantee(days, rho, 2e-9) for days in (1, 7, 30))
    assert day.epsilon == pytest.approx(2.0, abs=1e-6)
    assert (round(week.epsilon, 1), round(month.epsilon, 1)) == (5.7, 12.9)
    assert [round(each.auc_bound, 2) for each in (day, week, month)] == [0.6, 0.74, 0.91]
    # The area under a test's curve is at least half its advantage above a guess.
    assert all(each.auc_bound >= 0.5 + each.advantage_bound / 2 for each in (day, week, month))


def test_the_default_configuration_gives_what_the_documents_say() -> None:
    found = explain(BOOK, 10, 2, 0.95)
    noise = {gives.measure: round(gives.noise) for gives in found.measures}
    assert (
        noise["present"] == 79
        and noise["arrivals"] == 91
        and noise["present_cohort"] == 40
        and noise["trips_zone"] == noise["trips_parent"] == 39
        and noise["dwell"] == 96
        and noise["visits"] == 68
    )
    assert {gives.measure: gives.keys for gives in found.measures}["trips_zone"] == 100
    assert found.kept_back == 0 and found.left_out == ()
    present = found.measures[0]
    assert present.error[50] > present.error[500] > present.error[5000]
    assert all(present.error[people] <= present.error_of_noisy[people] for people in (50, 500, 5000))


def test_a_purpose_decides_measures_topics_and_scopes() -> None:
    assert measures_for("marketing", DEFAULT_MEASURES) == DEFAULT_MEASURES
    assert "present_cohort" not in {measure.name for measure in measures_for("traffic", DEFAULT_MEASURES)}
    assert topics_for("public") == (FOOTFALL, FLOWS, DWELL, OUTLOOK)
    assert scopes_for("traffic") == ("traffic:footfall:read", "traffic:flows:read", "traffic:dwell:read")
    assert set(scopes_for("marketing")) - {s.replace("traffic", "marketing") for s in scopes_for("traffic")} == {
        "marketing:cohorts:read",
        "marketing:visits:read",
        "marketing:areas:read",
    }
    public = explain(replace(BOOK, purpose="public"), None, None, 0.95)
    assert public.left_out == ("present_cohort", "visits") and public.kept_back == 0.175 and public.countries == ()


def test_every_topic_has_a_writer_and_no_role_sees_more_than_it_must() -> None:
    names = {topic.name for topic in TOPICS}
    assert {name for rights in ROLES.values() for name in rights.writes} == names
    secret = {"attach", "registry", "salts", "rejects"}
    assert not secret & {n for role in ("crowd", "release") for n in ROLES[role].reads + ROLES[role].writes}
    writers = {role for role, rights in ROLES.items() if "audit" in rights.writes}
    assert writers == {"gateway", "operator"}
    # Who may delete a topic may neither create nor write one: nothing is drawn anew by one user's mistake.
    assert {role: rights.deletes for role, rights in ROLES.items() if rights.deletes} == {"trimmer": ("ledger",)}
    assert not ROLES["trimmer"].writes


def test_the_access_lists_follow_from_roles_and_purpose() -> None:
    settings = load_settings(None, {"kafka.namespace": "north", "gateway.purpose": "traffic"}, {})
    found = acls(settings, "x-")

    def allowed(role: str, operation: str) -> set[str]:
        return {acl.name for acl in found if acl.principal == f"User:x-{role}" and acl.operation == operation}

    assert allowed("consumer-traffic", "Read") == {
        "north.footfall",
        "north.flows",
        "north.dwell",
        "north.outlook",
        "north.consumer-traffic-",
    }
    assert not any(acl.principal.endswith("marketing") for acl in found)
    assert allowed("crowd", "Read") == {"north.sightings", "north.epochs", "throng-north-crowd"}
    assert allowed("release", "Write") == {"north.ledger", *(f"north.{name}" for name in PUBLISHED)}
    # Every worker asks at its start whether all topics are there, and how they are set up.
    assert all(len(allowed(role, "Describe")) == len(TOPICS) for role in ("gateway", "crowd", "release", "operator"))
    assert {acl.operation for acl in found if "consumer" in acl.principal} == {"Read"}
    assert {(acl.operation, acl.name) for acl in found if acl.principal == "User:x-trimmer"} == {
        ("Read", "north.ledger"),
        ("Delete", "north.ledger"),
    }
    (group,) = (acl for acl in found if acl.pattern == "prefixed")
    assert command(group).endswith("--operation Read --group north.consumer-traffic- --resource-pattern-type prefixed")


def test_the_lists_are_printed_as_commands_or_json() -> None:
    said = CliRunner().invoke(topics, ["acls"], catch_exceptions=False).output
    assert all(line.startswith("kafka-acls.sh --bootstrap-server") for line in said.splitlines())
    assert "--allow-principal User:throng-consumer-marketing --operation Read --topic footfall" in said
    found = orjson.loads(CliRunner().invoke(topics, ["acls", "--json"], catch_exceptions=False).output)
    assert (found["purpose"], found["scopes"]) == ("marketing", list(scopes_for("marketing")))
    assert len(found["acls"]) == len(said.splitlines())


def test_zeros_get_noise_only_where_every_key_does() -> None:
    def noises(zones: int | None, parents: int | None) -> dict[str, str]:
        lines = list(words(explain(BOOK, zones, parents, 0.95)))
        heads = [line.split(":")[0] for line in lines if line and not line.startswith(" ") and ": " in line]
        return dict(zip(heads[1:], [line for line in lines if "  noise:" in line], strict=False))

    few, many, unknown = noises(300, 10), noises(400, 10), noises(None, None)
    assert all(line.endswith("on every number, zeros too") for line in few.values())
    assert len(few) == len(DEFAULT_MEASURES)
    keyed = explain(BOOK, 400, 10, 0.95).measures
    (from_data,) = (gives for gives in keyed if gives.threshold is not None)
    assert from_data.measure == "trips_zone" and from_data.told_from >= from_data.threshold
    left_out = f"on every pair that occurs; of these, those below {from_data.threshold} are left out"
    assert left_out in many["trips_zone"] and "zeros" not in many["trips_zone"]
    assert many["trips_parent"].endswith("zeros too") and many["present"].endswith("zeros too")
    assert "zeros too (beyond 100,000 pairs: on those that occur" in unknown["trips_zone"]


def checked(*arguments: str, environ: dict[str, str] | None = None) -> str:
    result = CliRunner().invoke(policy, ["check", *arguments], env=environ, catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_check_explains_in_words_and_in_json() -> None:
    said = checked()
    assert "purpose marketing: counted are subscribers of Test network" in said
    assert "present: people present at the pane's end, by zone, every 5 min" in said
    assert "noise: standard error 78.6 on every number, zeros too" in said
    assert "epsilon 2.00 at delta 2e-09" in said and "AUC at most 0.595" in said
    found = orjson.loads(checked("--json"))
    assert found["measures"][0]["error"].keys() == {"50", "500", "5000"}
    assert found["scopes"] == list(scopes_for("marketing"))
    assert "nobody may be counted" not in said
    germany = checked(environ={"THRONG_GATEWAY_PURPOSE": "traffic"})
    assert "not told for traffic: present_cohort, visits" in germany
    assert SHIPPED.is_dir()

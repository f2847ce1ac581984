"""Which topics' settings a worker refuses to begin on."""

import pytest

from schemas.topics import EPOCHS, PANES, REGISTRY, REJECTS, TOPICS
from streams.settings import load_settings
from streams.stores.durability import BY_NAME, OF_PERSONS, lingering, too_short, troubles
from streams.stores.topics import _new

GOOD = {
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "unclean.leader.election.enable": "false",
    "min.insync.replicas": "2",
}
SETTINGS = load_settings(None, {"kafka.replication": 3, "kafka.min_insync": 2}, {})


def test_what_the_guarantees_rest_on_is_accepted() -> None:
    assert troubles(EPOCHS, 3, GOOD, SETTINGS) == []
    assert troubles(PANES, 3, {**GOOD, "retention.ms": "86400000", "retention.bytes": "1073741824"}, SETTINGS) == []


@pytest.mark.parametrize(
    ("replicas", "changed", "said"),
    [
        (3, {"cleanup.policy": "compact"}, "cleanup.policy is compact: set delete"),
        (3, {"cleanup.policy": "compact,delete"}, "cleanup.policy is compact,delete"),
        (3, {"retention.ms": "604800000"}, "retention.ms is 604800000: set -1"),
        (3, {"retention.bytes": "1073741824"}, "retention.bytes is 1073741824: set -1"),
        (3, {"unclean.leader.election.enable": "true"}, "unclean.leader.election.enable is true"),
        (3, {"min.insync.replicas": "1"}, "min.insync.replicas is 1, kafka.min_insync says 2"),
        (1, {}, "1 replicas, kafka.replication says 3"),
    ],
)
def test_what_would_lose_records_is_refused(replicas: int, changed: dict[str, str], said: str) -> None:
    (found,) = troubles(EPOCHS, replicas, GOOD | changed, SETTINGS)
    assert said in found


WEEK = {"segment.ms": "604800000"}
HOURS_2 = {"cleanup.policy": "delete", "retention.ms": "7200000"}
EVER = {"cleanup.policy": "compact", "retention.ms": "-1", "max.compaction.lag.ms": str(2**63 - 1)}


@pytest.mark.parametrize("topic", OF_PERSONS.values(), ids=list(OF_PERSONS))
def test_topics_of_persons_are_made_so_that_what_is_old_goes(topic) -> None:
    made = dict(_new(topic, SETTINGS).topic_configs)
    assert lingering(topic, {"cleanup.policy": "delete", **made}) == ""
    assert "segment.ms" in made


def test_a_replays_topics_have_the_brokers_segments_since_its_records_are_of_another_time() -> None:
    replay = load_settings(None, {"kafka.keep_forever": True}, {})
    made = {name for topic in TOPICS for name in _new(topic, replay).topic_configs}
    assert made & {"segment.ms", "max.compaction.lag.ms"} == set()


def test_records_that_lie_in_a_segment_of_a_week_are_told_with_what_to_set() -> None:
    assert lingering(OF_PERSONS[REJECTS], HOURS_2 | WEEK) == "segment.ms=900000"
    assert lingering(OF_PERSONS[REJECTS], HOURS_2 | {"segment.ms": "1800000"}) == ""
    assert lingering(OF_PERSONS[REJECTS], HOURS_2 | WEEK | {"retention.ms": "-1"}) == ""
    said = lingering(OF_PERSONS[REGISTRY], EVER | {"segment.ms": "3600000"})
    assert said == "segment.ms=3600000,max.compaction.lag.ms=86400000"


@pytest.mark.parametrize("topic", BY_NAME.values(), ids=list(BY_NAME))
def test_a_topic_that_would_refuse_the_longest_records_is_told(topic) -> None:
    made = dict(_new(topic, SETTINGS).topic_configs)
    assert not too_short(topic, made) and not too_short(topic, {})
    if "max.message.bytes" in made:
        assert too_short(topic, {"max.message.bytes": str(int(made["max.message.bytes"]) - 1)})
    else:
        assert not too_short(topic, {"max.message.bytes": "1000"}), "what throng writes there is short"

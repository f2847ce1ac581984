"""Which topics' settings a worker refuses to begin on."""

import pytest

from schemas.topics import EPOCHS, PANES
from streams.settings import load_settings
from streams.stores.durability import troubles

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

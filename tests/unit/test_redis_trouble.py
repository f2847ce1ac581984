"""What is wrong with Redis, told by kind, until every kind of work has succeeded again."""

import pytest
from prometheus_client import CollectorRegistry
from redis import exceptions as redis

from streams.agents.health import Readiness
from streams.agents.redis_watch import RedisWatch
from streams.metrics import CrowdMetrics
from streams.stores.trouble import SAYS, TROUBLE, kind_of


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (redis.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), "full"),
        (redis.ResponseError("Error running script: -OOM command not allowed when used memory"), "full"),
        (redis.ResponseError("MISCONF Redis is configured to save RDB snapshots, but it's unable to"), "full"),
        (redis.ReadOnlyError("You can't write against a read only replica."), "read-only"),
        (redis.ResponseError("NOREPLICAS Not enough good replicas to write."), "read-only"),
        (redis.BusyLoadingError("Redis is loading the dataset in memory"), "loading"),
        (redis.TimeoutError("Timeout reading from 127.0.0.1:6379"), "slow"),
        (redis.ConnectionError("Error 111 connecting to 127.0.0.1:6379."), "away"),
        (ConnectionResetError(), "away"),
        (redis.MaxConnectionsError("Too many connections"), "busy"),
        (redis.ConnectionError("max number of clients reached"), "busy"),
        (redis.AuthenticationError("invalid username-password pair"), "refused"),
        (redis.NoPermissionError("this user has no permissions"), "refused"),
        (redis.ClusterDownError("CLUSTERDOWN Hash slot not served"), "cluster"),
        (redis.RedisClusterException("Redis Cluster cannot be connected."), "cluster"),
        (redis.ResponseError("WRONGTYPE"), "other"),
    ],
)
def test_each_error_has_its_kind_and_is_waited_for(error: Exception, kind: str) -> None:
    assert kind_of(error) == kind
    assert kind in SAYS
    assert isinstance(error, TROUBLE)


def test_a_worker_is_ready_again_when_all_that_failed_has_succeeded() -> None:
    readiness, registry = Readiness(), CollectorRegistry()
    readiness.over("starting")
    watch = RedisWatch(CrowdMetrics(registry).redis_errors, readiness)
    assert registry.get_sample_value("throng_redis_errors_total", {"kind": "full"}) == 0
    watch.failed("snapshots", redis.OutOfMemoryError())
    assert readiness.reasons == ["Redis is full (OutOfMemoryError): snapshots wait"]
    watch.failed("counts", redis.ConnectionError())
    assert readiness.reasons == ["Redis does not answer (ConnectionError): counts and snapshots wait"]
    watch.done("counts")
    assert readiness.reasons == ["Redis is full (OutOfMemoryError): snapshots wait"] and watch.trouble
    watch.forget()
    assert readiness.reasons == [], "the partitions are with others now"
    watch.failed("snapshots", redis.OutOfMemoryError())
    watch.done("snapshots")
    assert readiness.reasons == [] and not watch.trouble
    assert registry.get_sample_value("throng_redis_errors_total", {"kind": "full"}) == 2

"""What is wrong with Redis: a few kinds that need different hands, from the exceptions that a client raises.

`full` (memory or disk: writes are refused), `read-only` (a replica, or too few replicas follow), `loading` (it reads
its data after a start), `slow` (connected, but no answer in time: also half-open, or stopped), `away` (no
connection), `busy` (no room for another client), `refused` (password, rights), `cluster` (slots are not served),
`other`. What no call says, but is found: `losing` (what was stored is gone, by an eviction policy mostly), `shared`
(another deployment writes under the same names). All of them pass by waiting or by an operator's hand; none is a reason
to end a worker.
"""

from typing import Final

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterError,
    MaxConnectionsError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    TimeoutError,
)

# What a call to Redis may raise; a cluster's client has exceptions that are no `RedisError`.
TROUBLE: Final = (RedisError, RedisClusterException, OSError)

SAYS: Final = {
    "full": "Redis is full",
    "read-only": "Redis takes no writes",
    "loading": "Redis is loading its data",
    "slow": "Redis does not answer in time",
    "away": "Redis does not answer",
    "busy": "Redis has no room for another client",
    "refused": "Redis refuses this user",
    "cluster": "Redis Cluster does not serve all slots",
    "other": "Redis fails",
    "losing": "Redis loses what is stored",
    "shared": "Redis is shared with a deployment of the same namespace",
}

_TYPES: Final = (
    (OutOfMemoryError, "full"),
    (ReadOnlyError, "read-only"),
    (BusyLoadingError, "loading"),
    (MaxConnectionsError, "busy"),
    ((AuthenticationError, AuthorizationError, NoPermissionError), "refused"),
    ((ClusterError, RedisClusterException), "cluster"),
    (TimeoutError, "slow"),
)
# Servers say these as text, some of them from within a script, where the client has no type for them.
_TEXTS: Final = (
    ("OOM", "full"),
    ("MISCONF", "full"),
    ("READONLY", "read-only"),
    ("NOREPLICAS", "read-only"),
    ("LOADING", "loading"),
    ("max number of clients", "busy"),
    ("CLUSTERDOWN", "cluster"),
)


def kind_of(error: BaseException) -> str:
    """The kind of trouble, a key of `SAYS`."""
    for types, kind in _TYPES:
        if isinstance(error, types):
            return kind
    text = str(error)
    for word, kind in _TEXTS:
        if word in text:
            return kind
    return "away" if isinstance(error, OSError) or "Connection" in type(error).__name__ else "other"

"""The access control lists of a deployment on Kafka and Redis, from its roles and its purpose (`schemas.access`).

Whoever isn't named gets nothing: the cluster must refuse what no list allows (allow.everyone.if.no.acl.found=false).
"""

import shlex
from typing import Final, cast

from schemas.access import API, GROUPED, OPERATOR, ROLES, topics_for
from schemas.policy import Purpose
from schemas.topics import TOPICS
from streams.settings import Settings
from streams.stores.access import Acl, RedisUser
from streams.stores.redis_client import redis_prefix

# What asks about or changes the server or others' connections, and KEYS, is among the dangerous ones. SCAN is not; nor,
# as the version has it, MEMORY STATS, which tells how large all snapshots are, so how many people are in them, and
# CLIENT TRACKING, which tells of others' keys as they change.
UNLISTED: Final = ("-@dangerous", "-scan", "-randomkey", "-dbsize", "-memory", "-client")
READING: Final = ("+@read", "+@connection", *UNLISTED)
WORKING: Final = ("+@read", "+@write", "+@scripting", "+@transaction", "+@connection", *UNLISTED)
# The release lets go what an older version has left. It sees the names of others' keys by that, and nothing of them.
LISTING: Final = (*WORKING, "+scan")
ON_A_CLUSTER: Final = ("+cluster|slots", "+cluster|shards", "+cluster|nodes", "+command")


def acls(settings: Settings, prefix: str) -> list[Acl]:
    """All rights that a deployment's roles and its purpose's consumers need, and no others."""
    found = []
    for role, rights in ROLES.items():
        who = f"User:{prefix}{role}"
        found += [_topic(who, "Read", settings, name) for name in rights.reads]
        found += [_topic(who, "Write", settings, name) for name in rights.writes]
        found += [_topic(who, "Delete", settings, name) for name in rights.deletes]
        for topic in TOPICS if role in (*GROUPED, OPERATOR) else ():
            # That a topic is there, and how it is set up: asked at each start. What is in it this doesn't show.
            found += [_topic(who, operation, settings, topic.name) for operation in ("Describe", "DescribeConfigs")]
        for topic in TOPICS if role == OPERATOR else ():
            found += [_topic(who, operation, settings, topic.name) for operation in ("Create", "Alter")]
        if role in GROUPED:
            group = "-".join(filter(None, ("throng", settings.kafka.namespace, role)))
            found.append(Acl(who, "Read", "group", group, "literal"))
    purpose = cast(Purpose, settings.gateway.purpose)
    found += [_topic(f"User:{prefix}{API}", "Read", settings, name) for name in topics_for(purpose)]
    who = f"User:{prefix}consumer-{purpose}"
    found += [_topic(who, "Read", settings, name) for name in topics_for(purpose)]
    found.append(Acl(who, "Read", "group", f"{settings.topic(f'consumer-{purpose}')}-", "prefixed"))
    return found


def _topic(who: str, operation: str, settings: Settings, name: str) -> Acl:
    return Acl(who, operation, "topic", settings.topic(name), "literal")


def command(acl: Acl) -> str:
    """The right as a command of Kafka's tool."""
    pattern = "" if acl.pattern == "literal" else f" --resource-pattern-type {acl.pattern}"
    return (
        'kafka-acls.sh --bootstrap-server "$BOOTSTRAP" --command-config "$ADMIN" --add'
        f" --allow-principal {shlex.quote(acl.principal)} --operation {acl.operation}"
        f" --{acl.resource} {shlex.quote(acl.name)}{pattern}"
    )


def redis_users(settings: Settings, prefix: str) -> list[RedisUser]:
    """The rights on Redis of those who need any: the gateway, for one, has no business there.

    Nobody has a password by this: whoever runs the server sets it.
    """
    keys = redis_prefix(settings)
    consumer = f"consumer-{settings.gateway.purpose}"
    return [
        _redis_user(settings, f"{prefix}{name}", pattern, commands)
        for name, pattern, commands in (
            ("crowd", f"{keys}{{p*}}:*", WORKING),
            ("release", f"{keys}released:*", LISTING),
            (API, f"{keys}released:*", READING),
            (consumer, f"{keys}released:*", READING),
        )
    ]


def _redis_user(settings: Settings, name: str, pattern: str, commands: tuple[str, ...]) -> RedisUser:
    on_cluster = ON_A_CLUSTER if settings.redis.cluster else ()
    return RedisUser(name, ("on", "resetkeys", "resetchannels", f"~{pattern}", "-@all", *commands, *on_cluster))


def redis_command(user: RedisUser) -> str:
    """The rights as a command of Redis's own client."""
    return f'redis-cli -u "$REDIS" ACL SETUSER {shlex.quote(user.name)} {shlex.join(user.rules)}'

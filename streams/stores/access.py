"""Access lists put in force: Kafka's by its admin protocol, Redis's by ACL SETUSER.

In: rights, from `streams.cli.access_lists`. Out: the same on the servers. Giving a right twice is harmless; none is
taken away on Kafka, where other tools give rights too, while a Redis user is set to exactly what is said here. No
password passes through: users, and what they prove themselves with, are the cluster's own affair.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.admin import CreateAclsRequest
from redis.asyncio import RedisCluster

from streams.errors import ThrongError
from streams.settings import Settings
from streams.stores.admin import open_admin
from streams.stores.connection import NO_RIGHT
from streams.stores.redis_client import connect
from streams.stores.trouble import TROUBLE

# Kafka's numbers: org.apache.kafka.common.resource.ResourceType and PatternType, .acl.AclOperation, AclPermissionType.
RESOURCES: Final = {"topic": 2, "group": 3}
PATTERNS: Final = {"literal": 3, "prefixed": 4}
OPERATIONS: Final = {"Read": 3, "Write": 4, "Create": 5, "Delete": 6, "Alter": 7, "Describe": 8, "DescribeConfigs": 10}
ALLOW: Final = 3
ANY_HOST: Final = "*"


class Acl(NamedTuple):
    """One right on Kafka. `pattern`: literal or prefixed."""

    principal: str
    operation: str
    resource: str
    name: str
    pattern: str


class RedisUser(NamedTuple):
    """All rights of one user on Redis, as words of ACL SETUSER."""

    name: str
    rules: tuple[str, ...]


async def grant(settings: Settings, acls: Sequence[Acl]) -> None:
    """Give the rights on Kafka.

    Raises:
        ThrongError: `kafka` if no broker answers, `access` if one is refused.
    """
    admin = await open_admin(settings)
    try:
        for acl in acls:
            request = CreateAclsRequest(
                RESOURCES[acl.resource],
                acl.name,
                PATTERNS[acl.pattern],
                acl.principal,
                ANY_HOST,
                OPERATIONS[acl.operation],
                ALLOW,
            )
            response = await admin._send_request(request)
            for code, why in response.creation_responses:
                if code:
                    # To who may not alter any, Kafka quotes its own insides.
                    if for_code(code) in NO_RIGHT:
                        why = f"run it as a user who may alter them ({for_code(code).__name__})"
                    raise ThrongError("access", f"Kafka gives no rights: {why or for_code(code).__name__}")
    except KafkaError as error:
        raise ThrongError("access", f"Kafka gives no rights: {type(error).__name__}") from error
    finally:
        await admin.close()


async def set_users(settings: Settings, users: Sequence[RedisUser]) -> int:
    """Set the users' rights on Redis, on each node of a cluster, replicas too; their passwords stay as they are.

    Returns: on how many nodes.

    Raises:
        ThrongError: `access` if Redis refuses or is away.
    """
    async with connect(settings) as redis:
        try:
            # One by one, not as "all": so the client sends only what it knows to be for all.
            nodes = (await redis.initialize()).get_nodes() if isinstance(redis, RedisCluster) else []
            to = {"target_nodes": nodes} if nodes else {}
            for user in users:
                await redis.execute_command("ACL", "SETUSER", user.name, *user.rules, **to)
            return len(nodes) or 1
        except TROUBLE as error:
            raise ThrongError("access", f"Redis sets no rights: {error}") from error

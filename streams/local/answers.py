"""Whether the servers of a stack answer: the only thing that makes it 'ready'."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from redis import Redis
from redis.exceptions import RedisError


def redis_answers(port: int) -> bool:
    """Whether a PING comes back: false while it still loads its data."""
    try:
        with Redis(host="127.0.0.1", port=port, socket_timeout=2, socket_connect_timeout=2) as client:
            return bool(client.ping())
    except (RedisError, OSError):
        return False


def kafka_answers(port: int, within_s: float = 10.0) -> bool:
    """Whether the cluster's metadata come back and name the broker, and groups can form.

    A broker makes the topic of groups' offsets when it is first asked for a group: workers that begin just then would
    log errors about it.

    Callable from anywhere: the request runs in a thread, since the caller may be inside an event loop already.
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, _kafka_answers(port, within_s)).result()


async def _kafka_answers(port: int, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        admin = AIOKafkaAdminClient(bootstrap_servers=f"127.0.0.1:{port}", request_timeout_ms=2000)
        try:
            await admin.start()
            if (await admin.describe_cluster())["brokers"]:
                await admin.find_coordinator("throng")
                return True
        except (KafkaError, OSError, TimeoutError):
            pass
        finally:
            await admin.close()
        await asyncio.sleep(0.1)
    return False

"""Lag without progress ends the process: a worker that is up but idle is worse than none.

Known ways to get there: a client that doesn't find its way back after a broker was away, a rebalance that never
ends, a partition that is assigned and never fetched. A log's end is asked from Kafka itself, since a stuck
consumer's own idea of it is as old as its last fetch. While no broker can be reached, waiting is right and nothing
counts as a stall, nor while Kafka does not answer or takes no sends (`Tenure.away`, told by `reach`); a broker that
answers others while the consumer's questions go unanswered does.
"""

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from aiokafka.errors import KafkaError

from streams.errors import ThrongError

if TYPE_CHECKING:
    from streams.agents.app import RoleApp

log = logging.getLogger("throng.watchdog")

ANSWER_S = 10.0


async def watch(app: "RoleApp") -> None:
    """Return never, or raise.

    Raises:
        ThrongError: `stalled`, with the partition that is behind.
        KafkaError: the client has given up on the group.
    """
    stall_s = app.transport_settings.stall_s
    since: dict[object, float] = {}
    while True:
        await asyncio.sleep(min(5.0, stall_s / 5))
        now = time.monotonic()
        if app.consumer.thread.thread_loop.is_running():
            await app.consumer.thread.on_thread(app.consumer.thread.check())
        behind = await _behind(app)
        if "kafka" in app.tenure.away():
            behind = {}
        since = {key: since.get(key, now) for key in behind}
        for key, began in since.items():
            if now - began >= stall_s:
                raise ThrongError("stalled", f"no progress for {stall_s:g} s: {behind[key]}")


async def _behind(app: "RoleApp") -> dict[object, str]:
    """What isn't as it should be, by a key that changes with any progress."""
    tenure, thread = app.tenure, app.consumer.thread
    if tenure.generation is None and tenure.away():
        return {}
    if tenure.generation is None:
        idle: dict[object, str] = {"group": "the group gave this worker no partitions to read"}
        return idle if await _reachable(app) else {}
    try:
        async with asyncio.timeout(ANSWER_S):
            generation, logs = await thread.on_thread(thread.logs())
    except (TimeoutError, KafkaError):
        silent: dict[object, str] = {"answer": "Kafka is there, but the consumer gets no answer from it"}
        return await _gone(app) or (silent if await _reachable(app) else {})
    if not logs:
        return await _gone(app)
    if generation != tenure.generation:
        return {}
    behind: dict[object, str] = {}
    for tp, span in logs.items():
        handled = tenure.handled.get(tp.partition, span.end)
        if handled < span.end and tp.partition not in tenure.held:
            behind[(generation, tp, handled, tenure.steps)] = (
                f"partition {tp.partition} of {tp.topic} stays at {handled}, the log ends at {span.end}"
            )
    return behind


async def _gone(app: "RoleApp") -> dict[object, str]:
    topic, thread = app.tenure.role.topic, app.consumer.thread
    try:
        async with asyncio.timeout(ANSWER_S):
            there = await thread.on_thread(thread.is_there(topic))
    except (TimeoutError, KafkaError):
        return {}
    return {} if there else {"gone": f"the topic {topic} is gone: run 'throng topics create', or restore it"}


async def _reachable(app: "RoleApp") -> bool:
    for url in app.conf.broker_consumer:
        try:
            async with asyncio.timeout(ANSWER_S):
                _, writer = await asyncio.open_connection(url.host, url.port or 9092)
        except (OSError, TimeoutError):
            continue
        writer.close()
        return True
    return False

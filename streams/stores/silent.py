"""Brokers that say nothing: how long an answer is waited for, and who is asked first.

A broker that hangs, or whose machine lost its power or its network, closes no connection. aiokafka (0.14.0) then waits
for each of its answers as long as the client waits for the slowest one (of a group whose members may take half a minute
to give their partitions up), asks brokers for metadata and coordinators in any order, and opens one connection at a
time (`client.py`). So workers stood still for forty seconds and more, and lost their part in the group, where Kafka
itself gives such a broker's partitions to others after 9 (`broker.session.timeout.ms`).

Kept, for the process: which brokers were found silent, or could not be reached, by host and port. `watch_brokers` does
for all its clients:
- An answer that a broker has at once is waited for as long as anything comes from it, `ANSWER_S` at a time, and no
  longer than the client's `request_timeout_ms`, as stock. So is a connection. What a broker holds back until others
  have done something (joining a group, appending, making topics) takes as long as the client says.
- Who was found silent is asked last, until it answers again; and as soon as one client has found it, all ask who leads
  its partitions by now. Else each would find it by a request of its own.

What can fail is what fails stock, sooner: the request ends with a time-out, its connection is renewed, and the metadata
with it.
"""

import asyncio
import random
import threading
import time
import weakref
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from functools import wraps
from typing import Any, Final, TypeVar

from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection, AIOKafkaProtocol
from aiokafka.protocol.admin import ApiVersionRequest, SaslHandShakeRequest
from aiokafka.protocol.commit import OffsetCommitRequest, OffsetFetchRequest
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.group import HeartbeatRequest
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.protocol.transaction import InitProducerIdRequest

from streams.stores.rebound import rebind

# Just longer than Kafka's own patience: who asks sooner is still sent to the same broker.
ANSWER_S: Final = 10.0
AT_ONCE: Final = (
    ApiVersionRequest,
    FetchRequest,
    FindCoordinatorRequest,
    HeartbeatRequest,
    InitProducerIdRequest,
    MetadataRequest,
    OffsetCommitRequest,
    OffsetFetchRequest,
    OffsetRequest,
    SaslHandShakeRequest,
)

Host = TypeVar("Host", bound=tuple[Any, ...])

silent: set[tuple[str, int]] = set()

_clients: "weakref.WeakSet[AIOKafkaClient]" = weakref.WeakSet()
_clients_lock = threading.Lock()


def found_silent(host: str, port: int) -> None:
    """Note it. Clients are of several threads, each with a loop of its own."""
    if (host, port) in silent:
        return
    silent.add((host, port))
    with _clients_lock:
        clients = list(_clients)
    for client in clients:
        with suppress(RuntimeError):  # its loop is closed
            client._loop.call_soon_threadsafe(client.force_metadata_update)


class Waiting:
    """For an answer: fails it once its broker was silent for `ANSWER_S`, if it has it `at_once`."""

    def __init__(self, connection: AIOKafkaConnection, answer: "asyncio.Future[object]", at_once: bool) -> None:
        self._connection = connection
        self._answer = answer
        self._at_once = at_once
        self._look_again(ANSWER_S)
        answer.add_done_callback(self._over)

    def _look_again(self, in_s: float) -> None:
        self._timer = self._answer.get_loop().call_later(in_s, self._look)

    def _look(self) -> None:
        quiet_s = time.monotonic() - self._connection._protocol.heard_at
        if quiet_s < ANSWER_S:
            self._look_again(ANSWER_S - quiet_s)
            return
        found_silent(self._connection.host, self._connection.port)
        if self._at_once and not self._answer.done():
            self._answer.set_exception(TimeoutError())

    def _over(self, answer: "asyncio.Future[object]") -> None:
        self._timer.cancel()
        if not answer.cancelled() and answer.exception() is None:
            silent.discard((self._connection.host, self._connection.port))


class Order:
    """Stands for `random` where a client chooses whom to ask: any that is not known to be silent."""

    def __init__(self, client: AIOKafkaClient) -> None:
        self._client = client

    def choice(self, nodes: list[int]) -> int:
        """One of them."""
        return random.choice([node for node in nodes if not self._silent(node)] or nodes)  # noqa: S311 - any will do

    def shuffle(self, nodes: list[int | str]) -> None:
        """The silent ones last."""
        random.shuffle(nodes)
        nodes.sort(key=self._silent)

    def _silent(self, node: int | str) -> bool:
        broker = self._client.cluster.broker_metadata(node)  # none of who it begins with
        return broker is not None and (broker.host, broker.port) in silent


_received = AIOKafkaProtocol.data_received
_connect = AIOKafkaConnection.connect
_send = AIOKafkaConnection.send
_made = AIOKafkaClient.__init__
_hosts = AIOKafkaClient.hosts.fget


@wraps(_received)
def _noted(self: AIOKafkaProtocol, data: bytes) -> None:
    self.heard_at = time.monotonic()
    _received(self, data)


@wraps(_connect)
async def _connected_in_time(self: AIOKafkaConnection) -> object:
    try:
        async with asyncio.timeout(ANSWER_S):
            return await _connect(self)
    except OSError:  # it refuses, or was not heard in time
        found_silent(self.host, self.port)
        raise


@wraps(_send)
def _answered_in_time(
    self: AIOKafkaConnection, request: object, expect_response: bool = True
) -> Coroutine[Any, Any, object]:
    answered: Coroutine[Any, Any, object] = _send(self, request, expect_response)
    if expect_response:
        _, _, answer = self._requests[-1]
        Waiting(self, answer, isinstance(request, AT_ONCE))
    return answered


@wraps(_made)
def _made_with_order(self: AIOKafkaClient, *args: Any, **kwargs: Any) -> None:
    _made(self, *args, **kwargs)
    with _clients_lock:
        _clients.add(self)
    order = Order(self)
    rebind(self, "get_random_node", random=order)
    rebind(self, "_metadata_update", random=order)


def _answering_first(hosts: Iterable[Host]) -> list[Host]:
    return sorted(hosts, key=lambda host: host[:2] in silent)


def watch_brokers() -> None:
    """Have all clients of the process wait and ask like this."""
    AIOKafkaProtocol.heard_at = 0.0
    AIOKafkaProtocol.data_received = _noted
    AIOKafkaConnection.connect = _connected_in_time
    AIOKafkaConnection.send = _answered_in_time
    AIOKafkaClient.__init__ = _made_with_order
    AIOKafkaClient.hosts = property(lambda self: _answering_first(_hosts(self)))

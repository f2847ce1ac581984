"""How to reach Kafka, and as whom: the one place that makes the arguments which all of aiokafka's clients share.

In: the settings' section `kafka`, or a bare address, which is a cluster that asks for no credentials. Out: keyword
arguments. The password is read from its file each time, so a client made later takes a changed one. What can fail: a
file that can't be read.

And how to part from it: closing a client waits for its connections to be closed, and over TLS that is until the broker
has answered the farewell, for which both event loops allow 30 s. A broker that read the farewell together with a
request (seen with Kafka 4.1.2) answers the request, and looks at the rest only when more arrives: never. So a
connection is cut `FAREWELL_S` after it was closed. By then what was sent is acknowledged: clients wait for that first.
"""

import asyncio
import ssl
from functools import wraps
from pathlib import Path
from typing import Any, Final

from aiokafka.client import AIOKafkaClient
from aiokafka.cluster import ClusterMetadata
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaError,
    NodeNotReadyError,
    TopicAuthorizationFailedError,
)

from streams.errors import ThrongError
from streams.local import installed
from streams.settings import Kafka
from streams.stores.silent import watch_brokers

At = Kafka | str

FAREWELL_S: Final = 0.5

NO_RIGHT: Final = (TopicAuthorizationFailedError, GroupAuthorizationFailedError, ClusterAuthorizationFailedError)

_close = AIOKafkaConnection.close


@wraps(_close)
def _closed_in_time(self: AIOKafkaConnection, *args: Any, **kwargs: Any) -> "asyncio.Future[None]":
    writer = self._writer
    closed: asyncio.Future[None] = _close(self, *args, **kwargs)
    if writer is not None and not closed.done():
        cut = closed.get_loop().call_later(FAREWELL_S, writer.transport.abort)
        closed.add_done_callback(lambda _: cut.cancel())
    return closed


AIOKafkaConnection.close = _closed_in_time
watch_brokers()


def address(at: At) -> str:
    """The brokers, `host:port` with commas between."""
    return at if isinstance(at, str) else at.bootstrap


def client_options(at: At) -> dict[str, Any]:
    """The arguments that say where Kafka is and who asks.

    Raises:
        ThrongError: `config` if the password or the CA's certificates can't be read.
    """
    return {"bootstrap_servers": address(at), **({} if isinstance(at, str) else credentials(at))}


def no_broker(kafka: Kafka) -> ThrongError:
    """What to tell a user whose Kafka doesn't answer."""
    if kafka.security == "plaintext":
        remedy = "start one with 'throng up' or correct --kafka" if installed() else "correct THRONG_KAFKA_BOOTSTRAP"
    else:
        remedy = f"correct --kafka, or what it asks for (kafka.security = {kafka.security}, user, password, ca_file)"
    return ThrongError("kafka", f"no Kafka broker answers at {kafka.bootstrap}: {remedy}")


async def moved(at: At, known: ClusterMetadata) -> bool:
    """Do brokers answer where a client began, at none of the addresses that it knows? It would never find them: a
    client asks those that it knows, and no others."""
    client = AIOKafkaClient(**client_options(at))
    try:
        await client.bootstrap()
        found = {(broker.host, broker.port) for broker in client.cluster.brokers()}
    except (KafkaError, OSError):
        return False
    finally:
        await client.close()
    return bool(found) and found.isdisjoint((broker.host, broker.port) for broker in known.brokers())


def elsewhere() -> ThrongError:
    """The error of a process whose brokers have `moved`."""
    return ThrongError("moved", "brokers answer, but at other addresses than before: a new start finds them")


def hidden(topic: str, at: At) -> ThrongError:
    """What to tell a user whose Kafka doesn't show a topic that is there."""
    user = "" if isinstance(at, str) else at.user
    return ThrongError("topics", f"Kafka does not show {topic} to {user or 'us'}: see 'throng topics acls'")


def sentence_of(failure: KafkaError | OSError) -> str:
    """What Kafka said, in one line, and what to do where it is a matter of rights, or of one broker."""
    if isinstance(failure, NodeNotReadyError):
        return "Kafka: one of its brokers does not answer: try again, or see to it"
    said = (str(failure) or "it did not answer in time").splitlines()[0]
    if isinstance(failure, NO_RIGHT):
        return f"Kafka refuses this to its user: {said}: see 'throng topics acls'"
    return f"Kafka: {said}"


def credentials(kafka: Kafka) -> dict[str, Any]:
    """The arguments that say who asks; none where nothing is asked.

    Raises:
        ThrongError: see `client_options`.
    """
    if kafka.security == "plaintext":
        return {}
    options: dict[str, Any] = {"security_protocol": kafka.security.upper()}
    if kafka.security in ("ssl", "sasl_ssl"):
        options["ssl_context"] = trusting(kafka.ca_file, "kafka.ca_file")
    if kafka.security in ("sasl_plaintext", "sasl_ssl"):
        options["sasl_mechanism"] = kafka.mechanism
        options["sasl_plain_username"] = kafka.user
        options["sasl_plain_password"] = kafka.password or _password(kafka.password_file)
    return options


def trusting(ca_file: str, setting: str) -> ssl.SSLContext:
    """Certificates and host names are checked, always.

    Raises:
        ThrongError: `config`, naming the setting, if the CA's certificates can't be read.
    """
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise ThrongError("config", f"setting {setting}: no certificates can be read from {ca_file}") from error


def _password(file: str) -> str:
    try:
        password = Path(file).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ThrongError("config", f"setting kafka.password_file: no password can be read from {file}") from error
    if not password:
        raise ThrongError("config", f"setting kafka.password_file: {file} is empty")
    return password

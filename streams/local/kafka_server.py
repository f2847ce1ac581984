"""A Kafka broker of a stack: one KRaft node that is broker and controller, made for fast starts on a small
machine."""

import base64
import os
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from streams.errors import ThrongError
from streams.local.classes import archive_of, mapping
from streams.local.java import Java

CONFIG = """\
# Written at each start; what is changed here is lost.
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{also_listen}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}{also_advertised}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,ALSO:PLAINTEXT,SECURED:SASL_SSL
log.dirs=data/kafka
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# Groups form at once, and tests of takeover may use short sessions.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
# A simulated day is played ahead of the clock.
log.message.timestamp.after.max.ms=9223372036854775807
# The default takes a quarter of the heap.
log.cleaner.dedupe.buffer.size=16777216
num.network.threads=2
num.io.threads=4
"""

SECURITY = """\
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=false
super.users=User:ANONYMOUS;User:{admin}
listener.name.secured.ssl.keystore.type=PEM
listener.name.secured.ssl.keystore.location={keystore}
listener.name.secured.sasl.enabled.mechanisms=PLAIN,{scram}
listener.name.secured.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required {users};
listener.name.secured.{scram_listener}.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
"""
SCRAM = "SCRAM-SHA-512"

LOGGING = """\
status=error
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{yyyy-MM-dd'T'HH:mm:ss.SSSXXX} %p %m (%c{1})%n
rootLogger.level=warn
rootLogger.appenderRef.out.ref=out
logger.server.name=kafka.server
logger.server.level=info
"""


class Also(NamedTuple):
    """A second listener: clients that come to `port` are told to go on talking to `advertised` (a proxy's port)."""

    port: int
    advertised: int


def also_listeners(also: Also | None) -> dict[str, str]:
    """What a second listener adds to a broker's listeners, and to the advertised ones."""
    ports = {} if also is None else {"also_listen": also.port, "also_advertised": also.advertised}
    return {"also_listen": "", "also_advertised": ""} | {name: f",ALSO://127.0.0.1:{p}" for name, p in ports.items()}


class Secured(NamedTuple):
    """A listener where clients must say who they are, over TLS, and an authorizer that gives them what access lists
    say. Whoever comes to the stack's own port may do all: this is to try access lists, not to keep anybody out.

    Attributes:
        users: passwords by user, for PLAIN and SCRAM-SHA-512; `admin` may do all.
        keystore: the broker's private key and certificates, PEM.
    """

    port: int
    users: Mapping[str, str]
    keystore: Path
    admin: str = "admin"


def write_config(
    folder: Path, port: int, controller_port: int, also: Also | None = None, secured: Secured | None = None
) -> None:
    """Write the broker's configuration into the stack's folder. Its paths are relative, so any folder name will
    do."""
    (folder / "data" / "kafka").mkdir(parents=True, exist_ok=True)
    more = {name: text + _listener(secured) for name, text in also_listeners(also).items()}
    config = CONFIG.format(port=port, controller=controller_port, **more)
    if secured is not None:
        config += _security(secured)
    (folder / "kafka.properties").write_text(config, "utf-8")
    (folder / "log4j2.properties").write_text(LOGGING, "utf-8")


def _listener(secured: Secured | None) -> str:
    return f",SECURED://127.0.0.1:{secured.port}" if secured else ""


def _security(secured: Secured) -> str:
    return SECURITY.format(
        admin=secured.admin,
        keystore=secured.keystore,
        scram=SCRAM,
        scram_listener=SCRAM.lower(),
        users=" ".join(f'user_{name}="{password}"' for name, password in secured.users.items()),
    )


def command(
    java: Java,
    jars: Sequence[Path],
    main: str,
    *arguments: str,
    heap_mb: int,
    brief: bool = False,
    classes: Sequence[str] = (),
) -> list[str]:
    """The command line that runs a Kafka program.

    Serial garbage collection: as fast to start as the default, with half the threads, on a heap this small.

    Args:
        brief: it has little to do, so nothing is compiled well.
        classes: what Java is told of `classes`.
    """
    return [
        str(java.path),
        *classes,
        *(["-XX:TieredStopAtLevel=1"] if brief else []),
        f"-Xmx{heap_mb}m",
        "-XX:+UseSerialGC",
        "-Djava.net.preferIPv4Stack=true",
        "-Djava.awt.headless=true",
        "-Dlog4j2.configurationFile=log4j2.properties",
        "-cp",
        os.pathsep.join(str(jar) for jar in jars),
        main,
        *arguments,
    ]


def environ() -> dict[str, str]:
    """The environment without what would change the Java machine's options behind our back."""
    dropped = ("JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS", "CLASSPATH")
    return {name: value for name, value in os.environ.items() if name not in dropped}


def cluster_id() -> str:
    """A fresh one, in Kafka's form of a UUID; one that began with a dash would be taken for an option."""
    return "T" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:]


def format_storage(
    java: Java,
    jars: Sequence[Path],
    folder: Path,
    log: Path,
    heap_mb: int,
    secured: Secured | None = None,
    cluster: str = "",
) -> None:
    """Prepare the broker's data folder, with its users, unless an earlier start did.

    Args:
        cluster: the id of the cluster that it belongs to; by default of one of its own.

    Raises:
        ThrongError: `kafka` if Kafka's tool refuses.
    """
    if (folder / "data" / "kafka" / "meta.properties").exists():
        return
    told = ["format", "-t", cluster or cluster_id(), "-c", "kafka.properties"]
    for name, password in secured.users.items() if secured else ():
        told += ["--add-scram", f"{SCRAM}=[name={name},password={password}]"]
    mapped = mapping(archive_of(java, jars))
    tool = command(java, jars, "kafka.tools.StorageTool", *told, heap_mb=heap_mb, brief=True, classes=mapped)
    with log.open("ab") as output:
        done = subprocess.run(
            tool, cwd=folder, env=environ(), stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False
        )
    if done.returncode != 0:
        raise ThrongError("kafka", f"Kafka can't format its storage: {last_line(log)} (log: {log})")


def last_line(log: Path) -> str:
    """The line of a server's log that tells most: the last error, else the last line."""
    try:
        lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    except OSError:
        return "no log"
    said = [line for line in lines if not line.startswith(("at ", "\tat "))]
    errors = [line for line in said if any(word in line for word in (" ERROR ", " FATAL ", "Exception", "Error:"))]
    return ([*said, *errors] or ["the log is empty"])[-1][:300]

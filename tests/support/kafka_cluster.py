"""A Kafka cluster on this machine: three brokers, and a controller of their own that outlives them."""

import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Final

from streams.local import kafka_server
from streams.local.answers import kafka_answers
from streams.local.classes import archive_of, mapping
from streams.local.folders import quiet
from streams.local.jars import ensure_jars
from streams.local.java import find_java
from streams.local.kafka_server import Also
from streams.local.ports import free_ports
from streams.local.processes import spawn, wait_for_port

BROKERS: Final = (1, 2, 3)
CONTROLLER: Final = 9
HEAP_MB: Final = 320
READY_S: Final = 120.0
END_S: Final = 60.0

COMMON = """\
node.id={node}
controller.quorum.voters=9@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,ALSO:PLAINTEXT
log.dirs=data/kafka
# A broker that says nothing for so long is taken out, and its partitions get other leaders.
broker.session.timeout.ms={session_ms}
broker.heartbeat.interval.ms=500
"""
ONE_CONTROLLER = """\
process.roles=controller
listeners=CONTROLLER://127.0.0.1:{controller}
# Who came back leads its own partitions again soon: one more change of leaders.
leader.imbalance.check.interval.seconds=5
leader.imbalance.per.broker.percentage=0
"""
ONE_BROKER = """\
process.roles=broker
listeners=PLAINTEXT://127.0.0.1:{port}{also_listen}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}{also_advertised}
auto.create.topics.enable=false
default.replication.factor=3
min.insync.replicas=2
offsets.topic.replication.factor=3
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
transaction.state.log.num.partitions=4
replica.lag.time.max.ms={session_ms}
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
# A simulated day is played ahead of the clock.
log.message.timestamp.after.max.ms=9223372036854775807
log.cleaner.dedupe.buffer.size=16777216
num.network.threads=2
num.io.threads=2
"""


class KafkaCluster:
    """Three brokers and a controller; topics are kept by all three, and two must have what is acknowledged.

    Attributes:
        bootstrap: the three brokers' addresses.
    """

    def __init__(self, folder: Path, session_ms: int = 9_000, also: Mapping[int, Also] | None = None) -> None:
        self._folder = folder
        self._java, self._jars = find_java(), ensure_jars(quiet)
        controller, *ports = free_ports(1 + len(BROKERS))
        self.ports = dict(zip(BROKERS, ports, strict=True))
        self.bootstrap = ",".join(f"127.0.0.1:{port}" for port in ports)
        self._cluster_id = kafka_server.cluster_id()
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        for node in (CONTROLLER, *BROKERS):
            text = COMMON + (ONE_CONTROLLER if node == CONTROLLER else ONE_BROKER)
            home = self.home(node)
            home.mkdir(parents=True)
            told = {"node": node, "controller": controller, "port": self.ports.get(node), "session_ms": session_ms}
            more = kafka_server.also_listeners((also or {}).get(node))
            (home / "kafka.properties").write_text(text.format(**told, **more))
            (home / "log4j2.properties").write_text(kafka_server.LOGGING)

    def home(self, node: int) -> Path:
        """The folder of a node: its configuration, its log, its data."""
        return self._folder / f"node-{node}"

    def __enter__(self) -> "KafkaCluster":
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(self._format, (CONTROLLER, *BROKERS)))
        try:
            for node in (CONTROLLER, *BROKERS):
                self.start(node)
            self.wait_for(*BROKERS)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._running.values():
            server.kill()
            server.wait()

    def start(self, node: int) -> None:
        """Begin a node, on the data and port that it had."""
        command = kafka_server.command(
            *(self._java, self._jars, "kafka.Kafka", "kafka.properties"),
            heap_mb=HEAP_MB,
            classes=mapping(archive_of(self._java, self._jars)),
        )
        self._running[node] = spawn(command, self.home(node), self._log(node), kafka_server.environ())

    def wait_for(self, *brokers: int) -> None:
        """Wait until each answers, and knows where groups are."""
        deadline = time.monotonic() + READY_S
        for broker in brokers:
            assert wait_for_port(self._running[broker], self.ports[broker], deadline), self.last_words(broker)
            assert kafka_answers(self.ports[broker], deadline - time.monotonic()), self.last_words(broker)

    def signal(self, broker: int, number: signal.Signals) -> None:
        self._running[broker].send_signal(number)

    def kill(self, broker: int) -> None:
        """Without a word to anybody."""
        self._running[broker].kill()
        self._running[broker].wait()

    def end(self, broker: int) -> None:
        """In order: it hands its partitions over first."""
        self._running[broker].terminate()
        self._running[broker].wait(END_S)

    def lose_disk(self, broker: int) -> None:
        """Of a broker that is down: it begins with nothing, and gets all from the others again."""
        shutil.rmtree(self.home(broker) / "data")
        self._format(broker)

    def last_words(self, node: int) -> str:
        return kafka_server.last_line(self._log(node))

    def _log(self, node: int) -> Path:
        return self.home(node) / "kafka.log"

    def _format(self, node: int) -> None:
        home = self.home(node)
        kafka_server.format_storage(self._java, self._jars, home, self._log(node), HEAP_MB, cluster=self._cluster_id)

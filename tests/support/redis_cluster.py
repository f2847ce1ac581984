"""A Redis Cluster on this machine: masters with a replica each, over TLS, where users count."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final

from redis import Redis

from streams.local.ports import BEHIND, free_ports
from streams.local.redis_server import find_redis
from tests.support.secured import Certificate

MASTERS: Final = 3
SLOTS: Final = 16_384
PASSWORD: Final = "secret-of-admin-91c4"
# A cluster's nodes talk with each other on a port of their own, by default the clients' and so much.
BUS: Final = 10_000

CONFIG = """\
bind 127.0.0.1
port 0
tls-port {port}
tls-auth-clients no
tls-cluster yes
tls-replication yes
tls-cert-file {certificate.certificate}
tls-key-file {certificate.key}
tls-ca-cert-file {certificate.certificate}
cluster-enabled yes
cluster-config-file nodes.conf
cluster-node-timeout 2000
repl-ping-replica-period 1
save ""
maxmemory-policy noeviction
user default on >{password} ~* &* +@all
masterauth {password}
"""


class Unbuildable(Exception):  # noqa: N818 - reads as what it is
    """This machine's Redis is built without TLS."""


class LocalCluster:
    """Three masters and a replica of each, number 3 of 0 and so on.

    Raises:
        Unbuildable: from `__enter__`.
    """

    def __init__(self, folder: Path) -> None:
        self.certificate = Certificate(folder)
        self.ports = free_ports(2 * MASTERS)
        while self.ports[-1] + BUS >= BEHIND:
            self.ports = free_ports(2 * MASTERS)
        self._servers: list[subprocess.Popen[bytes]] = []
        for port in self.ports:
            (folder / str(port)).mkdir()
            config = CONFIG.format(port=port, certificate=self.certificate, password=PASSWORD)
            (folder / str(port) / "redis.conf").write_text(config)
        self._folder = folder

    def settings_of(self, user: str, password: str) -> dict[str, str]:
        """The settings by which a user connects: by the node that `fail_over(0)` kills, or others."""
        others = ",".join(f"127.0.0.1:{port}" for port in self.ports[1:MASTERS])
        return {"redis.url": self.url_of(user, password), "redis.cluster": "true", "redis.nodes": others}

    def url_of(self, user: str, password: str, node: int = 0) -> str:
        return f"rediss://{user}:{password}@127.0.0.1:{self.ports[node]}/0?ssl_ca_certs={self.certificate.certificate}"

    def node(self, number: int) -> Redis:
        return Redis.from_url(self.url_of("default", PASSWORD, number), decode_responses=True)

    def __enter__(self) -> "LocalCluster":
        program = str(find_redis().path)
        for port in self.ports:
            said = (self._folder / f"{port}.log").open("wb")
            server = subprocess.Popen([program, "redis.conf"], cwd=self._folder / str(port), stdout=said, stderr=said)
            self._servers.append(server)
        try:
            self._join()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers:
            server.kill()
            server.wait()

    def kill(self, number: int) -> None:
        self._servers[number].kill()
        self._servers[number].wait()

    def fail_over(self, number: int) -> None:
        """Kill a master, and wait until its replica has its slots and all are served again."""
        self.kill(number)
        heir = self.node(MASTERS + number)
        within(30, lambda: heir.role()[0] == "master" and heir.cluster("INFO")["cluster_state"] == "ok")

    def _join(self) -> None:
        nodes = [self.node(number) for number in range(2 * MASTERS)]
        for node, server in zip(nodes, self._servers, strict=True):
            within(20, lambda node=node, server=server: answers(node, server))
        for number, node in enumerate(nodes[:MASTERS]):
            slots = range(SLOTS * number // MASTERS, SLOTS * (number + 1) // MASTERS)
            node.cluster("ADDSLOTS", *slots)
        for port in self.ports[1:]:
            nodes[0].cluster("MEET", "127.0.0.1", port)
        within(30, lambda: all(node.cluster("INFO")["cluster_known_nodes"] == str(len(nodes)) for node in nodes))
        within(30, lambda: nodes[0].cluster("INFO")["cluster_state"] == "ok")
        for number, node in enumerate(nodes[MASTERS:]):
            master = nodes[number].cluster("MYID")
            within(30, lambda node=node, master=master: knows(node, master))
            node.cluster("REPLICATE", master)
        within(30, lambda: all(node.info("replication").get("master_link_status") == "up" for node in nodes[MASTERS:]))
        within(30, lambda: all(node.cluster("INFO")["cluster_state"] == "ok" for node in nodes))
        # Clients ask any of them who there is. Replicas are told of once they have had something from their masters.
        within(30, lambda: all(len(shown(node)) == len(nodes) for node in nodes))


def answers(node: Redis, server: "subprocess.Popen[bytes]") -> bool:
    if server.poll() is not None:
        raise Unbuildable(str(server.poll()))
    try:
        return bool(node.ping())
    except OSError:
        return False
    except Exception as error:
        if "Connection refused" in str(error):
            return False
        raise


def knows(node: Redis, master: str) -> bool:
    return master in str(node.cluster("NODES"))


def shown(node: Redis) -> set[int]:
    """The ports of the nodes that it tells its clients of."""
    # A range's first and last slot, then its nodes: host, port, id.
    return {int(each[1]) for slots in node.execute_command("CLUSTER SLOTS", keys=[]) for each in slots[2:]}


def within(seconds: float, holds: Callable[[], bool]) -> None:
    """Wait until it holds.

    Raises:
        TimeoutError: it doesn't.
    """
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            raise TimeoutError("the cluster isn't as it should be")
        time.sleep(0.05)

"""Ports of this machine for servers: chosen where nobody else's connection can land, and asked whether they answer."""

import secrets
import socket
from contextlib import ExitStack

# Connections that go out get their own end's port from 32768 on (Linux, ip_local_port_range) or 49152 on (macOS,
# IANA's dynamic range, RFC 6335 section 6): a port from there that is free now can be one's a moment later, before
# the server that it was chosen for listens.
FIRST, BEHIND = 12_000, 32_768
ATTEMPTS = 200


def free_ports(count: int) -> list[int]:
    """`count` ports that nothing listens on now, one after another (a worker's roles take such a run).

    Chosen at random, so that two who choose at once hardly choose the same. OSError when no such run is found.
    """
    for _attempt in range(ATTEMPTS):
        first = FIRST + secrets.randbelow(BEHIND - count - FIRST + 1)
        ports = list(range(first, first + count))
        if _all_free(ports):
            return ports
    raise OSError(f"no {count} free ports in a row between {FIRST} and {BEHIND - 1}")


def is_listening(port: int) -> bool:
    """Whether something accepts connections on this port of this machine."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _all_free(ports: list[int]) -> bool:
    with ExitStack() as held:
        try:
            for port in ports:
                held.enter_context(socket.create_server(("127.0.0.1", port)))
        except OSError:
            return False
    return True

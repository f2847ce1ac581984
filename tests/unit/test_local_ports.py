"""Ports for servers: a run in which no outgoing connection's own end can land."""

import socket
from pathlib import Path

import pytest

from streams.local import ports
from streams.local.ports import free_ports


def test_free_ports_are_a_run_that_nothing_listens_on() -> None:
    run = free_ports(20)
    assert run == list(range(run[0], run[0] + 20))
    for port in run:
        socket.create_server(("127.0.0.1", port)).close()


def test_no_connection_that_goes_out_can_take_one_before_it_is_used() -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert all(max(free_ports(3)) < lowest for _ in range(200))


def test_a_taken_port_is_in_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    first = free_ports(3)[0]
    monkeypatch.setattr(ports, "FIRST", first)
    monkeypatch.setattr(ports, "BEHIND", first + 3)
    with socket.create_server(("127.0.0.1", first + 1)):
        with pytest.raises(OSError, match="no 2 free ports in a row"):
            free_ports(2)
        assert free_ports(1)[0] in (first, first + 2)

"""One attempt to start both servers of a stack: either both answer, or nothing of the attempt is left but its logs."""

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import msgspec

from streams.errors import ThrongError
from streams.local import kafka_server, redis_server
from streams.local.answers import kafka_answers, redis_answers
from streams.local.classes import LISTING, archive_of, keep, mapping
from streams.local.folders import told
from streams.local.java import Java
from streams.local.kafka_server import Also, Secured, last_line
from streams.local.ports import free_ports, is_listening
from streams.local.processes import end, identify, spawn, wait_for_port
from streams.local.redis_server import RedisBinary
from streams.local.state import FILE, Server, State, log_of, write_state

READY_S = 90
ATTEMPTS = 5

Servers = tuple["subprocess.Popen[bytes]", "subprocess.Popen[bytes]"]


class Plan(NamedTuple):
    """What to start. A port of 0 means any free one."""

    java: Java
    jars: list[Path]
    kafka_version: str
    redis: RedisBinary
    heap_mb: int
    kafka_port: int
    redis_port: int
    also: Also | None = None
    secured: Secured | None = None
    brief: bool = False


class PortTakenError(Exception):
    """A port that was free when it was chosen was taken when the server wanted it."""


def launch(folder: Path, plan: Plan) -> tuple[State, Servers]:
    """Start the servers of `plan` in `folder` and wait until they answer; on other ports if one is snatched away.

    Raises:
        ThrongError: `port`, `kafka`, `redis`, `folder` or `space`.
    """
    with told(folder):
        shutil.rmtree(folder / "logs", ignore_errors=True)
        (folder / "logs").mkdir()
    for wanted, option in ((plan.kafka_port, "--kafka-port"), (plan.redis_port, "--redis-port")):
        if wanted and is_listening(wanted):
            raise ThrongError("port", f"port {wanted} is taken: give another with {option}, or none to take a free one")
    for _attempt in range(ATTEMPTS):
        try:
            return _attempt_launch(folder, plan)
        except PortTakenError:
            continue
    raise ThrongError("port", "other processes take the chosen ports again and again: try again")


def _attempt_launch(folder: Path, plan: Plan) -> tuple[State, Servers]:
    kafka_free, controller, redis_free = free_ports(3)
    kafka_port, redis_port = plan.kafka_port or kafka_free, plan.redis_port or redis_free
    deadline = time.monotonic() + READY_S
    state = State()
    try:
        with told(folder):
            kafka_server.write_config(folder, kafka_port, controller, plan.also, plan.secured)
            arguments = redis_server.write_config(folder, redis_port)
        redis_log, kafka_log = log_of(folder, "redis"), log_of(folder, "kafka")
        redis = spawn([plan.redis.path, *arguments], folder, redis_log, os.environ)
        state = msgspec.structs.replace(state, redis=Server(identify(redis.pid), redis_port, plan.redis.version))
        write_state(folder, state)

        kafka_server.format_storage(plan.java, plan.jars, folder, kafka_log, plan.heap_mb, plan.secured)
        archive = archive_of(plan.java, plan.jars)
        listing = not archive.exists()
        command = kafka_server.command(
            *(plan.java, plan.jars, "kafka.Kafka", "kafka.properties"),
            heap_mb=plan.heap_mb,
            brief=plan.brief,
            classes=[LISTING] if listing else mapping(archive),
        )
        kafka = spawn(command, folder, kafka_log, kafka_server.environ())
        state = msgspec.structs.replace(state, kafka=Server(identify(kafka.pid), kafka_port, plan.kafka_version))
        write_state(folder, state)

        if not wait_for_port(redis, redis_port, deadline) or not _loaded(redis_port, deadline):
            raise _failure("redis", redis, redis_log)
        if not _serves(kafka, kafka_port, deadline):
            raise _failure("kafka", kafka, kafka_log)
        if listing:
            unlisted = kafka_server.command(plan.java, plan.jars, "kafka.Kafka", heap_mb=plan.heap_mb)
            keep(archive, folder, unlisted, kafka_server.environ())
        state = msgspec.structs.replace(state, ready=True)
        write_state(folder, state)
        return state, (kafka, redis)
    except BaseException:
        end(state.processes, 0)
        (folder / FILE).unlink(missing_ok=True)
        raise


def _serves(kafka: "subprocess.Popen[bytes]", port: int, deadline: float) -> bool:
    """Wait until the broker answers; False if it ended or is late.

    That something answers on its port isn't enough: it may be another's, on which the broker hasn't failed yet.
    """
    while wait_for_port(kafka, port, deadline):
        if kafka_answers(port):
            return True
    return False


def _loaded(port: int, deadline: float) -> bool:
    """Wait until Redis has read the data that an earlier run kept."""
    while time.monotonic() < deadline:
        if redis_answers(port):
            return True
        time.sleep(0.03)
    return False


def _failure(name: str, server: "subprocess.Popen[bytes]", log: Path) -> Exception:
    text = log.read_text("utf-8", "replace") if log.exists() else ""
    if "Address already in use" in text:
        return PortTakenError()
    ended = server.poll()
    happened = f"did not answer within {READY_S} s" if ended is None else f"ended with code {ended}"
    return ThrongError(name, f"{name} {happened}: {last_line(log)} (log: {log})")

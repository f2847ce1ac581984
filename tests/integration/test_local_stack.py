"""The local stack: real servers, started, found, ended, and never left behind."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import UnknownTopicOrPartitionError
from redis import Redis

from streams.errors import ThrongError
from streams.local.kafka_server import Also
from streams.local.ports import free_ports, is_listening
from streams.local.stack import Stack, running, start, stop
from streams.local.state import read_state

pytestmark = pytest.mark.integration


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A stack's folder with a name that is hard on careless code; whatever a test left running is ended."""
    place = tmp_path / "a stack, ä"
    yield place
    stop(place, grace_s=0)


def throng(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "streams.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)


def pids_of(folder: Path) -> list[int]:
    state = read_state(folder)
    assert state is not None
    return [process.pid for process in state.processes]


def wait_until_gone(pids: list[int], within_s: float = 15) -> None:
    deadline = time.monotonic() + within_s
    while any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids):
        assert time.monotonic() < deadline, "a server outlived its stack"
        time.sleep(0.05)


async def test_a_ready_stack_takes_records_and_gives_them_back(stack: Stack, namespace: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.kafka)
    await admin.start()
    await admin.create_topics([NewTopic(f"{namespace}.t", 2, 1)])
    await admin.close()
    async with AIOKafkaProducer(
        bootstrap_servers=stack.kafka, enable_idempotence=True, compression_type="lz4"
    ) as producer:
        # The clock of a simulated day may be far ahead of this machine's.
        await producer.send_and_wait(f"{namespace}.t", b"one", partition=1, timestamp_ms=4_000_000_000_000)
    consumer = AIOKafkaConsumer(
        f"{namespace}.t", bootstrap_servers=stack.kafka, group_id=namespace, auto_offset_reset="earliest"
    )
    async with consumer:
        record = await consumer.getone()
    assert (record.value, record.partition, record.offset) == (b"one", 1, 0)
    assert stack.kafka_version.startswith("4.")


async def test_a_topic_that_was_not_created_does_not_appear_by_itself(stack: Stack, namespace: str) -> None:
    async with AIOKafkaProducer(bootstrap_servers=stack.kafka, request_timeout_ms=2000) as producer:
        with pytest.raises((UnknownTopicOrPartitionError, TimeoutError)):
            await producer.send_and_wait(f"{namespace}.never", b"x")


def test_redis_keeps_what_it_is_given_and_never_evicts(stack: Stack) -> None:
    with Redis.from_url(stack.redis) as client:
        settings = {**client.config_get("append*"), **client.config_get("maxmemory-policy")}
    assert settings["appendonly"] == "yes"
    assert settings["appendfsync"] == "everysec"
    assert settings["maxmemory-policy"] == "noeviction"


def test_a_stack_of_ones_own_does_not_disturb_another_and_leaves_nothing(stack: Stack) -> None:
    lines: list[str] = []
    with start(ephemeral=True, progress=lines.append, brief=True) as second:
        assert second.kafka != stack.kafka
        assert second.redis != stack.redis
        pids = pids_of(second.folder)
        # Made by `stack`'s start at the latest.
        assert any("/classes-" in area.path for area in psutil.Process(pids[0]).memory_maps())
        with Redis.from_url(stack.redis) as client:
            assert client.ping()
        ports = [int(address.rsplit(":", 1)[1].split("/")[0]) for address in (second.kafka, second.redis)]
    wait_until_gone(pids)
    assert not second.folder.exists()
    assert not any(is_listening(port) for port in ports)
    assert lines[-1].startswith("starting Kafka 4.")


async def test_groups_form_at_once_on_a_stack_that_never_had_one() -> None:
    with await asyncio.to_thread(start, ephemeral=True, brief=True) as stack:
        admin = AIOKafkaAdminClient(bootstrap_servers=stack.kafka)
        await admin.start()
        assert await admin.find_coordinator("anybody") == 1
        await admin.close()


async def test_clients_of_a_second_listener_are_sent_to_the_port_that_it_names() -> None:
    listening, named = free_ports(2)
    with await asyncio.to_thread(start, ephemeral=True, kafka_also=Also(listening, named), brief=True) as stack:
        for bootstrap, port in ((stack.kafka, int(stack.kafka.split(":")[1])), (f"127.0.0.1:{listening}", named)):
            client = AIOKafkaClient(bootstrap_servers=bootstrap)
            await client.bootstrap()
            assert {broker.port for broker in client.cluster.brokers()} == {port}
            await client.close()


def test_up_status_down_from_the_command_line(folder: Path) -> None:
    where = ("--dir", str(folder))
    assert throng("status", *where).returncode == 1
    first = throng("up", *where)
    assert (first.returncode, first.stdout.splitlines()[0]) == (0, "ready")
    second = throng("up", *where)
    assert second.stdout.splitlines() == ["already up", *first.stdout.splitlines()[1:]]

    status = throng("status", "--json", *where)
    told = json.loads(status.stdout)
    assert status.returncode == 0
    assert told["up"] is True
    assert f"kafka {told['kafka']['address']}" in first.stdout
    export = f"THRONG_KAFKA_BOOTSTRAP={told['kafka']['address']} THRONG_REDIS_URL={told['redis']['address']}"
    assert first.stdout.splitlines()[-1] == f"export {export}"
    table = throng("status", *where).stdout
    assert told["redis"]["address"] in table
    assert str(folder) in table

    with Redis.from_url(told["redis"]["address"]) as client:
        client.set("kept", "yes")
    pids = pids_of(folder)
    assert throng("down", "--keep", *where).returncode == 0
    wait_until_gone(pids)
    assert throng("status", *where).returncode == 1

    with start(folder) as again, Redis.from_url(again.redis) as client:
        assert client.get("kept") == b"yes"
    assert not (folder / "data").exists()
    assert (folder / "logs" / "kafka.log").stat().st_size > 0
    assert throng("down", *where).stdout == "nothing was up\n"


def test_a_broker_that_died_is_told_with_its_log_and_up_starts_both_again_where_they_were(folder: Path) -> None:
    first = start(folder, brief=True)
    kafka, redis = pids_of(folder)
    os.kill(kafka, signal.SIGKILL)
    wait_until_gone([kafka])
    with pytest.raises(ThrongError, match=r"kafka has died: .* \(log: .*kafka\.log\); run 'throng up'"):
        running(folder)
    told = json.loads(throng("status", "--json", "--dir", str(folder)).stdout)
    assert (told["up"], told["kafka"]["state"], told["redis"]["state"]) == (False, "dead", "up")
    lines: list[str] = []
    with start(folder, progress=lines.append, brief=True) as again:
        assert not again.found
        assert redis not in pids_of(folder)
        assert (again.kafka, again.redis) == (first.kafka, first.redis)
    assert lines[0].startswith("kafka has died")


def test_an_ephemeral_stack_dies_with_its_owner_even_by_sigkill() -> None:
    code = (
        "import sys, time; from streams.local.stack import start;"
        "stack = start(ephemeral=True, brief=True); print(stack.folder, flush=True); time.sleep(300)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        folder = Path(owner.stdout.readline().strip())
        pids = pids_of(folder)
        owner.kill()
        owner.wait(timeout=10)
    wait_until_gone(pids)
    deadline = time.monotonic() + 10
    while folder.exists():
        assert time.monotonic() < deadline, "the folder outlived its stack"
        time.sleep(0.05)


def test_ctrl_c_ends_a_stack_in_the_foreground(folder: Path) -> None:
    command = [sys.executable, "-m", "streams.cli.main", "up", "--foreground", "--dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "ready\n"
        pids = pids_of(folder)
        owner.send_signal(signal.SIGINT)
        _out, err = owner.communicate(timeout=20)
    assert owner.returncode == 0
    assert "Traceback" not in err
    wait_until_gone(pids, within_s=1)
    assert not (folder / "data").exists()


def test_ctrl_c_while_it_starts_leaves_nothing(folder: Path) -> None:
    command = [sys.executable, "-m", "streams.cli.main", "up", "--dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as starting:
        deadline = time.monotonic() + 60
        while (state := _try_read(folder)) is None or state.kafka is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        pids = [process.pid for process in state.processes]
        starting.send_signal(signal.SIGINT)
        _out, err = starting.communicate(timeout=30)
    assert starting.returncode == 130
    assert "Traceback" not in err
    wait_until_gone(pids, within_s=1)
    assert read_state(folder) is None


def test_a_port_that_is_taken_is_one_line(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        said = throng("up", "--dir", str(folder), "--redis-port", str(port))
    assert said.returncode == 1
    assert said.stderr.splitlines()[-1] == (
        f"throng: port {port} is taken: give another with --redis-port, or none to take a free one"
    )


def test_a_port_snatched_between_choosing_and_using_is_chosen_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from streams.local import launch

    choose, calls = launch.free_ports, []
    with socket.create_server(("127.0.0.1", 0)) as snatcher:

        def snatched_once(count: int) -> list[int]:
            calls.append(count)
            ports = choose(count)
            return [snatcher.getsockname()[1], *ports[1:]] if len(calls) == 1 else ports

        monkeypatch.setattr(launch, "free_ports", snatched_once)
        with start(folder, brief=True) as stack:
            assert stack.kafka != f"127.0.0.1:{snatcher.getsockname()[1]}"
    assert len(calls) == 2


def test_a_broker_that_does_not_answer_at_once_is_waited_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from streams.local import launch

    truly, asked = launch.kafka_answers, []

    def not_at_first(port: int) -> bool:
        asked.append(port)
        return len(asked) > 1 and truly(port)

    monkeypatch.setattr(launch, "kafka_answers", not_at_first)
    with start(folder, brief=True) as stack:
        assert stack.kafka == f"127.0.0.1:{asked[0]}"
    assert len(asked) == 2


def test_a_broker_that_cannot_start_says_why_in_one_line_and_leaves_nothing(folder: Path) -> None:
    (folder / "data" / "kafka").mkdir(parents=True)
    (folder / "data" / "kafka" / "meta.properties").write_text("version=1\nnode.id=77\ncluster.id=x\n")
    with pytest.raises(ThrongError, match=r"^kafka ended with code \d+: .*node.*\(log: .*kafka\.log\)$") as refused:
        start(folder)
    assert "\n" not in str(refused.value)
    assert read_state(folder) is None


def test_two_commands_at_once_start_one_stack(folder: Path) -> None:
    stacks: list[Stack] = []
    both = [threading.Thread(target=lambda: stacks.append(start(folder, brief=True))) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert stacks[0].kafka == stacks[1].kafka
    assert sorted(stack.found for stack in stacks) == [False, True]


def _try_read(folder: Path):
    return read_state(folder) if folder.exists() else None

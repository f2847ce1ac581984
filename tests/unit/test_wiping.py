"""Secrets are overwritten where they lay, as soon as they were used."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from streams.stores import keys as module
from streams.stores import salts
from streams.stores.keys import FileKeys
from streams.stores.wiping import wipe


def test_a_secret_is_overwritten_where_it_lies() -> None:
    secret = os.urandom(32)
    address = ctypes.cast(ctypes.c_char_p(secret), ctypes.c_void_p).value
    assert address is not None and ctypes.string_at(address, 32) == secret != bytes(32)
    wipe(secret)
    assert ctypes.string_at(address, 32) == bytes(32) == secret


def test_shared_bytes_are_left_alone() -> None:
    wipe(b"")
    wipe(bytes([7]))
    assert bytes([7]) == b"\x07"


def test_the_file_provider_wipes_each_key_that_it_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wiped: list[bytes] = []

    def noted(secret: bytes) -> None:
        wiped.append(bytes(bytearray(secret)))
        wipe(secret)

    monkeypatch.setattr(module, "wipe", noted)
    keys = FileKeys(tmp_path)
    sealed = keys.seal(20260302, bytes(32))
    key = (tmp_path / "20260302.key").read_bytes()
    assert sealed is not None and wiped == [key, key]  # as it was made, and as it was used
    assert keys.open(sealed) == bytes(32) and keys.holds(20260302)
    assert wiped == [key] * 3  # whether it is there is seen without reading it
    assert (tmp_path / "20260302.key").read_bytes() == key


async def test_a_new_salt_is_wiped_once_it_is_sealed(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[bytes] = []

    class Keys:
        def seal(self, epoch: int, secret: bytes) -> None:
            made.append(secret)
            assert secret != bytes(32)

    vault = salts.Vault(None, None, "salts", Keys())  # type: ignore[arg-type]
    with pytest.raises(Exception, match="the key of epoch 20260302 is destroyed"):
        await vault._append(20260302)
    assert made == [bytes(32)]


def test_a_crash_leaves_no_core_dump() -> None:
    code = "from streams.stores.wiping import leave_no_core; leave_no_core(); print(open('/proc/self/limits').read())"
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert next(line for line in said.splitlines() if "core file" in line).split()[4:6] == ["0", "0"]


BEGINS = """
import resource
from streams.cli import main
resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
def first(*_):
    print("core", *resource.getrlimit(resource.RLIMIT_CORE))
    raise SystemExit
"""


def said(code: str) -> str:
    servers = {"THRONG_KAFKA_BOOTSTRAP": "127.0.0.1:9092", "THRONG_REDIS_URL": "redis://127.0.0.1:6379/0"}
    command = [sys.executable, "-c", BEGINS + code]
    return subprocess.run(command, env=os.environ | servers, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("role", ["gateway", "crowd", "release", "api"])
def test_no_worker_that_holds_what_is_of_persons_leaves_a_core_dump(role: str) -> None:
    module = "streams.api.run" if role == "api" else "streams.agents.workers"
    code = f"import {module}; {module}.configured_plans = first; main.main(['worker', '{role}'])"
    assert said(code) == "core 0 0\n"


@pytest.mark.parametrize("command", ["import", "machines", "record", "replay", "salts"])
def test_no_command_that_holds_what_is_of_persons_leaves_a_core_dump(command: str) -> None:
    assert said(f"main.LazyGroup.get_command = first; main.main(['{command}'])") == "core 0 0\n"

"""Which process is meant, which Java is new enough, and where things are kept."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from streams.errors import ThrongError
from streams.local import java
from streams.local.folders import prepare, stack_folder
from streams.local.processes import Process, end, identify, is_alive
from streams.local.state import FILE, read_state


def test_a_process_is_known_by_pid_and_start_time() -> None:
    me = identify(os.getpid())
    assert is_alive(me)
    assert not is_alive(Process(me.pid, me.started - 60)), "the pid was used again by another process"


def test_a_process_that_only_has_the_pid_is_not_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as bystander:
        known = identify(bystander.pid)
        end([Process(known.pid, known.started - 60)], grace_s=0)
        assert bystander.poll() is None
        end([known], grace_s=0)
        assert not is_alive(known)


def test_one_that_does_not_go_when_asked_is_forced() -> None:
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE) as stubborn:
        assert stubborn.stdout is not None
        stubborn.stdout.readline()
        known = identify(stubborn.pid)
        end([known], grace_s=0.2)
        assert not is_alive(known)


def test_a_java_that_is_too_old_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "java"
    old.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    old.chmod(0o755)
    monkeypatch.setattr(java, "_candidates", lambda: [tmp_path / "missing", old])
    with pytest.raises(ThrongError, match=r"no Java 17 or newer for Kafka \(.*java is version 11\): run 'make setup'"):
        java.find_java()


def test_stacks_live_in_the_users_state_folder_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert stack_folder("mine") == tmp_path / "throng" / "mine"
    for name in ("", "..", "a/b", "-x", "a b"):
        with pytest.raises(ThrongError, match="can't name a stack"):
            stack_folder(name)


def test_too_little_space_is_told_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ThrongError, match="MB free and .* MB are needed: make room or choose another folder"):
        prepare(tmp_path / "stack", needed=1 << 60)


def test_a_damaged_state_file_is_told_with_its_path(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("{")
    with pytest.raises(ThrongError, match=r"state\.json can't be read"):
        read_state(tmp_path)

"""Kafka's jars: downloaded once, checked always. The registry is a small web server on this machine."""

import functools
import hashlib
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from streams.errors import ThrongError
from streams.local.folders import quiet
from streams.local.jars import Jar, ensure_jars, kafka_version, read_lock

CONTENTS = {"org.example:kafka-server:1.0": b"server" * 1000, "org.example:clients:2.0": b"clients" * 1000}
JARS = [Jar(name, hashlib.sha256(data).hexdigest(), len(data)) for name, data in CONTENTS.items()]


class Registry:
    """A Maven repository in a folder, served, counting the jars that were asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.asked: Counter[str] = Counter()
        for coordinate, data in CONTENTS.items():
            self.put(coordinate, data)
        asked = self.asked

        class Handler(SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                asked[self.path.rsplit("/", 1)[-1]] += 1
                super().do_GET()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(root)))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def put(self, coordinate: str, data: bytes) -> None:
        group, artifact, version = coordinate.split(":")
        folder = self.root / group.replace(".", "/") / artifact / version
        folder.mkdir(parents=True, exist_ok=True)
        jar = folder / f"{artifact}-{version}.jar"
        jar.write_bytes(data)
        jar.with_suffix(".jar.sha1").write_text(hashlib.sha1(data).hexdigest())

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    served = Registry(tmp_path / "registry")
    home = tmp_path / "home"
    (home / ".config").mkdir(parents=True)
    port = served.server.server_port
    (home / ".config" / "jgo.conf").write_text(f"[repositories]\ncentral = http://127.0.0.1:{port}\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    yield served
    served.close()


def test_the_lock_file_pins_one_kafka_4_and_each_jar_once() -> None:
    jars = read_lock()
    assert kafka_version(jars).startswith("4.")
    assert len({jar.name for jar in jars}) == len(jars) > 40
    assert all(len(jar.sha256) == 64 and jar.size > 0 for jar in jars)


def test_jars_are_downloaded_once_with_progress(registry: Registry, tmp_path: Path) -> None:
    lines: list[str] = []
    paths = ensure_jars(lines.append, tmp_path / "cache", JARS)
    assert sorted(path.read_bytes() for path in paths) == sorted(CONTENTS.values())
    assert "once for this user" in lines[0]
    registry.close()
    assert ensure_jars(lines.append, tmp_path / "cache", JARS) == paths
    assert registry.asked["clients-2.0.jar"] == 1


def test_a_jar_that_is_not_the_pinned_one_is_refused(registry: Registry, tmp_path: Path) -> None:
    registry.put("org.example:clients:2.0", b"something else")
    with pytest.raises(ThrongError, match=r"clients-2\.0\.jar is not the file that throng was tested with") as refused:
        ensure_jars(quiet, tmp_path / "cache", JARS)
    assert refused.value.code == "jars"
    assert not list((tmp_path / "cache" / "kafka").glob("1.0-*"))
    registry.put("org.example:clients:2.0", CONTENTS["org.example:clients:2.0"])
    assert len(ensure_jars(quiet, tmp_path / "cache", JARS)) == 2
    assert registry.asked["kafka-server-1.0.jar"] == 1, "what had arrived was kept"


def test_a_jar_changed_in_the_cache_is_refused_on_the_next_start(registry: Registry, tmp_path: Path) -> None:
    paths = ensure_jars(quiet, tmp_path / "cache", JARS)
    paths[0].write_bytes(b"tampered")
    with pytest.raises(ThrongError, match="is not the file it should be: delete"):
        ensure_jars(quiet, tmp_path / "cache", JARS)


def test_without_a_network_one_line_says_so(registry: Registry, tmp_path: Path) -> None:
    registry.close()
    with pytest.raises(ThrongError, match="cannot download Kafka's .*: check the network or proxy") as refused:
        ensure_jars(quiet, tmp_path / "cache", JARS)
    assert refused.value.code == "download"
    assert "\n" not in str(refused.value)


def test_two_processes_download_once(registry: Registry, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from streams.local.jars import Jar, ensure_jars;"
        f"jars = [Jar(*fields) for fields in {[tuple(jar) for jar in JARS]!r}];"
        "ensure_jars(lambda line: None, Path(sys.argv[1]), jars)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "cache")]
    both = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(timeout=60) for process in both] == [0, 0]
    assert registry.asked["clients-2.0.jar"] == 1


def test_a_folder_that_cannot_be_made_is_one_line(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(ThrongError, match="cannot write to .*: check its rights or choose another folder"):
        ensure_jars(quiet, tmp_path / "cache", JARS)

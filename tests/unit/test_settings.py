"""Settings: sources, order, refusals, and the reference page."""

from pathlib import Path

import pytest

from streams.errors import ThrongError
from streams.settings import Settings, load_settings, reference, to_environ
from streams.settings.servers import cluster_nodes


def test_defaults_are_valid() -> None:
    assert load_settings(environ={}) == Settings()


def test_the_command_line_goes_over_the_environment_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "throng.toml"
    file.write_text("[gateway]\nflush_ms = 100\nflush_rows = 10\n[kafka]\npartitions = 3\n")
    settings = load_settings(
        file, {"gateway.flush_ms": 300}, {"THRONG_GATEWAY_FLUSH_MS": "200", "THRONG_GATEWAY_FLUSH_ROWS": "20"}
    )
    assert (settings.gateway.flush_ms, settings.gateway.flush_rows, settings.kafka.partitions) == (300, 20, 3)


def test_settings_survive_the_environment_of_a_child() -> None:
    settings = load_settings(
        overrides={"kafka.bootstrap": "a:1", "kafka.keep_forever": True, "release.confidence": 0.99},
        environ={},
    )
    assert load_settings(environ=to_environ(settings)) == settings


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[gateway]\nflush_ms = 0\n", "gateway.flush_ms = 0"),
        ('[gateway]\nflush_ms = "soon"\n', "gateway.flush_ms = 'soon'"),
        ("[gateway]\nflush = 1\n", "unknown setting gateway.flush;"),
        ("[gate]\nflush_ms = 1\n", r"unknown section \[gate\]"),
        ("gateway = 1\n", "must be a section"),
        ("[gateway\n", "is not TOML"),
        ('[kafka]\nnamespace = "a b"\n', "kafka.namespace = 'a b'"),
        ('[gateway]\npurpose = "spying"\n', "'spying' is none of market_research, marketing, traffic, public"),
        ("[release]\nconfidence = 0.9\n", "release.confidence = 0.9 is not allowed"),
        ("[epoch]\nstay_ms = 1\n", "epoch.stay_ms = 1 is not allowed"),
        ("[epoch]\nstay_ms = 180000\n", "epoch.ping_pong_ms = 300000 must be less than epoch.stay_ms = 180000"),
        ("[epoch]\nseen_ms = 600001\n", "epoch.seen_ms = 600001 must be at most epoch.stay_ms = 600000"),
        ("[epoch]\ntick_ms = 7000\n", "epoch.tick_ms = 7000 must go into a pane of 300000 ms without a rest"),
        ('[epoch]\ntimezone = "Mars/Base"\n', "epoch.timezone = 'Mars/Base' is no IANA name such as Europe/Berlin"),
        ('[epoch]\ntimezone = "/etc"\n', "epoch.timezone = '/etc' is no IANA name"),
        ('[redis]\nurl = "foo"\n', "redis.url is no URL such as redis://host:6379/0"),
        ('[redis]\nurl = "redis://host:port/0"\n', "redis.url is no URL"),
        ('[redis]\nurl = "redis://host:6379/first"\n', "redis.url is no URL"),
        *(
            (f'[kafka]\nbootstrap = "{brokers}"\n', "kafka.bootstrap: .* is no host:port")
            for brokers in ("a:port", "a:", "a:1,", "kafka://a:9092", "a:70000", "::1:9092")
        ),
        ('[redis]\nurl = "redis://a:1/0"\nnodes = "b:1"\n', "redis.nodes needs redis.cluster = true"),
        ('[redis]\nurl = "redis://a:1/0"\ncluster = true\nnodes = "b:1,c"\n', "redis.nodes: 'c' is no host:port"),
        *(
            (f'[redis]\nurl = "redis://a:1/0"\ncluster = true\nnodes = "{nodes}"\n', "redis.nodes: .* is no host:port")
            for nodes in ("b:1,", "[]:1", "::1:7000", "b:65536", ":1")
        ),
    ],
)
def test_a_wrong_setting_is_refused_in_one_line_that_names_it(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "throng.toml"
    file.write_text(text)
    with pytest.raises(ThrongError, match=says) as refusal:
        load_settings(file, environ={})
    assert "\n" not in str(refusal.value)


def test_a_variable_of_a_misspelt_section_is_refused_and_others_variables_are_not() -> None:
    with pytest.raises(ThrongError, match=r"unknown setting THRONG_KAFK_BOOTSTRAP .*: is THRONG_KAFKA_… meant"):
        load_settings(environ={"THRONG_KAFK_BOOTSTRAP": "a:1"})
    for name in ("THRONG_PLAN", "THRONG_WORKERS", "THRONG_PORT_8400_TCP", "THRONG_SERVICE_HOST"):
        assert load_settings(environ={name: "x"}) == load_settings(environ={})


def test_a_wrong_variable_is_refused_by_the_settings_name() -> None:
    with pytest.raises(ThrongError, match="kafka.partitions = 'many'"):
        load_settings(environ={"THRONG_KAFKA_PARTITIONS": "many"})


@pytest.mark.parametrize("bootstrap", ["", "a", "a:1", "a:1, b:2", "[2001:db8::1]:9092"])
def test_any_brokers_that_the_client_takes_are_taken(bootstrap: str) -> None:
    assert load_settings(environ={"THRONG_KAFKA_BOOTSTRAP": bootstrap}).kafka.bootstrap == bootstrap


@pytest.mark.parametrize("url", ["", "redis://h:6379/0", "rediss://:secret@h:6380/1", "unix:///run/redis.sock"])
def test_any_url_that_the_client_takes_is_taken(url: str) -> None:
    assert load_settings(environ={"THRONG_REDIS_URL": url}).redis.url == url


def test_a_clusters_nodes_are_given_as_they_were_checked() -> None:
    about = {"redis.url": "redis://a:1/0", "redis.cluster": "true", "redis.nodes": "b:6379, [2001:db8::1]:7000,c.d:1"}
    settings = load_settings(None, about, {})
    assert cluster_nodes(settings.redis) == [("b", 6379), ("2001:db8::1", 7000), ("c.d", 1)]
    assert cluster_nodes(load_settings(None, {}, {}).redis) == []


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ThrongError, match="cannot read the settings file"):
        load_settings(tmp_path / "none.toml", environ={})


def test_the_reference_page_is_what_the_code_says() -> None:
    page = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"
    assert page.read_text(encoding="utf-8") == reference(), (
        "run: python -m streams.settings > docs/reference/settings.md"
    )

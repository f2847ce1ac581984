"""Metrics: every one is explained, and whatever dashboards and alerts ask for exists, with the labels they go by."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client import Counter, Histogram

from streams import metrics
from streams.metrics_page import PARTS, exposed, labels_of, metrics_of, reference

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "deploy" / "grafana" / "dashboards" / "throng.json"
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
PROMTOOL = shutil.which("promtool")
# What Prometheus adds to each series.
TARGET = {"job", "instance"}


def known() -> dict[str, set[str]]:
    """The series' names, and the labels of each."""
    found = {"up": set(TARGET), "process_start_time_seconds": set(TARGET)}
    for metric in (each for part in PARTS for each in metrics_of(part)):
        name, labels = exposed(metric), {*labels_of(metric), *TARGET}
        if isinstance(metric, Histogram):
            found |= {f"{name}_bucket": labels | {"le"}, f"{name}_sum": labels, f"{name}_count": labels}
        else:
            found[name] = labels
    return found


def queries() -> list[str]:
    board = json.loads(DASHBOARD.read_text())["panels"]
    asked = [target["expr"] for panel in board for target in panel["targets"]]
    rules = re.findall(r"expr: (?:>-\n)?(.*?)\n +(?:for|labels):", ALERTS.read_text(), re.DOTALL)
    assert len(rules) == ALERTS.read_text().count("- alert:")
    return asked + rules


@pytest.mark.parametrize("query", queries())
def test_whatever_is_asked_for_exists(query: str) -> None:
    series = known()
    names = re.findall(r"\b(?:throng_[a-z_]+|process_[a-z_]+|up)\b", query)
    assert names
    for name in names:
        assert name in series, name
    labels = set(re.findall(r"([a-z_]+) *=~?", query))
    for group in re.findall(r"\bby \(([a-z_, ]+)\)", query):
        labels |= set(group.split(", "))
    assert labels <= set().union(*(series[name] for name in names))


@pytest.mark.parametrize("query", [query for query in queries() if "min(" in query])
def test_what_stands_still_is_told_by_the_newest_of_all_workers(query: str) -> None:
    """Who gave a partition away still tells what it last knew of it."""
    assert re.search(r"min\(max by \((partition|measure)\) \(throng_[a-z_]+\)\)", query)


def test_the_reference_page_is_what_the_code_says_and_explains_each() -> None:
    page = ROOT / "docs" / "reference" / "metrics.md"
    assert page.read_text(encoding="utf-8") == reference(), (
        "run: python -m streams.metrics_page >docs/reference/metrics.md"
    )
    assert set(re.findall(r'"(throng_[a-z_]+)"', Path(metrics.__file__).read_text())) == {
        exposed(metric).removesuffix("_total" if isinstance(metric, Counter) else "")
        for part in PARTS
        for metric in metrics_of(part)
    }


def test_every_alert_says_what_to_do_on_a_page_that_is_there() -> None:
    for runbook in re.findall(r"runbook: (\S+)", ALERTS.read_text()):
        page, _, heading = runbook.partition("#")
        titles = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(), re.MULTILINE)
        assert not heading or heading in {title.lower().replace(" ", "-") for title in titles}, runbook


def test_every_alert_is_in_the_table_for_whoever_is_on_call_with_its_severity() -> None:
    table = (ROOT / "docs" / "how-to" / "outages.md").read_text().partition("## Alerts")[2]
    alerts = re.findall(r"- alert: (\w+)\n.*?severity: (\w+)", ALERTS.read_text(), re.DOTALL)
    assert len(alerts) == ALERTS.read_text().count("- alert:")
    for alert, severity in alerts:
        (row,) = (line for line in table.splitlines() if f"`{alert}`" in line.split(" | ")[0])
        assert row.split(" | ")[1] == severity, alert


@pytest.mark.skipif(PROMTOOL is None, reason="no promtool here: install Debian's package prometheus")
def test_the_alerts_fire_when_they_should_and_not_else() -> None:
    folder = ALERTS.parent
    for arguments in (["check", "config", "prometheus.yml"], ["test", "rules", "alerts.test.yml"]):
        done = subprocess.run([str(PROMTOOL), *arguments], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

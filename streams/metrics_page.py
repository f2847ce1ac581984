"""The metrics reference page, made of the registered metrics themselves: `python -m streams.metrics_page`."""

import sys
from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from streams.metrics import (
    ApiMetrics,
    CrowdMetrics,
    ForeignMetrics,
    GatewayMetrics,
    KafkaMetrics,
    PolicyMetrics,
    ReleaseMetrics,
)

PARTS: Final = {
    "Gateway": (GatewayMetrics,),
    "Crowd": (CrowdMetrics,),
    "Release": (ReleaseMetrics,),
    "Rules (gateway, release and API)": (PolicyMetrics,),
    "Kafka (gateway, crowd and release)": (KafkaMetrics,),
    "Foreign records (gateway, crowd, release and API)": (ForeignMetrics,),
    "API": (ApiMetrics,),
}

INTRODUCTION: Final = """\
# Metrics

Generated from `streams/metrics.py` by `python -m streams.metrics_page`; do not edit.

Each worker answers on `/metrics` at `worker.http_host` and `worker.http_port`. Labels are few and bounded; none names
a zone, a cell or a subscriber. Of a histogram there are `_bucket`, `_sum` and `_count`. Grafana's board is in
`deploy/grafana`, alerts are in `deploy/prometheus` ([what to do](../how-to/outages.md#alerts)). The Python client adds
its own `process_…` and `python_…`. `?name[]=…`, as often as wanted, gives those metrics alone."""

Metric = Counter | Gauge | Histogram


def metrics_of(part: str) -> Iterator[Metric]:
    """The metrics of a part, in the order of the code."""
    for kind in PARTS[part]:
        yield from (each for each in vars(kind(CollectorRegistry())).values() if isinstance(each, Metric))


def exposed(metric: Metric) -> str:
    """The name under which Prometheus knows it: a counter's ends in `_total`."""
    (family,) = metric.describe()
    return f"{family.name}_total" if isinstance(metric, Counter) else family.name


def labels_of(metric: Metric) -> tuple[str, ...]:
    """The names of its labels, those of a histogram's buckets left out."""
    return tuple(metric._labelnames)  # the client has no public way to ask


def reference() -> str:
    """The metrics reference page, in Markdown."""
    lines = [INTRODUCTION]
    for part in PARTS:
        lines += ["", f"## {part}", "", "| metric | kind | labels | meaning |", "|---|---|---|---|"]
        for metric in metrics_of(part):
            (family,) = metric.describe()
            labels = ", ".join(f"`{name}`" for name in labels_of(metric))
            lines.append(f"| `{exposed(metric)}` | {family.type} | {labels} | {family.documentation} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(reference())

"""The job in PyFlink: Kafka's values by the SQL connector, one flat_map in Python with its state in a dict.

The table's metadata column tells the partition, which the DataStream API's Kafka source does not. `--mode thread` runs
the function inside the JVM (by pemja), `process` in a Python process beside it (by Beam). One task: state in a dict
needs no keyBy, as all events of a subscriber lie on one partition, and Flink's keyed state costs more crossings between
Java and Python for each event.
"""

import argparse
import os
import signal
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import job
import options
from py4j.protocol import Py4JJavaError
from pyflink.common import Configuration, JobStatus, Row, SimpleStringSchema, Types
from pyflink.datastream import FlatMapFunction, RuntimeContext, StreamExecutionEnvironment
from pyflink.datastream.connectors.kafka import KafkaRecordSerializationSchema, KafkaSink
from pyflink.java_gateway import get_gateway
from pyflink.table import StreamTableEnvironment

HERE = Path(__file__).parent
JARS = HERE.parent / "java" / "target" / "lib"  # what the Java peers are built with
NEEDED = ("flink-connector-kafka", "flink-connector-base", "kafka-clients")
PARTITIONS = 16
JVM = "-Xmx2g -XX:+UseParallelGC"
LOOK_S = 0.5


class Count(FlatMapFunction):
    """Rows of (partition, value) in, output records out."""

    def __init__(self, cells: Path, start_ms: int, pane_ms: int, batched: bool) -> None:
        self._options = (cells, start_ms, pane_ms, batched)

    def open(self, runtime_context: RuntimeContext) -> None:
        """Make what can't travel with the job."""
        cells, start_ms, pane_ms, batched = self._options
        zones = options.read_zones(cells)
        self._read = job.Reader(zones, start_ms, pane_ms, batched).read
        self._take = job.Crowd(max(zones.values()) + 1, range(PARTITIONS)).take

    def flat_map(self, value: Row) -> Iterator[str]:
        """Count a record."""
        for record in self._take(value[0], self._read(bytes(value[1]))):
            yield record.decode()


def jars(folder: Path) -> list[Path]:
    """The Kafka connector and what it needs.

    Raises:
        FileNotFoundError: one isn't there.
    """
    found = []
    for name in NEEDED:
        paths = sorted(folder.glob(f"{name}-[0-9]*.jar"))
        if not paths:
            raise FileNotFoundError(f"no {name} in {folder}")
        found.append(paths[-1])
    return found


def environment(mode: str, folder: Path) -> StreamExecutionEnvironment:
    """A mini cluster of one task in a JVM of its own."""
    os.environ.setdefault("JVM_ARGS", JVM)
    config = Configuration()
    for key, value in {
        "python.execution-mode": mode,
        "python.executable": sys.executable,
        "python.client.executable": sys.executable,
        "python.pythonpath": sysconfig.get_path("purelib"),  # the JVM's Python knows nothing of a venv
        "python.fn-execution.bundle.size": "10000",
        "python.fn-execution.bundle.time": "200",
        "parallelism.default": "1",
        "pipeline.object-reuse": "true",
        "pipeline.jars": ";".join(path.resolve().as_uri() for path in jars(folder)),
    }.items():
        config.set_string(key, value)
    env = StreamExecutionEnvironment.get_execution_environment(config)
    for module in (job, options):
        env.add_python_file(str(module.__file__))
    return env


def main() -> None:
    """Run until SIGTERM."""
    choices = options.parser(__doc__)
    choices.add_argument("--mode", choices=("thread", "process"), default="thread")
    choices.add_argument("--jars", type=Path, default=JARS)
    chosen = choices.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        run(chosen)
    except Py4JJavaError as error:
        causes = [line for line in str(error).splitlines() if line.startswith("Caused by: ")]
        raise RuntimeError(causes[-1] if causes else "the job failed") from None
    finally:
        get_gateway().shutdown()  # else its threads keep this process


def run(chosen: argparse.Namespace) -> None:
    """Start the job and watch it. It has no checkpoints, so it is ended with its JVM."""
    env = environment(chosen.mode, chosen.jars)
    tables = StreamTableEnvironment.create(env)
    tables.execute_sql(
        f"""CREATE TABLE events (`partition` INT METADATA VIRTUAL, `value` BYTES) WITH (
            'connector' = 'kafka', 'format' = 'raw', 'topic' = '{chosen.input}',
            'properties.bootstrap.servers' = '{chosen.bootstrap}', 'properties.group.id' = '{chosen.group}',
            'properties.max.partition.fetch.bytes' = '131072', 'properties.max.poll.records' = '2000',
            'properties.check.crcs' = 'false', 'scan.startup.mode' = 'earliest-offset')"""
    )
    rows = tables.to_data_stream(tables.sql_query("SELECT `partition`, `value` FROM events"))
    count = Count(chosen.cells.resolve(), chosen.start_ms, chosen.pane_ms, chosen.shape == "batched")
    serializer = KafkaRecordSerializationSchema.builder().set_topic(chosen.output)
    serializer = serializer.set_value_serialization_schema(SimpleStringSchema())
    sink = KafkaSink.builder().set_bootstrap_servers(chosen.bootstrap).set_record_serializer(serializer.build())
    sink = sink.set_property("compression.type", "lz4").set_property("max.request.size", str(16 << 20))
    rows.flat_map(count, output_type=Types.STRING()).sink_to(sink.build())
    running = env.execute_async("peer")
    while running.get_job_status().result() != JobStatus.FAILED:
        time.sleep(LOOK_S)
    running.get_job_execution_result().result()  # raises


if __name__ == "__main__":
    options.run(main)

"""Write `kafka-jars.lock` to standard output: `python -m streams.local.lock_jars > streams/local/kafka-jars.lock`.

Resolves Kafka and a logging backend with all they need, downloads every jar and writes its coordinate, sha256 and size.
For maintainers, when the version of Kafka changes.
"""

import hashlib
import sys
import tempfile
from pathlib import Path

from jgo.maven import MavenContext

ROOTS = (
    # First so that its log4j is the one that Kafka's own dependencies agree with.
    "org.apache.kafka:kafka_2.13:4.1.2",
    "org.apache.logging.log4j:log4j-slf4j-impl:2.25.3",
)


def lock_lines(roots: tuple[str, ...], cache: Path) -> list[str]:
    """A line `group:artifact:version sha256 size` for each jar that `roots` need, the first root's versions winning."""
    context = MavenContext(repo_cache=cache)
    chosen: set[tuple[str, str]] = set()
    lines = []
    for root in roots:
        inputs, transitive = context.resolver.resolve([context.create_dependency(root)])
        for dependency in (*inputs, *transitive):
            key = (dependency.groupId, dependency.artifactId)
            if key in chosen:
                continue
            chosen.add(key)
            jar = Path(dependency.artifact.resolve()).read_bytes()
            coordinate = f"{dependency.groupId}:{dependency.artifactId}:{dependency.version}"
            lines.append(f"{coordinate} {hashlib.sha256(jar).hexdigest()} {len(jar)}")
    return sorted(lines)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        sys.stdout.write("# Written by `python -m streams.local.lock_jars`; do not edit.\n")
        sys.stdout.write("\n".join(lock_lines(ROOTS, Path(scratch))) + "\n")

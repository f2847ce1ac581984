"""A real Kafka and a real Redis on this machine, without containers or root rights.

`stack` starts and stops the two servers of one folder; `jars` fetches Kafka once per user; `java` and `redis_server`
find what runs them; `guard` ends the servers of an owner that died.
"""

from importlib.util import find_spec


def installed() -> bool:
    """Can a stack be started here? Where the extra `local` is not installed, as in the image, there is none."""
    return find_spec("psutil") is not None

"""A real Kafka and a real Redis on this machine, without containers or root rights.

`stack` starts and stops the two servers of one folder; `jars` fetches Kafka once per user; `java` and `redis_server`
find what runs them; `guard` ends the servers of an owner that died.
"""

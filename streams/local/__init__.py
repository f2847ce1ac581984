"""A real Kafka and a real Redis on this machine, without containers or root rights."""

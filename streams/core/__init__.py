"""The pure core: values in, values out. No Kafka, Redis, Faust, asyncio, clock or randomness (import rules say
so)."""

"""Seeded faults against a whole deployment: `make chaos`."""

"""A synthetic town and its mobile network: attach events with a known truth."""

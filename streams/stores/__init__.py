"""What is kept outside the log: snapshots, counts and released values in Redis, the salt vault, the ledger."""

"""The query API: what is released, to whoever holds a token of the deployment's purpose, and nothing else."""

"""The `throng` command."""

"""The `throng` command: `main` finds the commands, each in a module of its own; `options` are those they share."""

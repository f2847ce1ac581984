"""The contracts between throng's parts and with its users: one module a topic."""

"""The three Faust agents, gateway, crowd and release, and what they share: transport, app, health."""

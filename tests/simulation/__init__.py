"""The shell's protocol on a simulated cluster and clock: one seed, one schedule, always the same."""

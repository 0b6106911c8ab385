"""The rivals of AMC's agent: one search policy a file."""

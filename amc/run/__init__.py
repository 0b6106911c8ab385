"""The stages of one run, from configuration to report."""

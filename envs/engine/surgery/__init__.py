"""Cuts channels out of a network, or masks finer parts of its weights."""

"""Measured time of networks on this machine."""

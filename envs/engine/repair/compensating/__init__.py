"""Compensating repair: layer after layer, each making up for the errors of those before it."""

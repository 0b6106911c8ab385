"""Repairs a pruned network without training: least squares and adaptive batch norm."""

"""The pruning engine: from a network and keep ratios to a smaller network, its cost and its score."""

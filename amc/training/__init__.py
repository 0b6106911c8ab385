"""Training of dense networks and fine-tuning of pruned ones."""

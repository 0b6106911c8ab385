"""Weights files: checkpoints in, pruned networks out and back."""

"""Scores a network on a split: whole, racing, side by side, in the precision that pays."""

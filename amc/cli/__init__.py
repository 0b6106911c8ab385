"""What the command lines share: composing, one-line errors, sweeps."""

"""From a network and an example input to its groups of coupled channels."""

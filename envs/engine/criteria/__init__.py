"""What ranks the units of a layer: weights, activations, gradients."""

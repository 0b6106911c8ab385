"""A network as the engine sees it: kinds of layers, their channels, calls, inputs and batches."""

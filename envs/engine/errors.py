"""What can stop the engine."""


class GraphError(ValueError):
    """The network cannot be traced or has nothing to prune; the message names the module and the reason."""

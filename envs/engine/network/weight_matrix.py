"""A layer's weight as a matrix, by output or by input channel, in whatever order the layer stores it.

Weights are stored as ``(outputs, inputs of a block, *kernel)``, or, by transposed convolutions, as
``(inputs, outputs of a block, *kernel)``; blocks are the groups of a convolution.
"""

from torch import Size, Tensor, nn

from envs.engine.network.modules import blocks_of, is_stored_by_input


def as_matrix(weight: Tensor, module: nn.Module) -> Tensor:
    """Return a layer's weight, or a tensor of its shape, as ``(outputs, columns)``."""
    if is_stored_by_input(module):
        weight = _swap_channels(weight, blocks_of(module))
    return weight.flatten(1)


def from_matrix(matrix: Tensor, module: nn.Module, shape: Size) -> Tensor:
    """Return a matrix ``(outputs, columns)`` in the shape of the layer's weight: undoes :func:`as_matrix`."""
    if not is_stored_by_input(module):
        return matrix.reshape(shape)
    blocks = blocks_of(module)
    by_block = matrix.reshape(blocks, shape[1], shape[0] // blocks, *shape[2:])
    return by_block.transpose(1, 2).reshape(shape)


def by_block(values: Tensor, blocks: int) -> Tensor:
    """Return a weight stored by output, or a tensor of its shape, as ``(blocks, outputs of a block, columns)``."""
    matrices: Tensor = values.flatten(1).unflatten(0, (blocks, -1))
    return matrices


def by_input_channel(weight: Tensor, module: nn.Module) -> Tensor:
    """Return a layer's weight, or a tensor of its shape, as ``(inputs, weights that read one)``."""
    if not is_stored_by_input(module):
        weight = _swap_channels(weight, blocks_of(module))
    return weight.flatten(1)


def _swap_channels(weight: Tensor, blocks: int) -> Tensor:
    """Exchange the first two axes of every block."""
    swapped: Tensor = weight.unflatten(0, (blocks, -1)).transpose(1, 2).flatten(0, 1)
    return swapped

"""Bytes of a weight matrix with zeros in it, as it would be shipped.

Indices cost, too: with 16 bits each, 32-bit weights in compressed sparse rows take more than dense ones as soon as two
thirds of them stay; an N:M pattern does when all M stay. So a tensor counts as stored in the cheaper of the two ways,
sparse or dense. That never falls when more is kept, which meeting a target relies on, but it stands still where dense
is cheaper: what a layer gives up first saves no memory. Channels that go leave smaller dense tensors.
"""

from math import ceil, log2

POINTER_BYTES = 4
"""Of a row pointer."""
NARROW_COLUMNS = 1 << 16
"""Columns that a 16-bit index reaches; beyond, indices have 32 bits."""


def csr_bytes(values: float, units: int, outputs: int, columns: int, value_bytes: int) -> float:
    """Return the bytes of compressed sparse rows; for units of several weights, of their blocks.

    Args:
        values: weights that are kept.
        units: units that are kept; each has one column index, of 16 bits where they reach, else of 32.
        outputs: rows of the matrix; there is one 32-bit pointer more.
        columns: units in a row.
        value_bytes: bytes of one weight.
    """
    index_bytes = 2 if columns <= NARROW_COLUMNS else 4
    return values * value_bytes + units * index_bytes + (outputs + 1) * POINTER_BYTES


def n_m_bytes(values: float, m: int, value_bytes: int) -> float:
    """Return the bytes of an N:M pattern: the kept weights, each with its position among ``m``, 2 bits where m is 4."""
    return values * value_bytes + ceil(values * ceil(log2(m)) / 8)

"""How much of a layer's output is lost for good when it reads fewer channels: known without running anything.

With the centred inputs x, G = cov(x) = L L^T in ranked order and z white, x = L z. The first d columns of x span what
the first d entries of z do, so what least squares cannot tell from them is W_R L_RR z_R (R the columns that go), of
energy ||W_R L_RR||_F^2. L is lower triangular, so column j of W L holds the rows from j on only, and for every d

    E(d) = sum of ||(W L)_j||^2 over the columns j >= d:

one product gives the errors of all numbers of kept channels. E(0) is the energy of the outputs. The ridge that the
factor contains counts as a little noise in the inputs.
"""

import torch
from torch import Tensor, nn

from envs.engine.network.channels import GroupMember
from envs.engine.network.modules import weight_of
from envs.engine.network.weight_matrix import by_input_channel


def lost_energy(weight: Tensor, factor: Tensor) -> Tensor:
    """Return the residual energy of a layer's outputs with only the first d columns left, for d = 0 ... columns.

    Args:
        weight: dense weights with columns in ranked order, shape ``(blocks, outputs, columns)``.
        factor: lower Cholesky factors of the inputs' second moments in that order, ``(blocks, columns, columns)``.

    Returns:
        Energies summed over blocks and outputs, descending to 0, shape ``(columns + 1,)``.
    """
    return tail_sums((weight @ factor).square().sum((0, 1)))


def tail_sums(energies: Tensor) -> Tensor:
    """Return for d = 0 ... n the sum of all entries from d on, shape ``(n + 1,)``."""
    sums = energies.flip(0).cumsum(0).flip(0)
    return torch.cat([sums, sums.new_zeros(1)])


def shares(energy: Tensor) -> Tensor:
    """Divide energies by the first of them; all are 0 for a layer whose outputs are constant."""
    return energy / energy[0].clamp_min(torch.finfo(energy.dtype).tiny)


def ranked_positions(unit: Tensor, rank: Tensor) -> Tensor:
    """Return for every channel the rank of its unit, 0 for the most important, and -1 for channels that always stay.

    Args:
        unit: for every channel its unit, -1 where it has none.
        rank: the units from most to least important.
    """
    position = torch.empty(len(rank) + 1, dtype=torch.int64)
    position[rank] = torch.arange(len(rank))
    position[-1] = -1  # where unit is -1
    return position[unit]


def channels_left(position: Tensor, units: int) -> Tensor:
    """Return how many channels are left with 0 ... ``units`` units, given their ``ranked_positions``."""
    return torch.searchsorted(position.sort().values, torch.arange(units + 1))


def unrepaired_share(module: nn.Module, member: GroupMember, rank: Tensor) -> Tensor:
    """Estimate what a layer loses that least squares does not repair: the share of its squared weights that go.

    That is its error if its inputs were uncorrelated and of one variance.

    Returns:
        Shares for 0 ... units kept, shape ``(units + 1,)``.
    """
    position = ranked_positions(member.unit, rank)
    by_channel = by_input_channel(weight_of(module).double(), module).square().sum(1).cpu()
    energy = tail_sums(by_channel[position.argsort(stable=True)])
    return shares(energy)[channels_left(position, len(rank))]

"""The layer as a code: what lets small networks treat neighbouring layers differently after a few hundred updates."""

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor
from torch.nn.functional import one_hot

from envs.observation import FEATURES

STEP = FEATURES.index("t")


class LayerCode(BaseFeaturesExtractor):
    """Appends to AMC's state a one-hot code of the layer.

    The state says which layer it is by one number, t. A network has to bend sharply along it to keep much of one
    layer and little of the next, which takes it more updates than a search has.

    Args:
        observation_space: the state of ``PruningEnv``.
        layers: how many layers there are.
    """

    def __init__(self, observation_space: spaces.Box, layers: int) -> None:
        super().__init__(observation_space, observation_space.shape[0] + layers)
        self._layers = layers

    def forward(self, observations: Tensor) -> Tensor:
        """Return states with their code, shape ``(n, 11 + layers)``."""
        steps = (observations[:, STEP] * max(self._layers - 1, 1)).round().long()
        return torch.cat([observations, one_hot(steps, self._layers).to(observations.dtype)], 1)

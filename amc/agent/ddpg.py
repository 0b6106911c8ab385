from contextlib import contextmanager
from statistics import NormalDist

import numpy as np
import torch
from stable_baselines3 import DDPG
from stable_baselines3.td3.policies import TD3Policy
from torch import nn


class Stretch(nn.Module):
    def forward(self, x): return 2 * x - 1

class SigmoidPolicy(TD3Policy):
    def make_actor(self, features_extractor=None):
        actor = super().make_actor(features_extractor)
        actor.mu = nn.Sequential(*list(actor.mu)[:-1], nn.Sigmoid(), Stretch())
        return actor

def truncated_normal(mean, sigma, low, high, u):
    d = NormalDist(mean, sigma)
    return min(max(d.inv_cdf(d.cdf(low) + u * (d.cdf(high) - d.cdf(low))), low), high)

@contextmanager
def one_thread():
    before = torch.get_num_threads(); torch.set_num_threads(1)
    try: yield
    finally: torch.set_num_threads(before)

class AMCDDPG(DDPG):
    def __init__(self, *a, lrs, sigma, decay, floor=0.0, warm, rng, **k):
        self.lrs, self.sigma, self.decay, self.floor, self.warm, self.rng = lrs, sigma, decay, floor, warm, rng
        super().__init__(*a, **k)
    def _update_learning_rate(self, optimizers):
        for o, lr in zip(optimizers, self.lrs):
            for g in o.param_groups: g["lr"] = lr
    def _sample_action(self, learning_starts, action_noise=None, n_envs=1):
        low, high = self.action_space.low.item(), self.action_space.high.item()
        if self._episode_num < self.warm:
            keep = self.rng.uniform(low, high)
        else:
            with one_thread():
                mean = self.predict(self._last_obs)[0].item()
            sigma = max(self.floor, self.sigma * self.decay ** (self._episode_num - self.warm))
            keep = truncated_normal(mean, sigma, low, high, self.rng.uniform()) if sigma > 1e-6 else mean
        a = np.array([[keep]], dtype=np.float32)
        return a, self.policy.scale_action(a)
    def train(self, gradient_steps, batch_size=100):
        with one_thread(): super().train(gradient_steps, batch_size)

"""DDPG as in the AMC paper, a thin layer on stable-baselines3's extension points."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

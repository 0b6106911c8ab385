"""Pruning as a reinforcement learning problem.

Importing this makes ``amc/Pruning-v0`` known to Gymnasium, and does not import Gymnasium: see ``envs.registration``.
"""

from envs.registration import register_with_gymnasium

register_with_gymnasium()

"""Pruning as a reinforcement learning problem. Importing this registers ``amc/Pruning-v0`` with Gymnasium."""

from gymnasium.envs.registration import register

from envs.engine.analytic import AnalyticEngine

register(id="amc/Pruning-v0", entry_point="envs.pruning_env:PruningEnv", kwargs={"engine": AnalyticEngine()})

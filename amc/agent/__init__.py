"""The agent of the AMC paper: DDPG, as a thin layer on stable-baselines3."""

"""DDPG as in the AMC paper, a thin layer on stable-baselines3's extension points."""

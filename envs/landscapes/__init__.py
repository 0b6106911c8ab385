"""Recorded landscapes: real evaluations of pruned networks, turned into engines that answer in microseconds.

``gymnasium.make("amc/PruningBench-resnet20-cifar10-v0", target=0.3)`` poses the problem of one of them; how they were
recorded, and what they are worth, is in ``benchmarks/landscapes.md``.
"""

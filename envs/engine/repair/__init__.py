"""Repairs a pruned network without training: least squares and adaptive batch norm."""

from envs.engine.repair.adaptive_bn import recalibrate_batch_norms
from envs.engine.repair.calibration import InputMoments, collect_moments, sample_inputs, watch_inputs
from envs.engine.repair.least_squares import Reconstruction, build_reconstruction
from envs.engine.repair.reconstruction_error import unrepaired_share

__all__ = [
    "InputMoments",
    "Reconstruction",
    "build_reconstruction",
    "collect_moments",
    "recalibrate_batch_norms",
    "sample_inputs",
    "unrepaired_share",
    "watch_inputs",
]

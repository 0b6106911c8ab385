"""Cuts channels out of a network, or masks finer parts of its weights."""

from envs.engine.surgery.compaction import (
    compact,
    compact_groups,
    fold_batch_norms,
    kept_channels,
    mask_inputs,
)
from envs.engine.surgery.full_width import FullWidth, Places, can_keep_width, places_of, set_places
from envs.engine.surgery.granularity import GRANULARITIES, Cut
from envs.engine.surgery.head_counts import candidate_counts, counts_of, kept_counts, set_counts
from envs.engine.surgery.masking import MASK, mask_weight, masks, unmasked, without_masks

__all__ = [
    "GRANULARITIES",
    "MASK",
    "Cut",
    "FullWidth",
    "Places",
    "can_keep_width",
    "candidate_counts",
    "compact",
    "compact_groups",
    "counts_of",
    "fold_batch_norms",
    "kept_channels",
    "kept_counts",
    "mask_inputs",
    "mask_weight",
    "masks",
    "places_of",
    "set_counts",
    "set_places",
    "unmasked",
    "without_masks",
]
